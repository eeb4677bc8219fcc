/** What an NVIDIA device proved or said about itself. */
import type { NvidiaArch } from "./evidence.ts";
import type { CcMode } from "./opaque.ts";

/** `absent` is its own value: an identity that was not stated never counts as one that fits. */
export type FwidClaim = "match" | "mismatch" | "absent";

export type RevocationClaim = "good" | "hold" | "revoked" | "unchecked";

export interface GpuClaims {
  readonly kind: "gpu" | "switch";
  readonly arch: NvidiaArch;
  /** The chip as its own certificate names it, for example `GH100 A01 GSP FMC LF`. */
  readonly hardwareModel: string;
  /** Serial number of the leaf, decimal: as the vendor's tokens write it. */
  readonly ueid: string;
  /** Identity that links name, lower-case hex; absent where the chain does not say it. */
  readonly pdi?: string;
  /** 32 bytes, lower-case hex. */
  readonly nonce: string;
  readonly driverVersion?: string;
  readonly vbiosVersion?: string;
  /** Ids under which NVIDIA publishes the manifests of these versions. */
  readonly rimIds: { readonly driver?: string; readonly vbios?: string };
  readonly fwid: FwidClaim;
  readonly ccMode?: CcMode | "unknown";
  readonly protectedPcie?: "on" | "off" | "unknown";
  /** Of a GPU: switches at its links. Of a switch: itself. */
  readonly switchPdis: readonly string[];
  /** Of a switch: GPUs at its links. */
  readonly gpuPdis: readonly string[];
  readonly revocation: RevocationClaim;
  /** Measurements that a manifest named and that were compared. */
  readonly comparedMeasurements: number;
  /** By index, lower-case hex, as the device signed them. */
  readonly measurements: ReadonlyMap<number, string>;
}
