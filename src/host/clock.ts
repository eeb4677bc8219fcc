/** The machine's clock and randomness, as the ports of the base floor. */
import { randomBytes } from "node:crypto";
import type { Clock, Fetch, Random } from "../base/index.ts";

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

export const systemFetch: Fetch = (input, init) => globalThis.fetch(input, init);
