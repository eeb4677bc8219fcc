/** Signs without a key to keep: a fresh one, certified for an identity, logged, stamped, and verified before it counts. */
import { generateKeyPairSync, sign } from "node:crypto";
import { ModelkeepError, toBase64, utf8 } from "../../base/index.ts";
import { type DsseEnvelope, dsseToJson } from "../../codec/index.ts";
import { openBundle } from "../bundle.ts";
import { signEnvelope, signedPart } from "../envelope.ts";
import { keyIdOf, type ModelSigner, pemOf } from "../keys.ts";
import { MEDIA_TYPE } from "../methods/material.ts";
import { readTrustedRoot } from "../methods/trusted-root.ts";
import type { KeylessSigner } from "../signer.ts";
import { trustIdentities } from "../trust.ts";
import { type CertificateRules, type KeyPair, requestCertificate, type SigningCertificate } from "./certificate.ts";
import { checkEndpoints, type KeylessEndpoints, type LogEndpoint } from "./endpoints.ts";
import { keylessError } from "./errors.ts";
import type { KeylessPorts } from "./http.ts";
import { requestEntry } from "./log.ts";
import { requestTimestamp } from "./timestamp.ts";
import { type TokenOptions, type TokenSource, tokenSource } from "./token.ts";

export interface KeylessOptions extends KeylessPorts {
  readonly token: TokenOptions;
  /** Those of the public instance when absent. */
  readonly endpoints?: KeylessEndpoints | undefined;
  /** JSON; that of the public instance when absent. */
  readonly trustedRoot?: Uint8Array | undefined;
  /** Whom the certificate must name, exactly; what the token lets expect where absent. */
  readonly identity?: string | undefined;
  readonly issuer?: string | undefined;
}

/**
 * One signer for one model: its key is made with it and gone with it. What else it signs, statements, is checked with
 * the key of its certificate.
 */
export class KeylessModelSigner implements ModelSigner {
  readonly publicKeyPem: string;
  readonly keyId: string;
  readonly #keys: KeyPair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  readonly #options: KeylessOptions;
  readonly #endpoints: KeylessEndpoints;
  readonly #token: TokenSource;
  readonly #rules: CertificateRules;
  #certifiedFor: KeylessSigner | undefined;

  /** Throws KEYLESS_SETTINGS_INVALID, KEYLESS_TOKEN_MISSING, TRUSTED_ROOT_INVALID. */
  constructor(options: KeylessOptions) {
    const { endpoints, token, trustedRoot, identity, issuer } = options;
    this.#options = options;
    this.#endpoints = checkEndpoints(endpoints);
    this.#token = tokenSource(token);
    this.#rules = { trustedRoot: readTrustedRoot(trustedRoot), identity, issuer };
    this.publicKeyPem = pemOf(this.#keys.publicKey);
    this.keyId = keyIdOf(this.publicKeyPem);
  }

  /** Who signed, once a bundle was made. */
  get identity(): KeylessSigner | undefined {
    return this.#certifiedFor;
  }

  async sign(bytes: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(sign("sha256", bytes, { key: this.#keys.privateKey, dsaEncoding: "der" }));
  }

  /**
   * A bundle over the payload that our own verifier accepted under the trusted root. The timestamps come before the
   * entries: what the log took stays there. Throws the KEYLESS codes, each for its step; nothing is written anywhere.
   */
  async makeBundle(payload: Uint8Array): Promise<Uint8Array> {
    const certificate = await this.#certify();
    const envelope = await signEnvelope(payload, this);
    const { signature } = signedPart(envelope);
    const { logs, timestampUrls } = this.#endpoints;
    const stamp = (url: string) => requestTimestamp(this.#options, url, signature);
    const timestamps = await Promise.all(timestampUrls.map(stamp));
    const log = (endpoint: LogEndpoint) => requestEntry(this.#options, endpoint, envelope, certificate.der);
    const entries = await Promise.all(logs.map(log));
    const bundle = bundleOf(envelope, certificate, entries, timestamps);
    await this.#prove(bundle, certificate);
    this.#certifiedFor = { method: "keyless", identity: certificate.identity, issuer: certificate.issuer };
    return bundle;
  }

  async #certify(): Promise<SigningCertificate> {
    const token = await this.#token(this.#options);
    try {
      return await requestCertificate(this.#options, this.#endpoints.authorityUrl, token, this.#keys, this.#rules);
    } finally {
      token.secret.wipe();
    }
  }

  async #prove(bundle: Uint8Array, { identity, issuer }: SigningCertificate): Promise<void> {
    try {
      openBundle(bundle, await trustIdentities([{ identity, issuer }], this.#options.trustedRoot));
    } catch (error) {
      if (!(error instanceof ModelkeepError)) throw error;
      throw keylessError("KEYLESS_UNPROVEN", { detail: `${error.code}: ${error.message}`, cause: error });
    }
  }
}

function bundleOf(
  envelope: DsseEnvelope,
  certificate: SigningCertificate,
  tlogEntries: readonly object[],
  timestamps: readonly Uint8Array[],
): Uint8Array {
  const rfc3161Timestamps = timestamps.map((response) => ({ signedTimestamp: toBase64(response) }));
  const bundle = {
    mediaType: MEDIA_TYPE,
    verificationMaterial: {
      certificate: { rawBytes: toBase64(certificate.der) },
      tlogEntries,
      ...(timestamps.length > 0 ? { timestampVerificationData: { rfc3161Timestamps } } : {}),
    },
    dsseEnvelope: dsseToJson(envelope),
  };
  return utf8(`${JSON.stringify(bundle)}\n`);
}
