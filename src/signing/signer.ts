/** Who signed, as a verifier found it out: a key, a certificate under a named authority, or a keyless identity. */
import type { TrustedKey } from "./keys.ts";
import type { TrustedTime } from "./timestamps/verify.ts";

export type SignerIdentity = KeySigner | CertificateSigner | KeylessSigner;

export interface KeySigner {
  readonly method: "key";
  /** Lower-case hex SHA-256 of the SPKI PEM. */
  readonly keyId: string;
}

export interface CertificateSigner {
  readonly method: "certificate";
  /** The leaf's distinguished name, as RFC 4514 writes it; may be empty. */
  readonly subject: string;
  /** The leaf's alternative names, each with its kind before it: `email:`, `uri:`, `dns:`. */
  readonly alternativeNames: readonly string[];
  /** Lower-case hex SHA-256 of the anchor's DER. */
  readonly caDigest: string;
}

export interface KeylessSigner {
  readonly method: "keyless";
  readonly identity: string;
  readonly issuer: string;
}

export interface SignedPayload {
  readonly payload: Uint8Array;
  readonly signer: SignerIdentity;
  /** The key that made the signature; what else the same signer said is checked with it. */
  readonly signerKey: TrustedKey;
  /** The earliest time at which a named timestamp authority saw the signature; absent without one. */
  readonly seenAt?: TrustedTime | undefined;
}
