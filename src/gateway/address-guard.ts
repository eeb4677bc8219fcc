/** Which addresses a provider may have: a base URL set by an admin must not lead a key to the machine's metadata service. */
import { dns, net } from "../host/index.ts";
import { gatewayError } from "./errors.ts";
import { PROVIDER_LIMITS } from "./limits.ts";

/** `loopback`: http, which must not leave the machine. `anywhere`: https. */
export type AddressScope = "loopback" | "anywhere";

/** Has the shape of Node's `dns.lookup`. */
export type LookupFunction = net.LookupFunction;

const refused = new net.BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const) {
  refused.addSubnet(network, bits, "ipv4");
}
// Metadata services outside link-local: Alibaba, Azure's wire server, Oracle.
for (const address of ["100.100.100.200", "168.63.129.16", "192.0.0.192"]) refused.addAddress(address, "ipv4");
// Unspecified, link-local, site-local, multicast, NAT64 and 6to4 (both can spell any IPv4 address), metadata of AWS.
for (const [network, bits] of [
  ["::", 128],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["2002::", 16],
  ["fd00:ec2::", 32],
] as const) {
  refused.addSubnet(network, bits, "ipv6");
}

const loopback = new net.BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** True when a connection to this IP address may carry a key. What is no address is refused. */
export function addressAllowed(address: string, scope: AddressScope): boolean {
  const bare = address.split("%")[0] ?? "";
  const family = net.isIP(bare) === 4 ? "ipv4" : net.isIP(bare) === 6 ? "ipv6" : undefined;
  if (!family || refused.check(bare, family)) return false;
  return scope === "anywhere" || loopback.check(bare, family);
}

/** The checked base URL without a trailing slash; throws PROVIDER_URL_REFUSED. */
export function checkBaseUrl(text: string): { readonly url: URL; readonly scope: AddressScope } {
  if (text.length > PROVIDER_LIMITS.urlCharacters || !URL.canParse(text)) {
    throw gatewayError("PROVIDER_URL_REFUSED", { detail: "not a URL" });
  }
  const url = new URL(text);
  if (url.username || url.password || url.search || url.hash) {
    throw gatewayError("PROVIDER_URL_REFUSED", { detail: "credentials, query and fragment are not possible" });
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw gatewayError("PROVIDER_URL_REFUSED", { detail: `scheme ${url.protocol}` });
  }
  const scope = url.protocol === "https:" ? "anywhere" : "loopback";
  checkHost(url.hostname, scope);
  return { url, scope };
}

const metadataNames = new Set(["metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"]);

function checkHost(hostname: string, scope: AddressScope): void {
  const host = hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  const allowed = net.isIP(host)
    ? addressAllowed(host, scope)
    : !metadataNames.has(host) && (scope === "anywhere" || host === "localhost" || host.endsWith(".localhost"));
  if (!allowed)
    throw gatewayError("PROVIDER_URL_REFUSED", { detail: `${scope === "loopback" ? "http to " : ""}${host}` });
}

/** A lookup that fails when any address of the name is refused: a name cannot be changed after it was checked. */
export function guardLookup(scope: AddressScope, lookup: LookupFunction = dns.lookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      const addresses = Array.isArray(found) ? found : [];
      const first = addresses[0];
      if (error || !first) return callback(error ?? new Error("no address"), options.all ? [] : "");
      const wrong = addresses.find((entry) => !addressAllowed(entry.address, scope));
      if (wrong)
        return callback(
          gatewayError("PROVIDER_URL_REFUSED", { detail: `${hostname} is ${wrong.address}` }),
          options.all ? [] : "",
        );
      if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
