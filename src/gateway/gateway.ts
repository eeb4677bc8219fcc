/** The gateway: OpenAI's API under `/v1`, where the client brings a short token and never sees the provider's key. */
import {
  type AuditEvent,
  type Authorizer,
  type Caller,
  type Clock,
  entityText,
  type Log,
  ModelkeepError,
  type Random,
  type Recorder,
} from "../base/index.ts";
import type { http } from "../host/index.ts";
import type { SecretService } from "../secrets/index.ts";
import type { LookupFunction } from "./address-guard.ts";
import { tryCandidate } from "./canary.ts";
import { type Counter, Counters } from "./counters.ts";
import { Decisions } from "./decisions.ts";
import { gatewayError } from "./errors.ts";
import { Exchange, type ExchangeResult } from "./exchange.ts";
import { upstreamHeaders } from "./headers.ts";
import { Journal, principalText } from "./journal.ts";
import { type HeldKey, KeyRing } from "./key-ring.ts";
import { PrincipalLimiter } from "./limiter.ts";
import { GATEWAY_INTERNALS, GATEWAY_LIMITS, type GatewayLimits } from "./limits.ts";
import { sendError, toGatewayError } from "./openai-error.ts";
import type { ModelTarget, ProviderService } from "./providers.ts";
import { modelOf, readBody, replaceModel } from "./request-body.ts";
import { SlotTable } from "./splice.ts";
import { Upstreams } from "./upstream.ts";

/** What proves the caller of one request. */
export interface GatewayCredentials {
  readonly authorization: string | undefined;
  readonly dpop: string | undefined;
  readonly method: string;
  /** Absolute URL as the client addressed it, for DPoP's `htu`. */
  readonly url: string;
}

export interface GatewayOptions {
  readonly providers: ProviderService;
  readonly secrets: SecretService;
  /** Asked for every request: another object than before means that policy has changed. */
  readonly authorizer: () => Authorizer;
  /** Throws an error with status 401 for a token that does not count. */
  readonly authenticate: (request: GatewayCredentials) => Promise<Caller>;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** `scheme://host[:port]` of this request as a client may address it; `http://` and its Host header when absent. */
  readonly originOf?: (req: http.IncomingMessage) => string;
  readonly limits?: Partial<GatewayLimits>;
  readonly lookup?: LookupFunction;
  /** Certificate authorities beside Node's own, PEM. */
  readonly ca?: string;
}

export interface Gateway {
  /** Answers one request under `/v1`. Never throws. */
  handle(req: http.IncomingMessage, res: http.ServerResponse): void;
  /** Forgets remembered decisions. */
  policyChanged(): void;
  /** Tries the version of a secret that is being tried, see tryCandidate; the names of the providers that took it. */
  tryCandidate(secretName: string): Promise<readonly string[]>;
  /** For /metrics. */
  counters(): readonly Counter[];
  /** Checks in keys that are not used now, without waiting for the idle time. */
  checkInIdleKeys(): void;
  /** Cuts what is under way, checks in every key, waits for the audit events. */
  close(): Promise<void>;
}

/** Only these: with `/v1/files` or an admin endpoint a caller could do what its model's policy does not speak of. */
const endpoints = new Set([
  "/chat/completions",
  "/completions",
  "/embeddings",
  "/images/generations",
  "/moderations",
  "/audio/speech",
  "/responses",
  "/rerank",
]);

export function createGateway(options: GatewayOptions): Gateway {
  return new OpenAiGateway(options);
}

/** What is known of a request so far; the audit event is made of it. */
interface Case {
  readonly req: http.IncomingMessage;
  readonly res: http.ServerResponse;
  readonly startedAt: number;
  caller?: Caller;
  target?: ModelTarget;
  policies?: readonly string[];
  leave?: () => void;
}

class OpenAiGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #limits: GatewayLimits;
  readonly #slots: SlotTable;
  readonly #keys: KeyRing;
  readonly #upstreams: Upstreams;
  readonly #decisions: Decisions;
  readonly #limiter: PrincipalLimiter;
  readonly #journal: Journal;
  readonly #counters = new Counters();
  #closed = false;

  constructor(options: GatewayOptions) {
    const { secrets, clock, log, recorder, random } = options;
    this.#options = options;
    this.#limits = { ...GATEWAY_LIMITS, ...options.limits };
    this.#slots = new SlotTable(random);
    this.#upstreams = new Upstreams({
      slots: this.#slots,
      limits: this.#limits,
      onEcho: (origin) => {
        this.#counters.add("modelkeep_gateway_echoed_total", { origin });
        log.warn("a provider sent its key back; it was masked", { origin });
      },
      ...(options.lookup ? { lookup: options.lookup } : {}),
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    });
    const onCheckIn = () => this.#upstreams.clean();
    this.#keys = new KeyRing({ secrets, slots: this.#slots, clock, log, onCheckIn });
    this.#decisions = new Decisions(options.authorizer, clock);
    this.#limiter = new PrincipalLimiter(this.#limits, clock);
    this.#journal = new Journal(recorder, log);
  }

  handle(req: http.IncomingMessage, res: http.ServerResponse): void {
    const current: Case = { req, res, startedAt: this.#options.clock.monotonic() };
    this.#serve(current).catch((thrown) => this.#refuse(current, toGatewayError(thrown)));
  }

  tryCandidate(secretName: string): Promise<readonly string[]> {
    const { secrets, providers } = this.#options;
    return tryCandidate({ secrets, providers, slots: this.#slots, upstreams: this.#upstreams }, secretName);
  }

  policyChanged(): void {
    this.#decisions.clear();
  }

  counters(): readonly Counter[] {
    return this.#counters.read();
  }

  checkInIdleKeys(): void {
    this.#keys.checkInIdle(0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#upstreams.close();
    await this.#keys.close();
    await this.#journal.settled();
  }

  async #serve(current: Case): Promise<void> {
    if (this.#closed) throw gatewayError("GATEWAY_CLOSED");
    this.#journal.mustWork();
    const caller = await this.#authenticate(current.req);
    current.caller = caller;
    current.leave = this.#limiter.enter(entityText(caller.principal));
    const path = (current.req.url ?? "").split("?")[0]?.replace(/^\/v1(?=\/)/, "") ?? "";
    if (path === "/models" || path.startsWith("/models/")) return this.#answerModels(current, caller, path);
    if (!endpoints.has(path)) throw gatewayError("ENDPOINT_NOT_FOUND");
    if (current.req.method !== "POST") throw gatewayError("METHOD_NOT_ALLOWED");
    const body = await readBody(current.req, this.#limits);
    const asked = modelOf(body, this.#limits);
    const target = this.#findAllowed(current, caller, asked);
    const key = await this.#keys.acquire(target.provider.secret);
    this.#forward(current, target, path, asked === target.model ? body : replaceModel(body, target.model), key);
  }

  /** Every refusal of a token is the same answer, whatever was wrong with it. */
  async #authenticate(req: http.IncomingMessage): Promise<Caller> {
    const { authorization, host } = req.headers;
    const dpop = typeof req.headers.dpop === "string" ? req.headers.dpop : undefined;
    const origin = this.#options.originOf?.(req) ?? `http://${host ?? ""}`;
    try {
      return await this.#options.authenticate({ authorization, dpop, method: req.method ?? "", url: origin + req.url });
    } catch (error) {
      const known = error instanceof ModelkeepError && error.status < 500;
      throw gatewayError(known ? "INVALID_API_KEY" : "AUTHENTICATION_UNAVAILABLE", {
        cause: error,
        ...(error instanceof ModelkeepError ? { extra: { refusedBy: error.code } } : {}),
      });
    }
  }

  #findAllowed(current: Case, caller: Caller, asked: string): ModelTarget {
    const target = this.#options.providers.findModel(asked);
    current.target = target;
    const decision = this.#decisions.mayUse(caller, target);
    current.policies = decision.policies;
    if (!decision.allowed) throw gatewayError("MODEL_NOT_ALLOWED", { detail: target.id });
    return target;
  }

  #answerModels(current: Case, caller: Caller, path: string): void {
    if (current.req.method !== "GET") throw gatewayError("METHOD_NOT_ALLOWED");
    const allowed = this.#options.providers.models().filter((target) => this.#decisions.mayUse(caller, target).allowed);
    const data = allowed.map(modelObject);
    const wanted = path === "/models" ? undefined : decodeName(path.slice("/models/".length));
    const one = data.find((model) => model.id === wanted);
    if (wanted !== undefined && !one) throw gatewayError("PROVIDER_MODEL_NOT_FOUND", { detail: wanted.slice(0, 200) });
    const body = Buffer.from(JSON.stringify(one ?? { object: "list", data }));
    current.res.writeHead(200, { "content-type": "application/json", "content-length": body.length });
    current.res.end(body);
    this.#close(current, { status: 200, scrubbed: 0 });
  }

  #forward(current: Case, target: ModelTarget, path: string, body: Buffer, key: HeldKey): void {
    const done = (result: ExchangeResult): void => {
      key.release();
      this.#close(current, result);
    };
    if (current.res.destroyed) {
      done({ status: 499, scrubbed: 0 });
      return;
    }
    const exchange = new Exchange({ res: current.res, key, limits: this.#limits, done });
    const headers = upstreamHeaders(current.req, key.slot);
    try {
      this.#upstreams.dispatch(target.provider, { method: "POST", path, headers, body }, exchange);
    } catch (error) {
      exchange.fail(toGatewayError(error));
    }
  }

  #refuse(current: Case, error: ModelkeepError): void {
    if (error.status === 500)
      this.#options.log.error("a gateway request failed", { code: error.code, name: causeName(error) });
    const status = current.res.destroyed ? 499 : error.status;
    sendError(current.res, error);
    this.#close(current, { status, error, scrubbed: 0 });
  }

  #close(current: Case, result: ExchangeResult): void {
    current.leave?.();
    const labels = { model: current.target?.id ?? "none" };
    const code = result.error?.code.toLowerCase() ?? "none";
    this.#counters.add("modelkeep_gateway_requests_total", { ...labels, status: String(result.status), code });
    if (current.target) this.#countUsage(labels, result);
    if (current.target && (result.scrubbed > 0 || result.error || result.status === 499)) this.#upstreams.clean();
    if (result.scrubbed > 0 && current.target) this.#upstreams.forget(current.target.provider);
    if (result.scrubbed > 0) {
      this.#counters.add("modelkeep_gateway_scrubbed_total", labels, result.scrubbed);
      this.#options.log.warn("a provider sent its key back; it was taken out", { model: labels.model });
    }
    const event = this.#event(current, result);
    if (current.caller) this.#journal.record(event);
    else this.#journal.recordStranger(event, this.#options.clock.now());
  }

  #countUsage(labels: Readonly<Record<string, string>>, { usage, error }: ExchangeResult): void {
    if (usage) {
      this.#counters.add("modelkeep_gateway_prompt_tokens_total", labels, usage.promptTokens);
      this.#counters.add("modelkeep_gateway_completion_tokens_total", labels, usage.completionTokens);
    } else if (!error) this.#counters.add("modelkeep_gateway_unmetered_total", labels);
  }

  #event(current: Case, { status, error, usage, scrubbed }: ExchangeResult): AuditEvent {
    const { target, caller, policies } = current;
    const milliseconds = Math.round(this.#options.clock.monotonic() - current.startedAt);
    const refusedBy = error?.extra?.refusedBy;
    const reason = [
      ...(policies ?? []).slice(0, GATEWAY_INTERNALS.recordedPolicies),
      ...(error ? [error.code] : []),
      ...(typeof refusedBy === "string" ? [refusedBy] : []),
    ];
    return {
      action: "gateway.request",
      outcome: error ? (error.status < 500 ? "refused" : "failed") : status === 499 ? "failed" : "allowed",
      principal: principalText(caller),
      resource: entityText(target ? { type: "ProviderModel", id: target.id } : { type: "Server", id: "local" }),
      ...(reason.length > 0 ? { reason } : {}),
      data: {
        status,
        milliseconds,
        ...(caller ? { token: caller.tokenId } : {}),
        ...(usage ? { prompt_tokens: usage.promptTokens, completion_tokens: usage.completionTokens } : {}),
        ...(scrubbed > 0 ? { scrubbed } : {}),
      },
    };
  }
}

function modelObject(target: ModelTarget) {
  const created = Math.floor(target.provider.createdAt / 1000);
  return { id: target.id, object: "model", created, owned_by: target.provider.name };
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The kind of an unknown error; never its words. */
function causeName(error: ModelkeepError): string {
  return error.cause instanceof Error ? error.cause.name : "unknown";
}
