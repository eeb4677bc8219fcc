/** A private stand-in for Intel: root, authorities, machines, quoting enclaves and collateral, right and wrong ones. */
import { createHash, type KeyObject, sign } from "node:crypto";
import { type Collateral, parseCollateral } from "../../../src/attestation/dcap/collateral.ts";
import { SGX_EXTENSION_OID } from "../../../src/attestation/dcap/pck.ts";
import { concatBytes, toHex, utf8 } from "../../../src/base/index.ts";
import { toPem } from "../../../src/codec/index.ts";
import {
  boolean,
  type CertificateOptions,
  type CrlOptions,
  type Der,
  integer,
  makeAuthority,
  makeCertificate,
  makeCrl,
  makeKeys,
  octets,
  oid,
  type Party,
  sequence,
} from "../../support/der-writer.ts";

export const NOW = Date.UTC(2026, 5, 1);
export const DAY = 24 * 60 * 60 * 1000;
const FMSPC = "a0b1c2d3e4f5";
export const PPID = "11".repeat(16);

const root = makeAuthority({ subject: "Intel SGX Root CA", pathLength: 1 });
export const anchorOf = (party: Party) => createHash("sha256").update(party.der).digest("hex");
export const anchors = [anchorOf(root)];

const platformCa = makeAuthority({ subject: "Intel SGX PCK Platform CA", issuer: root, pathLength: 0 });
const processorCa = makeAuthority({ subject: "Intel SGX PCK Processor CA", issuer: root, pathLength: 0 });
const tcbSigner = makeCertificate({
  subject: "Intel SGX TCB Signing",
  issuer: root,
  ca: false,
  keyUsage: ["digitalSignature", "nonRepudiation"],
});
export const intel = { root, platformCa, processorCa, tcbSigner };

export interface MachineTcb {
  readonly components?: readonly number[];
  readonly pceSvn?: number;
  readonly fmspc?: string;
  readonly pceId?: string;
}

/** The extension of a PCK certificate. */
export function pckExtension({
  components = fill(16, 5),
  pceSvn = 11,
  fmspc = FMSPC,
  pceId = "0000",
}: MachineTcb): Der {
  const entry = (path: string, value: Der) => sequence(oid(`${SGX_EXTENSION_OID}.${path}`), value);
  const hex = (text: string) => octets(Buffer.from(text, "hex"));
  const svns = components.map((svn, index) => entry(`2.${index + 1}`, integer(svn)));
  return sequence(
    entry("1", hex(PPID)),
    entry("2", sequence(...svns, entry("2.17", integer(pceSvn)), entry("2.18", octets(Uint8Array.from(components))))),
    entry("3", hex(pceId)),
    entry("4", hex(fmspc)),
    entry("5", integer(1)),
    entry("6", hex("22".repeat(16))),
    entry("7", sequence(entry("7.1", boolean(true)), entry("7.2", boolean(true)), entry("7.3", boolean(false)))),
  );
}

const fill = (length: number, value: number): number[] => Array.from({ length }, () => value);

export function makePck(tcb: MachineTcb = {}, options: Partial<CertificateOptions> = {}): Party {
  return makeCertificate({
    subject: "Intel SGX PCK Certificate",
    issuer: platformCa,
    ca: false,
    keyUsage: ["digitalSignature", "nonRepudiation"],
    extensions: [{ oid: SGX_EXTENSION_OID, value: pckExtension(tcb) }],
    ...options,
  });
}

const defaultPck = makePck();
const attestationKeys = makeKeys();

const little = (size: 2 | 4 | 8, value: number | bigint): Uint8Array => {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(value), true);
  return out.slice(0, size);
};

export interface EnclaveParts {
  readonly flags?: bigint;
  readonly miscSelect?: number;
  readonly mrEnclave?: Uint8Array;
  readonly mrSigner?: Uint8Array;
  readonly isvProdId?: number;
  readonly isvSvn?: number;
  readonly reportData?: Uint8Array;
}

