/** The bytes of a key that Azure wraps: it takes no associated data, so a key of its own carries the context. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { concatBytes } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import type { WrapContext } from "../key-wrapper.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export const KEK_BYTES = 32;
/** How the vault wraps the key of its own: RSA, or AES of a Managed HSM. The byte stands first in the blob. */
export const ALGORITHMS = { "RSA-OAEP-256": 1, A256KW: 2 } as const;
export type Algorithm = keyof typeof ALGORITHMS;

const FORMAT = "modelkeep-azure-v1";
const HEAD_BYTES = 3;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export interface Binding {
  readonly algorithm: Algorithm;
  readonly keyId: string;
  readonly keyVersion: string;
  readonly context: WrapContext;
}

export interface Blob {
  readonly algorithm: Algorithm;
  /** As the vault wrapped it. */
  readonly wrappedKek: Uint8Array;
  readonly sealed: Uint8Array;
}

/** `algorithm (1) || length (2) || wrapped KEK || nonce (12) || AES-256-GCM(KEK, nonce, key) || tag (16)`. */
export function packBlob({ algorithm, wrappedKek, sealed }: Blob): Uint8Array {
  const { length } = wrappedKek;
  return concatBytes(Uint8Array.of(ALGORITHMS[algorithm], length >> 8, length & 0xff), wrappedKek, sealed);
}

/** Undefined when it is not one. */
export function readBlob(bytes: Uint8Array): Blob | undefined {
  const algorithm = bytes[0] === 1 ? "RSA-OAEP-256" : bytes[0] === 2 ? "A256KW" : undefined;
  const end = HEAD_BYTES + (bytes[1] ?? 0) * 256 + (bytes[2] ?? 0);
  const plain = bytes.length - end - NONCE_BYTES - TAG_BYTES;
  if (!algorithm || end === HEAD_BYTES || plain < 1 || plain > BACKEND_LIMITS.wrappedKeyBytes) return undefined;
  return { algorithm, wrappedKek: bytes.subarray(HEAD_BYTES, end), sealed: bytes.subarray(end) };
}

export function sealUnder(kek: Uint8Array, nonce: Uint8Array, key: Uint8Array, binding: Binding): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", kek, nonce).setAAD(associated(binding));
  return concatBytes(nonce, cipher.update(key), cipher.final(), cipher.getAuthTag());
}

/** Undefined for another key, context or vault, and for changed bytes. The caller wipes the result. */
export function openUnder(kek: Uint8Array, sealed: Uint8Array, binding: Binding): Uint8Array | undefined {
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", kek, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associated(binding)).setAuthTag(sealed.subarray(-TAG_BYTES));
  const key = new Uint8Array(decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)));
  try {
    decipher.final();
    return key;
  } catch {
    key.fill(0);
    return undefined;
  }
}

function associated({ algorithm, keyId, keyVersion, context }: Binding): Uint8Array {
  return jcs({ format: FORMAT, algorithm, key_id: keyId, key_version: keyVersion, context });
}
