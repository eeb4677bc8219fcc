/** Two shapes of EC data that tokens give raw and everybody else wants in DER. */
import { concatBytes } from "../base/index.ts";

/** The object identifier id-ecPublicKey (RFC 5480, section 2.1.1), tag and length included. */
const EC_PUBLIC_KEY = Uint8Array.of(0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01);
/** Bytes of an uncompressed point on P-256, P-384 and P-521. */
const POINT_BYTES = new Set([65, 97, 133]);
const SEQUENCE = 0x30;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;

/** r and s in equal halves (PKCS#11) as Ecdsa-Sig-Value (RFC 3279); undefined when they are not halves. */
export function ecdsaDer(raw: Uint8Array): Uint8Array | undefined {
  if (raw.length === 0 || raw.length % 2 !== 0) return undefined;
  const half = raw.length / 2;
  return der(SEQUENCE, concatBytes(positive(raw.subarray(0, half)), positive(raw.subarray(half))));
}

/** SubjectPublicKeyInfo of CKA_EC_PARAMS and CKA_EC_POINT, which some tokens give without its OCTET STRING. */
export function ecSpki(parameters: Uint8Array, point: Uint8Array): Uint8Array | undefined {
  const header = (point[1] ?? 0) < 0x80 ? 2 : 3;
  const inner = POINT_BYTES.has(point.length) ? point : point.subarray(header);
  if (!POINT_BYTES.has(inner.length) || point[0] !== OCTET_STRING) return undefined;
  const algorithm = der(SEQUENCE, concatBytes(EC_PUBLIC_KEY, parameters));
  return der(SEQUENCE, concatBytes(algorithm, der(BIT_STRING, concatBytes(Uint8Array.of(0), inner))));
}

function positive(value: Uint8Array): Uint8Array {
  const first = value.findIndex((byte) => byte !== 0);
  const digits = value.subarray(first === -1 ? value.length - 1 : first);
  return der(INTEGER, (digits[0] ?? 0) >= 0x80 ? concatBytes(Uint8Array.of(0), digits) : digits);
}

/** Content of less than 65,536 bytes. */
function der(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...head), content);
}
