/** Takes the key out of what a provider sends back, encoded or not, also when it comes in pieces; the rest passes untouched. */
import type { GuardedBytes } from "../host/index.ts";
import { formsOfKey, type KeyForms } from "../secrets/index.ts";

const MASK = Buffer.from("***");

export class ReplyScrubber {
  readonly #forms: KeyForms;
  /** The end of what came so far, where it could be the beginning of the key. */
  #held: Buffer | undefined;
  #hits = 0;

  constructor(key: GuardedBytes) {
    this.#forms = formsOfKey(key);
  }

  /** How often the key was found. */
  get hits(): number {
    return this.#hits;
  }

  /**
   * What may go on to the client now, a copy: the chunk is wiped when the next one is read. Throws MEMORY_WIPED when the
   * lease has ended: nobody could look for the key.
   */
  push(chunk: Buffer): Buffer {
    const data = this.#join(chunk);
    const { spans, started } = this.#forms.search(data);
    const pieces: Buffer[] = [];
    let from = 0;
    for (const { start, end } of spans) {
      pieces.push(Buffer.from(data.subarray(from, start)), MASK);
      data.fill(0, start, end);
      from = end;
    }
    this.#hits += spans.length;
    const end = data.length - started;
    if (started > 0) {
      this.#held = Buffer.from(data.subarray(end));
      data.fill(0, end);
    }
    if (pieces.length === 0) return data === chunk ? Buffer.from(data.subarray(0, end)) : data.subarray(0, end);
    pieces.push(data.subarray(from, end));
    return Buffer.concat(pieces);
  }

  /** What was held back, once nothing more can come: a beginning without an end is not the key. */
  end(): Buffer | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }

  /** For a reply that ends before its end: what is held back may be a piece of the key. */
  forget(): void {
    this.#held?.fill(0);
    this.#held = undefined;
  }

  #join(chunk: Buffer): Buffer {
    const held = this.#held;
    if (!held) return chunk;
    this.#held = undefined;
    const joined = Buffer.concat([held, chunk]);
    held.fill(0);
    // Nobody else reads the piece: what goes on is the copy.
    chunk.fill(0);
    return joined;
  }

  scrubText(value: string): string {
    if (value.length < this.#forms.shortest) return value;
    const bytes = Buffer.from(value, "latin1");
    const spans = this.#forms.find(bytes);
    if (spans.length === 0) return value;
    this.#hits += spans.length;
    const pieces = spans.map(({ start }, i) => bytes.toString("latin1", spans[i - 1]?.end ?? 0, start));
    const clean = [...pieces, bytes.toString("latin1", spans.at(-1)?.end)].join(MASK.toString());
    bytes.fill(0);
    return clean;
  }
}
