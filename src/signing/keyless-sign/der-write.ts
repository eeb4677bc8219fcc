/** The one DER message that keyless signing writes: a certificate signing request. */
import { type KeyObject, sign } from "node:crypto";
import { concatBytes, fromHex } from "../../base/index.ts";

const BIT_STRING = 0x03;
const INTEGER = 0x02;
const SEQUENCE = 0x30;
const CONTEXT_0 = 0xa0;
/** Whole encodings of what never changes. */
const ECDSA_SHA256 = bytesOf("300a06082a8648ce3d040302");

function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array();
}

function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts);
  const { length } = content;
  if (length < 0x80) return concatBytes(Uint8Array.of(tag, length), content);
  const octets = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, 0x80 | octets.length, ...octets), content);
}

const integer = (value: number) => tlv(INTEGER, Uint8Array.of(value));

/** PKCS #10 (RFC 2986) without a name, of a P-256 key: the authority takes the key and the proof that it is held. */
export function encodeSigningRequest(publicKey: KeyObject, privateKey: KeyObject): Uint8Array {
  const spki = new Uint8Array(publicKey.export({ type: "spki", format: "der" }));
  const info = tlv(SEQUENCE, integer(0), tlv(SEQUENCE), spki, tlv(CONTEXT_0));
  const signature = new Uint8Array(sign("sha256", info, { key: privateKey, dsaEncoding: "der" }));
  return tlv(SEQUENCE, info, ECDSA_SHA256, tlv(BIT_STRING, Uint8Array.of(0), signature));
}
