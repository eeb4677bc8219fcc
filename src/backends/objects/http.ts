/** The HTTP client of the stores: bounded answers, downloads that go on where they broke, repeats with a growing wait. */
import { type Dispatcher, Pool } from "undici";
import { ModelkeepError } from "../../base/index.ts";
import { pause } from "../pause.ts";
import { storeError } from "./errors.ts";
import type { FullStorePorts } from "./ports.ts";

export interface ObjectRequest {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "PATCH" | "DELETE";
  /** Encoded already, from `/` on, with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export interface ObjectAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
  /** An earlier try broke or was answered with an error of the service: it may have been done nevertheless. */
  readonly mayBeDone?: boolean;
}

export type MakeRequest = () => ObjectRequest | Promise<ObjectRequest>;

export interface SendOptions {
  readonly maxBytes?: number;
  /** Whether a refusal asks for a later try, beside 429, 500, 502, 503 and 504. */
  readonly asksForLater?: (answer: ObjectAnswer) => boolean;
  /** One try, for what must not be done twice. */
  readonly once?: boolean;
}

export interface DownloadOptions {
  /** Bytes [start, end) of the object. */
  readonly start: number;
  readonly end: number;
  /** Asked anew for each try, with the place to go on from. */
  readonly make: (start: number) => ObjectRequest | Promise<ObjectRequest>;
  /** Called with each answer of status 200 or 206; throws when it is another object. */
  readonly check: (answer: ObjectAnswer) => void;
  /** The pool that a redirect leads to, where the service may redirect. */
  readonly redirected?: (
    location: URL,
    request: ObjectRequest,
  ) => { http: ObjectHttp; request: ObjectRequest } | undefined;
}

const LATER = new Set([429, 500, 502, 503, 504]);
const TLS_CODE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|EPROTO$|HOSTNAME_MISMATCH)/;

export class ObjectHttp {
  readonly origin: string;
  readonly #pool: Pool;
  readonly #ports: FullStorePorts;