/** 384 bytes. */
export function writeEnclave(parts: EnclaveParts = {}): Uint8Array {
  const out = new Uint8Array(384);
  out.set(fill(16, 5));
  out.set(little(4, parts.miscSelect ?? 0), 16);
  out.set(little(8, parts.flags ?? 0x05n), 48);
  out.set(little(8, 0xe7), 56);
  out.set(parts.mrEnclave ?? fill(32, 0xe1), 64);
  out.set(parts.mrSigner ?? fill(32, 0x51), 128);
  out.set(little(2, parts.isvProdId ?? 7), 256);
  out.set(little(2, parts.isvSvn ?? 3), 258);
  out.set(parts.reportData ?? fill(64, 0xdd), 320);
  return out;
}

export interface DomainParts {
  readonly teeTcbSvn?: readonly number[];
  readonly mrSignerSeam?: Uint8Array;
  readonly seamAttributes?: bigint;
  readonly tdAttributes?: bigint;
  readonly xfam?: bigint;
  readonly registers?: readonly Uint8Array[];
  readonly reportData?: Uint8Array;
  /** Makes a report of TDX 1.5. */
  readonly teeTcbSvn2?: readonly number[];
  readonly mrServiceTd?: Uint8Array;
}

export const GOOD_ATTRIBUTES = 1n << 28n;

/** 584 bytes, or 648 where the parts of TDX 1.5 are given. */
export function writeDomain(parts: DomainParts = {}): Uint8Array {
  const svn = (bytes: readonly number[]) => Uint8Array.from({ length: 16 }, (_, index) => bytes[index] ?? 0);
  const [mrTd, ...rtmrs] = parts.registers ?? fill(5, 0).map((_, index) => new Uint8Array(48).fill(0xa0 + index));
  const base = concatBytes(
    svn(parts.teeTcbSvn ?? [5, 1, 5]),
    new Uint8Array(48).fill(0x5e),
    parts.mrSignerSeam ?? new Uint8Array(48),
    little(8, parts.seamAttributes ?? 0n),
    little(8, parts.tdAttributes ?? GOOD_ATTRIBUTES),
    little(8, parts.xfam ?? 0xe7n),
    mrTd ?? new Uint8Array(48),
    new Uint8Array(144),
    ...rtmrs,
    parts.reportData ?? new Uint8Array(64).fill(0xdd),
  );
  if (!parts.teeTcbSvn2 && !parts.mrServiceTd) return base;
  return concatBytes(base, svn(parts.teeTcbSvn2 ?? [5, 1, 5]), parts.mrServiceTd ?? new Uint8Array(48));
}

export interface QuoteParts {
  readonly version?: 3 | 4 | 5;
  readonly body?: Uint8Array;
  readonly tee?: "sgx" | "tdx";
  readonly pck?: Party;
  readonly chain?: readonly Der[];
  readonly qe?: EnclaveParts;
  /** Changes what the quoting enclave vouches for. */
  readonly qeReportData?: (right: Uint8Array) => Uint8Array;
  readonly certificationType?: number;
  readonly trailer?: Uint8Array;
  /** Signs the quoting enclave's report instead of the machine's key. */
  readonly qeSigner?: KeyObject;
}

export const QE_SIGNER = new Uint8Array(32).fill(0x9a);
const GOOD_QE: EnclaveParts = { flags: 0x15n, mrSigner: QE_SIGNER, isvProdId: 2, isvSvn: 4 };

