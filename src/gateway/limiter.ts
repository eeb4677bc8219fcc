/** How much one principal may ask for: requests at once and requests in a minute. */
import type { Clock } from "../base/index.ts";
import { gatewayError } from "./errors.ts";
import { GATEWAY_INTERNALS, type GatewayLimits } from "./limits.ts";

interface Account {
  running: number;
  /** Requests that may start now; refills with time up to a minute's worth. */
  credit: number;
  refilledAt: number;
}

type Limits = Pick<GatewayLimits, "principalConcurrentRequests" | "principalRequestsPerMinute">;

export class PrincipalLimiter {
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #accounts = new Map<string, Account>();

  constructor(limits: Limits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Returns the function that ends the request. Throws PRINCIPAL_CONCURRENCY_LIMITED or PRINCIPAL_RATE_LIMITED. */
  enter(principal: string): () => void {
    const { principalConcurrentRequests: concurrent, principalRequestsPerMinute: perMinute } = this.#limits;
    const account = this.#refilled(principal);
    if (account.running >= concurrent) {
      throw gatewayError("PRINCIPAL_CONCURRENCY_LIMITED", {
        detail: `principalConcurrentRequests is ${concurrent}`,
        extra: { retryAfterSeconds: 1 },
      });
    }
    if (account.credit < 1) {
      throw gatewayError("PRINCIPAL_RATE_LIMITED", {
        detail: `principalRequestsPerMinute is ${perMinute}`,
        extra: { retryAfterSeconds: Math.max(1, Math.ceil(((1 - account.credit) * 60) / perMinute)) },
      });
    }
    account.credit--;
    account.running++;
    return () => {
      account.running--;
    };
  }

  #refilled(principal: string): Account {
    const now = this.#clock.monotonic();
    const perMinute = this.#limits.principalRequestsPerMinute;
    const account = this.#accounts.get(principal);
    if (account) {
      account.credit = Math.min(perMinute, account.credit + ((now - account.refilledAt) * perMinute) / 60_000);
      account.refilledAt = now;
      return account;
    }
    const fresh = { running: 0, credit: perMinute, refilledAt: now };
    this.#forgetIdle(now);
    this.#accounts.set(principal, fresh);
    return fresh;
  }

  /** Whoever did nothing for a minute has a full account again, so that forgetting gives nobody more. */
  #forgetIdle(now: number): void {
    if (this.#accounts.size < GATEWAY_INTERNALS.principals) return;
    for (const [name, account] of this.#accounts) {
      if (account.running === 0 && now - account.refilledAt > 60_000) this.#accounts.delete(name);
    }
    if (this.#accounts.size >= GATEWAY_INTERNALS.principals) {
      throw gatewayError("PRINCIPAL_RATE_LIMITED", {
        detail: "too many principals at once",
        extra: { retryAfterSeconds: 60 },
      });
    }
  }
}
