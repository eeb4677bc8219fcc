/** Signature algorithms and public keys of X.509 (RFC 3279, 4055, 5480, 8410): the few that are accepted. */
import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import { DER_TAG, type DerNode } from "./der.ts";
import { DerFields, derInner, derOid, derSmallInteger, isUniversal } from "./der-read.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";

export type SignatureHash = "sha256" | "sha384" | "sha512";

export type SignatureAlgorithm =
  | { readonly kind: "ecdsa"; readonly hash: SignatureHash }
  | { readonly kind: "rsa-pkcs1"; readonly hash: SignatureHash }
  | { readonly kind: "rsa-pss"; readonly hash: SignatureHash; readonly saltBytes: number }
  | { readonly kind: "ed25519" };

/** What a certificate, a revocation list and an OCSP response have in common. */
export interface SignedDer {
  /** The bytes that the signature covers. */
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
}

const PLAIN: Readonly<Record<string, SignatureAlgorithm>> = {
  [OID.ecdsaWithSha256]: { kind: "ecdsa", hash: "sha256" },
  [OID.ecdsaWithSha384]: { kind: "ecdsa", hash: "sha384" },
  [OID.ecdsaWithSha512]: { kind: "ecdsa", hash: "sha512" },
  [OID.sha256WithRsa]: { kind: "rsa-pkcs1", hash: "sha256" },
  [OID.sha384WithRsa]: { kind: "rsa-pkcs1", hash: "sha384" },
  [OID.sha512WithRsa]: { kind: "rsa-pkcs1", hash: "sha512" },
  [OID.ed25519]: { kind: "ed25519" },
};

const HASHES: Readonly<Record<string, SignatureHash>> = {
  [OID.sha256]: "sha256",
  [OID.sha384]: "sha384",
  [OID.sha512]: "sha512",
};

const KEY_KINDS: Readonly<Record<SignatureAlgorithm["kind"], readonly string[]>> = {
  ecdsa: ["ec"],
  "rsa-pkcs1": ["rsa"],
  "rsa-pss": ["rsa"],
  ed25519: ["ed25519"],
};

const refuse = (why: string) => codecError("X509_INVALID", { detail: why });

/** Throws X509_INVALID for an algorithm that is not accepted, SHA-1 among them. */
export function readSignatureAlgorithm(node: DerNode): SignatureAlgorithm {
  const fields = new DerFields(node);
  const oid = derOid(fields.take());
  const parameters = fields.takeIf(() => true);
  fields.end();
  if (oid === OID.rsaPss) return readPss(parameters);
  const algorithm = PLAIN[oid];
  if (!algorithm) throw refuse(`signature algorithm ${oid}`);
  const nullAllowed = algorithm.kind === "rsa-pkcs1" && isUniversal(parameters, DER_TAG.null);
  if (parameters && !nullAllowed) throw refuse(`parameters of signature algorithm ${oid}`);
  return algorithm;
}

/** RSASSA-PSS-params (RFC 4055, section 3.1); the defaults mean SHA-1 and so are refused. */
function readPss(parameters: DerNode | undefined): SignatureAlgorithm {
  if (!parameters) throw refuse("RSASSA-PSS without parameters");
  const fields = new DerFields(parameters);
  const hash = readHash(fields.takeContext(0));
  const mgf = fields.takeContext(1);
  const salt = fields.takeContext(2);
  const trailer = fields.takeContext(3);
  fields.end();
  if (!mgf || !salt) throw refuse("RSASSA-PSS with a parameter left out");
  if (readMgf(mgf) !== hash) throw refuse("RSASSA-PSS with two hashes");
  if (trailer && derSmallInteger(derInner(trailer)) !== 1) throw refuse("RSASSA-PSS with another trailer");
  const saltBytes = derSmallInteger(derInner(salt));
  if (saltBytes > CODEC_LIMITS.rsaMaxBits / 8) throw refuse(`RSASSA-PSS with a salt of ${saltBytes} bytes`);
  return { kind: "rsa-pss", hash, saltBytes };
}

function readMgf(node: DerNode): SignatureHash {
  const fields = new DerFields(derInner(node));
  const oid = derOid(fields.take());
  const hash = fields.take();
  fields.end();
  if (oid !== OID.mgf1) throw refuse(`mask generation ${oid}`);
  return hashOf(hash);
}

function readHash(node: DerNode | undefined): SignatureHash {
  if (!node) throw refuse("RSASSA-PSS with SHA-1");
  return hashOf(derInner(node));
}

function hashOf(node: DerNode): SignatureHash {
  const hash = HASHES[readHashOid(node)];
  if (!hash) throw refuse("a hash that is not accepted");
  return hash;
}

/** The OID of a hash's AlgorithmIdentifier, whose parameters are absent or NULL. */
export function readHashOid(node: DerNode): string {
  const fields = new DerFields(node);
  const oid = derOid(fields.take());
  fields.takeUniversal(DER_TAG.null);
  fields.end();
  return oid;
}

const CURVES = new Set<string>([OID.p256, OID.p384, OID.p521]);

/**
 * The key of a SubjectPublicKeyInfo: RSA of 2048 to 8192 bits, P-256, P-384 or P-521 by name, Ed25519.
 * A curve that is written out is refused: it may have another generator.
 */
export function readPublicKey(node: DerNode): KeyObject {
  const fields = new DerFields(node);
  const algorithm = new DerFields(fields.take());
  const oid = derOid(algorithm.take());
  const parameters = algorithm.takeIf(() => true);
  algorithm.end();
  const known =
    oid === OID.ecPublicKey
      ? isUniversal(parameters, DER_TAG.oid) && CURVES.has(derOid(parameters))
      : oid === OID.rsaEncryption
        ? isUniversal(parameters, DER_TAG.null)
        : oid === OID.ed25519 && !parameters;
  if (!known) throw refuse(`public key algorithm ${oid}`);
  const key = importSpki(node.raw);
  if (!isStrongKey(key)) throw refuse("a public key of this size");
  return key;
}

function importSpki(der: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
  } catch (cause) {
    throw codecError("X509_INVALID", { detail: "the public key", cause });
  }
}

function isStrongKey(key: KeyObject): boolean {
  if (key.asymmetricKeyType !== "rsa") return true;
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  const oddExponent = publicExponent > 2n && publicExponent % 2n === 1n;
  return (
    modulusLength >= CODEC_LIMITS.rsaMinBits &&
    modulusLength <= CODEC_LIMITS.rsaMaxBits &&
    oddExponent &&
    publicExponent < 1n << BigInt(CODEC_LIMITS.rsaExponentBits)
  );
}

/** Whether this key made the signature; false also when the key is of another kind than the algorithm. */
export function verifySignedBy(signed: SignedDer, issuerPublicKey: KeyObject): boolean {
  const { tbs, signatureAlgorithm: algorithm, signature } = signed;
  const kind = issuerPublicKey.asymmetricKeyType ?? "";
  if (!KEY_KINDS[algorithm.kind].includes(kind) || !isStrongKey(issuerPublicKey)) return false;
  if (algorithm.kind === "ed25519") return verify(null, tbs, issuerPublicKey, signature);
  const pss =
    algorithm.kind === "rsa-pss"
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: algorithm.saltBytes }
      : undefined;
  return verify(algorithm.hash, tbs, pss ? { key: issuerPublicKey, ...pss } : issuerPublicKey, signature);
}
