/** The one HTTP client of the key services: bounded in size and time, no redirects, repeats with a growing wait. */
import { type Dispatcher, Pool } from "undici";
import { copySecret, ModelkeepError } from "../base/index.ts";
import { readFileBounded } from "../host/index.ts";
import { backendError } from "./errors.ts";
import { growHttpParser, overwriteHttpParser } from "./http-parser.ts";
import { BACKEND_LIMITS } from "./limits.ts";
import { pause } from "./pause.ts";
import type { FullPorts } from "./ports.ts";
import { wipedReads } from "./wiped-reads.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Encoded already, from `/` on. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export interface HttpAnswer {
  readonly status: number;
  /** May hold a secret: the caller wipes it. */
  readonly body: Uint8Array;
  readonly retryAfterSeconds: number | undefined;
  /** The value of a header by its lower-case name, when it came once. */
  header(name: string): string | undefined;
}

/** PEM: authorities instead of the machine's, and what this side shows of itself. */
export interface TlsOptions {
  readonly ca?: Uint8Array | undefined;
  readonly certificate?: Uint8Array | undefined;
  /** Kept by OpenSSL for the life of the service; the caller wipes its own copy. */
  readonly key?: Uint8Array | undefined;
  /** What to type when the service's certificate is not trusted. */
  readonly hint?: string;
}

export interface SendOptions {
  /** Only a request that does no harm when it is done twice is repeated. */
  readonly repeatable: boolean;
  /** Whether an answer asks for a later try, beside 429, 502, 503 and 504. */
  readonly asksForLater?: (answer: HttpAnswer) => boolean;
}

const LATER = new Set([429, 502, 503, 504]);
const TLS_CODE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|EPROTO$|HOSTNAME_MISMATCH)/;
/** OpenSSL wipes its copy of what it decrypted. Node names no constant for it. */
const SSL_OP_CLEANSE_PLAINTEXT = 1 << 1;

type Outcome = { readonly answer: HttpAnswer } | { readonly failure: ModelkeepError; readonly again: boolean };

export class HttpService {
  readonly origin: string;
  readonly #pool: Pool;
  readonly #ports: FullPorts;
  readonly #hint: string | undefined;

