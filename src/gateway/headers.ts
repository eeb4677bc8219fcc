/** Which headers pass: few on the way in, all but the private and the connection's own on the way out. */
import type { http } from "../host/index.ts";

/** The client's `authorization`, cookies, and organisation headers stay here. */
const forwarded = ["accept", "idempotency-key", "openai-beta", "x-request-id"] as const;

const withheld = new Set([
  "alt-svc",
  "connection",
  "content-encoding",
  "content-length",
  "keep-alive",
  "openai-organization",
  "openai-project",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "set-cookie",
  "set-cookie2",
  "strict-transport-security",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "via",
  "www-authenticate",
  "x-lighttpd-send-file",
  "x-sendfile",
]);

/** Pages of other origins, and orders to a proxy in front of this server, for example to send one of its own files. */
const withheldPrefixes = ["access-control-", "x-accel-"];

/** `identity`: a compressed reply could not be searched for the key. */
export function upstreamHeaders(req: http.IncomingMessage, slot: string): string[] {
  const headers = [
    "authorization",
    `Bearer ${slot}`,
    "content-type",
    "application/json",
    "accept-encoding",
    "identity",
    "user-agent",
    "modelkeep",
  ];
  for (const name of forwarded) {
    const value = req.headers[name];
    if (typeof value === "string") headers.push(name, value);
  }
  return headers;
}

export function canaryHeaders(slot: string): string[] {
  return ["authorization", `Bearer ${slot}`, "accept-encoding", "identity", "user-agent", "modelkeep"];
}

export type ReplyHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** The reply's headers for the client, each value through `clean`. */
export function clientHeaders(
  headers: ReplyHeaders,
  clean: (value: string) => string,
): Record<string, string | string[]> {
  const named = new Set(
    String(headers.connection ?? "")
      .toLowerCase()
      .split(/\s*,\s*/),
  );
  const out: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (value === undefined || withheld.has(lower) || named.has(lower)) continue;
    if (withheldPrefixes.some((prefix) => lower.startsWith(prefix))) continue;
    // A key in the name of a header has no honest use: the whole header is dropped.
    if (clean(name) !== name) continue;
    out[name] = Array.isArray(value) ? value.map(clean) : clean(value);
  }
  return out;
}
