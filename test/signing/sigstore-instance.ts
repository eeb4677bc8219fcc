/** A private Sigstore instance for tests: an authority, a certificate log and a signature log, right ones and wrong ones. */
import { createHash, type KeyObject, sign } from "node:crypto";
import { concatBytes, uint64be, utf8 } from "../../src/base/index.ts";
import { dssePae, jcs, OID, parseDer } from "../../src/codec/index.ts";
import {
  type CertificateOptions,
  type ExtensionOptions,
  implicit,
  type KeyKind,
  type Keys,
  makeAuthority,
  makeCertificate,
  makeKeys,
  octets,
  type Party,
  spkiOf,
  utf8String,
} from "../support/der-writer.ts";

const SCT_LIST = "1.3.6.1.4.1.11129.2.4.2";
const HASHES: Readonly<Record<KeyKind, string | null>> = {
  "P-256": "sha256",
  "P-384": "sha384",
  "P-521": "sha512",
  rsa: "sha256",
  ed25519: null,
};
export const ISSUER_V1 = "1.3.6.1.4.1.57264.1.1";
export const ISSUER_V2 = "1.3.6.1.4.1.57264.1.8";
/** When everything here is signed. */
export const SIGNED_AT = Date.UTC(2026, 2, 1);

const sha256 = (...parts: Uint8Array[]) =>
  createHash("sha256")
    .update(concatBytes(...parts))
    .digest();
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
const uint16 = (value: number) => Uint8Array.of(value >> 8, value & 0xff);
const prefixed = (bytes: Uint8Array) => concatBytes(uint16(bytes.length), bytes);
const logIdOf = (key: KeyObject) => sha256(spkiOf(key));

export interface BundleOptions {
  readonly keyKind?: KeyKind;
  readonly identity?: string;
  readonly issuer?: string;
  /** In place of what the certificate has for names, issuer and purposes. */
  readonly certificate?: Partial<CertificateOptions>;
  /** In place of the two issuer extensions. */
  readonly issuerExtensions?: readonly ExtensionOptions[];
  /** When the log says it took the entry, in milliseconds. */
  readonly loggedAt?: number;
  /** A signature that is not the certificate's key's. */
  readonly signingKey?: KeyObject;
}

export class SigstoreInstance {
  readonly authority: Party = makeAuthority({ subject: "Private Fulcio", keyKind: "P-384" });
  readonly certificateLog: Keys = makeKeys();
  readonly log: Keys = makeKeys();

  /** The JSON of its trusted root. */
  trustedRoot(): Uint8Array {
    const validFor = { start: "2024-01-01T00:00:00Z", end: null };
    const log = ({ publicKey }: Keys, baseUrl: string) => ({
      baseUrl,
      hashAlgorithm: "SHA2_256",
      publicKey: { rawBytes: base64(spkiOf(publicKey)), keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor },
      logId: { keyId: base64(logIdOf(publicKey)) },
    });
    const certChain = { certificates: [{ rawBytes: base64(this.authority.der) }] };
    const root = {
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: [log(this.log, "https://log.example")],
      ctlogs: [log(this.certificateLog, "https://ct.example")],
      certificateAuthorities: [
        {
          subject: { organization: "", commonName: "Private Fulcio" },
          uri: "https://fulcio.example",
          certChain,
          validFor,
        },
      ],
      timestampAuthorities: [],
    };
    return utf8(JSON.stringify(root));
  }

