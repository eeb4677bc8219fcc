/** Reads little-endian fields in order and refuses to read past the end. */
import { evidenceRefused } from "../errors.ts";

export class Cursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rule: string;
  #offset = 0;

  /** `rule` is what a read past the end is refused with. */
  constructor(bytes: Uint8Array, rule: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#rule = rule;
  }

  get offset(): number {
    return this.#offset;
  }

  get left(): number {
    return this.#bytes.length - this.#offset;
  }

  /** A view of the next bytes, not a copy. */
  take(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  skip(length: number): void {
    this.#advance(length);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  #advance(length: number): number {
    if (length > this.left) throw evidenceRefused(this.#rule);
    const start = this.#offset;
    this.#offset += length;
    return start;
  }
}
