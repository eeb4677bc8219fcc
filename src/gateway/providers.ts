/** The providers that the gateway knows: records in the store, held in memory on every replica. */
import { z } from "zod";
import {
  type Clock,
  type EntityRef,
  entityText,
  type Log,
  ModelkeepError,
  parseJson,
  type Recorder,
  utf8,
} from "../base/index.ts";
import type { RecordStore } from "../store/index.ts";
import { type AddressScope, checkBaseUrl, guardLookup, type LookupFunction } from "./address-guard.ts";
import { gatewayError } from "./errors.ts";
import { GATEWAY_INTERNALS, PROVIDER_LIMITS } from "./limits.ts";

export interface Provider {
  readonly name: string;
  readonly kind: "openai";
  /** Where `/chat/completions` is appended, for example `https://api.openai.com/v1`. */
  readonly baseUrl: string;
  /** Name of the secret with the key. */
  readonly secret: string;
  readonly models: readonly string[];
  readonly createdAt: number;
  readonly updatedAt: number;
}

export type ProviderInput = Omit<Provider, "createdAt" | "updatedAt">;

/** A model of a provider, as a request named it. */
export interface ModelTarget {
  readonly provider: Provider;
  readonly model: string;
  /** `provider/model`: the id of the policy's ProviderModel. */
  readonly id: string;
}

export interface ProviderService {
  set(input: ProviderInput, options: { readonly by: EntityRef }): Promise<Provider>;
  list(): readonly Provider[];
  delete(name: string, options: { readonly by: EntityRef }): Promise<void>;
  /** `provider/model`, or a model that only one provider has; throws PROVIDER_MODEL_NOT_FOUND or MODEL_AMBIGUOUS. */
  findModel(name: string): ModelTarget;
  models(): readonly ModelTarget[];
  /** Told after every change. Returns the end of it. */
  onChange(listener: () => void): () => void;
  close(): void;
}

export interface ProviderServiceOptions {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly recorder: Recorder;
  readonly log: Log;
  /** The system's resolver when absent. */
  readonly lookup?: LookupFunction;
}

const TABLE = "providers";
const CHANNEL = "providers";

const storedProvider = z.object({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/),
  kind: z.literal("openai"),
  base_url: z.string().min(1),
  secret: z
    .string()
    .max(100)
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/),
  models: z
    .array(
      z
        .string()
        .regex(/^[\x21-\x7e]+$/)
        .max(PROVIDER_LIMITS.modelCharacters),
    )
    .min(1)
    .max(PROVIDER_LIMITS.modelsPerProvider),
  created_at: z.int(),
  updated_at: z.int(),
});

export async function createProviderService(options: ProviderServiceOptions): Promise<ProviderService> {
  const service = new StoredProviders(options);
  await service.start();
  return service;
}

class StoredProviders implements ProviderService {
  readonly #options: ProviderServiceOptions;
  readonly #listeners = new Set<() => void>();
  #providers: readonly Provider[] = [];
  #qualified: ReadonlyMap<string, ModelTarget> = new Map();
  #bare: ReadonlyMap<string, readonly ModelTarget[]> = new Map();
  #unsubscribe: (() => void) | undefined;
  /** Reads are numbered as they begin: of two under way the older answer may come last. */
  #asked = 0;
  #used = 0;
  #timer: NodeJS.Timeout | undefined;
  /** What is held, as text: the same again changes nothing. */
  #state: string | undefined;

  constructor(options: ProviderServiceOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const reload = () => void this.#reload().catch(() => this.#options.log.error("the providers could not be read"));
    this.#unsubscribe = await this.#options.store.subscribe(CHANNEL, reload, reload);
    await this.#reload();
    // A message can be lost, and another process may have the same file open.
    this.#timer = setInterval(reload, GATEWAY_INTERNALS.providersLookMilliseconds).unref();
  }

