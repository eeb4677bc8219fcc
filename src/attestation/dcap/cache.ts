/** Remembers which chains and collateral verified, so that the same bytes need no second look at their signatures. */
import { DCAP_LIMITS } from "./limits.ts";

/** Milliseconds since the epoch, both ends included. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

interface Entry extends Validity {
  readonly value: unknown;
}

/**
 * Bounded; what was not asked for the longest goes first. Keys are digests of all that was verified. Only what passed
 * comes in, and it comes out only while its certificates are valid: dates of the collateral are looked at every time.
 */
export class DcapCache {
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;

  constructor(limit: number = DCAP_LIMITS.cachedCollaterals) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  recall(key: string, now: number): unknown {
    const entry = this.#entries.get(key);
    if (!entry || now < entry.notBefore || now > entry.notAfter) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  remember(key: string, value: unknown, { notBefore, notAfter }: Validity): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, notBefore, notAfter });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#limit && oldest !== undefined) this.#entries.delete(oldest);
  }
}
