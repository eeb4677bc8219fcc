/** Bytes of request bodies that a server holds at once: of everybody together, and of one principal. */
import { serverError } from "./errors.ts";
import { SERVER_LIMITS } from "./limits.ts";

export interface BodyLimits {
  readonly bodiesInFlightBytes: number;
  readonly principalBodiesInFlightBytes: number;
}

/** One request's part; grows as bytes arrive, so that an announced length costs nobody anything. */
export interface BodyShare {
  /** Throws SERVER_BUSY when the bytes do not fit beside those of others. */
  take(bytes: number): void;
  end(): void;
}

export class BodyBudget {
  readonly #limits: BodyLimits;
  readonly #byPrincipal = new Map<string, number>();
  #total = 0;

  constructor(limits: BodyLimits = SERVER_LIMITS) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#total;
  }

  share(principal: string): BodyShare {
    let own = 0;
    return {
      take: (bytes) => {
        const { bodiesInFlightBytes: all, principalBodiesInFlightBytes: each } = this.#limits;
        const held = this.#byPrincipal.get(principal) ?? 0;
        if (held + bytes > each || this.#total + bytes > all)
          throw serverError("SERVER_BUSY", { extra: { retryAfterSeconds: 1 } });
        this.#byPrincipal.set(principal, held + bytes);
        this.#total += bytes;
        own += bytes;
      },
      end: () => {
        const left = (this.#byPrincipal.get(principal) ?? 0) - own;
        if (left > 0) this.#byPrincipal.set(principal, left);
        else this.#byPrincipal.delete(principal);
        this.#total -= own;
        own = 0;
      },
    };
  }
}
