/** Opens the port: plain or TLS, with limits against slow clients, and a graceful end. */
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import type { Hono } from "hono";
import { http, https, readFileBounded, systemErrorCode } from "../host/index.ts";
import { type Config, isLoopback, splitListen } from "./config.ts";
import { serverError } from "./errors.ts";
import { SERVER_LIMITS } from "./limits.ts";

type Handler = (req: http.IncomingMessage, res: http.ServerResponse) => void;

export interface Listening {
  /** For example `http://127.0.0.1:8420`. */
  readonly url: string;
  /** Every `scheme://host:port` by which clients may address the server. */
  readonly origins: ReadonlySet<string>;
  /** Stops taking requests, waits for running ones at most so long, then cuts them. */
  close(graceMs: number): Promise<void>;
}

export interface ListenPorts {
  readonly app: Hono;
  /** Answers `/v1/*`. */
  readonly gateway: Handler;
  /** SERVER_LIMITS.answerTimeoutMs when absent. */
  readonly answerTimeoutMs?: number;
}

/** Largest PEM file of the server, in bytes. */
const MAX_PEM_BYTES = 1024 * 1024;

export async function listen(config: Config, ports: ListenPorts): Promise<Listening> {
  const { app, answerTimeoutMs = SERVER_LIMITS.answerTimeoutMs } = ports;
  const answer = async (request: Request, env: HttpBindings): Promise<Response> => {
    const response = await app.fetch(request, env);
    limitTaking(env.outgoing, answerTimeoutMs);
    return response;
  };
  const api = getRequestListener((request, env) => answer(request, env as HttpBindings), {
    overrideGlobalObjects: false,
  });
  const handler: Handler = (req, res) => {
    const refused = refusedHead(req);
    if (refused !== undefined) res.writeHead(refused, { connection: "close" }).end();
    else if (req.url === "/v1" || req.url?.startsWith("/v1/") || req.url?.startsWith("/v1?")) ports.gateway(req, res);
    else void api(req, res);
  };
  const server = await createServer(config, handler);
  server.maxConnections = SERVER_LIMITS.connections;
  const { host, port } = splitListen(config.listen);
  await bind(server, host, port, config.listen);
  const address = server.address();
  const actual = typeof address === "object" && address ? address.port : port;
  const scheme = config.tls_certificate === undefined ? "http" : "https";
  const shown = host.includes(":") ? `[${host}]` : host;
  return {
    url: config.public_url?.replace(/\/+$/, "") ?? `${scheme}://${shown}:${actual}`,
    origins: originsOf(config, scheme, shown, actual),
    close: (graceMs) => closeServer(server, graceMs),
  };
}

/** Two hosts would be read differently by a proxy in front (RFC 9112, section 3.2); Node drops what is over its count. */
function refusedHead({ rawHeaders, headersDistinct }: http.IncomingMessage): number | undefined {
  if (rawHeaders.length > 2 * SERVER_LIMITS.headersCount) return 431;
  return (headersDistinct.host?.length ?? 0) > 1 ? 400 : undefined;
}

/** Who asks and does not read would keep his connection for ever, and the answer in memory. */
function limitTaking(res: Pick<http.ServerResponse, "closed" | "destroy" | "once">, timeoutMs: number): void {
  if (res.closed) return;
  const timer = setTimeout(() => res.destroy(), timeoutMs);
  res.once("close", () => clearTimeout(timer));
}

async function createServer(config: Config, handler: Handler): Promise<http.Server> {
  const options = {
    maxHeaderSize: SERVER_LIMITS.headerBytes,
    headersTimeout: SERVER_LIMITS.headersTimeoutMs,
    requestTimeout: SERVER_LIMITS.requestTimeoutMs,
    keepAliveTimeout: SERVER_LIMITS.keepAliveTimeoutMs,
    noDelay: true,
  };
  if (config.tls_certificate === undefined || config.tls_key === undefined) return http.createServer(options, handler);
  const [cert, key] = await Promise.all(
    [config.tls_certificate, config.tls_key].map((path) => readFileBounded(path, MAX_PEM_BYTES)),
  );
  try {
    return https.createServer(
      {
        ...options,
        cert: Buffer.from(cert ?? []),
        key: Buffer.from(key ?? []),
        minVersion: "TLSv1.2",
        handshakeTimeout: SERVER_LIMITS.handshakeTimeoutMs,
      },
      handler,
    );
  } catch (error) {
    throw serverError("CONFIG_INVALID", {
      detail: `tls_certificate ${config.tls_certificate} and tls_key do not work together`,
      cause: error,
    });
  } finally {
    key?.fill(0);
  }
}

function bind(server: http.Server, host: string, port: number, listen: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        serverError("LISTEN_FAILED", { detail: `${listen} (${systemErrorCode(error) ?? "unknown"})`, cause: error }),
      ),
    );
    server.listen({ host, port }, resolve);
  });
}

function originsOf(config: Config, scheme: string, host: string, port: number): ReadonlySet<string> {
  const origins = new Set<string>();
  const add = (name: string) => {
    origins.add(`${scheme}://${name}:${port}`);
    if ((scheme === "http" && port === 80) || (scheme === "https" && port === 443)) origins.add(`${scheme}://${name}`);
  };
  if (config.public_url !== undefined) origins.add(new URL(config.public_url).origin);
  if (isLoopback(config.listen)) for (const name of ["127.0.0.1", "localhost", "[::1]", host]) add(name);
  return origins;
}

async function closeServer(server: http.Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearTimeout(timer);
}
