/** The origin by which a client addressed the server: only one that the server answers for, else one that no proof can name. */

const NO_ORIGIN = "http://misdirected.invalid";

/** `host` is the Host header. A TLS proxy in front makes `https` origins although the server speaks plain HTTP to it. */
export function requestOrigin(host: string, scheme: "http" | "https", origins: ReadonlySet<string>): string {
  const name = host.toLowerCase();
  if (origins.has(`https://${name}`)) return `https://${name}`;
  return origins.has(`${scheme}://${name}`) ? `${scheme}://${name}` : NO_ORIGIN;
}