  /** `ca` in PEM stands in for the machine's authorities. */
  constructor(origin: string, ports: FullStorePorts, ca: Uint8Array | undefined) {
    const { limits } = ports;
    this.origin = origin;
    this.#ports = ports;
    this.#pool = new Pool(origin, {
      connect: {
        timeout: limits.connectMilliseconds,
        minVersion: "TLSv1.2",
        ...(ca ? { ca: Buffer.from(ca) } : {}),
      },
      allowH2: false,
      pipelining: 1,
      connections: limits.connections,
      maxHeaderSize: limits.answerHeadBytes,
      bodyTimeout: limits.idleMilliseconds,
    });
  }

  /** Answers come back whatever their status is. Throws BLOBS_UNREACHABLE, STORE_TLS_REFUSED or STORE_ANSWER_INVALID. */
  async send(make: MakeRequest, options: SendOptions = {}): Promise<ObjectAnswer> {
    const { limits } = this.#ports;
    const attempts = options.once ? 1 : limits.attempts;
    let mayBeDone = false;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#whole(await make(), options.maxBytes ?? limits.answerBytes);
        const later = LATER.has(answer.status) || (options.asksForLater?.(answer) ?? false);
        if (!later || attempt >= attempts || this.#isStopped) return { ...answer, mayBeDone };
        mayBeDone ||= answer.status >= 500;
        await this.#pause(attempt, answer.headers["retry-after"]);
      } catch (error) {
        const failure = this.#failed(error);
        if (failure.code !== "BLOBS_UNREACHABLE" || attempt >= attempts) throw failure;
        mayBeDone = true;
        await this.#pause(attempt);
      }
    }
  }

  /** What is on its way still ends. */
  close(): void {
    this.#pool.close().catch(() => undefined);
  }

  /**
   * Fills the buffer from its start with what the range holds; fewer bytes only where the object ends. Any other answer
   * than 200 or 206 comes back as it is, before a byte was written.
   */
  async download(options: DownloadOptions, into: Uint8Array): Promise<{ bytes: number } | { answer: ObjectAnswer }> {
    const { limits } = this.#ports;
    let done = 0;
    for (let attempt = 1; ; attempt++) {
      const before = done;
      try {
        const outcome = await this.#range(options, done, into, (length) => {
          done += length;
        });
        if (!("answer" in outcome)) return { bytes: done };
        if (!LATER.has(outcome.answer.status) || attempt > limits.resumes) return outcome;
        await this.#pause(attempt, outcome.answer.headers["retry-after"]);
      } catch (error) {
        const failure = this.#failed(error);
        if (failure.code === "BLOBS_UNREACHABLE" && done === options.end - options.start) return { bytes: done };
        if (failure.code !== "BLOBS_UNREACHABLE" || attempt > limits.resumes) throw failure;
        await this.#pause(done > before ? 1 : attempt);
      }
    }
  }

  async #range(
    options: DownloadOptions,
    done: number,
    into: Uint8Array,
    took: (length: number) => void,
  ): Promise<{ answer: ObjectAnswer } | { bytes: number }> {
    const request = await options.make(options.start + done);
    const { answer, body } = await this.#open(request, options.redirected);
    const { limits } = this.#ports;
    if (answer.status !== 200 && answer.status !== 206)
      return { answer: { ...answer, body: await this.#readBody(body, limits.answerBytes) } };
    try {
      options.check(answer);
      this.#checkRange(answer, options.start + done);
    } catch (error) {
      body.destroy();
      throw error;
    }
    // A 200 is the whole object from its first byte, for a service that knows no ranges.
    let skip = answer.status === 200 ? options.start + done : 0;
    const wanted = options.end - options.start;
    let at = done;
    const arrived = this.#hurry(body, skip + wanted - done);
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        const useful = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - useful.length;
        const room = useful.subarray(0, wanted - at);
        into.set(room, at);
        at += room.length;
        took(room.length);
        if (at === wanted && (answer.status === 200 || useful.length > room.length)) break;
      }
      return { bytes: at };
    } finally {
      arrived();
    }
  }

  /** Bytes of another place than the one asked for would be a mix that nobody could tell from the blob. */
  #checkRange({ status, headers }: ObjectAnswer, start: number): void {
    if (status === 200 && start <= this.#ports.limits.skippedBytes) return;
    const from = /^bytes (\d{1,16})-\d{1,16}\/(?:\d{1,16}|\*)$/.exec(headers["content-range"] ?? "")?.[1];
    const detail = `${this.origin}, ${status === 200 ? "it knows no ranges" : "another range"}`;
    if (status === 200 || Number(from) !== start) throw storeError("STORE_ANSWER_INVALID", { detail });
  }

  async #open(
    request: ObjectRequest,
    redirected: DownloadOptions["redirected"],
  ): Promise<{ answer: ObjectAnswer; body: Dispatcher.ResponseData["body"] }> {
    let http: ObjectHttp = this;
    let next = request;
    for (let followed = 0; ; followed++) {
      const { answer, body } = await http.#request(next);
      const isAway = answer.status >= 300 && answer.status < 400 && followed < this.#ports.limits.redirects;
      const location = isAway ? URL.parse(answer.headers.location ?? "?", `${http.origin}${next.path}`) : null;
      const target = location ? redirected?.(location, request) : undefined;
      if (!target) return { answer, body };
      body.destroy();
      http = target.http;
      next = target.request;
    }
  }

  async #request(request: ObjectRequest): Promise<{ answer: ObjectAnswer; body: Dispatcher.ResponseData["body"] }> {
    const { limits } = this.#ports;
    const bytes = request.body?.length ?? 0;
    const sending = (bytes / limits.slowestBytesPerSecond) * 1000;
    const headersTimeout = limits.idleMilliseconds + Math.ceil(sending);
    const { statusCode, headers, body } = await this.#pool.request({
      ...request,
      body: request.body ?? null,
      headersTimeout,
      // What is given up is deleted after an interrupt as well.
      ...(request.method === "DELETE" || !this.#ports.signal ? {} : { signal: this.#ports.signal }),
    });
    body.on("error", () => undefined);
    const flat: Record<string, string | undefined> = {};
    for (const [name, value] of Object.entries(headers)) flat[name] = Array.isArray(value) ? value.join(", ") : value;
    return { answer: { status: statusCode, headers: flat, body: new Uint8Array(0) }, body };
  }

  async #whole(request: ObjectRequest, maxBytes: number): Promise<ObjectAnswer> {
    const { answer, body } = await this.#request(request);
    return { ...answer, body: await this.#readBody(body, maxBytes) };
  }

  async #readBody(stream: Dispatcher.ResponseData["body"], maxBytes: number): Promise<Uint8Array> {
    const chunks: Buffer[] = [];
    let length = 0;
    const arrived = this.#hurry(stream, maxBytes);
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        length += chunk.length;
        const detail = `${this.origin}, over ${maxBytes} bytes`;
        if (length > maxBytes) throw storeError("STORE_ANSWER_INVALID", { detail });
        chunks.push(chunk);
      }
      return new Uint8Array(Buffer.concat(chunks, length));
    } finally {
      arrived();
      // An answer may hold a token.
      for (const chunk of chunks) chunk.fill(0);
    }
  }

  /** Ends a body that comes slower than it may, however often a piece of it comes. To be called when it has come. */
  #hurry(body: Dispatcher.ResponseData["body"], bytes: number): () => void {
    const { idleMilliseconds, slowestBytesPerSecond } = this.#ports.limits;
    const most = idleMilliseconds + Math.ceil((bytes / slowestBytesPerSecond) * 1000);
    const timer = setTimeout(() => body.destroy(new DOMException("too slow", "TimeoutError")), most);
    return () => clearTimeout(timer);
  }

  get #isStopped(): boolean {
    return this.#ports.signal?.aborted ?? false;
  }

  /** The words of undici, Node and OpenSSL stay here: they may hold parts of what was sent. Throws the signal's reason. */
  #failed(error: unknown): ModelkeepError {
    if (error instanceof ModelkeepError) return error;
    this.#ports.signal?.throwIfAborted();
    const code = codeOf(error);
    const detail = `${this.origin} (${code})`;
    if (code === "UND_ERR_HEADERS_OVERFLOW" || code.startsWith("HPE_"))
      return storeError("STORE_ANSWER_INVALID", { detail });
    return storeError(TLS_CODE.test(code) ? "STORE_TLS_REFUSED" : "BLOBS_UNREACHABLE", { detail });
  }

  async #pause(attempt: number, asked?: string): Promise<void> {
    const { limits, random, signal } = this.#ports;
    const full = Math.min(limits.backoffMilliseconds * 2 ** (attempt - 1), limits.backoffMaxMilliseconds);
    const part = (random.bytes(1)[0] ?? 0) / 255;
    const seconds = asked !== undefined && /^\d{1,6}$/.test(asked) ? Number(asked) : 0;
    const wait = Math.max(Math.min(seconds * 1000, limits.backoffMaxMilliseconds), full * (0.5 + part / 2));
    await pause(wait, signal);
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "TimeoutError" || error.name === "AbortError") return "timeout";
  if (error.name === "HTTPParserError") return "HPE_INVALID";
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (/^[A-Z0-9_]{1,64}$/.test(code)) return code;
  return error.cause === undefined ? "unknown" : codeOf(error.cause);
}
