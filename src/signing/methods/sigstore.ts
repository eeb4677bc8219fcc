/** The one place that asks the Sigstore library: certificate, log and time of a keyless bundle, all of it offline. */
import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { type Bundle, bundleFromJSON, ValidationError } from "@sigstore/bundle";
import {
  PolicyError,
  type SignedEntity,
  toSignedEntity,
  toTrustMaterial,
  VerificationError,
  Verifier,
} from "@sigstore/verify";
import { equalBytes, ModelkeepError } from "../../base/index.ts";
import { parseDsse } from "../../codec/index.ts";
import { signedPart } from "../envelope.ts";
import { signingError } from "../errors.ts";
import type { TrustedKey } from "../keys.ts";
import type { KeylessProof, KeylessVerifier } from "../trust.ts";
import { proofOf } from "./fulcio.ts";
import { keyOf, readUntrusted } from "./material.ts";
import { readTrustedRoot, type TrustedRoot } from "./trusted-root.ts";

type SignatureContent = SignedEntity["signature"];

/** One log entry, one certificate transparency stamp and one trusted time at least. */
const THRESHOLDS = { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 };

const CODES = {
  SIGNATURE_ERROR: "SIGNATURE_INVALID",
  CERTIFICATE_ERROR: "CERTIFICATE_NOT_TRUSTED",
  PUBLIC_KEY_ERROR: "SIGNER_NOT_TRUSTED",
} as const;

export class SigstoreVerifier implements KeylessVerifier {
  readonly #root: TrustedRoot;

  /** The JSON of a trusted root; that of the public instance without one. Throws TRUSTED_ROOT_INVALID. */
  static with(trustedRoot?: Uint8Array): SigstoreVerifier {
    return new SigstoreVerifier(readTrustedRoot(trustedRoot));
  }

  constructor(root: TrustedRoot) {
    this.#root = root;
  }

  /** Of an envelope signed with a certificate, as OMS has it. */
  prove(json: object): KeylessProof {
    return translated(() => {
      const bundle = bundleFromJSON(json);
      const leaf = readUntrusted(leafOf(bundle));
      this.#verify(entityOf(bundle, envelopeContent(json, keyOf(leaf))), undefined);
      return proofOf(leaf);
    });
  }

  /** Any Sigstore bundle of a file, by a certificate; returns who signed. */
  proveFile(json: object, artifact: Uint8Array): KeylessProof {
    return translated(() => {
      const bundle = bundleFromJSON(json);
      const leaf = readUntrusted(leafOf(bundle));
      this.#verify(entityOf(bundle, undefined, artifact), undefined);
      return proofOf(leaf);
    });
  }

  /** A bundle of a file that a named key signed and a log of the root holds. */
  checkFileByKey(json: object, artifact: Uint8Array, publicKeyPem: string): void {
    translated(() => {
      const bundle = bundleFromJSON(json);
      if (bundle.verificationMaterial.content.$case !== "publicKey") throw notAKey();
      this.#verify(entityOf(bundle, undefined, artifact), createPublicKey(publicKeyPem));
    });
  }

  #verify(entity: SignedEntity, key: KeyObject | undefined): void {
    const material = toTrustMaterial(this.#root, () => {
      if (!key) throw notAKey();
      return { publicKey: key, validFor: () => true };
    });
    new Verifier(material, THRESHOLDS).verify(entity);
  }
}

const notAKey = () => signingError("SIGNER_NOT_TRUSTED", { detail: "signed by a key that nobody named" });

function leafOf(bundle: Bundle): Uint8Array {
  const { content } = bundle.verificationMaterial;
  if (content.$case === "certificate") return content.certificate.rawBytes;
  const first = content.$case === "x509CertificateChain" ? content.x509CertificateChain.certificates[0] : undefined;
  if (!first) throw notAKey();
  return first.rawBytes;
}

/** A log's time counts only with its promise, which signs it: an inclusion proof says nothing of when. */
function entityOf(bundle: Bundle, content: SignatureContent | undefined, artifact?: Uint8Array): SignedEntity {
  const entity = toSignedEntity(bundle, artifact && Buffer.from(artifact));
  const timestamps = entity.timestamps.filter(
    (time) => time.$case !== "transparency-log" || time.tlogEntry.inclusionPromise !== undefined,
  );
  return { ...entity, timestamps, signature: content ?? entity.signature };
}

/** Our own reading of the envelope: the hash goes with the curve, where the library takes SHA-256 for each. */
function envelopeContent(json: object, key: TrustedKey): SignatureContent {
  const envelope = parseDsse("dsseEnvelope" in json ? (json.dsseEnvelope as object) : {});
  const { signed, signature } = signedPart(envelope);
  return {
    signature: Buffer.from(signature),
    compareSignature: (other) => equalBytes(other, signature),
    compareDigest: (digest) => equalBytes(digest, sha(256, envelope.payload)),
    compareSignedDigest: (digest) =>
      [256, 384, 512].some((bits) => digest.length * 8 === bits && equalBytes(digest, sha(bits, signed))),
    verifySignature: () => key.verifies(signed, signature),
  };
}

const sha = (bits: number, bytes: Uint8Array) => new Uint8Array(createHash(`sha${bits}`).update(bytes).digest());

/** What the library throws, in our codes; what it stumbles over is a bundle that is not understood. */
function translated<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof VerificationError || error instanceof PolicyError) {
      const code = error.code in CODES ? CODES[error.code as keyof typeof CODES] : "LOG_NOT_PROVEN";
      throw signingError(code, { detail: error.message.slice(0, 200), cause: error });
    }
    if (error instanceof ModelkeepError) throw error;
    const detail = error instanceof ValidationError ? error.fields.join(", ").slice(0, 200) : "keyless material";
    throw signingError("BUNDLE_INVALID", { detail, cause: error });
  }
}
