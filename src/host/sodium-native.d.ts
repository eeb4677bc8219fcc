/** What is used of sodium-native, which brings no types. */
declare module "sodium-native" {
  const sodium: {
    sodium_malloc(length: number): Buffer;
    sodium_free(buffer: Buffer): void;
    sodium_memzero(buffer: Buffer): void;
    sodium_mprotect_noaccess(buffer: Buffer): void;
    sodium_mprotect_readwrite(buffer: Buffer): void;
  };
  export default sodium;
}
