/** What vendors sign about their platforms, sorted by what it is and not by what its file is called. */
import { createHash } from "node:crypto";
import { fromHex, fromUtf8, ModelkeepError, parseJson } from "../../base/index.ts";
import {
  type Certificate,
  type Crl,
  type OcspResponse,
  parseCertificate,
  parseCrl,
  parseOcspResponse,
  parsePem,
} from "../../codec/index.ts";
import { type Collateral, parseCollateral } from "../dcap/collateral.ts";
import { attestationError } from "../errors.ts";
import { type NrasKey, parseNrasKeys } from "../nvidia/nras-keys.ts";
import { COLLATERAL_LIMITS } from "./limits.ts";

export interface NamedFile {
  /** For messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** False for what was found in a folder: it is passed over when it is no collateral. */
  readonly named?: boolean;
}

/** Nothing of it is verified: whoever judges evidence does that with every use. */
export interface CollateralSet {
  readonly certificates: readonly Certificate[];
  /** The PEM files with more than one certificate, each in its own order. */
  readonly chains: readonly (readonly Certificate[])[];
  readonly crls: readonly Crl[];
  readonly ocsp: readonly OcspResponse[];
  /** Whole sets for one platform of Intel, in the form that dcap-qvl made common. */
  readonly dcap: readonly Collateral[];
  /** Answers of Intel's service as they were received. */
  readonly tcbInfos: readonly Uint8Array[];
  readonly qeIdentities: readonly Uint8Array[];
  /** NVIDIA's manifests, XML. */
  readonly rims: readonly Uint8Array[];
  readonly nrasKeys: readonly NrasKey[];
  /** Files of folders that are no collateral. */
  readonly passedOver: readonly string[];
}

type Parts = { -readonly [Name in keyof CollateralSet]: CollateralSet[Name][number][] };

/** Throws COLLATERAL_UNREADABLE for a named file that is none of the known forms, LIMIT_EXCEEDED by its parser. */
export function readCollateralSet(files: readonly NamedFile[]): CollateralSet {
  const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (files.length > COLLATERAL_LIMITS.files || total > COLLATERAL_LIMITS.totalBytes)
    throw attestationError("COLLATERAL_UNREADABLE", { detail: `${files.length} files of ${total} bytes` });
  const parts: Parts = {
    ...{ certificates: [], chains: [], crls: [], ocsp: [], dcap: [], tcbInfos: [] },
    ...{ qeIdentities: [], rims: [], nrasKeys: [], passedOver: [] },
  };
  for (const file of files) readFile(parts, file);
  return parts;
}

/** Hex SHA-256 over names and bytes, in the order of the list. */
export function digestOfFiles(files: readonly NamedFile[]): string {
  const hash = createHash("sha256");
  for (const { name, bytes } of files) hash.update(`${name.length} ${name} ${bytes.length} `).update(bytes);
  return hash.digest("hex");
}

function readFile(parts: Parts, file: NamedFile): void {
  try {
    if (file.bytes.length > COLLATERAL_LIMITS.fileBytes) throw unreadable(file.name);
    if (!sortBytes(parts, file.bytes)) throw unreadable(file.name);
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    if (file.named === false) parts.passedOver.push(file.name);
    else throw error.code === "COLLATERAL_UNREADABLE" ? error : unreadable(file.name, error);
  }
}

const unreadable = (name: string, cause?: unknown) =>
  attestationError("COLLATERAL_UNREADABLE", { detail: name, ...(cause ? { cause } : {}) });

const DER_SEQUENCE = 0x30;
const HEX = /^(?:[0-9a-fA-F]{2})+$/;

/** False when it is none of the known forms. */
function sortBytes(parts: Parts, bytes: Uint8Array): boolean {
  if (bytes[0] === DER_SEQUENCE && (bytes[1] ?? 0) >= 0x80) return sortDer(parts, bytes);
  const text = textOf(bytes);
  if (text === undefined) return false;
  if (text.startsWith("-----BEGIN ")) return sortPem(parts, text);
  if (text.startsWith("<")) return parts.rims.push(bytes) > 0;
  if (text.startsWith("{")) return sortJson(parts, bytes);
  const der = HEX.test(text) ? fromHex(text) : undefined;
  return der !== undefined && der[0] === DER_SEQUENCE && sortDer(parts, der);
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return fromUtf8(bytes).replace(/\0+$/, "").trim();
  } catch {
    return undefined;
  }
}

function sortDer(parts: Parts, der: Uint8Array): boolean {
  const certificate = attempt(() => parseCertificate(der));
  if (certificate) return parts.certificates.push(certificate) > 0;
  const crl = attempt(() => parseCrl(der));
  if (crl) return parts.crls.push(crl) > 0;
  const ocsp = attempt(() => parseOcspResponse(der));
  return ocsp !== undefined && parts.ocsp.push(ocsp) > 0;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

function sortPem(parts: Parts, text: string): boolean {
  const blocks = parsePem(text);
  const chain = blocks.filter(({ label }) => label === "CERTIFICATE").map(({ der }) => parseCertificate(der));
  const crls = blocks.filter(({ label }) => label === "X509 CRL").map(({ der }) => parseCrl(der));
  parts.certificates.push(...chain);
  parts.crls.push(...crls);
  if (chain.length > 1) parts.chains.push(chain);
  return chain.length + crls.length === blocks.length;
}

function sortJson(parts: Parts, bytes: Uint8Array): boolean {
  const value = parseJson(bytes, { maxBytes: COLLATERAL_LIMITS.fileBytes, maxDepth: 16, what: "collateral" });
  const has = (name: string) => typeof value === "object" && value !== null && Object.hasOwn(value, name);
  if (has("tcb_info")) return sortDcap(parts, parseCollateral(bytes));
  if (has("tcbInfo")) return parts.tcbInfos.push(bytes) > 0;
  if (has("enclaveIdentity")) return parts.qeIdentities.push(bytes) > 0;
  if (has("keys")) return parts.nrasKeys.push(...parseNrasKeys(bytes)) > 0;
  return false;
}

/** Its lists and its signer's chain also serve documents that came without. */
function sortDcap(parts: Parts, collateral: Collateral): boolean {
  const lists = [collateral.rootCrl, collateral.pckCrl].filter((crl) => crl !== undefined);
  parts.crls.push(...lists.flatMap((crl) => attempt(() => parseCrl(crl)) ?? []));
  parts.certificates.push(...collateral.tcbInfo.chain.flatMap((der) => attempt(() => parseCertificate(der)) ?? []));
  return parts.dcap.push(collateral) > 0;
}
