/** What ties a key release together: the bytes that evidence is bound to, and those that the sealed key is bound to. */
import { createHash } from "node:crypto";
import { fromBase64Url, toHex, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";

export interface ReleaseBinding {
  /** 32 bytes, base64url, as on the wire. */
  readonly nonce: string;
  /** Uncompressed P-256 point, base64url, as on the wire. */
  readonly publicKey: string;
  /** `name@version`. */
  readonly model: string;
}

/** The 64 bytes that the environment binds into its evidence: SHA-512 of canonical JSON. */
export function reportDataOf(binding: ReleaseBinding): Uint8Array {
  const { nonce, publicKey, model } = binding;
  const text = jcs({ purpose: "modelkeep key release v1", nonce, public_key: publicKey, model });
  return new Uint8Array(createHash("sha512").update(text).digest());
}

/** HPKE info: the sealed key opens for this nonce and this package only. */
export function sealInfo(binding: ReleaseBinding, packageId: string): Uint8Array<ArrayBuffer> {
  const { nonce, model } = binding;
  return new Uint8Array(jcs({ purpose: "modelkeep package key v1", nonce, model, package_id: packageId }));
}

/** HPKE associated data: the report data once more, so that the sealed key belongs to the evidence. */
export function sealAad(binding: ReleaseBinding): Uint8Array<ArrayBuffer> {
  return new Uint8Array(reportDataOf(binding));
}

/** The nonce as a record id; two spellings of one nonce do not exist (strict base64url). */
export function nonceId(nonce: string): string | undefined {
  const bytes = fromBase64Url(nonce);
  return bytes?.length === 32
    ? toHex(createHash("sha256").update(utf8("challenge")).update(bytes).digest())
    : undefined;
}