export function writeQuote(parts: QuoteParts = {}): Uint8Array {
  const { version = 4, tee = "tdx", pck = defaultPck } = parts;
  const body = parts.body ?? (tee === "tdx" ? writeDomain() : writeEnclave());
  const signed = concatBytes(writeHeader(version, tee), ...bodyHead(version, tee, body), body);
  const point = pointOf(attestationKeys.publicKey);
  const authData = new Uint8Array(32).fill(0x0a);
  const bound = new Uint8Array(64);
  bound.set(createHash("sha256").update(point).update(authData).digest());
  const reportData = parts.qeReportData?.(bound) ?? bound;
  const qeReport = writeEnclave({ ...GOOD_QE, ...(tee === "sgx" ? { isvProdId: 1 } : {}), ...parts.qe, reportData });
  const pem = (parts.chain ?? [pck.der, platformCa.der, root.der]).map((der) => toPem("CERTIFICATE", der)).join("");
  const chain = concatBytes(utf8(pem), Uint8Array.of(0));
  const inner = concatBytes(
    qeReport,
    signRaw(qeReport, parts.qeSigner ?? pck.privateKey),
    little(2, authData.length),
    authData,
    little(2, parts.certificationType ?? 5),
    little(4, chain.length),
    chain,
  );
  const wrapped = version === 3 ? inner : concatBytes(little(2, 6), little(4, inner.length), inner);
  const data = concatBytes(signRaw(signed, attestationKeys.privateKey), point, wrapped);
  return concatBytes(signed, little(4, data.length), data, parts.trailer ?? new Uint8Array());
}

function writeHeader(version: number, tee: "sgx" | "tdx"): Uint8Array {
  const vendor = Buffer.from("939a7233f79c4ca9940a0db3957f0607", "hex");
  const type = little(4, tee === "tdx" ? 0x81 : 0);
  return concatBytes(little(2, version), little(2, 2), type, new Uint8Array(4), vendor, new Uint8Array(20));
}

function bodyHead(version: number, tee: "sgx" | "tdx", body: Uint8Array): Uint8Array[] {
  if (version !== 5) return [];
  const type = tee === "sgx" ? 1 : body.length === 584 ? 2 : 3;
  return [little(2, type), little(4, body.length)];
}

const pointOf = (key: KeyObject) => new Uint8Array(key.export({ type: "spki", format: "der" })).slice(-64);

export function signRaw(bytes: Uint8Array, key: KeyObject): Uint8Array {
  return new Uint8Array(sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }));
}

const iso = (time: number) => `${new Date(time).toISOString().slice(0, 19)}Z`;

export interface Level {
  readonly sgx?: readonly number[];
  readonly tdx?: readonly number[];
  readonly pcesvn?: number;
  readonly status?: string;
  readonly advisories?: readonly string[];
  readonly date?: number;
}

export interface SvnLevelParts {
  readonly isvsvn: number;
  readonly status?: string;
  readonly advisories?: readonly string[];
  readonly date?: number;
}

export interface CollateralParts {
  readonly tee?: "sgx" | "tdx";
  readonly issuedAt?: number;
  readonly nextUpdateAt?: number;
  readonly levels?: readonly Level[];
  readonly modules?: readonly { readonly id: string; readonly levels: readonly SvnLevelParts[] }[];
  readonly qeLevels?: readonly SvnLevelParts[];
  readonly tcbInfo?: Readonly<Record<string, unknown>>;
  readonly qeIdentity?: Readonly<Record<string, unknown>>;
  readonly signer?: Party;
  readonly signerChain?: readonly Der[];
  readonly rootCrl?: Partial<CrlOptions> | null;
  readonly pckCrl?: Partial<CrlOptions> | null;
  /** Touches the text of a document after it was signed. */
  readonly touchTcbInfo?: (text: string) => string;
  readonly touchQeIdentity?: (text: string) => string;
}

const components = (svns: readonly number[]) => Array.from({ length: 16 }, (_, index) => ({ svn: svns[index] ?? 0 }));

