/** Something of a login that ends: kept until shortly before its end, fetched by one caller for all who wait. */
import type { Clock } from "../base/index.ts";
import { backendError } from "./errors.ts";
import { BACKEND_LIMITS } from "./limits.ts";

export interface Fresh<T> {
  readonly value: T;
  /** Undefined for what does not end. */
  readonly lifeSeconds: number | undefined;
}

export interface RenewingOptions<T> {
  readonly clock: Clock;
  readonly fetch: () => Promise<Fresh<T>>;
  readonly wipe: (value: T) => void;
}

const MAX_ROUNDS = 3;

export class Renewing<T> {
  readonly #options: RenewingOptions<T>;
  #held: { readonly value: T; readonly renewAt: number; readonly endsAt: number } | undefined;
  #fetching: Promise<void> | undefined;

  constructor(options: RenewingOptions<T>) {
    this.#options = options;
  }

  /**
   * What `read` makes of the value, at once: it is wiped when a newer one comes, or when somebody else drops it. Throws
   * KMS_CREDENTIALS_REFUSED when that happens again and again.
   */
  async use<R>(read: (value: T) => R): Promise<R> {
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const held = this.#held;
      if (!held || this.#now() >= held.renewAt) await this.#renew().catch((error) => this.#mayStay(error));
      if (this.#held) return read(this.#held.value);
    }
    throw backendError("KMS_CREDENTIALS_REFUSED", { detail: "what the login gives is refused as soon as it comes" });
  }

  /** Forgets the value that a service refused. */
  drop(): void {
    if (this.#held) this.#options.wipe(this.#held.value);
    this.#held = undefined;
  }

  #renew(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<void> {
    const { value, lifeSeconds } = await this.#options.fetch();
    this.drop();
    const life = lifeSeconds === undefined ? Number.POSITIVE_INFINITY : lifeSeconds * 1000;
    const early = Math.min(BACKEND_LIMITS.renewEarlyMilliseconds, life / 2);
    const now = this.#now();
    this.#held = { value, renewAt: now + life - early, endsAt: now + life };
  }

  /** A login that fails while what it gave before still holds is tried again by the next call. */
  #mayStay(error: unknown): void {
    if (!this.#held || this.#now() >= this.#held.endsAt) throw error;
  }

  #now(): number {
    return this.#options.clock.monotonic();
  }
}
