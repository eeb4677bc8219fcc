/** Remembers the proofs of the last minute, so that none counts twice in this process. */
import type { Clock } from "../base/index.ts";
import { tokenError } from "./errors.ts";
import { TOKEN_LIMITS } from "./limits.ts";

interface Bucket {
  readonly seen: Set<string>;
  readonly perKey: Map<string, number>;
  /** On the clock that only grows. */
  lastAddedAt: number;
}

/** A bucket can still be asked for as long after its last proof. */
const KEPT_MILLISECONDS = (TOKEN_LIMITS.proofPastSeconds + TOKEN_LIMITS.proofFutureSeconds) * 1000;

/**
 * One bucket for each second of `iat`. Buckets are forgotten by the clock that only grows, and a proof as old as a
 * forgotten one is refused, so that setting the machine's clock back makes no old proof fresh.
 * Not promised: when the clock was wrong by more than TOKEN_LIMITS.clockStepSeconds, refusing everybody until the time
 * is reached again would be worse than a proof of that time that counts once more. And another replica does not know
 * the proofs of this one: there a proof can count once more within its minute, for the same method, URL and token.
 */
export class ReplayWindow {
  readonly #clock: Clock;
  readonly #buckets = new Map<number, Bucket>();
  readonly #perKey = new Map<string, number>();
  #count = 0;
  #forgottenUntil = Number.NEGATIVE_INFINITY;
  #nextSweepAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  /** False when the proof may have been seen before; TOO_MANY_PROOFS when there is no room to remember it. */
  fresh(thumbprint: string, jti: string, iat: number): boolean {
    this.#sweep();
    if (iat <= this.#forgottenUntil) return false;
    if (this.#buckets.get(iat)?.seen.has(thumbprint + jti)) return false;
    if (
      this.#count >= TOKEN_LIMITS.rememberedProofs ||
      (this.#perKey.get(thumbprint) ?? 0) >= TOKEN_LIMITS.rememberedProofsPerKey
    ) {
      throw tokenError("TOO_MANY_PROOFS");
    }
    return true;
  }

  /** To be called at once after `fresh`, when everything else about the proof has been found good. */
  add(thumbprint: string, jti: string, iat: number): void {
    const bucket = this.#buckets.get(iat) ?? { seen: new Set(), perKey: new Map(), lastAddedAt: 0 };
    this.#buckets.set(iat, bucket);
    bucket.seen.add(thumbprint + jti);
    bucket.perKey.set(thumbprint, (bucket.perKey.get(thumbprint) ?? 0) + 1);
    bucket.lastAddedAt = this.#clock.monotonic();
    this.#perKey.set(thumbprint, (this.#perKey.get(thumbprint) ?? 0) + 1);
    this.#count++;
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    if (now < this.#nextSweepAt) return;
    this.#nextSweepAt = now + 1000;
    for (const [second, bucket] of this.#buckets) {
      if (now - bucket.lastAddedAt > KEPT_MILLISECONDS) this.#forget(second, bucket);
    }
    const seconds = this.#clock.now() / 1000;
    if (seconds < this.#forgottenUntil - TOKEN_LIMITS.clockStepSeconds) this.#forgottenUntil = Number.NEGATIVE_INFINITY;
  }

  #forget(second: number, bucket: Bucket): void {
    this.#buckets.delete(second);
    this.#forgottenUntil = Math.max(this.#forgottenUntil, second);
    this.#count -= bucket.seen.size;
    for (const [thumbprint, count] of bucket.perKey) {
      const left = (this.#perKey.get(thumbprint) ?? 0) - count;
      if (left > 0) this.#perKey.set(thumbprint, left);
      else this.#perKey.delete(thumbprint);
    }
  }
}
