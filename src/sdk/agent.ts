/** The local agent: a proxy on loopback that turns a key which means nothing elsewhere into a token and a proof. */
import {
  EXIT,
  type Log,
  type ModelkeepError,
  type Random,
  silentLog,
  toBase64Url,
  toModelkeepError,
} from "../base/index.ts";
import { http, https } from "../host/index.ts";
import type { ProofHeaders, TokenSession } from "../tokens/index.ts";
import { sdkError } from "./errors.ts";
import { AGENT_LIMITS } from "./limits.ts";
import { checkHost, checkKey, checkTarget, clientHeaders, sendError, upstreamHeaders } from "./target.ts";

export interface AgentOptions {
  readonly session: TokenSession;
  readonly random: Random;
  readonly log?: Log;
  /** Certificate authorities in place of Node's own, PEM, for a server with a certificate of its own. */
  readonly ca?: string;
}

export interface Agent {
  /** What belongs into OPENAI_BASE_URL. */
  readonly baseUrl: string;
  /** What belongs into OPENAI_API_KEY: made at this start, known to no other machine or process. */
  readonly localKey: string;
  /** Lets running requests end for AGENT_LIMITS.closeMs, then cuts them. */
  close(): Promise<void>;
}

export async function startAgent(options: AgentOptions): Promise<Agent> {
  const localKey = `mka_${toBase64Url(options.random.bytes(AGENT_LIMITS.localKeyBytes))}`;
  const proxy = new LoopbackProxy(options, localKey);
  const port = await proxy.listen();
  return { baseUrl: `http://127.0.0.1:${port}/v1`, localKey, close: () => proxy.close() };
}

class LoopbackProxy {
  readonly #session: TokenSession;
  readonly #log: Log;
  readonly #localKey: string;
  readonly #upstream: URL;
  readonly #connections: http.Agent;
  readonly #server: http.Server;
  #port = 0;

  constructor(options: AgentOptions, localKey: string) {
    this.#session = options.session;
    this.#log = options.log ?? silentLog;
    this.#localKey = localKey;
    this.#upstream = new URL(options.session.serverUrl);
    const pool = { keepAlive: true, maxSockets: AGENT_LIMITS.connections };
    this.#connections =
      this.#upstream.protocol === "https:"
        ? new https.Agent({ ...pool, ...(options.ca === undefined ? {} : { ca: options.ca }) })
        : new http.Agent(pool);
    this.#server = http.createServer(
      {
        maxHeaderSize: AGENT_LIMITS.headerBytes,
        headersTimeout: AGENT_LIMITS.headersTimeoutMs,
        requestTimeout: AGENT_LIMITS.requestTimeoutMs,
        noDelay: true,
      },
      (req, res) => void this.#serve(req, res),
    );
    this.#server.maxHeadersCount = AGENT_LIMITS.headersCount;
    this.#server.maxConnections = AGENT_LIMITS.connections;
    for (const event of ["connect", "upgrade"]) this.#server.on(event, (_req, socket) => socket.destroy());
  }

  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host: "127.0.0.1", port: 0 }, () => {
        const address = this.#server.address();
        this.#port = typeof address === "object" && address ? address.port : 0;
        resolve(this.#port);
      });
    });
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), AGENT_LIMITS.closeMs);
    await closed;
    clearTimeout(timer);
    this.#connections.destroy();
  }

  async #serve(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    try {
      checkHost(req, this.#port);
      const target = checkTarget(req);
      checkKey(req, this.#localKey);
      checkLength(req);
      const url = this.#upstream.origin + target;
      const proof = await this.#session.prove(req.method ?? "GET", url);
      if (!res.destroyed) this.#forward(req, res, url, proof);
    } catch (error) {
      this.#refuse(res, toAgentError(error));
    }
  }

  #refuse(res: http.ServerResponse, error: ModelkeepError): void {
    this.#log.debug("the agent refused a request", { code: error.code, error: error.cause });
    sendError(res, error);
  }

  #forward(req: http.IncomingMessage, res: http.ServerResponse, url: string, proof: ProofHeaders): void {
    const request = this.#upstream.protocol === "https:" ? https.request : http.request;
    const upstream = request(url, {
      method: req.method ?? "GET",
      headers: { ...upstreamHeaders(req), ...proof },
      agent: this.#connections,
      timeout: AGENT_LIMITS.silenceMs,
    });
    const fail = (error: ModelkeepError): void => {
      upstream.destroy();
      this.#refuse(res, error);
    };
    upstream.on("timeout", () => fail(sdkError("AGENT_UPSTREAM_UNREACHABLE", { detail: "it is silent" })));
    upstream.on("error", (cause) => fail(sdkError("AGENT_UPSTREAM_UNREACHABLE", { cause })));
    upstream.on("response", (answer) => {
      if (answer.statusCode === 401) this.#session.refused(proof);
      passBack(answer, res);
    });
    upstream.on("close", () => {
      if (!res.headersSent) fail(sdkError("AGENT_UPSTREAM_UNREACHABLE", { detail: "it gave no answer" }));
    });
    res.on("close", () => {
      if (!res.writableFinished) upstream.destroy();
    });
    passOn(req, upstream, fail);
  }
}

/** Body to the server: `pipe` waits for the slower side, so nothing gathers here. */
function passOn(req: http.IncomingMessage, upstream: http.ClientRequest, fail: (error: ModelkeepError) => void): void {
  let bytes = 0;
  req.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > AGENT_LIMITS.bodyBytes) fail(sdkError("AGENT_BODY_TOO_LARGE"));
  });
  req.pipe(upstream);
}

/** Answer to the application, frame by frame; when it breaks off, the application must see that it did. */
function passBack(answer: http.IncomingMessage, res: http.ServerResponse): void {
  res.writeHead(answer.statusCode ?? 502, clientHeaders(answer));
  res.flushHeaders();
  answer.on("error", () => res.destroy());
  answer.pipe(res);
}

function checkLength(req: http.IncomingMessage): void {
  if (Number(req.headers["content-length"] ?? 0) > AGENT_LIMITS.bodyBytes) throw sdkError("AGENT_BODY_TOO_LARGE");
}

/** What the token endpoint said is told apart: no server, or a key that is no longer enrolled. */
function toAgentError(error: unknown): ModelkeepError {
  const known = toModelkeepError(error);
  if (known.exit === EXIT.unreachable) return sdkError("AGENT_UPSTREAM_UNREACHABLE", { cause: known });
  if (known.code === "RENEWAL_REFUSED") return sdkError("AGENT_NOT_ENROLLED", { cause: known });
  return known;
}
