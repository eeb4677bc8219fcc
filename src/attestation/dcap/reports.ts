/** The reports inside a quote: an SGX enclave's (384 bytes) and a trust domain's (584 or, since TDX 1.5, 648 bytes). */
import { Cursor } from "./cursor.ts";

export const SGX_REPORT_BYTES = 384;
export const TD10_REPORT_BYTES = 584;
export const TD15_REPORT_BYTES = 648;

export interface SgxReport {
  readonly tee: "sgx";
  readonly cpuSvn: Uint8Array;
  readonly miscSelect: number;
  /** Flags and XFRM: 16 bytes. */
  readonly attributes: Uint8Array;
  readonly flags: bigint;
  readonly xfrm: bigint;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvExtProdId: Uint8Array;
  readonly configId: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly configSvn: number;
  readonly isvFamilyId: Uint8Array;
  /** 64 bytes. */
  readonly reportData: Uint8Array;
}

export interface TdReport {
  readonly tee: "tdx";
  readonly revision: "1.0" | "1.5";
  /** 16 components; [0] the module's minor SVN, [1] its major version. */
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: Uint8Array;
  readonly tdAttributes: bigint;
  readonly xfam: bigint;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  /** RTMR0 to RTMR3, 48 bytes each. */
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** 64 bytes. */
  readonly reportData: Uint8Array;
  /** The module as it is now, where the one that launched the domain was another (TDX 1.5). */
  readonly teeTcbSvn2?: Uint8Array;
  readonly mrServiceTd?: Uint8Array;
}

/** `bytes` are exactly 384. */
export function readSgxReport(bytes: Uint8Array): SgxReport {
  const cursor = new Cursor(bytes, "dcap.quote.length");
  const cpuSvn = cursor.take(16);
  const miscSelect = cursor.u32();
  cursor.skip(12);
  const isvExtProdId = cursor.take(16);
  const flags = cursor.u64();
  const xfrm = cursor.u64();
  const mrEnclave = cursor.take(32);
  cursor.skip(32);
  const mrSigner = cursor.take(32);
  cursor.skip(32);
  const configId = cursor.take(64);
  const isvProdId = cursor.u16();
  const isvSvn = cursor.u16();
  const configSvn = cursor.u16();
  cursor.skip(42);
  const isvFamilyId = cursor.take(16);
  const reportData = cursor.take(64);
  return {
    tee: "sgx",
    cpuSvn,
    miscSelect,
    attributes: bytes.subarray(48, 64),
    flags,
    xfrm,
    mrEnclave,
    mrSigner,
    isvExtProdId,
    configId,
    isvProdId,
    isvSvn,
    configSvn,
    isvFamilyId,
    reportData,
  };
}

/** `bytes` are exactly 584 or 648. */
export function readTdReport(bytes: Uint8Array): TdReport {
  const cursor = new Cursor(bytes, "dcap.quote.length");
  const base = {
    tee: "tdx",
    teeTcbSvn: cursor.take(16),
    mrSeam: cursor.take(48),
    mrSignerSeam: cursor.take(48),
    seamAttributes: cursor.take(8),
    tdAttributes: cursor.u64(),
    xfam: cursor.u64(),
    mrTd: cursor.take(48),
    mrConfigId: cursor.take(48),
    mrOwner: cursor.take(48),
    mrOwnerConfig: cursor.take(48),
    rtmrs: [cursor.take(48), cursor.take(48), cursor.take(48), cursor.take(48)],
    reportData: cursor.take(64),
  } as const;
  if (bytes.length < TD15_REPORT_BYTES) return { ...base, revision: "1.0" };
  return { ...base, revision: "1.5", teeTcbSvn2: cursor.take(16), mrServiceTd: cursor.take(48) };
}
