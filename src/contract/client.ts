/** A small typed client over fetch: fills in the path, sends the body, checks the answer, turns a problem into an error. */
import { z } from "zod";
import {
  baseError,
  concatBytes,
  type ErrorSpec,
  EXIT,
  type Fetch,
  LIMITS,
  listErrorCodes,
  ModelkeepError,
  parseJson,
} from "../base/index.ts";
import type { Route } from "./route.ts";

/** Headers that prove the caller for one request, for example `authorization` and `dpop`. */
export type ProveRequest = (method: string, url: string) => Promise<Record<string, string>>;

export interface ApiClientOptions {
  /** For example `http://127.0.0.1:8420`. */
  readonly serverUrl: string;
  readonly fetch: Fetch;
  readonly prove?: ProveRequest;
  readonly signal?: AbortSignal;
}

export interface ApiClient {
  readonly serverUrl: string;
  /** Throws the server's error with its code, or UNREACHABLE. */
  call<B extends z.ZodType, R extends z.ZodType>(
    route: Route<B, R>,
    input: { readonly params?: Readonly<Record<string, string>>; readonly body?: z.input<B> },
  ): Promise<z.output<R>>;
}

/** Largest answer the client reads, in bytes. */
const MAX_REPLY_BYTES = LIMITS.jsonBytes;

const problem = z.object({
  code: z.string().max(80),
  title: z.string().max(500),
  status: z.number(),
  detail: z.string().max(4000).optional(),
  hint: z.string().max(2000).optional(),
});

export function createApiClient(options: ApiClientOptions): ApiClient {
  const serverUrl = options.serverUrl.replace(/\/+$/, "");
  return {
    serverUrl,
    async call(route, input) {
      const url = routeUrl(serverUrl, route, input);
      const response = await send(options, route, url, input.body);
      const bytes = await readBounded(response);
      if (!response.ok) throw problemToError(response.status, bytes);
      const parsed = route.reply.safeParse(bytes.length === 0 ? undefined : parseJson(bytes, { what: "answer" }));
      if (!parsed.success) {
        throw baseError("INTERNAL", { detail: `the server's answer to ${route.id} has an unknown shape` });
      }
      return parsed.data;
    },
  };
}

function routeUrl(
  serverUrl: string,
  route: Route,
  input: { readonly params?: Readonly<Record<string, string>>; readonly body?: unknown },
): string {
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = input.params?.[name];
    if (value === undefined) throw new Error(`route ${route.id} needs the parameter ${name}`);
    return encodeURIComponent(value);
  });
  const url = new URL(serverUrl + path);
  if (route.method === "GET") {
    for (const [name, value] of Object.entries((input.body ?? {}) as Record<string, unknown>)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
  }
  return url.href;
}

async function send(options: ApiClientOptions, route: Route, url: string, body: unknown): Promise<Response> {
  const proof = route.auth === "token" && options.prove ? await options.prove(route.method, url) : {};
  const hasBody = route.method !== "GET" && body !== undefined;
  try {
    return await options.fetch(url, {
      method: route.method,
      redirect: "error",
      headers: { accept: "application/json", ...(hasBody ? { "content-type": "application/json" } : {}), ...proof },
      ...(hasBody ? { body: JSON.stringify(body) } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
    });
  } catch (error) {
    throw baseError("UNREACHABLE", {
      detail: new URL(url).origin,
      hint: "start it with `modelkeep serve`, or log in to another: modelkeep login --server URL",
      cause: error,
    });
  }
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of response.body ?? []) {
    total += chunk.length;
    if (total > MAX_REPLY_BYTES)
      throw baseError("LIMIT_EXCEEDED", { detail: `the answer is over ${MAX_REPLY_BYTES} bytes` });
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}

/** Rebuilds the server's error; the exit code is that of the code's table, or follows from the status when it is unknown. */
function problemToError(status: number, bytes: Uint8Array): ModelkeepError {
  let parsed: z.output<typeof problem> | undefined;
  try {
    parsed = problem.safeParse(parseJson(bytes, { what: "problem" })).data;
  } catch {
    parsed = undefined;
  }
  const spec: ErrorSpec = {
    status,
    exit: listErrorCodes().get(parsed?.code ?? "")?.exit ?? exitOfStatus(status),
    title: parsed?.title ?? `The server answered ${status}`,
  };
  return new ModelkeepError(parsed?.code ?? "SERVER_ERROR", spec, {
    ...(parsed?.detail === undefined ? {} : { detail: parsed.detail }),
    ...(parsed?.hint === undefined ? {} : { hint: parsed.hint }),
  });
}

function exitOfStatus(status: number): number {
  if (status === 401 || status === 403) return EXIT.denied;
  if (status === 400 || status === 422) return EXIT.usage;
  if (status === 502 || status === 503 || status === 504) return EXIT.unreachable;
  return EXIT.failed;
}
