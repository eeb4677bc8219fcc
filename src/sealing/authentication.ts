/** Codes under keys of the package key: who made them had it. */
import { createHmac, hkdfSync } from "node:crypto";
import { utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import type { GuardedBytes } from "../host/index.ts";

/** HMAC-SHA-256 over JCS(value) under HKDF-SHA-256(package key, purpose, 32). */
export function codeOf(packageKey: GuardedBytes, purpose: string, value: unknown): Uint8Array {
  return packageKey.use((key) => {
    const codeKey = new Uint8Array(hkdfSync("sha256", key, new Uint8Array(0), utf8(purpose), 32));
    const code = createHmac("sha256", codeKey).update(jcs(value)).digest();
    codeKey.fill(0);
    return new Uint8Array(code);
  });
}
