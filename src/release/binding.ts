/** What ties a key release together: the bytes that evidence is bound to, and those that the sealed key is bound to. */
import { createHash } from "node:crypto";
import { fromBase64Url, toHex, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { RELEASE_LIMITS } from "./limits.ts";

export interface ReleaseBinding {
  /** 32 bytes, base64url, as on the wire. */
  readonly nonce: string;
  /** Uncompressed P-256 point, base64url, as on the wire. */
  readonly publicKey: string;
  /** `name@version`. */
  readonly model: string;
  /** `digestDevices` of the evidence of the machine's devices; absent: the processor alone is shown. */
  readonly devices?: string;
}

/** SHA-512 of canonical JSON; the purpose keeps apart what is made from the same nonce (spec/key-release.md). */
function derive(purpose: string, { nonce, publicKey, model, devices }: ReleaseBinding): Uint8Array {
  const text = jcs({ purpose, nonce, public_key: publicKey, model, ...(devices === undefined ? {} : { devices }) });
  return new Uint8Array(createHash("sha512").update(text).digest());
}

/** The 64 bytes that the environment binds into the evidence of its processor, and with it the evidence of its devices. */
export function reportDataOf(binding: ReleaseBinding): Uint8Array {
  return derive("modelkeep key release v1", binding);
}

/** The 32 bytes that every device of the machine signs, asked for before the processor is. */
export function deviceNonceOf({ nonce, publicKey, model }: ReleaseBinding): Uint8Array {
  const bytes = derive("modelkeep key release v1 devices", { nonce, publicKey, model });
  return bytes.slice(0, RELEASE_LIMITS.deviceNonceBytes);
}

/** SHA-384, hex, over the evidence of the devices byte for byte as it is sent. */
export function digestDevices(evidence: Uint8Array): string {
  return toHex(createHash("sha384").update(evidence).digest());
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
