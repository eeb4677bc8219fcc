/** FLOE (c2sp.org/FLOE): random-access authenticated encryption of one file, AES-256-GCM and HKDF-Expand with SHA-384. */
import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import { concatBytes, equalBytes, type Random, uint32be, uint64be, utf8 } from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
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
const GCM_TAG_BYTES = 16;
const LENGTH_BYTES = 4;
/** What a segment adds to its plaintext: length, nonce, tag. */
export const SEGMENT_OVERHEAD_BYTES = LENGTH_BYTES + NONCE_BYTES + GCM_TAG_BYTES;
export const FLOE_HEADER_BYTES = 10 + IV_BYTES + TAG_BYTES;
const NOT_LAST = 0xffffffff;
const SEGMENTS_PER_KEY = 2 ** 20;

/** One FLOE message: a key, a header, and segments by number. Its keys live in guarded memory until `wipe`. */
export class Floe {
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

  /** The encrypted segment in three parts, in order, so that a large body is not copied once more. */
  sealSegment(index: number, isLast: boolean, plain: Uint8Array): readonly Uint8Array[] {
    this.#checkPlainLength(isLast, plain.length);
    const nonce = this.#random.bytes(NONCE_BYTES);
    const length = isLast ? plain.length + SEGMENT_OVERHEAD_BYTES : NOT_LAST;
    return this.#withDek(index, (dek) => {
      const cipher = createCipheriv("aes-256-gcm", dek, nonce);
      cipher.setAAD(segmentAad(index, isLast));
      const body = cipher.update(plain);
      cipher.final();
      return [concatBytes(uint32be(length), nonce), body, cipher.getAuthTag()];
    });
  }

  /** Throws SEALED_TAMPERED. */
  openSegment(index: number, isLast: boolean, sealed: Uint8Array): Uint8Array {
    this.#checkSealedLength(index, isLast, sealed);
    const nonce = sealed.subarray(LENGTH_BYTES, LENGTH_BYTES + NONCE_BYTES);
    return this.#withDek(index, (dek) => {
      const decipher = createDecipheriv("aes-256-gcm", dek, nonce, { authTagLength: GCM_TAG_BYTES });
      decipher.setAAD(segmentAad(index, isLast));
      decipher.setAuthTag(sealed.subarray(sealed.length - GCM_TAG_BYTES));
      const plain = decipher.update(sealed.subarray(LENGTH_BYTES + NONCE_BYTES, sealed.length - GCM_TAG_BYTES));
      try {
        decipher.final();
      } catch {
        plain.fill(0);
        throw sealingError("SEALED_TAMPERED", { detail: `segment ${index}` });
      }
      return plain;
    });
  }

  wipe(): void {
    this.#messageKey.wipe();
    this.#dek?.key.wipe();
    this.#dek = undefined;
  }

  #checkPlainLength(isLast: boolean, length: number): void {
    const full = this.#parameters.encryptedSegmentBytes - SEGMENT_OVERHEAD_BYTES;
    if (isLast ? length > full : length !== full) throw new RangeError(`a segment of ${length} bytes`);
  }

  #checkSealedLength(index: number, isLast: boolean, { buffer, byteOffset, length }: Uint8Array): void {
    const { encryptedSegmentBytes } = this.#parameters;
    const field = length >= LENGTH_BYTES ? new DataView(buffer, byteOffset).getUint32(0) : -1;
    const right = isLast
      ? length >= SEGMENT_OVERHEAD_BYTES && length <= encryptedSegmentBytes && field === length
      : length === encryptedSegmentBytes && field === NOT_LAST;
    if (!right) throw sealingError("SEALED_TAMPERED", { detail: `length of segment ${index}` });
  }

  /** K(message key, "DEK:" || the index with its low 20 bits cleared, 32). */
  #withDek<T>(index: number, work: (dek: Uint8Array) => T): T {
    if (index >= SEALING_LIMITS.segments) throw new RangeError(`segment ${index}`);
    const group = index - (index % (this.#parameters.segmentsPerKey ?? SEGMENTS_PER_KEY));
    if (this.#dek?.group !== group) {
      this.#dek?.key.wipe();
      const purpose = concatBytes(utf8("DEK:"), uint64be(group));
      this.#dek = { group, key: GuardedBytes.take(this.#messageKey.use((key) => this.#derive(key, purpose, 32))) };
    }
    return this.#dek.key.use(work);
  }

  #derive(key: Uint8Array, purpose: Uint8Array, length: number): Uint8Array {
    return hkdfExpandSha384(key, concatBytes(this.#context, purpose, this.#aad), length);
  }
}

/** HKDF-Expand (RFC 5869, section 2.3) for outputs of at most one block; node:crypto only offers extract and expand together. */
function hkdfExpandSha384(key: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  const block = createHmac("sha384", key).update(info).update(Uint8Array.of(1)).digest();
  const out = new Uint8Array(block.subarray(0, length));
  block.fill(0);
  return out;
}

function encodeParameters({ encryptedSegmentBytes }: FloeParameters): Uint8Array {
  return concatBytes(Uint8Array.of(0, 0), uint32be(encryptedSegmentBytes), uint32be(IV_BYTES));
}

function segmentAad(index: number, isLast: boolean): Uint8Array {
  return concatBytes(uint64be(index), Uint8Array.of(isLast ? 1 : 0));
}
