/** What the counterparts of clouds have in common: a server on this machine that answers in JSON and is strict. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Answered {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

export interface Served {
  readonly origin: string;
  readonly host: string;
  /** Method and path of every request, in order. */
  readonly seen: string[];
}

const closing: (() => void)[] = [];
after(() => {
  for (const close of closing) close();
});

export async function serve(answer: (asked: Asked) => Answered | Promise<Answered>): Promise<Served> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", async () => {
      const url = new URL(request.url ?? "/", "http://counterpart");
      const { method = "" } = request;
      seen.push(`${method} ${url.pathname}`);
      const body = Buffer.concat(chunks).toString("utf8");
      const {
        status,
        body: out,
        headers,
      } = await answer({
        method,
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body,
      });
      const text = out === undefined ? "" : typeof out === "string" ? out : JSON.stringify(out);
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(text);
    });
  });
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { origin, host: new URL(origin).host, seen };
}

export const makeToken = (): string => `ya29.${randomBytes(24).toString("base64url")}`;

/** The members of a body, when it is an object with no others than the named ones. */
export function members(body: string, names: readonly string[]): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    return Object.keys(value).every((name) => names.includes(name)) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Canonical bytes of the standard alphabet, or of the URL's without padding. */
export function decoded(value: unknown, encoding: "base64" | "base64url"): Buffer | undefined {
  if (typeof value !== "string") return undefined;
  const bytes = Buffer.from(value, encoding);
  return bytes.toString(encoding) === value ? bytes : undefined;
}

/** A form, when its content type says that it is one. */
export function formOf(asked: Asked): Record<string, string> {
  if (asked.headers["content-type"] !== "application/x-www-form-urlencoded") return {};
  return Object.fromEntries(new URLSearchParams(asked.body));
}

/** Header, claims and the signed part of a compact JWT. */
export function jwtOf(text: string) {
  const [head = "", claims = "", signature = ""] = text.split(".");
  const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  return {
    header: read(head),
    claims: read(claims),
    signed: Buffer.from(`${head}.${claims}`),
    signature: Buffer.from(signature, "base64url"),
  };
}

/** The server with more on it; accessors stay what they are, which Object.assign would read. */
export function extended<T extends object>(served: Served, more: T): Served & T {
  return Object.defineProperties(served, Object.getOwnPropertyDescriptors(more)) as Served & T;
}
