/** AES-256-GCM by node:crypto, which is everywhere, and copies every record once. */
import { type CipherGCM, createCipheriv, createDecipheriv, type DecipherGCM } from "node:crypto";
import type { AeadEngine } from "./aead.ts";

/** Larger results come from fresh pages of the system, which cost more than the cipher. */
const SLICE_BYTES = 256 * 1024;

export const cryptoAead: AeadEngine = {
  name: "crypto",
  about: `node:crypto, OpenSSL ${process.versions.openssl}`,
  key: (key) => ({
    seal(nonce, aad, bytes, tag) {
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      cipher.setAAD(aad);
      updateInPlace(cipher, bytes);
      cipher.final();
      tag.set(cipher.getAuthTag());
    },
    open(nonce, aad, bytes, tag) {
      const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tag.length });
      decipher.setAAD(aad);
      decipher.setAuthTag(tag);
      updateInPlace(decipher, bytes);
      try {
        decipher.final();
        return true;
      } catch {
        bytes.fill(0);
        return false;
      }
    },
    wipe() {},
  }),
};

function updateInPlace(cipher: CipherGCM | DecipherGCM, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    const out = cipher.update(bytes.subarray(at, at + SLICE_BYTES));
    bytes.set(out, at);
    out.fill(0);
    giveBack(out);
  }
}

/** At once: the collector would let some hundred MiB of them wait. It is their own memory, of exactly their length. */
function giveBack({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