/** Collateral as dcap-qvl writes it; by default everything is up to date at NOW. */
export function collateralJson(parts: CollateralParts = {}): Record<string, string> {
  const { tee = "tdx", issuedAt = NOW - DAY, nextUpdateAt = NOW + 29 * DAY, signer = tcbSigner } = parts;
  const dates = { issueDate: iso(issuedAt), nextUpdate: iso(nextUpdateAt), tcbEvaluationDataNumber: 20 };
  const tcbInfo = JSON.stringify(tcbInfoOf(parts, tee, dates));
  const qeIdentity = JSON.stringify(qeIdentityOf(parts, tee, dates));
  const pem = (ders: readonly Der[]) => ders.map((der) => toPem("CERTIFICATE", der)).join("");
  const signerChain = pem(parts.signerChain ?? [signer.der, root.der]);
  const list = (issuer: Party, options: Partial<CrlOptions> | null | undefined) =>
    options === null
      ? undefined
      : toHex(makeCrl({ issuer, thisUpdate: issuedAt, nextUpdate: nextUpdateAt, ...options }));
  const rootCrl = list(root, parts.rootCrl);
  const pckCrl = list(platformCa, parts.pckCrl);
  return {
    tcb_info: parts.touchTcbInfo?.(tcbInfo) ?? tcbInfo,
    tcb_info_signature: toHex(signRaw(utf8(tcbInfo), signer.privateKey)),
    tcb_info_issuer_chain: signerChain,
    qe_identity: parts.touchQeIdentity?.(qeIdentity) ?? qeIdentity,
    qe_identity_signature: toHex(signRaw(utf8(qeIdentity), signer.privateKey)),
    qe_identity_issuer_chain: signerChain,
    pck_crl_issuer_chain: pem([platformCa.der, root.der]),
    ...(rootCrl ? { root_ca_crl: rootCrl } : {}),
    ...(pckCrl ? { pck_crl: pckCrl } : {}),
  };
}

export function makeCollateral(parts: CollateralParts = {}): Collateral {
  return parseCollateral(utf8(JSON.stringify(collateralJson(parts))));
}

function tcbInfoOf(parts: CollateralParts, tee: "sgx" | "tdx", dates: object): object {
  const levels = (parts.levels ?? [{}]).map((level) => ({
    tcb: {
      sgxtcbcomponents: components(level.sgx ?? fill(16, 5)),
      pcesvn: level.pcesvn ?? 11,
      ...(tee === "tdx" ? { tdxtcbcomponents: components(level.tdx ?? [5, 0, 5]) } : {}),
    },
    ...stateOf(level),
  }));
  const signer = { mrsigner: "00".repeat(48), attributes: "00".repeat(8), attributesMask: "FF".repeat(8) };
  const modules = (parts.modules ?? [{ id: "TDX_01", levels: [{ isvsvn: 5 }] }]).map(({ id, levels: own }) => ({
    id,
    ...signer,
    tcbLevels: own.map((level) => ({ tcb: { isvsvn: level.isvsvn }, ...stateOf(level) })),
  }));
  return {
    id: tee.toUpperCase(),
    version: 3,
    ...dates,
    fmspc: FMSPC.toUpperCase(),
    pceId: "0000",
    tcbType: 0,
    ...(tee === "tdx" ? { tdxModule: signer, tdxModuleIdentities: modules } : {}),
    tcbLevels: levels,
    ...parts.tcbInfo,
  };
}

function qeIdentityOf(parts: CollateralParts, tee: "sgx" | "tdx", dates: object): object {
  return {
    id: tee === "tdx" ? "TD_QE" : "QE",
    version: 2,
    ...dates,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: "11000000000000000000000000000000",
    attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
    mrsigner: toHex(QE_SIGNER).toUpperCase(),
    isvprodid: tee === "tdx" ? 2 : 1,
    tcbLevels: (parts.qeLevels ?? [{ isvsvn: 4 }]).map((level) => ({
      tcb: { isvsvn: level.isvsvn },
      ...stateOf(level),
    })),
    ...parts.qeIdentity,
  };
}

function stateOf({ status = "UpToDate", advisories, date = NOW - 100 * DAY }: Omit<Level, "sgx" | "tdx" | "pcesvn">) {
  return { tcbDate: iso(date), tcbStatus: status, ...(advisories ? { advisoryIDs: advisories } : {}) };
}
