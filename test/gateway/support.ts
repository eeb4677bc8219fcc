/** A gateway on a real socket, and a provider that does everything a provider should not do. */
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import type { Authorizer, Caller, Log, LogFields } from "../../src/base/index.ts";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import {
  createGateway,
  createProviderService,
  type GatewayLimits,
  type GatewayOptions,
} from "../../src/gateway/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { createSecretService } from "../../src/secrets/index.ts";
import { KeptEvents, MemoryShared, MemoryStore } from "../secrets/support.ts";

export const CANARY = "sk-canary-3f9a1c77e2b84d60a5d1908f";
export const TOKEN = "mk_token_0123456789";
export const by = { type: "Admin", id: "ada" };

export function listen(server: http.Server): Promise<number> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
}

export interface Seen {
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

type Answer = (req: http.IncomingMessage, res: http.ServerResponse, body: string) => void;

const usage = { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 };

export function chunkOf(text: string): string {
  const delta = {
    id: "c1",
    object: "chat.completion.chunk",
    created: 1,
    model: "small",
    choices: [{ index: 0, delta: { content: text }, finish_reason: null }],
  };
  return `data: ${JSON.stringify(delta)}\n\n`;
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function stream(res: http.ServerResponse, frames: readonly string[], pauseMilliseconds: number): Promise<void> {
  res.writeHead(200, { "content-type": "text/event-stream" });
  for (const frame of frames) {
    if (res.destroyed) return;
    res.write(frame);
    await wait(pauseMilliseconds);
  }
  res.end(
    `data: ${JSON.stringify({ id: "c1", object: "chat.completion.chunk", choices: [], usage })}\n\ndata: [DONE]\n\n`,
  );
}

/** The behaviour is chosen by the model's name. */
const behaviours: Record<string, Answer> = {
  small(_req, res) {
    const message = { role: "assistant", content: "hello" };
    res.setHeader("content-type", "application/json");
    res.end(
      JSON.stringify({
        id: "c1",
        object: "chat.completion",
        created: 1,
        model: "small",
        choices: [{ index: 0, message, finish_reason: "stop" }],
        usage,
      }),
    );
  },
  stream: (_req, res) => void stream(res, ["a", "b", "c", "d"].map(chunkOf), 30),
  "slow-stream": (_req, res) =>
    void stream(
      res,
      Array.from({ length: 100 }, (_, i) => chunkOf(String(i))),
      20,
    ),
  "echo-body"(req, res) {
    res.setHeader("content-type", "application/json");
    res.end(JSON.stringify({ got: req.headers, again: req.headers.authorization }));
  },
  "echo-headers"(req, res) {
    res.setHeader("x-echo", req.headers.authorization ?? "");
    res.setHeader("x-many", [req.headers.authorization ?? "", "fine"]);
    res.setHeader("set-cookie", `key=${req.headers.authorization}`);
    res.setHeader("x-accel-redirect", "/etc/passwd");
    res.setHeader("x-sendfile", "/etc/passwd");
    res.setHeader("content-type", `application/json; k=${(req.headers.authorization ?? "").slice(7)}`);
    res.end("{}");
  },
  "echo-stream"(req, res) {
    const text = chunkOf(`x${req.headers.authorization}y`);
    const frames = [...text].flatMap((_, i) => (i % 3 === 0 ? [text.slice(i, i + 3)] : []));
    void stream(res, frames, 1);
  },
  "echo-error"(req, res) {
    res.writeHead(400, { "content-type": "application/json" });
    res.end(JSON.stringify({ error: { message: `bad key ${req.headers.authorization}`, type: "x", code: "y" } }));
  },
  "echo-401"(req, res) {
    res.writeHead(401, { "content-type": "application/json", "www-authenticate": req.headers.authorization ?? "" });
    res.end(JSON.stringify({ error: { message: `Incorrect API key: ${req.headers.authorization}` } }));
  },
  "echo-500"(req, res) {
    res.writeHead(500, `failed ${(req.headers.authorization ?? "").slice(7)}`);
    res.end(req.headers.authorization);
  },
  redirect(req, res) {
    res.writeHead(307, { location: `http://127.0.0.1:1/${(req.headers.authorization ?? "").slice(7)}` });
    res.end();
  },
  compressed(_req, res) {
    res.writeHead(200, { "content-encoding": "gzip", "content-type": "application/json" });
    res.end("not really");
  },
  midway(_req, res) {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(chunkOf("begun"));
    setTimeout(() => res.destroy(), 30);
  },
  "bad-chunk"(req, res) {
    res.socket?.end(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz${req.headers.authorization}\r\nhello`);
  },
  garbage(req, res) {
    res.socket?.end(`${req.headers.authorization} nonsense\r\n\r\n`);
  },
  "huge-headers"(_req, res) {
    res.socket?.end(`HTTP/1.1 200 OK\r\nx-huge: ${"a".repeat(64 * 1024)}\r\ncontent-length: 0\r\n\r\n`);
  },
  "split-head"(req, res) {
    res.socket?.end(
      `HTTP/1.1 200 OK\r\nx-a: ${req.headers.authorization}\r\n${req.headers.authorization}: 1\r\ncontent-length: 2\r\n\r\n{}`,
    );
  },
  silent() {},
  stall(_req, res) {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(chunkOf("begun"));
  },
  flood(_req, res) {
    res.writeHead(200, { "content-type": "application/octet-stream" });
    const block = Buffer.alloc(64 * 1024, 97);
    const more = (): void => {
      while (!res.destroyed && res.write(block));
      if (!res.destroyed) res.once("drain", more);
    };
    more();
  },
};

export const MODELS = [...Object.keys(behaviours), "secret-model"];

export function createUpstream() {
  const seen: Seen[] = [];
  const closed: string[] = [];
  const server = http.createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk) => chunks.push(chunk));
    req.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      seen.push({ path: req.url ?? "", headers: req.headers, body });
      const model = String(JSON.parse(body).model);
      res.on("close", () => void (res.writableFinished || closed.push(model)));
      (behaviours[model] ?? behaviours.small)?.(req, res, body);
    });
  });
  return { server, seen, closed };
}

export class KeptLog implements Log {
  readonly lines: string[] = [];
  #keep(level: string, message: string, fields?: LogFields): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})} ${String(fields?.error ?? "")}`);
  }
  debug(message: string, fields?: LogFields): void {
    this.#keep("debug", message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#keep("info", message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#keep("warn", message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#keep("error", message, fields);
  }
}

/** Everybody in "users" may use everything but secret-model. */
export function allowAllBut(denied: string): Authorizer & { asked: number } {
  return {
    asked: 0,
    decide(request) {
      this.asked++;
      const allowed = request.action === "useModel" && !request.resource.id.endsWith(denied);
      return { allowed, policies: ["users"], errors: [] };
    },
  };
}

export function callerOf(id: string): Caller {
  return {
    principal: { type: "Workload", id },
    groups: ["users"],
    tokenId: `jti-${id}`,
    expiresAt: 2e12,
    keyThumbprint: "t",
  };
}

export async function authenticateTest({ authorization }: { authorization: string | undefined }): Promise<Caller> {
  const [scheme, token] = (authorization ?? "").split(" ");
  if ((scheme === "Bearer" || scheme === "DPoP") && token?.startsWith(TOKEN))
    return callerOf(token.slice(TOKEN.length) || "w");
  throw new ModelkeepError("TOKEN_INVALID", { status: 401, exit: 3, title: `token ${authorization} is expired` });
}

export async function startAll(
  t: TestContext | undefined,
  options: { limits?: Partial<GatewayLimits>; gateway?: Partial<GatewayOptions>; baseUrl?: string } = {},
) {
  const shared = new MemoryShared();
  const store = new MemoryStore(shared);
  const recorder = new KeptEvents();
  const log = new KeptLog();
  const ports = { store, recorder, log, clock: systemClock, random: systemRandom };
  const upstream = createUpstream();
  const upstreamPort = await listen(upstream.server);
  const secrets = await createSecretService(ports);
  await secrets.put("openai-key", utf8(CANARY), { by });
  const providers = await createProviderService(ports);
  const baseUrl = options.baseUrl ?? `http://127.0.0.1:${upstreamPort}/api/v1/`;
  await providers.set({ name: "test", kind: "openai", baseUrl, secret: "openai-key", models: MODELS }, { by });
  const policy = allowAllBut("secret-model");
  const gateway = createGateway({
    ...ports,
    providers,
    secrets,
    authorizer: () => policy,
    authenticate: authenticateTest,
    ...(options.limits ? { limits: options.limits } : {}),
    ...options.gateway,
  });
  const server = http.createServer((req, res) => gateway.handle(req, res));
  const port = await listen(server);
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await gateway.close();
    providers.close();
    await secrets.close();
    upstream.server.closeAllConnections();
    upstream.server.close();
  };
  t?.after(close);
  return {
    shared,
    store,
    recorder,
    log,
    upstream,
    upstreamPort,
    secrets,
    providers,
    policy,
    gateway,
    server,
    port,
    close,
  };
}

export interface Got {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly chunks: readonly { readonly at: number; readonly text: string }[];
  readonly broken: boolean;
  readonly raw: string;
}

/** A plain client that keeps every byte and the time of every chunk. */
export function ask(
  port: number,
  model: unknown,
  options: {
    path?: string;
    method?: string;
    token?: string | null;
    headers?: Record<string, string>;
    body?: string;
    agent?: http.Agent;
  } = {},
): Promise<Got> {
  const token = options.token === undefined ? TOKEN : options.token;
  const body = options.body ?? JSON.stringify({ model, messages: [] });
  const method = options.method ?? "POST";
  return new Promise((resolve, reject) => {
    const req = http.request({
      port,
      host: "127.0.0.1",
      method,
      path: options.path ?? "/v1/chat/completions",
      ...(options.agent ? { agent: options.agent } : {}),
      headers: {
        "content-type": "application/json",
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...options.headers,
      },
    });
    req.on("error", reject);
    req.on("response", (res) => {
      const chunks: { at: number; text: string }[] = [];
      res.on("data", (chunk) => chunks.push({ at: performance.now(), text: String(chunk) }));
      const done = (): void => {
        const text = chunks.map((chunk) => chunk.text).join("");
        const raw = `${res.statusCode} ${res.statusMessage} ${res.rawHeaders.join("\n")}\n${text}`;
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text, chunks, broken: !res.complete, raw });
      };
      res.on("end", done);
      res.on("error", done);
    });
    req.end(method === "GET" ? undefined : body);
  });
}

export function codeOf(got: Got): string {
  return JSON.parse(got.body).error.code;
}
