/** An ECDSA signature over a digest that somebody else made: Node signs messages only, OpenSSL's tool signs digests. */
import { execFileSync } from "node:child_process";
import type { KeyObject } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../../sealing/support.ts";

/** In DER. */
export function signDigest(key: KeyObject, digest: Uint8Array): Buffer {
  const folder = temporaryFolder();
  const [keyPath, digestPath] = [join(folder, "key.pem"), join(folder, "digest")];
  writeFileSync(keyPath, key.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(digestPath, digest);
  return execFileSync("openssl", ["pkeyutl", "-sign", "-inkey", keyPath, "-in", digestPath]);
}

/** r and s in halves of the curve's length, from DER. */
export function rawOf(der: Buffer, half: number): Buffer {
  const out = Buffer.alloc(half * 2);
  let at = (der[1] ?? 0) & 0x80 ? 3 : 2;
  for (const end of [half, half * 2]) {
    const length = der[at + 1] ?? 0;
    const digits = der.subarray(at + 2, at + 2 + length);
    const value = digits.subarray(Math.max(0, digits.length - half));
    value.copy(out, end - value.length);
    at += 2 + length;
  }
  return out;
}
