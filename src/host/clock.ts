/** The machine's clock and randomness, as the ports of the base floor. */
import { randomFillSync } from "node:crypto";
import type { Clock, Fetch, Random } from "../base/index.ts";

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

export const systemRandom: Random = {
  bytes: (length) => randomFillSync(new Uint8Array(new ArrayBuffer(length))),
};

export const systemFetch: Fetch = (input, init) => globalThis.fetch(input, init);
