/** Whom a caller trusts to sign: named keys, named authorities, named identities; never what the system trusts. */

import { fromUtf8 } from "../base/index.ts";
import { type Certificate, type Crl, parseCertificate, parseCrl, parsePem } from "../codec/index.ts";
import { signingError } from "./errors.ts";
import { loadTrustedKey, type TrustedKey, textOf } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";

/** A signer is trusted when one member of one list names it. A method without a list is never trusted. */
export interface Trust {
  readonly publicKeys: readonly TrustedKey[];
  readonly authorities?: AuthorityTrust;
  readonly identities?: IdentityTrust;
  /** Keys whose holders were judged before: the signature must be of one of them, whatever else the bundle says. */
  readonly pinned?: readonly TrustedKey[];
  /** Whose timestamps count; without it none does. */
  readonly timestamps?: TimestampTrust;
  /** What is known of revoked certificates; without it nothing is asked. */
  readonly revocation?: RevocationTrust;
}

export interface TimestampTrust {
  readonly anchors: readonly Certificate[];
  /** Later times are not believed, in milliseconds since the Unix epoch. */
  readonly atMs: number;
}

export interface RevocationTrust {
  readonly crls: readonly Crl[];
  /** Every certificate between signer and anchor must be judged by a list. */
  readonly required: boolean;
}

export interface TrustedAuthority {
  readonly anchor: Certificate;
  /**
   * Exactly the signer's: `email:`, `uri:` or `dns:` before an alternative name, or a distinguished name as RFC 4514
   * writes it (`CN=Signer,O=Example,C=US`). Absent: whomever the authority issued a signing certificate to, which its
   * maker has to ask for by name.
   */
  readonly subject?: string;
}

export interface AuthorityTrust {
  readonly members: readonly TrustedAuthority[];
  /** When every certificate of a path must be valid, in milliseconds since the Unix epoch. */
  readonly atMs: number;
}

export interface TrustedIdentity {
  /** The certificate's one alternative name, for example a mail address or the URL of a workflow. */
  readonly identity: string;
  /** The URL of who vouched for it. */
  readonly issuer: string;
}

/** What a keyless bundle proved; whether that signer is trusted is another question. */
export interface KeylessProof extends TrustedIdentity {
  readonly key: TrustedKey;
}

export interface KeylessVerifier {
  /** Takes the parsed bundle and says who signed its envelope; throws what `verifyBundle` does. */
  prove(bundle: object): KeylessProof;
}

export interface IdentityTrust {
  readonly members: readonly TrustedIdentity[];
  readonly verifier: KeylessVerifier;
}

/** SPKI PEM each. Throws PUBLIC_KEY_INVALID. */
export function trustKeys(pems: readonly (string | Uint8Array)[]): Trust {
  if (pems.length > SIGNING_LIMITS.trustedKeys)
    throw signingError("PUBLIC_KEY_INVALID", { detail: `over ${SIGNING_LIMITS.trustedKeys} keys` });
  return { publicKeys: pems.map(loadTrustedKey) };
}

/**
 * Trust in what these keys sign, also under a certificate or an identity, which is not looked at: for a signer whom a
 * policy accepted, or who is the caller. Throws PUBLIC_KEY_INVALID.
 */
export function pinKeys(pems: readonly (string | Uint8Array)[]): Trust {
  const { publicKeys } = trustKeys(pems);
  return { publicKeys, pinned: publicKeys };
}

export interface AuthorityInput {
  /** Every certificate in it is an anchor. */
  readonly pem: string | Uint8Array;
  readonly subject?: string | undefined;
  /** Whomever the authority issued a signing certificate to. */
  readonly anySubject?: boolean;
}

