/** A private EC key in a KMS or a token that signs and does not come out. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { backendError } from "./errors.ts";

export type SigningHash = "sha256" | "sha384" | "sha512";

export interface SigningBackend {
  /** Without credentials. */
  readonly uri: string;
  /** SPKI PEM of a key on P-256, P-384 or P-521. Throws KMS_KEY_UNFIT for any other. */
  publicKeyPem(): Promise<string>;
  /** DER-encoded ECDSA signature of a digest that the caller made with `hash`. */
  sign(digest: Uint8Array, hash: SigningHash): Promise<Uint8Array>;
}

const CURVES = new Set(["prime256v1", "secp384r1", "secp521r1"]);

/** What a service says is its public key, as PEM. Throws KMS_ANSWER_INVALID or KMS_KEY_UNFIT. */
export function ecPublicPem(key: { pem: string } | { spki: Uint8Array }): string {
  const parsed = parse(key);
  if (parsed.asymmetricKeyType !== "ec" || !CURVES.has(parsed.asymmetricKeyDetails?.namedCurve ?? ""))
    throw backendError("KMS_KEY_UNFIT", { detail: "models are signed with EC keys on P-256, P-384 or P-521" });
  return parsed.export({ type: "spki", format: "pem" }).toString();
}

function parse(key: { pem: string } | { spki: Uint8Array }): KeyObject {
  try {
    return "pem" in key
      ? createPublicKey({ key: key.pem, format: "pem" })
      : createPublicKey({ key: Buffer.from(key.spki), format: "der", type: "spki" });
  } catch {
    throw backendError("KMS_ANSWER_INVALID", { detail: "its public key" });
  }
}
