/** FLOE (c2sp.org/FLOE): random-access authenticated encryption of one file, AES-256-GCM and HKDF-Expand with SHA-384. */
import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import { concatBytes, equalBytes, type Random, uint32be, uint64be, utf8 } from "../base/index.ts";
import { sealingError } from "./errors.ts";

export interface FloeParameters {
  /** Length of an encrypted segment that is not the last, in bytes. */
  readonly encryptedSegmentBytes: number;
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
/** Segments that share one derived key: 2^20. */
const ROTATION = 2 ** 20;

/** One FLOE message: a key, a header, and segments by number. */
export class Floe {
  readonly header: Uint8Array;
  readonly #parameters: FloeParameters;
  readonly #context: Uint8Array;
  readonly #messageKey: Uint8Array;
  readonly #random: Random;
  #dek: { readonly group: number; readonly key: Uint8Array } | undefined;

  private constructor(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, parameters: FloeParameters, random: Random) {
    const encoded = encodeParameters(parameters);
    this.#parameters = parameters;
    this.#random = random;
    this.#context = concatBytes(encoded, iv);
    this.header = concatBytes(encoded, iv, this.#derive(key, utf8("HEADER_TAG:"), aad, TAG_BYTES));
    this.#messageKey = this.#derive(key, utf8("MESSAGE_KEY:"), aad, 48);
    this.#aad = aad;
  }

  readonly #aad: Uint8Array;

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

  sealSegment(index: number, isLast: boolean, plain: Uint8Array): Uint8Array {
    this.#checkPlainLength(isLast, plain.length);
    const nonce = this.#random.bytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#dekOf(index), nonce);
    cipher.setAAD(segmentAad(index, isLast));
    const length = isLast ? plain.length + SEGMENT_OVERHEAD_BYTES : NOT_LAST;
    return concatBytes(uint32be(length), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag());
  }

  /** Throws SEALED_TAMPERED. */
  openSegment(index: number, isLast: boolean, sealed: Uint8Array): Uint8Array {
    const { encryptedSegmentBytes } = this.#parameters;
    const lengthField =
      sealed.length >= LENGTH_BYTES ? new DataView(sealed.buffer, sealed.byteOffset).getUint32(0) : -1;
    const rightLength = isLast
      ? sealed.length >= SEGMENT_OVERHEAD_BYTES &&
        sealed.length <= encryptedSegmentBytes &&
        lengthField === sealed.length
      : sealed.length === encryptedSegmentBytes && lengthField === NOT_LAST;
    if (!rightLength) throw sealingError("SEALED_TAMPERED", { detail: `length of segment ${index}` });
    const nonce = sealed.subarray(LENGTH_BYTES, LENGTH_BYTES + NONCE_BYTES);
    const decipher = createDecipheriv("aes-256-gcm", this.#dekOf(index), nonce, { authTagLength: GCM_TAG_BYTES });
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
  }

  wipe(): void {
    this.#messageKey.fill(0);
    this.#dek?.key.fill(0);
    this.#dek = undefined;
  }

  #checkPlainLength(isLast: boolean, length: number): void {
    const full = this.#parameters.encryptedSegmentBytes - SEGMENT_OVERHEAD_BYTES;
    if (isLast ? length > full : length !== full) throw new RangeError(`a segment of ${length} bytes`);
  }

  /** K(message key, "DEK:" || the index with its low 20 bits cleared, 32). */
  #dekOf(index: number): Uint8Array {
    const group = index - (index % ROTATION);
    if (this.#dek?.group !== group) {
      this.#dek?.key.fill(0);
      this.#dek = {
        group,
        key: this.#derive(this.#messageKey, concatBytes(utf8("DEK:"), uint64be(group)), this.#aad, 32),
      };
    }
    return this.#dek.key;
  }

  #derive(key: Uint8Array, purpose: Uint8Array, aad: Uint8Array, length: number): Uint8Array {
    return hkdfExpandSha384(key, concatBytes(this.#context, purpose, aad), length);
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
