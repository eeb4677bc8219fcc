/** SHA-256 of several streams that go on side by side: two at a time, for about the price of one, where the processor gains from that. */
import { createHash } from "node:crypto";
import { loadSha256Lanes, newSha256State, type Sha256Lanes } from "./sha256-lanes.ts";

export interface Sha256Stream {
  /** Resolves when the bytes were hashed; until then they must stay. All but the last are whole blocks of 64 bytes. */
  update(bytes: Uint8Array): Promise<void>;
  /** Hashes what still waits for company. */
  flush(): Promise<void>;
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
  /** Those whose next bytes are sure to come, so that another one may wait for them. */
  readonly #steady = new Set<LaneStream>();
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

  /**
   * `steady`: another steady stream waits for its bytes, until it is closed. `beside`: its bytes go along with those of
   * steady ones, and alone when it is flushed.
   */
  open(kind: "steady" | "beside"): Sha256Stream {
    const lanes = this.#lanes;
    if (!lanes) return new OneStream();
    const stream = new LaneStream(lanes, {
      add: (bytes) => this.#add(stream, bytes),
      flush: () => this.#flush(stream),
      close: () => this.#close(stream),
    });
    if (kind === "steady") this.#steady.add(stream);
    return stream;
  }

  #add(stream: LaneStream, bytes: Uint8Array): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ stream, bytes, done });
    this.#run();
    return done.promise;
  }

  #close(stream: LaneStream): void {
    if (this.#steady.delete(stream)) this.#run();
  }

  #flush(stream: LaneStream): void {
    for (let own = this.#next([stream]); own; own = this.#next([stream])) this.#hash(own, undefined);
  }

  /** While everyone who is waited for has something to hash. */
  #run(): void {
    for (;;) {
      const steady = [...this.#steady].filter((stream) => this.#next([stream]));
      if (steady.length < Math.min(2, this.#steady.size)) return;
      const first = this.#next(steady) ?? this.#waiting[0];
      if (!first) return;
      this.#hash(
        first,
        this.#next(steady, first.stream) ?? this.#waiting.find(({ stream }) => stream !== first.stream),
      );
    }
  }

  #next(streams: readonly LaneStream[], besides?: LaneStream): Waiting | undefined {
    return this.#waiting.find(({ stream }) => stream !== besides && streams.includes(stream));
  }

  #hash(first: Waiting, second: Waiting | undefined): void {
    for (const one of [first, second]) if (one) this.#waiting.splice(this.#waiting.indexOf(one), 1);
    first.stream.hash(first.bytes, second && { stream: second.stream, bytes: second.bytes });
    first.done.resolve();
    second?.done.resolve();
  }
}

interface Turns {
  add(bytes: Uint8Array): Promise<void>;
  flush(): void;
  close(): void;
}

class LaneStream implements Sha256Stream {
  readonly #state = newSha256State();
  readonly #lanes: Sha256Lanes;
  readonly #turns: Turns;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(lanes: Sha256Lanes, turns: Turns) {
    this.#lanes = lanes;
    this.#turns = turns;
  }

  update(bytes: Uint8Array): Promise<void> {
    return this.#turns.add(bytes);
  }

  async flush(): Promise<void> {
    this.#turns.flush();
  }

  digest(): string {
    return this.#lanes.finish(this.#state, this.#rest);
  }

  close(): void {
    this.#turns.close();
  }

  hash(bytes: Uint8Array, other: { readonly stream: LaneStream; readonly bytes: Uint8Array } | undefined): void {
    if (other) this.#lanes.updateFrom([this.#state, other.stream.#state], [bytes, other.bytes]);
    else this.#lanes.updateFrom([this.#state], [bytes]);
    this.#keepRest(bytes);
    if (other) other.stream.#keepRest(other.bytes);
  }

  #keepRest(bytes: Uint8Array): void {
    if (this.#rest.length > 0 && bytes.length > 0) throw new RangeError("bytes after a part of a block");
    const whole = bytes.length - (bytes.length % this.#lanes.blockBytes);
    if (bytes.length > whole) this.#rest = bytes.slice(whole);
  }
}

/** By node:crypto, at once. */
class OneStream implements Sha256Stream {
  readonly #hash = createHash("sha256");

  async update(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
  }

  async flush(): Promise<void> {}

  digest(): string {
    return this.#hash.digest("hex");
  }

  close(): void {}
}
