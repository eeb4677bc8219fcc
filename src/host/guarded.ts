/** Memory that is locked, left out of core dumps, fenced by guard pages and wiped: where keys live. */
import sodium from "sodium-native";
import { hostError } from "./errors.ts";

/** Largest single guarded allocation, in bytes; RLIMIT_MEMLOCK is often 8 MiB for the whole process. */
export const MAX_GUARDED_BYTES = 64 * 1024;

/**
 * Bytes in memory of sodium_malloc: mlock, MADV_DONTDUMP, guard pages, inaccessible except inside `use`.
 * Not promised: code in this process can call `use`, and root can make the process read its own page.
 */
export class GuardedBytes implements Disposable {
  #buffer: Buffer | undefined;
  #users = 0;

  private constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** Zeroed guarded memory of 1 to MAX_GUARDED_BYTES bytes. */
  static allocate(length: number): GuardedBytes {
    if (!Number.isInteger(length) || length < 1 || length > MAX_GUARDED_BYTES) {
      throw new RangeError(`guarded memory of ${length} bytes: 1 to ${MAX_GUARDED_BYTES} are possible`);
    }
    return new GuardedBytes(pool.get(length)?.pop() ?? newPage(length));
  }

  /** Moves the bytes: the source is zeroed. */
  static take(source: Uint8Array): GuardedBytes {
    const guarded = GuardedBytes.allocate(source.length);
    guarded.use((bytes) => bytes.set(source));
    source.fill(0);
    return guarded;
  }

  get length(): number {
    return this.#live().length;
  }

  get wiped(): boolean {
    return this.#buffer === undefined;
  }

  /** Opens the memory for the time of a synchronous call; the bytes must not be kept. */
  use<T>(work: (bytes: Uint8Array) => T): T {
    const buffer = this.#live();
    if (this.#users++ === 0) sodium.sodium_mprotect_readwrite(buffer);
    try {
      return work(buffer);
    } finally {
      if (--this.#users === 0 && this.#buffer) sodium.sodium_mprotect_noaccess(buffer);
    }
  }

  /** Zeroes at once; may be called twice. */
  wipe(): void {
    const buffer = this.#buffer;
    if (!buffer) return;
    if (this.#users > 0) throw new Error("guarded memory is wiped while in use");
    this.#buffer = undefined;
    sodium.sodium_mprotect_readwrite(buffer);
    sodium.sodium_memzero(buffer);
    sodium.sodium_mprotect_noaccess(buffer);
    release(buffer);
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toJSON(): string {
    return "[guarded]";
  }

  #live(): Buffer {
    if (!this.#buffer) throw hostError("MEMORY_WIPED");
    return this.#buffer;
  }
}

/**
 * Zeroed allocations for reuse, by length: sodium-native only unlocks a freed page when the garbage collector comes
 * by, and a busy server would run into RLIMIT_MEMLOCK before that.
 */
const pool = new Map<number, Buffer[]>();
const MAX_POOLED_PER_LENGTH = 256;

function newPage(length: number): Buffer {
  const buffer = sodium.sodium_malloc(length);
  buffer.fill(0);
  sodium.sodium_mprotect_noaccess(buffer);
  return buffer;
}

function release(buffer: Buffer): void {
  const same = pool.get(buffer.length) ?? [];
  pool.set(buffer.length, same);
  if (same.length < MAX_POOLED_PER_LENGTH) same.push(buffer);
  else sodium.sodium_free(buffer);
}

/** How secrets are held on this machine; the words go to `doctor` and the logs. */
export function guardedMemoryLevel(): { readonly level: "locked"; readonly about: string } {
  return { level: "locked", about: "sodium_malloc: locked, not in core dumps, guard pages, no access between uses" };
}
