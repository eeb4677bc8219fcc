/** Decides what the agent lets through: its own address, paths under /v1, and headers that mean something upstream. */
import { equalBytes, type ModelkeepError, utf8 } from "../base/index.ts";
import type { http } from "../host/index.ts";
import { sdkError } from "./errors.ts";
import { AGENT_LIMITS } from "./limits.ts";

/** A page in a browser can reach the port under a name of its own (DNS rebinding), but not under these. */
export function checkHost(req: http.IncomingMessage, port: number): void {
  const host = req.headers.host?.toLowerCase();
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}`) throw sdkError("AGENT_MISDIRECTED");
}

/** In constant time; the key is `Bearer` as OpenAI's clients send it. */
export function checkKey(req: http.IncomingMessage, localKey: string): void {
  const given = /^Bearer (\S{1,256})$/i.exec(req.headers.authorization ?? "")?.[1] ?? "";
  if (!equalBytes(utf8(given), utf8(localKey))) throw sdkError("AGENT_KEY_REFUSED");
}

/** The path and query, exactly as they came: only origin form, and nothing that a server could read as another path. */
export function checkTarget(req: http.IncomingMessage): string {
  const target = req.url ?? "";
  const path = target.split("?")[0] ?? "";
  const url = URL.parse(target, "http://agent.invalid");
  const plain =
    target.length <= AGENT_LIMITS.targetCharacters &&
    (path === "/v1" || path.startsWith("/v1/")) &&
    url?.pathname === path &&
    !/%(?:2e|2f|5c|00)|\\|\/\/|#/i.test(path);
  if (!plain) throw sdkError("AGENT_PATH_REFUSED");
  return target;
}

const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Credentials and names of the application's side that must not go further. */
const PRIVATE = new Set(["authorization", "cookie", "dpop", "expect", "forwarded", "host", "x-api-key", "api-key"]);

/** A body without a length keeps its framing: Node would send that of a DELETE without any. */
export function upstreamHeaders(req: http.IncomingMessage): http.OutgoingHttpHeaders {
  const headers = withoutHeaders(req.headers, (name) => PRIVATE.has(name) || name.startsWith("x-forwarded-"));
  return req.headers["transfer-encoding"] === undefined ? headers : { ...headers, "transfer-encoding": "chunked" };
}

export function clientHeaders(res: http.IncomingMessage): http.OutgoingHttpHeaders {
  return withoutHeaders(res.headers, (name) => name === "set-cookie" || name === "www-authenticate");
}

function withoutHeaders(headers: http.IncomingHttpHeaders, drop: (name: string) => boolean): http.OutgoingHttpHeaders {
  const named = new Set((headers.connection ?? "").toLowerCase().split(/\s*,\s*/));
  // Without it the body of a GET would go on unframed: the server would read it as the next request.
  named.delete("content-length");
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name) && !drop(name)),
  );
}

/** In the shape in which OpenAI's clients look for an error. */
export function sendError(res: http.ServerResponse, error: ModelkeepError): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const code = error.code.toLowerCase();
  const message = [error.message, ...(error.hint ? [error.hint] : [])].join("; ");
  const type = error.status < 500 ? "invalid_request_error" : "api_error";
  const body = Buffer.from(JSON.stringify({ error: { message, type, param: null, code } }));
  res.writeHead(error.status, {
    "content-type": "application/json",
    "content-length": body.length,
    connection: "close",
  });
  res.end(body);
}
