/** What an enclave says about itself. All digests are lower-case hex. */
import { toHex } from "../../base/index.ts";
import type { PlatformClaims } from "../dcap/claims.ts";
import type { SgxReport } from "../dcap/reports.ts";

export interface SgxClaims extends PlatformClaims {
  readonly tee: "sgx";
  readonly cpuSvn: string;
  readonly miscSelect: number;
  readonly flags: bigint;
  readonly xfrm: bigint;
  readonly debug: boolean;
  readonly mrEnclave: string;
  readonly mrSigner: string;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly configId: string;
  readonly configSvn: number;
  readonly isvExtProdId: string;
  readonly isvFamilyId: string;
  /** 64 bytes. */
  readonly reportData: Uint8Array;
}

/** Bits of ATTRIBUTES.FLAGS (Intel SDM, volume 3D, section 35.7.1). */
export const SGX_FLAG = { initialised: 1n << 0n, debug: 1n << 1n, mode64: 1n << 2n, provisionKey: 1n << 4n } as const;

export function sgxClaims(report: SgxReport, platform: PlatformClaims): SgxClaims {
  return {
    ...platform,
    tee: "sgx",
    cpuSvn: toHex(report.cpuSvn),
    miscSelect: report.miscSelect,
    flags: report.flags,
    xfrm: report.xfrm,
    debug: (report.flags & SGX_FLAG.debug) !== 0n,
    mrEnclave: toHex(report.mrEnclave),
    mrSigner: toHex(report.mrSigner),
    isvProdId: report.isvProdId,
    isvSvn: report.isvSvn,
    configId: toHex(report.configId),
    configSvn: report.configSvn,
    isvExtProdId: toHex(report.isvExtProdId),
    isvFamilyId: toHex(report.isvFamilyId),
    reportData: report.reportData.slice(),
  };
}
