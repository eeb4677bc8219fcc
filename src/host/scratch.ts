/** Locked memory that stays open: for the moment in which the kernel or OpenSSL reads a key while a write is under way. */
import sodium from "sodium-native";

/**
 * A locked, undumped, guard-paged buffer that can be read outside a synchronous call. The owner wipes it as soon as
 * the write's callback has come: before that libuv may still hold the address.
 */
export class LockedScratch {
  readonly bytes: Buffer;

  private constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  static allocate(length: number): LockedScratch {
    const bytes = sodium.sodium_malloc(length);
    bytes.fill(0);
    return new LockedScratch(bytes);
  }

  /** Zeroes the first `length` bytes, all of them without a length. */
  wipe(length = this.bytes.length): void {
    this.bytes.fill(0, 0, length);
  }

  /** Zeroes and gives the memory back; `bytes` must not be touched after it. */
  free(): void {
    sodium.sodium_memzero(this.bytes);
    sodium.sodium_free(this.bytes);
  }
}
