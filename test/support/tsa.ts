/** A private timestamp authority for tests: right timestamps, and wrong ones that are signed all the same. */
import { concatBytes } from "../../src/base/index.ts";
import {
  algorithmIdentifier,
  type CertificateOptions,
  type Der,
  type ExtensionOptions,
  explicit,
  generalizedTime,
  integer,
  makeAuthority,
  makeCertificate,
  nothing,
  octets,
  oid,
  type Party,
  type SignatureName,
  sequence,
  setOf,
  sha,
  signBytes,
  tlv,
} from "./der-writer.ts";

export const TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
const HASH_OIDS = { sha256: "2.16.840.1.101.3.4.2.1", sha384: "2.16.840.1.101.3.4.2.2", sha1: "1.3.14.3.2.26" };
const SIGNED_DATA = "1.2.840.113549.1.7.2";
export const TIMESTAMP_INFO = "1.2.840.113549.1.9.16.1.4";
const SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47";

export const hashIdentifier = (hash: keyof typeof HASH_OIDS): Der => sequence(oid(HASH_OIDS[hash]), nothing());
export const attribute = (type: string, ...values: Der[]): Der => sequence(oid(type), setOf(...values));

/** One purpose, critical. */
export const purpose = (critical = true, ...oids: string[]): ExtensionOptions[] => [
  { oid: "2.5.29.37", critical, value: sequence(...[TIME_STAMPING, ...oids].map(oid)) },
];

export interface TokenOptions {
  /** What is stamped. */
  readonly bytes: Uint8Array;
  readonly at?: number;
  readonly imprintHash?: keyof typeof HASH_OIDS;
  /** In place of the parts of TSTInfo up to the time. */
  readonly version?: number;
  readonly policy?: string;
  readonly time?: Der;
  /** What comes after the time: accuracy, ordering, nonce, name, extensions. */
  readonly tail?: readonly Der[];
  /** In place of the whole TSTInfo. */
  readonly info?: Der;
  readonly contentType?: string;
  /** In place of the certificate that is named; undefined: none is. */
  readonly named?: Der | undefined;
  readonly attributes?: (usual: readonly Der[]) => readonly Der[];
  /** The attributes as they are written, in this order. */
  readonly unsorted?: boolean;
  readonly signer?: Party;
  readonly signingKey?: Party;
  readonly algorithm?: SignatureName;
  readonly algorithmId?: Der;
  readonly signerId?: Der;
  readonly signerVersion?: number;
  readonly dataVersion?: number;
  readonly certificates?: readonly Der[];
  /** SignerInfo again, so that there are two. */
  readonly twice?: boolean;
  readonly status?: number;
  /** Of the SignerInfo. */
  readonly hash?: "sha256" | "sha384";
}

export class StampingAuthority {
  readonly root: Party = makeAuthority({ subject: "Stamp root" });
  readonly signer: Party = this.certify();

  certify(options: Partial<CertificateOptions> = {}): Party {
    return makeCertificate({
      subject: "Stamper",
      issuer: this.root,
      ca: false,
      keyUsage: ["digitalSignature"],
      extensions: purpose(),
      ...options,
    });
  }

  /** TimeStampResp. */
  stamp(options: TokenOptions): Uint8Array {
    const { status = 0 } = options;
    return sequence(sequence(integer(status)), ...(status > 1 && !options.info ? [] : [this.token(options)]));
  }

  token(options: TokenOptions): Der {
    const { certificates = [(options.signer ?? this.signer).der], contentType = TIMESTAMP_INFO, twice } = options;
    const info = options.info ?? infoOf(options);
    const content = sequence(oid(contentType), explicit(0, octets(info)));
    const signer = this.#signerInfo(options, info, contentType);
    const hash = hashIdentifier(options.hash ?? "sha256");
    const carried = certificates.length > 0 ? [explicit(0, ...certificates)] : [];
    const signers = twice ? tlv(0x31, signer, signer) : setOf(signer);
    const data = sequence(integer(options.dataVersion ?? 3), setOf(hash), content, ...carried, signers);
    return sequence(oid(SIGNED_DATA), explicit(0, data));
  }

  #signerInfo(options: TokenOptions, info: Der, contentType: string): Der {
    const { signer = this.signer, hash = "sha256", algorithm = "ecdsa-sha256" } = options;
    const named = "named" in options ? options.named : nameOf(signer.der);
    const usual = [
      attribute("1.2.840.113549.1.9.3", oid(contentType)),
      attribute("1.2.840.113549.1.9.4", octets(sha(hash, info))),
      ...(named ? [attribute(SIGNING_CERTIFICATE_V2, named)] : []),
    ];
    const attributes = options.attributes?.(usual) ?? usual;
    const set = options.unsorted ? tlv(0x31, ...attributes) : setOf(...attributes);
    const key = (options.signingKey ?? signer).privateKey;
    return sequence(
      integer(options.signerVersion ?? 1),
      options.signerId ?? sequence(this.root.name, integer(signer.serial)),
      hashIdentifier(hash),
      concatBytes(Uint8Array.of(0xa0), set.subarray(1)),
      options.algorithmId ?? algorithmIdentifier(algorithm),
      octets(signBytes(set, key, algorithm)),
    );
  }
}

/** SigningCertificateV2 with the default hash. */
export const nameOf = (...certificates: Der[]): Der =>
  sequence(sequence(...certificates.map((der) => sequence(octets(sha("sha256", der))))));

function infoOf(options: TokenOptions): Der {
  const { bytes, at = Date.UTC(2026, 0, 1), imprintHash = "sha256", version = 1, policy = "1.2.3.4" } = options;
  const imprint = sequence(hashIdentifier(imprintHash), octets(sha(imprintHash, bytes)));
  const time = options.time ?? generalizedTime(at);
  return sequence(integer(version), oid(policy), imprint, integer(7), time, ...(options.tail ?? []));
}
