/** Tries a key that nobody uses yet: one call to each provider that would get it, before it becomes the current one. */
import type { Dispatcher } from "undici";
import type { EntityRef } from "../base/index.ts";
import type { SecretService } from "../secrets/index.ts";
import { gatewayError } from "./errors.ts";
import { errorOf } from "./exchange.ts";
import { canaryHeaders } from "./headers.ts";
import { GATEWAY_INTERNALS } from "./limits.ts";
import type { Provider, ProviderService } from "./providers.ts";
import type { SlotTable } from "./splice.ts";
import type { Upstreams } from "./upstream.ts";

export interface CanaryPorts {
  readonly secrets: SecretService;
  readonly providers: ProviderService;
  readonly slots: SlotTable;
  readonly upstreams: Upstreams;
}

const HOLDER: EntityRef = { type: "Server", id: "gateway" };

/**
 * The names of the providers that took the candidate. Throws CANARY_IMPOSSIBLE when no provider has this secret,
 * CANARY_REFUSED when one did not answer with success, and what the gateway throws when one cannot be reached.
 */
export async function tryCandidate(ports: CanaryPorts, secretName: string): Promise<readonly string[]> {
  const providers = ports.providers.list().filter(({ secret }) => secret === secretName);
  if (providers.length === 0) throw gatewayError("CANARY_IMPOSSIBLE", { detail: secretName });
  const ttlSeconds = GATEWAY_INTERNALS.canaryLeaseSeconds;
  const lease = await ports.secrets.lease(secretName, {
    holder: HOLDER,
    ttlSeconds,
    purpose: "canary",
    candidate: true,
  });
  const slot = ports.slots.add(lease.key);
  try {
    for (const provider of providers) await tryOne(ports.upstreams, provider, slot);
    return providers.map(({ name }) => name);
  } finally {
    ports.slots.remove(slot);
    ports.upstreams.clean();
    await lease.checkIn();
  }
}

/** The list of models: every provider of this kind has it, it costs nothing, and it needs a key. */
async function tryOne(upstreams: Upstreams, provider: Provider, slot: string): Promise<void> {
  const status = await new Promise<number>((resolve, reject) => {
    const request = { method: "GET", path: "/models", headers: canaryHeaders(slot) } as const;
    upstreams.dispatch(provider, request, new StatusReader(resolve, reject));
  });
  if (status < 200 || status >= 300)
    throw gatewayError("CANARY_REFUSED", { detail: `${provider.name} answered ${status}` });
}

/** The status is all that is wanted of the reply. */
class StatusReader implements Dispatcher.DispatchHandler {
  readonly #done: (status: number) => void;
  readonly #failed: (error: unknown) => void;
  #status = 0;
  #bytes = 0;

  constructor(done: (status: number) => void, failed: (error: unknown) => void) {
    this.#done = done;
    this.#failed = failed;
  }

  onRequestStart(): void {}

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > GATEWAY_INTERNALS.canaryReplyBytes) controller.abort(gatewayError("UPSTREAM_REPLY_INVALID"));
  }

  onResponseEnd(): void {
    this.#done(this.#status);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#failed(errorOf(error));
  }
}
