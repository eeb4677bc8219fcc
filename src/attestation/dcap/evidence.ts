/** Parses Intel's quotes, versions 3, 4 and 5: every length exact, nothing believed yet. */
import { evidenceRefused } from "../errors.ts";
import { Cursor } from "./cursor.ts";
import { DCAP_LIMITS } from "./limits.ts";
import {
  readSgxReport,
  readTdReport,
  SGX_REPORT_BYTES,
  type SgxReport,
  TD10_REPORT_BYTES,
  TD15_REPORT_BYTES,
  type TdReport,
} from "./reports.ts";

export type Tee = "sgx" | "tdx";

export interface QuoteHeader {
  readonly version: 3 | 4 | 5;
  readonly tee: Tee;
  readonly qeSvn: number;
  readonly pceSvn: number;
  /** 16 bytes. */
  readonly qeVendorId: Uint8Array;
  /** 20 bytes. */
  readonly userData: Uint8Array;
}

export interface Certification {
  /** 5: a PEM chain, leaf first. 1 to 3: a platform id, with which a chain can be fetched. */
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Quote {
  readonly header: QuoteHeader;
  readonly report: SgxReport | TdReport;
  /** Header and body, and in version 5 the type and size between them: what the attestation key signed. */
  readonly signedBytes: Uint8Array;
  /** r || s, 64 bytes. */
  readonly signature: Uint8Array;
  /** x || y on P-256, 64 bytes. */
  readonly attestationKey: Uint8Array;
  readonly qeReport: SgxReport;
  readonly qeReportBytes: Uint8Array;
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  readonly certification: Certification;
  /** Bytes after the signature data. Nothing signs them, and nothing reads them. */
  readonly trailingBytes: number;
}

const ECDSA_P256 = 2;
const TEE_BY_TYPE: ReadonlyMap<number, Tee> = new Map([
  [0, "sgx"],
  [0x81, "tdx"],
]);
const QE_REPORT_CERTIFICATION = 6;

/** Throws EVIDENCE_REFUSED; the rule is `dcap.quote.` and what was wrong. Source: Intel's ECDSA quote library reference. */
export function parseQuote(bytes: Uint8Array): Quote {
  if (bytes.length > DCAP_LIMITS.quoteBytes) throw evidenceRefused("dcap.quote.size");
  const cursor = new Cursor(bytes, "dcap.quote.length");
  const header = readHeader(cursor);
  const report = readBody(cursor, header);
  const signedBytes = bytes.subarray(0, cursor.offset);
  const signatureData = cursor.take(cursor.u32());
  return { header, report, signedBytes, ...readSignatureData(signatureData, header), trailingBytes: cursor.left };
}

function readHeader(cursor: Cursor): QuoteHeader {
  const version = cursor.u16();
  if (version !== 3 && version !== 4 && version !== 5) throw evidenceRefused("dcap.quote.version");
  if (cursor.u16() !== ECDSA_P256) throw evidenceRefused("dcap.quote.key-type");
  const tee = TEE_BY_TYPE.get(cursor.u32());
  if (!tee || (version === 3 && tee !== "sgx")) throw evidenceRefused("dcap.quote.tee-type");
  return {
    version,
    tee,
    qeSvn: cursor.u16(),
    pceSvn: cursor.u16(),
    qeVendorId: cursor.take(16),
    userData: cursor.take(20),
  };
}

function readBody(cursor: Cursor, header: QuoteHeader): SgxReport | TdReport {
  const length = header.version === 5 ? readBodyLength(cursor, header.tee) : implicitLength(header.tee);
  const body = cursor.take(length);
  return header.tee === "sgx" ? readSgxReport(body) : readTdReport(body);
}

function implicitLength(tee: Tee): number {
  return tee === "sgx" ? SGX_REPORT_BYTES : TD10_REPORT_BYTES;
}

/** Version 5 names the body's type and size; both have to agree with the TEE of the header. */
function readBodyLength(cursor: Cursor, tee: Tee): number {
  const type = cursor.u16();
  const size = cursor.u32();
  const lengths: readonly (number | undefined)[] =
    tee === "sgx" ? [undefined, SGX_REPORT_BYTES] : [undefined, undefined, TD10_REPORT_BYTES, TD15_REPORT_BYTES];
  const expected = lengths[type];
  if (expected === undefined) throw evidenceRefused("dcap.quote.body-type");
  if (size !== expected) throw evidenceRefused("dcap.quote.body-size");
  return expected;
}

type SignatureData = Omit<Quote, "header" | "report" | "signedBytes" | "trailingBytes">;

function readSignatureData(bytes: Uint8Array, header: QuoteHeader): SignatureData {
  const outer = new Cursor(bytes, "dcap.quote.signature-length");
  const signature = outer.take(64);
  const attestationKey = outer.take(64);
  const cursor = header.version === 3 ? outer : openQeCertification(outer);
  const qeReportBytes = cursor.take(SGX_REPORT_BYTES);
  const qeReportSignature = cursor.take(64);
  const qeAuthData = takeLimited(cursor, cursor.u16(), DCAP_LIMITS.qeAuthDataBytes);
  const type = cursor.u16();
  const data = takeLimited(cursor, cursor.u32(), DCAP_LIMITS.certificationBytes);
  if (cursor.left !== 0 || outer.left !== 0) throw evidenceRefused("dcap.quote.signature-length");
  return {
    signature,
    attestationKey,
    qeReport: readSgxReport(qeReportBytes),
    qeReportBytes,
    qeReportSignature,
    qeAuthData,
    certification: { type, data },
  };
}

/** Since version 4 the quoting enclave's report is wrapped in certification data of its own. */
function openQeCertification(outer: Cursor): Cursor {
  if (outer.u16() !== QE_REPORT_CERTIFICATION) throw evidenceRefused("dcap.quote.certification-type");
  return new Cursor(outer.take(outer.u32()), "dcap.quote.signature-length");
}

function takeLimited(cursor: Cursor, length: number, limit: number): Uint8Array {
  if (length > limit) throw evidenceRefused("dcap.quote.size");
  return cursor.take(length);
}
