/** What is used of sodium-native, which brings no types. */
declare module "sodium-native" {
  const sodium: {
    readonly crypto_secretbox_KEYBYTES: number;
    readonly crypto_secretbox_MACBYTES: number;
    readonly crypto_secretbox_NONCEBYTES: number;
    crypto_secretbox_easy(sealed: Buffer, plain: Buffer, nonce: Buffer, key: Buffer): void;
    /** False when it was changed. */
    crypto_secretbox_open_easy(plain: Buffer, sealed: Buffer, nonce: Buffer, key: Buffer): boolean;
    randombytes_buf(buffer: Buffer): void;
    sodium_malloc(length: number): Buffer;
    sodium_free(buffer: Buffer): void;
    sodium_memzero(buffer: Buffer): void;
    /** Throws when the memory cannot be locked. */
    sodium_mlock(buffer: Buffer): void;
    sodium_munlock(buffer: Buffer): void;
    sodium_mprotect_noaccess(buffer: Buffer): void;
    sodium_mprotect_readwrite(buffer: Buffer): void;
  };
  export default sodium;
}
