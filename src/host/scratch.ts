/** Guarded memory that stays open: for the moment in which the kernel or OpenSSL reads a key while a write is under way. */
import { givePage, type LockedPage, takePage } from "./locked-pages.ts";

/**
 * Can be read outside a synchronous call. The owner wipes it as soon as the write's callback has come: before that libuv
 * may still hold the address.
 */
export class LockedScratch {
  readonly bytes: Buffer;
  readonly #page: LockedPage;

  private constructor(page: LockedPage, length: number) {
    this.#page = page;
    this.bytes = page.bytes.subarray(0, length);
  }

  static allocate(length: number): LockedScratch {
    return new LockedScratch(takePage(length), length);
  }

  /** Zeroes the first `length` bytes, all of them without a length. */
  wipe(length = this.bytes.length): void {
    this.bytes.fill(0, 0, length);
  }

  /** Zeroes and gives the memory back; `bytes` must not be touched after it. */
  free(): void {
    givePage(this.#page);
  }
}
