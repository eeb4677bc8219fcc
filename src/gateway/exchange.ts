/** One reply on its way from the provider to the client: checked, scrubbed, metered, passed on chunk by chunk. */
import type { Dispatcher } from "undici";
import { ModelkeepError } from "../base/index.ts";
import type { http } from "../host/index.ts";
import { gatewayError } from "./errors.ts";
import { clientHeaders, type ReplyHeaders } from "./headers.ts";
import type { HeldKey } from "./key-ring.ts";
import { GATEWAY_INTERNALS, type GatewayLimits } from "./limits.ts";
import { sendError } from "./openai-error.ts";
import { ReplyScrubber } from "./scrub.ts";
import { type Usage, UsageMeter } from "./usage.ts";

export interface ExchangeResult {
  /** Status that the client got; 499 when it went away. */
  readonly status: number;
  readonly error?: ModelkeepError;
  readonly usage?: Usage;
  readonly scrubbed: number;
}

type Controller = Dispatcher.DispatchController;

export class Exchange implements Dispatcher.DispatchHandler {
  readonly #res: http.ServerResponse;
  readonly #limits: GatewayLimits;
  readonly #scrubber: ReplyScrubber;
  readonly #meter = new UsageMeter();
  readonly #done: (result: ExchangeResult) => void;
  #controller: Controller | undefined;
  #status = 0;
  #bytes = 0;
  /** Set while a short reply of known length is collected. */
  #whole: Buffer[] | undefined;
  #headers: Record<string, string | string[]> = {};
  #finished = false;
  #stalled: NodeJS.Timeout | undefined;

  constructor(options: {
    readonly res: http.ServerResponse;
    readonly key: HeldKey;
    readonly limits: GatewayLimits;
    readonly done: (result: ExchangeResult) => void;
  }) {
    this.#res = options.res;
    this.#limits = options.limits;
    this.#scrubber = new ReplyScrubber(options.key.key);
    this.#done = options.done;
    this.#res.on("close", this.#onClientClose);
    this.#res.on("drain", this.#onDrain);
  }

  readonly #onClientClose = (): void => {
    if (this.#finished) return;
    this.#finish({ status: 499 });
    this.#controller?.abort(new Error("the client went away"));
  };

  readonly #onDrain = (): void => {
    clearTimeout(this.#stalled);
    this.#controller?.resume();
  };

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#finished) controller.abort(new Error("the client went away"));
  }

  onResponseStart(controller: Controller, status: number, headers: ReplyHeaders): void {
    if (status < 200 || this.#finished) return;
    const refusal = refusalOf(status, headers);
    if (refusal) {
      this.#end(refusal);
      return;
    }
    this.#status = status;
    this.#headers = clientHeaders(headers, (value) => this.#scrubber.scrubText(value));
    const length = Number(headers["content-length"] ?? Number.NaN);
    const stream = String(headers["content-type"] ?? "").startsWith("text/event-stream");
    if (!stream && length <= GATEWAY_INTERNALS.wholeReplyBytes) this.#whole = [];
    else this.#res.writeHead(status, this.#headers);
    if (stream) this.#res.flushHeaders();
    this.#controller = controller;
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#finished) {
      // Nobody reads on, and what was read may hold a piece of the key.
      chunk.fill(0);
      controller.abort(new Error("the reply is over"));
      return;
    }
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limits.replyBytes) {
      this.fail(gatewayError("UPSTREAM_REPLY_INVALID", { detail: `replyBytes is ${this.#limits.replyBytes}` }));
      return;
    }
    const clean = this.#scrubber.push(chunk);
    if (clean.length === 0) return;
    this.#meter.push(clean);
    if (this.#whole) this.#whole.push(clean);
    else if (!this.#res.write(clean)) this.#waitForClient(controller);
  }

  #waitForClient(controller: Controller): void {
    controller.pause();
    clearTimeout(this.#stalled);
    this.#stalled = setTimeout(() => this.#res.destroy(), this.#limits.clientIdleMilliseconds).unref();
  }

  onResponseEnd(): void {
    if (this.#finished) return;
    const rest = this.#scrubber.end();
    if (rest) this.#meter.push(rest);
    const usage = this.#meter.read();
    const chunks = this.#whole;
    this.#finish({ status: this.#status, ...(usage ? { usage } : {}) });
    if (!chunks) {
      this.#res.end(rest);
      return;
    }
    if (rest) chunks.push(rest);
    const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
    this.#res.writeHead(this.#status, { ...this.#headers, "content-length": body.length });
    this.#res.end(body);
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.fail(errorOf(error));
  }

  /** Ends the exchange with an error, whichever side it came from. */
  fail(error: ModelkeepError): void {
    if (this.#finished) return;
    this.#end(error);
    if (this.#controller && !this.#controller.aborted) this.#controller.abort(error);
  }

  #end(error: ModelkeepError): void {
    const usage = this.#meter.read();
    this.#finish({ status: this.#res.headersSent ? this.#status : error.status, error, ...(usage ? { usage } : {}) });
    sendError(this.#res, error);
  }

  #finish(result: Omit<ExchangeResult, "scrubbed">): void {
    this.#finished = true;
    clearTimeout(this.#stalled);
    this.#scrubber.forget();
    this.#res.off("close", this.#onClientClose).off("drain", this.#onDrain);
    this.#done({ ...result, scrubbed: this.#scrubber.hits });
  }
}

/** Replies that say nothing to the client: 401 and 403 speak of the key, which is not the client's. */
function refusalOf(status: number, headers: ReplyHeaders): ModelkeepError | undefined {
  const encoding = String(headers["content-encoding"] ?? "identity").toLowerCase();
  if (status === 401 || status === 403) return gatewayError("UPSTREAM_REFUSED_KEY", { detail: `status ${status}` });
  if (status >= 300 && status < 400) return gatewayError("UPSTREAM_REDIRECT", { detail: `status ${status}` });
  if (status >= 500) return gatewayError("UPSTREAM_FAILED", { detail: `status ${status}` });
  if (encoding !== "identity") return gatewayError("UPSTREAM_REPLY_INVALID", { detail: "it is compressed" });
  return undefined;
}

const timeouts = new Set(["UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "ETIMEDOUT"]);
const unreachable = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);

/** The words of undici, Node and OpenSSL stay here: they may hold parts of what was sent. */
export function errorOf(error: Error): ModelkeepError {
  const code = "code" in error ? String(error.code) : "";
  if (code === "PROVIDER_URL_REFUSED") return gatewayError("UPSTREAM_ADDRESS_REFUSED");
  if (error instanceof ModelkeepError) return error.code === "MEMORY_WIPED" ? leaseEnded() : error;
  if (timeouts.has(code)) return gatewayError("UPSTREAM_TIMEOUT");
  if (unreachable.has(code)) return gatewayError("UPSTREAM_UNREACHABLE");
  if (error.name === "HTTPParserError" || code === "UND_ERR_HEADERS_OVERFLOW") {
    return gatewayError("UPSTREAM_REPLY_INVALID", { detail: "it is not valid HTTP" });
  }
  return gatewayError("UPSTREAM_FAILED", { detail: "the connection broke" });
}

function leaseEnded(): ModelkeepError {
  return gatewayError("PROVIDER_KEY_UNAVAILABLE", { detail: "the lease has ended" });
}
