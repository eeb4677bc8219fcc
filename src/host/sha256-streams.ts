/** SHA-256 of several streams that go on side by side: two at a time, for about the price of one, where the processor gains from that. */
import { createHash } from "node:crypto";
import { loadSha256Lanes, newSha256State, type Sha256Lanes } from "./sha256-lanes.ts";

export interface Sha256Stream {
  /** Resolves when the bytes were hashed; until then they must stay. */
  update(bytes: Uint8Array): Promise<void>;
  /** Lower-case hex, after everything was hashed. */
  digest(): string;
  /** Nobody waits for its next bytes any more; may be called twice. */
  close(): void;
}

interface Waiting {
  readonly stream: LaneStream;
  readonly bytes: Uint8Array;
  readonly done: PromiseWithResolvers<void>;
}

export class Sha256Streams {
  readonly #lanes: Sha256Lanes | undefined;
  readonly #open = new Set<LaneStream>();
  readonly #waiting: Waiting[] = [];

  constructor(lanes: Sha256Lanes | undefined) {
    this.#lanes = lanes;
  }

  /** One at a time where this machine has no lanes. */
  static async load(): Promise<Sha256Streams> {
    return new Sha256Streams(await loadSha256Lanes());
  }

  get inPairs(): boolean {
    return this.#lanes !== undefined;
  }

  /** While two are open each waits for the other one's bytes: who opens it closes it, come what may. */
  open(): Sha256Stream {
    const lanes = this.#lanes;
    if (!lanes) return new OneStream();
    const stream = new LaneStream(lanes, {
      add: (bytes) => this.#add(stream, bytes),
      close: () => this.#close(stream),
    });
    this.#open.add(stream);
    return stream;
  }

  #add(stream: LaneStream, bytes: Uint8Array): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ stream, bytes, done });
    this.#run();
    return done.promise;
  }

  #close(stream: LaneStream): void {
    if (this.#open.delete(stream)) this.#run();
  }

  #run(): void {
    for (;;) {
      const [first] = this.#waiting;
      const second = this.#waiting.find(({ stream }) => stream !== first?.stream);
      if (!first || (!second && this.#open.size > 1)) return;
      for (const one of [first, second]) if (one) this.#waiting.splice(this.#waiting.indexOf(one), 1);
      first.stream.hash(first.bytes, second);
      first.done.resolve();
      second?.done.resolve();
    }
  }
}

interface Turns {
  add(bytes: Uint8Array): Promise<void>;
  close(): void;
}

class LaneStream implements Sha256Stream {
  readonly #state = newSha256State();
  readonly #lanes: Sha256Lanes;
  readonly #turns: Turns;
  /** The beginning of a block. */
  readonly #carry: Uint8Array;
  #carried = 0;

  constructor(lanes: Sha256Lanes, turns: Turns) {
    this.#lanes = lanes;
    this.#turns = turns;
    this.#carry = new Uint8Array(lanes.blockBytes);
  }

  update(bytes: Uint8Array): Promise<void> {
    return this.#turns.add(bytes);
  }

  digest(): string {
    return this.#lanes.finish(this.#state, this.#carry.subarray(0, this.#carried));
  }

  close(): void {
    this.#turns.close();
  }

  hash(bytes: Uint8Array, other: { readonly stream: LaneStream; readonly bytes: Uint8Array } | undefined): void {
    const blocks = this.#blocksOf(bytes);
    if (other)
      this.#lanes.updateFrom([this.#state, other.stream.#state], [blocks, other.stream.#blocksOf(other.bytes)]);
    else this.#lanes.updateFrom([this.#state], [blocks]);
  }

  /** The whole blocks after the one that was begun, which is hashed first; what is less than a block is kept. */
  #blocksOf(bytes: Uint8Array): Uint8Array {
    const wanted = this.#carried === 0 ? 0 : this.#carry.length - this.#carried;
    const head = bytes.subarray(0, wanted);
    this.#carry.set(head, this.#carried);
    this.#carried += head.length;
    if (this.#carried === this.#carry.length) {
      this.#lanes.updateFrom([this.#state], [this.#carry]);
      this.#carried = 0;
    }
    if (head.length === bytes.length) return bytes.subarray(bytes.length);
    const end = bytes.length - ((bytes.length - head.length) % this.#carry.length);
    this.#carry.set(bytes.subarray(end));
    this.#carried = bytes.length - end;
    return bytes.subarray(head.length, end);
  }
}

/** By node:crypto, at once. */
class OneStream implements Sha256Stream {
  readonly #hash = createHash("sha256");

  async update(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
  }

  digest(): string {
    return this.#hash.digest("hex");
  }

  close(): void {}
}
