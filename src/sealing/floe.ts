/** FLOE (c2sp.org/FLOE): random-access authenticated encryption of one file, AES-256-GCM and HKDF-Expand with SHA-384. */
import { createHmac } from "node:crypto";
import { concatBytes, copySecret, equalBytes, type Random, uint32be, uint64be, utf8 } from "../base/index.ts";
import {
  type AeadEngine,
  cryptoAead,
  GuardedBytes,
  openRecord,
  RECORD_BODY_AT,
  RECORD_OVERHEAD_BYTES,
  type RecordPlan,
  type SealPlan,
  sealRecord,
} from "../host/index.ts";
import { sealingError } from "./errors.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface FloeParameters {
  /** Length of an encrypted segment that is not the last, in bytes. */
  readonly encryptedSegmentBytes: number;
  /** Segments that share one derived key, a power of two; 2^20 when absent, which is what FLOE says. */
  readonly segmentsPerKey?: number;
}

/** A plaintext segment of exactly 1 MiB. */
export const FLOE_1_MIB: FloeParameters = { encryptedSegmentBytes: 1_048_608 };

const IV_BYTES = 32;
const TAG_BYTES = 32;
const NONCE_BYTES = 12;
/** What a segment adds to its plaintext: length (4), nonce, tag (16). */
export const SEGMENT_OVERHEAD_BYTES = RECORD_OVERHEAD_BYTES;
export const FLOE_HEADER_BYTES = 10 + IV_BYTES + TAG_BYTES;
const NOT_LAST = 0xffffffff;
const SEGMENTS_PER_KEY = 2 ** 20;

/** One FLOE message: a key, a header, and segments by number. Its keys live in guarded memory until `wipe`. */
export class Floe implements Disposable {
  readonly header: Uint8Array;
  readonly #parameters: FloeParameters;
  readonly #context: Uint8Array;
  readonly #aad: Uint8Array;
  readonly #messageKey: GuardedBytes;
  readonly #random: Random;
  #dek: { readonly group: number; readonly key: GuardedBytes } | undefined;

