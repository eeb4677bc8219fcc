/** Where keys live: encrypted while nobody uses them, and in memory that is locked and in no core dump for the time of a use. */
import sodium from "sodium-native";
import { hostError } from "./errors.ts";
import { givePage, type LockedPage, takePage } from "./locked-pages.ts";

/** Largest single guarded allocation, in bytes; RLIMIT_MEMLOCK is often 8 MiB for the whole process. */
export const MAX_GUARDED_BYTES = 64 * 1024;

const KEY_BYTES = sodium.crypto_secretbox_KEYBYTES;
const NONCE_BYTES = sodium.crypto_secretbox_NONCEBYTES;
const OVERHEAD_BYTES = NONCE_BYTES + sodium.crypto_secretbox_MACBYTES;

/** The only key that rests in the clear: made at the first use, in a page of its own, never written anywhere. */
let master: LockedPage | undefined;

function withMaster<T>(work: (key: Buffer) => T): T {
  master ??= makeMaster();
  const { bytes, level } = master;
  if (level !== "secret") sodium.sodium_mprotect_readwrite(bytes);
  try {
    return work(bytes.subarray(0, KEY_BYTES));
  } finally {
    if (level !== "secret") sodium.sodium_mprotect_noaccess(bytes);
  }
}

function makeMaster(): LockedPage {
  const page = takePage(KEY_BYTES);
  sodium.randombytes_buf(page.bytes.subarray(0, KEY_BYTES));
  return page;
}

/**
 * Bytes that rest under the master, XSalsa20 and Poly1305, outside of JavaScript's heap: their number has nothing
 * to do with RLIMIT_MEMLOCK. Not promised: code in this process can call `use`, and root can make the process read its own page.
 */
export class GuardedBytes implements Disposable {
  readonly #length: number;
  /** What is written into it during a use is kept. */
  readonly #writable: boolean;
  #sealed: Buffer | undefined;
  #users = 0;
  #others: GuardedBytes[] | undefined;

  private constructor(source: Uint8Array, writable: boolean) {
    this.#length = source.length;
    this.#writable = writable;
    this.#sealed = Buffer.allocUnsafeSlow(source.length + OVERHEAD_BYTES);
    seal(source, this.#sealed);
  }

  /** Zeroes, 1 to MAX_GUARDED_BYTES of them, to be written in a `use`. */
  static allocate(length: number): GuardedBytes {
    checkLength(length);
    return new GuardedBytes(new Uint8Array(length), true);
  }

  /** Moves the bytes: the source is zeroed. What is written into them later is not kept. */
  static take(source: Uint8Array): GuardedBytes {
    checkLength(source.length);
    try {
      return new GuardedBytes(source, false);
    } finally {
      source.fill(0);
    }
  }

  get length(): number {
    this.#live();
    return this.#length;
  }

  get wiped(): boolean {
    return this.#sealed === undefined;
  }

  /** The same bytes, wiped on their own. */
  clone(): GuardedBytes {
    return this.use((bytes) => new GuardedBytes(bytes, this.#writable));
  }

  /** Opens the bytes for the time of a synchronous call; they must not be kept. */
  use<T>(work: (bytes: Uint8Array) => T): T {
    const sealed = this.#live();
    const page = takePage(this.#length);
    const bytes = page.bytes.subarray(0, this.#length);
    this.#users++;
    try {
      unseal(sealed, bytes);
      const result = work(bytes);
      if (result instanceof Promise) throw new TypeError("guarded memory is closed before a promise is settled");
      if (this.#writable) seal(bytes, sealed);
      return result;
    } finally {
      this.#users--;
      givePage(page, this.#length);
    }
  }

  /** Zeroes at once; may be called twice. */
  wipe(): void {
    const sealed = this.#sealed;
    if (!sealed) return;
    if (this.#users > 0) throw new Error("guarded memory is wiped while in use");
    this.#sealed = undefined;
    sealed.fill(0);
    for (const other of this.#others ?? []) other.wipe();
  }

  /** For what was derived from these bytes: it is wiped when they are. */
  wipesToo(other: GuardedBytes): void {
    this.#live();
    this.#others = [...(this.#others ?? []), other];
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toJSON(): string {
    return "[guarded]";
  }

  #live(): Buffer {
    if (!this.#sealed) throw hostError("MEMORY_WIPED");
    return this.#sealed;
  }
}

function checkLength(length: number): void {
  if (!Number.isInteger(length) || length < 1 || length > MAX_GUARDED_BYTES) {
    throw new RangeError(`guarded memory of ${length} bytes: 1 to ${MAX_GUARDED_BYTES} are possible`);
  }
}

function seal(source: Uint8Array, sealed: Buffer): void {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const plain = Buffer.from(source.buffer, source.byteOffset, source.length);
  sodium.randombytes_buf(nonce);
  withMaster((key) => sodium.crypto_secretbox_easy(sealed.subarray(NONCE_BYTES), plain, nonce, key));
}

function unseal(sealed: Buffer, into: Buffer): void {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const good = withMaster((key) => sodium.crypto_secretbox_open_easy(into, sealed.subarray(NONCE_BYTES), nonce, key));
  if (!good) throw hostError("MEMORY_WIPED", { detail: "what rests in memory is not what was put there" });
}
