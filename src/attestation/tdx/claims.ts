/** What a trust domain says about itself. All registers are lower-case hex. */
import { toHex } from "../../base/index.ts";
import type { PlatformClaims } from "../dcap/claims.ts";
import type { TdReport } from "../dcap/reports.ts";

export interface TdxClaims extends PlatformClaims {
  readonly tee: "tdx";
  readonly revision: "1.0" | "1.5";
  readonly teeTcbSvn: string;
  readonly teeTcbSvn2?: string;
  readonly mrSeam: string;
  readonly mrSignerSeam: string;
  readonly tdAttributes: bigint;
  readonly xfam: bigint;
  readonly debug: boolean;
  readonly migratable: boolean;
  readonly septVeDisable: boolean;
  readonly mrTd: string;
  readonly mrConfigId: string;
  readonly mrOwner: string;
  readonly mrOwnerConfig: string;
  readonly mrServiceTd?: string;
  readonly rtmrs: readonly [string, string, string, string];
  /** 64 bytes. */
  readonly reportData: Uint8Array;
}

/** Bits of TDATTRIBUTES (Intel TDX module specification, ATTRIBUTES). */
export const TD_ATTRIBUTE = {
  debug: 1n << 0n,
  lass: 1n << 27n,
  septVeDisable: 1n << 28n,
  migratable: 1n << 29n,
  protectionKeys: 1n << 30n,
  keyLocker: 1n << 31n,
  performanceMonitoring: 1n << 63n,
} as const;

export function tdxClaims(report: TdReport, platform: PlatformClaims): TdxClaims {
  const [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmrs;
  const has = (bit: bigint) => (report.tdAttributes & bit) !== 0n;
  return {
    ...platform,
    tee: "tdx",
    revision: report.revision,
    teeTcbSvn: toHex(report.teeTcbSvn),
    ...(report.teeTcbSvn2 ? { teeTcbSvn2: toHex(report.teeTcbSvn2) } : {}),
    mrSeam: toHex(report.mrSeam),
    mrSignerSeam: toHex(report.mrSignerSeam),
    tdAttributes: report.tdAttributes,
    xfam: report.xfam,
    debug: has(TD_ATTRIBUTE.debug),
    migratable: has(TD_ATTRIBUTE.migratable),
    septVeDisable: has(TD_ATTRIBUTE.septVeDisable),
    mrTd: toHex(report.mrTd),
    mrConfigId: toHex(report.mrConfigId),
    mrOwner: toHex(report.mrOwner),
    mrOwnerConfig: toHex(report.mrOwnerConfig),
    ...(report.mrServiceTd ? { mrServiceTd: toHex(report.mrServiceTd) } : {}),
    rtmrs: [toHex(rtmr0), toHex(rtmr1), toHex(rtmr2), toHex(rtmr3)],
    reportData: report.reportData.slice(),
  };
}