/** Trust in what these authorities issue, as of a time. Throws CERTIFICATE_INVALID, also without a word on the subject. */
export function trustAuthorities(inputs: readonly AuthorityInput[], atMs: number): Trust {
  if (inputs.some(({ subject, anySubject }) => (subject === undefined) !== (anySubject === true)))
    throw signingError("CERTIFICATE_INVALID", {
      detail: "an authority is trusted for one subject, or for any by name",
    });
  const members = inputs.flatMap(({ pem, subject }) =>
    readCertificates(pem).map((anchor) => (subject === undefined ? { anchor } : { anchor, subject })),
  );
  if (members.length > SIGNING_LIMITS.trustedAuthorities)
    throw signingError("CERTIFICATE_INVALID", { detail: `over ${SIGNING_LIMITS.trustedAuthorities} authorities` });
  return { publicKeys: [], authorities: { members, atMs } };
}

/**
 * Trust in what these identities sign, proven by a Sigstore trusted root (JSON); without one by that of the public
 * instance, as it was when this version was made. Nothing is fetched. Throws TRUSTED_ROOT_INVALID.
 */
export async function trustIdentities(members: readonly TrustedIdentity[], trustedRoot?: Uint8Array): Promise<Trust> {
  if (members.length > SIGNING_LIMITS.trustedIdentities)
    throw signingError("TRUSTED_ROOT_INVALID", { detail: `over ${SIGNING_LIMITS.trustedIdentities} identities` });
  const { SigstoreVerifier } = await import("./methods/sigstore.ts");
  return { publicKeys: [], identities: { members, verifier: SigstoreVerifier.with(trustedRoot) } };
}

/** The same trust, and timestamps of these authorities (PEM each) count. Throws CERTIFICATE_INVALID. */
export function trustTimestamps(trust: Trust, pems: readonly (string | Uint8Array)[], atMs: number): Trust {
  const anchors = pems.flatMap(readCertificates);
  if (anchors.length > SIGNING_LIMITS.trustedAuthorities)
    throw signingError("CERTIFICATE_INVALID", { detail: `over ${SIGNING_LIMITS.trustedAuthorities} authorities` });
  return { ...trust, timestamps: { anchors, atMs } };
}

/** Lists in PEM, several in one file, or DER. Throws CRL_UNREADABLE. */
export function readRevocationLists(files: readonly Uint8Array[]): Crl[] {
  const crls = files.flatMap((file) => (file[0] === DER_SEQUENCE ? [readList(file)] : listsOfPem(file)));
  if (crls.length > SIGNING_LIMITS.crls)
    throw signingError("CRL_UNREADABLE", { detail: `over ${SIGNING_LIMITS.crls} lists` });
  return crls;
}

const DER_SEQUENCE = 0x30;

function listsOfPem(file: Uint8Array): Crl[] {
  const blocks = unreadable(() => parsePem(fromUtf8(file)));
  const stranger = blocks.find(({ label }) => label !== "X509 CRL");
  if (stranger) throw signingError("CRL_UNREADABLE", { detail: `a ${stranger.label} among the lists` });
  return blocks.map(({ der }) => readList(der));
}

const readList = (der: Uint8Array) => unreadable(() => parseCrl(der));

function unreadable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const detail = error instanceof Error ? error.message : "it is not a revocation list";
    throw signingError("CRL_UNREADABLE", { detail, cause: error });
  }
}

/** The certificates of a PEM file, in its order. Throws CERTIFICATE_INVALID. */
export function readCertificates(pem: string | Uint8Array): Certificate[] {
  const text = typeof pem === "string" ? pem : textOf(pem, "CERTIFICATE_INVALID");
  const blocks = wrapInvalid(() => parsePem(text));
  const stranger = blocks.find(({ label }) => label !== "CERTIFICATE");
  if (stranger) throw signingError("CERTIFICATE_INVALID", { detail: `a ${stranger.label} among the certificates` });
  return blocks.map(({ der }) => wrapInvalid(() => parseCertificate(der)));
}

function wrapInvalid<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const detail = error instanceof Error ? error.message : "it is not a certificate";
    throw signingError("CERTIFICATE_INVALID", { detail, cause: error });
  }
}