  /** A bundle over the payload, signed with a fresh key and logged. */
  bundle(payload: Uint8Array, options: BundleOptions = {}): string {
    const { keyKind = "P-256", loggedAt = SIGNED_AT } = options;
    const keys = makeKeys(keyKind);
    const certificate = this.certify(keys, options);
    const payloadType = "application/vnd.in-toto+json";
    const signature = sign(HASHES[keyKind], dssePae(payloadType, payload), options.signingKey ?? keys.privateKey);
    return JSON.stringify({
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: {
        certificate: { rawBytes: base64(certificate.der) },
        tlogEntries: [this.#entry(payload, signature, Math.floor(loggedAt / 1000))],
      },
      dsseEnvelope: { payload: base64(payload), payloadType, signatures: [{ sig: base64(signature) }] },
    });
  }

  /** Twice the same certificate: the log signs it without the stamp that then goes into it (RFC 6962, section 3.2). */
  certify(keys: Pick<Keys, "publicKey">, options: BundleOptions): Party {
    const { identity = "signer@example.com", issuer = "https://id.example.com" } = options;
    const issuers = options.issuerExtensions ?? [
      { oid: ISSUER_V1, value: utf8(issuer) },
      { oid: ISSUER_V2, value: utf8String(issuer) },
    ];
    const extensions = [...issuers, ...(options.certificate?.extensions ?? [])];
    const base: CertificateOptions = {
      subject: new Uint8Array([0x30, 0]),
      issuer: this.authority,
      keys: { privateKey: this.authority.privateKey, ...keys },
      serial: 7n,
      notBefore: SIGNED_AT - 1000,
      notAfter: SIGNED_AT + 600_000,
      keyUsage: ["digitalSignature"],
      extendedKeyUsage: [OID.codeSigning],
      subjectAltNames: [implicit(1, utf8(identity))],
      ...options.certificate,
      extensions,
    };
    const stamped = { oid: SCT_LIST, value: octets(prefixed(prefixed(this.#stamp(makeCertificate(base))))) };
    return makeCertificate({ ...base, extensions: [...extensions, stamped] });
  }

  #stamp(certificate: Party): Uint8Array {
    const tbs = parseDer(certificate.der).children[0]?.raw ?? new Uint8Array();
    const { publicKey, privateKey } = this.certificateLog;
    const time = uint64be(SIGNED_AT);
    const length = concatBytes(Uint8Array.of(tbs.length >> 16), uint16(tbs.length & 0xffff));
    const entry = concatBytes(uint16(1), sha256(spkiOf(this.authority.publicKey)), length, tbs, uint16(0));
    const signature = sign("sha256", concatBytes(Uint8Array.of(0, 0), time, entry), privateKey);
    return concatBytes(Uint8Array.of(0), logIdOf(publicKey), time, uint16(0), Uint8Array.of(4, 3), prefixed(signature));
  }

  /** The only entry of a log of the first version. */
  #entry(payload: Uint8Array, signature: Uint8Array, integratedTime: number): object {
    const payloadHash = { algorithm: "sha256", value: sha256(payload).toString("hex") };
    const spec = { payloadHash, signatures: [{ signature: base64(signature) }] };
    const body = utf8(JSON.stringify({ apiVersion: "0.0.1", kind: "dsse", spec }));
    const logId = logIdOf(this.log.publicKey);
    const promise = jcs({ body: base64(body), integratedTime, logID: logId.toString("hex"), logIndex: 0 });
    const rootHash = base64(sha256(Uint8Array.of(0), body));
    const note = `log.example\n1\n${rootHash}\n`;
    const noteSignature = base64(concatBytes(logId.subarray(0, 4), this.#signLog(utf8(note))));
    return {
      logIndex: "0",
      logId: { keyId: base64(logId) },
      kindVersion: { kind: "dsse", version: "0.0.1" },
      integratedTime: String(integratedTime),
      inclusionPromise: { signedEntryTimestamp: base64(this.#signLog(promise)) },
      inclusionProof: {
        logIndex: "0",
        rootHash,
        treeSize: "1",
        hashes: [],
        checkpoint: { envelope: `${note}\n\u2014 log.example ${noteSignature}\n` },
      },
      canonicalizedBody: base64(body),
    };
  }

  #signLog(bytes: Uint8Array): Uint8Array {
    return sign("sha256", bytes, this.log.privateKey);
  }
}