  constructor(origin: string, ports: FullPorts, tls: TlsOptions) {
    this.origin = origin;
    this.#ports = ports;
    this.#hint = tls.hint;
    const { connectMilliseconds, answerMilliseconds } = ports.limits;
    this.#pool = new Pool(origin, {
      connect: {
        timeout: connectMilliseconds,
        secureOptions: SSL_OP_CLEANSE_PLAINTEXT,
        minVersion: "TLSv1.2",
        onread: wipedReads(),
        ...(tls.ca ? { ca: Buffer.from(tls.ca) } : {}),
        ...(tls.certificate && tls.key ? { cert: Buffer.from(tls.certificate), key: Buffer.from(tls.key) } : {}),
      },
      allowH2: false,
      pipelining: 1,
      connections: BACKEND_LIMITS.connections,
      maxHeaderSize: BACKEND_LIMITS.answerHeadBytes,
      headersTimeout: answerMilliseconds,
      bodyTimeout: answerMilliseconds,
    });
  }

  /**
   * `make` is asked anew for every try, since signatures and tokens grow old. Answers come back whatever their status
   * is, redirects excepted. Throws KMS_UNREACHABLE, KMS_TLS_REFUSED or KMS_ANSWER_INVALID; never what was sent.
   */
  async send(make: () => HttpRequest, options: SendOptions): Promise<HttpAnswer> {
    const { limits, clock } = this.#ports;
    const attempts = options.repeatable ? limits.attempts : 1;
    const start = clock.monotonic();
    for (let attempt = 1; ; attempt++) {
      const left = limits.callMilliseconds - (clock.monotonic() - start);
      const outcome = await this.#once(make(), left);
      const wait = this.#waitBefore(attempt + 1, "answer" in outcome ? outcome.answer.retryAfterSeconds : undefined);
      const inTime = attempt < attempts && wait < limits.callMilliseconds - (clock.monotonic() - start);
      if ("answer" in outcome && !(inTime && asksForLater(outcome.answer, options))) return outcome.answer;
      if ("failure" in outcome && !(inTime && outcome.again)) throw outcome.failure;
      await pause(wait, this.#ports.signal);
    }
  }

  async #once(request: HttpRequest, leftMilliseconds: number): Promise<Outcome> {
    const timeout = AbortSignal.timeout(Math.max(1, Math.min(leftMilliseconds, this.#answerMilliseconds())));
    const signal = this.#ports.signal ? AbortSignal.any([timeout, this.#ports.signal]) : timeout;
    await growHttpParser();
    try {
      const answer = await this.#pool.request({ ...request, signal, body: request.body ?? null });
      const body = await readBody(answer.body);
      if (answer.statusCode >= 300 && answer.statusCode < 400) {
        const detail = `${this.origin} redirects, which is not followed`;
        return { failure: backendError("KMS_SEALED", { detail }), again: false };
      }
      const header = (name: string) => single(answer.headers[name]);
      return { answer: { status: answer.statusCode, body, retryAfterSeconds: retryAfter(answer.headers), header } };
    } catch (error) {
      return this.#failed(error);
    } finally {
      await overwriteHttpParser();
    }
  }

  #answerMilliseconds(): number {
    return this.#ports.limits.connectMilliseconds + this.#ports.limits.answerMilliseconds;
  }

  /** The words of undici, Node and OpenSSL stay here: they may hold parts of what was sent. */
  #failed(error: unknown): Outcome {
    if (error instanceof ModelkeepError) return { failure: error, again: false };
    this.#ports.signal?.throwIfAborted();
    const code = codeOf(error);
    if (code === "UND_ERR_HEADERS_OVERFLOW" || code.startsWith("HPE_"))
      return { failure: backendError("KMS_ANSWER_INVALID", { detail: `${this.origin} (${code})` }), again: false };
    if (!TLS_CODE.test(code))
      return { failure: backendError("KMS_UNREACHABLE", { detail: `${this.origin} (${code})` }), again: true };
    const hint = this.#hint === undefined ? {} : { hint: this.#hint };
    const detail = `${this.origin} (${code})`;
    return { failure: backendError("KMS_TLS_REFUSED", { detail, ...hint }), again: false };
  }

  #waitBefore(attempt: number, askedSeconds: number | undefined): number {
    const { limits, random } = this.#ports;
    const full = Math.min(limits.backoffMilliseconds * 2 ** (attempt - 2), limits.backoffMaxMilliseconds);
    const part = (random.bytes(1)[0] ?? 0) / 255;
    const asked = Math.min((askedSeconds ?? 0) * 1000, limits.backoffMaxMilliseconds);
    return Math.max(asked, full * (0.5 + part / 2));
  }
}

function asksForLater(answer: HttpAnswer, options: SendOptions): boolean {
  return LATER.has(answer.status) || (options.asksForLater?.(answer) ?? false);
}

function retryAfter(headers: Readonly<Record<string, string | string[] | undefined>>): number | undefined {
  const value = single(headers["retry-after"]) ?? "";
  return /^\d{1,6}$/.test(value) ? Number(value) : undefined;
}

function single(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

async function readBody(stream: Dispatcher.ResponseData["body"]): Promise<Uint8Array> {
  const room = Buffer.alloc(BACKEND_LIMITS.answerBytes);
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (length + chunk.length > room.length) {
      room.fill(0);
      throw backendError("KMS_ANSWER_INVALID", { detail: `over ${room.length} bytes` });
    }
    room.set(chunk, length);
    chunk.fill(0);
    length += chunk.length;
  }
  const body = copySecret(room.subarray(0, length));
  room.fill(0, 0, length);
  return body;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "TimeoutError" || error.name === "AbortError") return "timeout";
  if (error.name === "HTTPParserError") return "HPE_INVALID";
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (/^[A-Z0-9_]{1,64}$/.test(code)) return code;
  return error.cause === undefined ? "unknown" : codeOf(error.cause);
}

/** The PEM file that an environment variable names. */
export async function readAuthorities(path: string | undefined): Promise<Uint8Array | undefined> {
  return path ? readFileBounded(path, BACKEND_LIMITS.caFileBytes) : undefined;
}

/** The origin of an address that a setting names: TLS, or this machine. Undefined for any other. */
export function safeOrigin(text: string): URL | undefined {
  const url = URL.parse(text);
  const secure = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  return url && secure && url.username === "" && url.password === "" && url.hash === "" ? url : undefined;
}

/** Whether a host is this machine: only there may a service be asked without TLS. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
