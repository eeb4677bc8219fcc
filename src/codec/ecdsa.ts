/** ECDSA signatures of r and s side by side (IEEE P1363), as quotes, reports, JWS and XML have them. */
import { type KeyObject, verify } from "node:crypto";
import { concatBytes } from "../base/index.ts";
import { DER_TAG } from "./der.ts";
import type { SignatureHash } from "./x509-algorithm.ts";

/** Bytes of r, and of s. */
const SCALAR_BYTES: Readonly<Record<string, number>> = { prime256v1: 32, secp384r1: 48, secp521r1: 66 };

const [SEQUENCE, LONG_LENGTH, MAX_SHORT] = [0x20 | DER_TAG.sequence, 0x81, 0x7f];

/**
 * False also for a key that is none of P-256, P-384 and P-521, and for a signature of another length than the curve's.
 * OpenSSL gets it as DER: Node needs half as long again when it is told to read this form itself.
 */
export function verifyRawEcdsa(hash: SignatureHash, bytes: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  const scalarBytes = SCALAR_BYTES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (key.asymmetricKeyType !== "ec" || scalarBytes === undefined || signature.length !== 2 * scalarBytes) return false;
  const scalars = concatBytes(
    derUnsigned(signature.subarray(0, scalarBytes)),
    derUnsigned(signature.subarray(scalarBytes)),
  );
  const head = scalars.length > MAX_SHORT ? [SEQUENCE, LONG_LENGTH, scalars.length] : [SEQUENCE, scalars.length];
  return verify(hash, bytes, key, concatBytes(Uint8Array.from(head), scalars));
}

/** INTEGER: no zeros in front but one where the first bit is set. */
function derUnsigned(scalar: Uint8Array): Uint8Array {
  let start = 0;
  while (start < scalar.length - 1 && scalar[start] === 0) start++;
  const digits = scalar.subarray(start);
  const sign = (digits[0] ?? 0) > MAX_SHORT ? [0] : [];
  return concatBytes(Uint8Array.from([DER_TAG.integer, sign.length + digits.length, ...sign]), digits);
}
