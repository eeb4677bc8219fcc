/** SHA-256 of two streams at once, by the function of OpenSSL that does so, where the processor gains from it. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { type ForeignFunction, type ForeignLibrary, loadForeignFunctions } from "./ffi.ts";

/**
 * The SHA instructions of a core wait for their own results; a second stream fits into the gaps. OpenSSL has held
 * `sha256_multi_block` for its TLS records since 1.0.2, and the Node binary exports it as it exports the rest. Padding
 * and the last block stay with `SHA256_Update` and `SHA256_Final`.
 */
const BLOCK_BYTES = 64;
const LANE_BYTES = 512 * 1024;
/** Words A to H, eight lanes each, however many are used. */
const WORDS = 8;
const LANES = 8;
/** A pointer and a count of blocks, four lanes at least. */
const INPUT_BYTES = 16;
const INPUTS = 4;
/** `SHA256_CTX` of openssl/sha.h: h[8], Nl, Nh, data[16], num, md_len. */
const CONTEXT_WORDS = 28;
const AT_LOW = 8;
const AT_HIGH = 9;
const AT_LENGTH = 27;
const DIGEST_BYTES = 32;
const INITIAL = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
] as const;
const CPU_BYTES = 16 * 1024;

/** One stream between two calls. */
export interface Sha256State {
  readonly words: Uint32Array;
  bytes: number;
}

export const newSha256State = (): Sha256State => ({ words: Uint32Array.from(INITIAL), bytes: 0 });

/** Not to be shared between threads. The bytes of a lane are put into its buffer, which a call leaves as it is. */
export class Sha256Lanes {
  readonly blockBytes = BLOCK_BYTES;
  readonly buffers = [Buffer.allocUnsafeSlow(LANE_BYTES), Buffer.allocUnsafeSlow(LANE_BYTES)] as const;
  readonly #words = Buffer.alloc(4 * WORDS * LANES);
  readonly #view = new Uint32Array(this.#words.buffer, this.#words.byteOffset, WORDS * LANES);
  readonly #inputs = Buffer.alloc(INPUT_BYTES * INPUTS);
  readonly #context = new Uint32Array(CONTEXT_WORDS);
  readonly #digest = Buffer.alloc(DIGEST_BYTES);
  readonly #multiBlock: ForeignFunction;
  readonly #update: ForeignFunction;
  readonly #final: ForeignFunction;
  readonly #address: (bytes: Uint8Array) => bigint;
  readonly #own: readonly [bigint, bigint];

  /** Throws where the library lacks one of the three functions. */
  constructor(library: ForeignLibrary, address: (bytes: Uint8Array) => bigint) {
    this.#multiBlock = library.func("void sha256_multi_block(void *words, void *inputs, int fours)");
    this.#update = library.func("int SHA256_Update(void *context, void *bytes, size_t length)");
    this.#final = library.func("int SHA256_Final(void *digest, void *context)");
    this.#address = address;
    this.#own = [address(this.buffers[0]), address(this.buffers[1])];
  }

  /**
   * Goes on with one or two streams by the first `lengths[i]` bytes of the buffers: whole blocks of 64 bytes, until the
   * last call for a stream, which `finish` gets the rest of.
   */
  update(states: readonly [Sha256State, Sha256State?], lengths: readonly [number, number]): void {
    this.#run(states, lengths, this.#own);
  }

  /** As `update`, by bytes where they lie. */
  updateFrom(states: readonly [Sha256State, Sha256State?], bytes: readonly [Uint8Array, Uint8Array?]): void {
    const [first, second = first] = bytes;
    const lengths = [first.length, states.length === 1 ? 0 : second.length] as const;
    if (lengths[0] + lengths[1] > 0) this.#run(states, lengths, [this.#addressOf(first), this.#addressOf(second)]);
  }

