/** Takes the key out of what a provider sends back, also when it comes in pieces; everything else passes untouched. */
import type { GuardedBytes } from "../host/index.ts";

const MASK = Buffer.from("***");

export class ReplyScrubber {
  readonly #key: GuardedBytes;
  /** The end of what came so far, where it could be the beginning of the key. */
  #held: Buffer | undefined;
  #hits = 0;

  constructor(key: GuardedBytes) {
    this.#key = key;
  }

  /** How often the key was found. */
  get hits(): number {
    return this.#hits;
  }

  /** What may go on to the client now; throws MEMORY_WIPED when the lease has ended: nobody could look for the key. */
  push(chunk: Buffer): Buffer {
    const data = this.#join(chunk);
    return this.#key.use((key) => {
      const pieces: Buffer[] = [];
      let from = 0;
      for (let at = data.indexOf(key); at >= 0; at = data.indexOf(key, from)) {
        pieces.push(Buffer.from(data.subarray(from, at)), MASK);
        data.fill(0, at, at + key.length);
        from = at + key.length;
        this.#hits++;
      }
      const keep = startedKeyBytes(data, from, key);
      const end = data.length - keep;
      if (keep > 0) {
        this.#held = Buffer.from(data.subarray(end));
        data.fill(0, end);
      }
      if (pieces.length === 0) return end === data.length ? data : data.subarray(0, end);
      pieces.push(data.subarray(from, end));
      return Buffer.concat(pieces);
    });
  }

  /** What was held back, once nothing more can come: a beginning without an end is not the key. */
  end(): Buffer | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }

  #join(chunk: Buffer): Buffer {
    const held = this.#held;
    if (!held) return chunk;
    this.#held = undefined;
    const joined = Buffer.concat([held, chunk]);
    held.fill(0);
    return joined;
  }

  scrubText(value: string): string {
    const bytes = Buffer.from(value, "latin1");
    const found = this.#key.use((key) => bytes.indexOf(key) >= 0);
    if (!found) return value;
    const whole = new ReplyScrubber(this.#key);
    const clean = Buffer.concat([whole.push(bytes), whole.end() ?? Buffer.alloc(0)]);
    this.#hits += whole.hits;
    return clean.toString("latin1");
  }
}

/** Length of the longest end of data[from..] that is a beginning of the key, but not all of it. */
function startedKeyBytes(data: Uint8Array, from: number, key: Uint8Array): number {
  const first = key[0];
  for (let start = Math.max(from, data.length - key.length + 1); start < data.length; start++) {
    if (data[start] === first && matchesFrom(data, start, key)) return data.length - start;
  }
  return 0;
}

function matchesFrom(data: Uint8Array, start: number, key: Uint8Array): boolean {
  for (let i = start + 1; i < data.length; i++) if (data[i] !== key[i - start]) return false;
  return true;
}