  private constructor(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, parameters: FloeParameters, random: Random) {
    const encoded = encodeParameters(parameters);
    this.#parameters = parameters;
    this.#random = random;
    this.#aad = aad;
    this.#context = concatBytes(encoded, iv);
    this.header = concatBytes(encoded, iv, this.#derive(key, utf8("HEADER_TAG:"), TAG_BYTES));
    this.#messageKey = GuardedBytes.take(this.#derive(key, utf8("MESSAGE_KEY:"), 48));
  }

  static encrypt(key: Uint8Array, aad: Uint8Array, parameters: FloeParameters, random: Random): Floe {
    return new Floe(key, random.bytes(IV_BYTES), aad, parameters, random);
  }

  /** Throws SEALED_TAMPERED unless key, associated data and parameters are those of the header. */
  static decrypt(
    key: Uint8Array,
    aad: Uint8Array,
    parameters: FloeParameters,
    header: Uint8Array,
    random: Random,
  ): Floe {
    if (header.length !== FLOE_HEADER_BYTES) throw sealingError("SEALED_TAMPERED", { detail: "header length" });
    const floe = new Floe(key, header.slice(10, 10 + IV_BYTES), aad, parameters, random);
    if (!equalBytes(floe.header, header)) {
      floe.wipe();
      throw sealingError("SEALED_TAMPERED", { detail: "header tag" });
    }
    return floe;
  }

  /** The 32 bytes that commit to the key; they stand in the signed statement. */
  get headerTag(): Uint8Array {
    return this.header.subarray(FLOE_HEADER_BYTES - TAG_BYTES);
  }

  /** Length field and associated data of a segment, by which it is told from every other one. */
  segmentPlan(index: number, isLast: boolean, plainBytes: number): RecordPlan {
    this.#checkLength(isLast, plainBytes);
    const length = isLast ? plainBytes + SEGMENT_OVERHEAD_BYTES : NOT_LAST;
    return { head: uint32be(length), aad: segmentAad(index, isLast), plainBytes };
  }

  /** With a fresh nonce. */
  sealPlan(index: number, isLast: boolean, plainBytes: number): SealPlan {
    return { ...this.segmentPlan(index, isLast, plainBytes), nonce: this.#random.bytes(NONCE_BYTES) };
  }

  /** Lends K(message key, "DEK:" || the index with its low 20 bits cleared, 32), which must not be kept. */
  withSegmentKey<T>(index: number, work: (key: Uint8Array) => T): T {
    if (index >= SEALING_LIMITS.segments) throw new RangeError(`segment ${index}`);
    const group = index - (index % (this.#parameters.segmentsPerKey ?? SEGMENTS_PER_KEY));
    if (this.#dek?.group !== group) {
      this.#dek?.key.wipe();
      const purpose = concatBytes(utf8("DEK:"), uint64be(group));
      this.#dek = { group, key: GuardedBytes.take(this.#messageKey.use((key) => this.#derive(key, purpose, 32))) };
    }
    return this.#dek.key.use(work);
  }

  sealSegment(index: number, isLast: boolean, plain: Uint8Array, engine: AeadEngine = cryptoAead): Uint8Array {
    const plan = this.sealPlan(index, isLast, plain.length);
    const record = new Uint8Array(plain.length + SEGMENT_OVERHEAD_BYTES);
    record.set(plain, RECORD_BODY_AT);
    return this.withSegmentKey(index, (bytes) => {
      const key = engine.key(bytes);
      sealRecord(key, plan, record);
      key.wipe();
      return record;
    });
  }

  /** Throws SEALED_TAMPERED. */
  openSegment(index: number, isLast: boolean, sealed: Uint8Array, engine: AeadEngine = cryptoAead): Uint8Array {
    const plain = this.#tryOpen(index, isLast, sealed, engine);
    if (!plain) throw sealingError("SEALED_TAMPERED", { detail: `segment ${index}` });
    return plain;
  }

  #tryOpen(index: number, isLast: boolean, sealed: Uint8Array, engine: AeadEngine): Uint8Array | undefined {
    const plainBytes = sealed.length - SEGMENT_OVERHEAD_BYTES;
    if (!this.#isLength(isLast, plainBytes)) return undefined;
    const plan = this.segmentPlan(index, isLast, plainBytes);
    return this.withSegmentKey(index, (bytes) => {
      const key = engine.key(bytes);
      const plain = openRecord(key, plan, Uint8Array.from(sealed));
      key.wipe();
      return plain;
    });
  }

  wipe(): void {
    this.#messageKey.wipe();
    this.#dek?.key.wipe();
    this.#dek = undefined;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  #isLength(isLast: boolean, plainBytes: number): boolean {
    const full = this.#parameters.encryptedSegmentBytes - SEGMENT_OVERHEAD_BYTES;
    return isLast ? plainBytes >= 0 && plainBytes <= full : plainBytes === full;
  }

  #checkLength(isLast: boolean, plainBytes: number): void {
    if (!this.#isLength(isLast, plainBytes)) throw new RangeError(`a segment of ${plainBytes} bytes`);
  }

  #derive(key: Uint8Array, purpose: Uint8Array, length: number): Uint8Array {
    return hkdfExpandSha384(key, concatBytes(this.#context, purpose, this.#aad), length);
  }
}

/** HKDF-Expand (RFC 5869, section 2.3) for outputs of at most one block; node:crypto only offers extract and expand together. */
function hkdfExpandSha384(key: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  const block = createHmac("sha384", key).update(info).update(Uint8Array.of(1)).digest();
  const out = copySecret(block.subarray(0, length));
  block.fill(0);
  return out;
}

function encodeParameters({ encryptedSegmentBytes }: FloeParameters): Uint8Array {
  return concatBytes(Uint8Array.of(0, 0), uint32be(encryptedSegmentBytes), uint32be(IV_BYTES));
}

function segmentAad(index: number, isLast: boolean): Uint8Array {
  return concatBytes(uint64be(index), Uint8Array.of(isLast ? 1 : 0));
}