  /** Of nothing there is no address, and none is looked at. */
  #addressOf(bytes: Uint8Array): bigint {
    return bytes.length === 0 ? this.#own[0] : this.#address(bytes);
  }

  #run(
    states: readonly [Sha256State, Sha256State?],
    lengths: readonly [number, number],
    addresses: readonly [bigint, bigint],
  ): void {
    for (const [lane, address] of addresses.entries()) this.#inputs.writeBigUInt64LE(address, INPUT_BYTES * lane);
    for (const [lane, state] of states.entries()) {
      const blocks = state ? Math.floor((lengths[lane] ?? 0) / BLOCK_BYTES) : 0;
      this.#inputs.writeInt32LE(blocks, INPUT_BYTES * lane + 8);
      for (let word = 0; word < WORDS; word++) this.#view[word * LANES + lane] = state?.words[word] ?? 0;
    }
    if (states.length === 1) this.#inputs.writeInt32LE(0, INPUT_BYTES + 8);
    this.#multiBlock(this.#words, this.#inputs, 1);
    for (const [lane, state] of states.entries()) {
      if (!state) continue;
      for (let word = 0; word < WORDS; word++) state.words[word] = this.#view[word * LANES + lane] ?? 0;
      state.bytes += Math.floor((lengths[lane] ?? 0) / BLOCK_BYTES) * BLOCK_BYTES;
    }
  }

  /** Lower-case hex; `rest` are the bytes after the last whole block. */
  finish(state: Sha256State, rest: Uint8Array): string {
    this.#context.fill(0);
    this.#context.set(state.words);
    const bits = BigInt(state.bytes) * 8n;
    this.#context[AT_LOW] = Number(bits & 0xffffffffn);
    this.#context[AT_HIGH] = Number(bits >> 32n);
    this.#context[AT_LENGTH] = DIGEST_BYTES;
    if (rest.length > 0) this.#update(this.#context, rest, rest.length);
    this.#final(this.#digest, this.#context);
    return this.#digest.toString("hex");
  }
}

/** Undefined where this machine gains nothing, lacks the optional package, or gives another answer than node:crypto. */
export async function loadSha256Lanes(): Promise<Sha256Lanes | undefined> {
  if (process.env.MODELKEEP_ENGINE === "crypto" || !hasShaInstructions()) return undefined;
  try {
    const koffi = await loadForeignFunctions();
    const lanes = new Sha256Lanes(koffi.load(null), (bytes) => koffi.address(bytes));
    return answersRight(lanes) ? lanes : undefined;
  } catch {
    return undefined;
  }
}

/** Elsewhere OpenSSL takes eight lanes or none, which two streams do not fill. */
function hasShaInstructions(): boolean {
  if (process.platform !== "linux" || process.arch !== "x64") return false;
  try {
    const file = openSync("/proc/cpuinfo", "r");
    try {
      const start = Buffer.alloc(CPU_BYTES);
      return /\bsha_ni\b/.test(start.toString("latin1", 0, readSync(file, start)));
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}

const CHECKED_BYTES = 128 * 1024;
const CHECKED = [
  [0, 1],
  [55, 56],
  [63, 64],
  [65, 119],
  [120, 128],
  [1000, 100_000],
  [CHECKED_BYTES, CHECKED_BYTES],
  [CHECKED_BYTES - 1, 3],
] as const;

/** Both lanes, alone and together, with lengths on both sides of every edge. */
function answersRight(lanes: Sha256Lanes): boolean {
  for (const [lane, buffer] of lanes.buffers.entries())
    for (let at = 0; at < CHECKED_BYTES; at++) buffer[at] = (at * 31 + (at >> 8) + lane * 7) & 255;
  return CHECKED.every(([first, second]) => {
    const states = [newSha256State(), newSha256State()] as const;
    const alone = newSha256State();
    lanes.update(states, [first, second]);
    lanes.update([alone], [first, 0]);
    const placed = [newSha256State(), newSha256State()] as const;
    const [one, two] = lanes.buffers;
    lanes.updateFrom(placed, [two.subarray(0, second), one.subarray(0, first)]);
    return (
      digestOf(lanes, 1, placed[0], second) &&
      digestOf(lanes, 0, placed[1], first) &&
      digestOf(lanes, 0, states[0], first) &&
      digestOf(lanes, 1, states[1], second) &&
      digestOf(lanes, 0, alone, first)
    );
  });
}

function digestOf(lanes: Sha256Lanes, lane: 0 | 1, state: Sha256State, length: number): boolean {
  const bytes = lanes.buffers[lane].subarray(0, length);
  const rest = bytes.subarray(length - (length % BLOCK_BYTES));
  return lanes.finish(state, rest) === createHash("sha256").update(bytes).digest("hex");
}