  async set(input: ProviderInput, options: { readonly by: EntityRef }): Promise<Provider> {
    const now = this.#options.clock.now();
    const before = this.#providers.find((provider) => provider.name === input.name);
    if (!before && this.#providers.length >= PROVIDER_LIMITS.providers) {
      throw gatewayError("PROVIDER_INVALID", { detail: `at most ${PROVIDER_LIMITS.providers} providers` });
    }
    const provider = checkInput({ ...input, createdAt: before?.createdAt ?? now, updatedAt: now });
    await this.#checkResolved(checkBaseUrl(provider.baseUrl));
    const data = { base_url: provider.baseUrl, secret: provider.secret, models: provider.models.length };
    await this.#recorded("provider.set", provider.name, options.by, data, () =>
      this.#options.store.put(TABLE, provider.name, encode(provider)),
    );
    await this.#changed();
    return provider;
  }

  /** A name that does not resolve now may later; one that resolves to a refused address is refused at once. */
  async #checkResolved(checked: { readonly url: URL; readonly scope: AddressScope }): Promise<void> {
    const host = checked.url.hostname.replace(/^\[|\]$/g, "");
    await new Promise<void>((resolve, reject) => {
      guardLookup(checked.scope, this.#options.lookup)(host, { all: true }, (error) => {
        if (error && "code" in error && error.code === "PROVIDER_URL_REFUSED") reject(error);
        else resolve();
      });
    });
  }

  list(): readonly Provider[] {
    return this.#providers;
  }

  async delete(name: string, options: { readonly by: EntityRef }): Promise<void> {
    if (!this.#providers.some((provider) => provider.name === name)) {
      throw gatewayError("PROVIDER_NOT_FOUND", { detail: name.slice(0, 80) });
    }
    await this.#recorded("provider.delete", name, options.by, {}, () => this.#options.store.delete(TABLE, name));
    await this.#changed();
  }

  findModel(name: string): ModelTarget {
    const exact = this.#qualified.get(name);
    if (exact) return exact;
    const found = this.#bare.get(name) ?? [];
    const only = found[0];
    if (!only)
      throw gatewayError("PROVIDER_MODEL_NOT_FOUND", { detail: name.slice(0, PROVIDER_LIMITS.modelCharacters) });
    if (found.length > 1) throw gatewayError("MODEL_AMBIGUOUS", { detail: name });
    return only;
  }

  models(): readonly ModelTarget[] {
    return [...this.#qualified.values()];
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#unsubscribe?.();
  }

  async #changed(): Promise<void> {
    await this.#reload();
    await this.#options.store.notify(CHANNEL, "changed");
  }

  async #reload(): Promise<void> {
    const asked = ++this.#asked;
    const page = await this.#options.store.list(TABLE, { limit: PROVIDER_LIMITS.providers });
    if (asked < this.#used) return;
    this.#used = asked;
    const providers = page.records.map((record) => decode(record.value));
    const state = JSON.stringify(providers);
    if (state === this.#state) return;
    this.#providers = providers;
    const targets = this.#providers.flatMap((provider) =>
      provider.models.map((model) => ({ provider, model, id: `${provider.name}/${model}` })),
    );
    this.#qualified = new Map(targets.map((target) => [target.id, target]));
    this.#bare = Map.groupBy(targets, (target) => target.model);
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }

  /** Recorded before it happens, and once more when it then failed. */
  async #recorded(
    action: string,
    name: string,
    by: EntityRef,
    data: Readonly<Record<string, unknown>>,
    work: () => Promise<unknown>,
  ): Promise<void> {
    const { recorder, log } = this.#options;
    const event = { action, principal: entityText(by), resource: entityText({ type: "Provider", id: name }), data };
    await recorder.record({ ...event, outcome: "allowed" });
    try {
      await work();
    } catch (error) {
      const reason = [error instanceof ModelkeepError ? error.code : "INTERNAL"];
      await recorder
        .record({ ...event, outcome: "failed", reason })
        .catch(() => log.warn("what failed was recorded as allowed, and its failure was not", { reason }));
      throw error;
    }
  }
}

function checkInput(provider: Provider): Provider {
  const parsed = storedProvider.safeParse(toStored(provider));
  if (parsed.success)
    return { ...provider, models: [...new Set(provider.models)], baseUrl: provider.baseUrl.replace(/\/+$/, "") };
  const where = parsed.error.issues.map((issue) => issue.path.join(".")).slice(0, 5);
  throw gatewayError("PROVIDER_INVALID", { detail: `see ${where.join(", ")}` });
}

function toStored(provider: Provider): z.input<typeof storedProvider> {
  return {
    name: provider.name,
    kind: provider.kind,
    base_url: provider.baseUrl,
    secret: provider.secret,
    models: [...provider.models],
    created_at: provider.createdAt,
    updated_at: provider.updatedAt,
  };
}

function encode(provider: Provider): Uint8Array {
  return utf8(JSON.stringify(toStored(provider)));
}

function decode(bytes: Uint8Array): Provider {
  const parsed = storedProvider.safeParse(parseJson(bytes, { what: "provider" }));
  if (!parsed.success) throw gatewayError("PROVIDER_DAMAGED");
  const { name, kind, base_url: baseUrl, secret, models, created_at: createdAt, updated_at: updatedAt } = parsed.data;
  return { name, kind, baseUrl, secret, models, createdAt, updatedAt };
}
