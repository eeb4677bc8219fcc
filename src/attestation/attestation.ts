/** The narrow interface that every TEE stands behind: evidence is collected here and judged there. */

export interface Evidence {
  /** `insecure-dev`, `snp`, `tdx`, `sgx`, `az-snp-vtpm`, `az-tdx-vtpm`. */
  readonly kind: string;
  readonly data: Uint8Array;
  /** Of the NVIDIA devices of the same machine: JSON as `parseGpuEvidence` reads it. */
  readonly devices?: Uint8Array;
}

/** What the devices of a machine proved, beside its processor. */
export interface AttestedDevices {
  readonly gpus: number;
  readonly switches: number;
  /** Lower-case hex: what they are and which firmware they run. */
  readonly measurement: string;
  readonly debug: boolean;
  readonly ueids: readonly string[];
}

declare const attested: unique symbol;

/** Only a verifier makes these: what an environment proved about itself. */
export interface AttestedClaims {
  readonly [attested]: true;
  readonly kind: string;
  /** Lower-case hex. */
  readonly measurement: string;
  readonly debug: boolean;
  /** The 64 bytes that the environment bound into its evidence. */
  readonly reportData: Uint8Array;
  /** The vendor's word for the platform's firmware; absent where the vendor has none. */
  readonly tcbStatus?: string;
  /** What the platform is, for example `Genoa`; absent where the evidence does not say it. */
  readonly product?: string;
  /** Ids of the vendor's advisories that speak of the platform; absent where the vendor has none. */
  readonly advisories?: readonly string[];
  /** Present when the machine's devices were judged with it as one. */
  readonly devices?: AttestedDevices;
}

/** Collects from the devices of this machine, each of which signs the same nonce. */
export interface DeviceCollector {
  /** 32 bytes in; JSON as `parseGpuEvidence` reads it out. */
  collect(nonce: Uint8Array): Promise<Uint8Array>;
}

export interface EvidenceCollector {
  readonly kind: string;
  /** `reportData` is 64 bytes. */
  collect(reportData: Uint8Array): Promise<Evidence>;
}

export interface EvidenceVerifier {
  readonly kind: string;
  /** Pure but for what it was built with; `now` in milliseconds. Throws EVIDENCE_REFUSED with the failed rule. */
  verify(evidence: Evidence, expectedReportData: Uint8Array, now: number): Promise<AttestedClaims>;
}
