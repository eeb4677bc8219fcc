/** Intel's collateral as it was received: the exact bytes that were signed, the chains, the revocation lists. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { concatBytes, fromHex, fromUtf8, ModelkeepError, toHex, uint32be, utf8 } from "../../base/index.ts";
import { parsePem } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import { hexBytes, type QeIdentity, readJson, readQeIdentity, readTcbInfo, type TcbInfo } from "./documents.ts";
import { keepRead } from "./kept.ts";
import { DCAP_LIMITS } from "./limits.ts";

export interface SignedDocument<Content> {
  readonly content: Content;
  /** The inner object byte for byte: a document that was parsed and printed again would verify no more. */
  readonly bytes: Uint8Array;
  /** r || s, 64 bytes. */
  readonly signature: Uint8Array;
  /** DER, leaf first; empty where the collateral came without. */
  readonly chain: readonly Uint8Array[];
}

export interface Collateral {
  readonly tcbInfo: SignedDocument<TcbInfo>;
  readonly qeIdentity: SignedDocument<QeIdentity>;
  /** DER. */
  readonly rootCrl?: Uint8Array;
  /** DER. */
  readonly pckCrl?: Uint8Array;
  /** The PCK CRL's issuer and the root, DER. */
  readonly pckCrlChain: readonly Uint8Array[];
  /** Hex SHA-256 over all of it, to name it by. The cache makes its own, so that no copy can carry a wrong one. */
  readonly digest: string;
}

const hexText = z.string().regex(/^(?:[0-9a-fA-F]{2})+$/);

const qvlSchema = z.object({
  pck_crl_issuer_chain: z.string().nullish(),
  root_ca_crl: hexText.nullish(),
  pck_crl: hexText.nullish(),
  tcb_info_issuer_chain: z.string(),
  tcb_info: z.string(),
  tcb_info_signature: hexText,
  qe_identity_issuer_chain: z.string(),
  qe_identity: z.string(),
  qe_identity_signature: hexText,
});

/** Reads the JSON form that dcap-qvl made common. Throws EVIDENCE_REFUSED with a rule under `dcap.`. */
export function parseCollateral(input: Uint8Array | string | object): Collateral {
  return typeof input === "string" || input instanceof Uint8Array ? readText(input) : readFields(input);
}

const readText = keepRead((text: Uint8Array | string) =>
  readFields(readJson(text, DCAP_LIMITS.collateralBytes, "dcap.collateral.format")),
);

function readFields(value: unknown): Collateral {
  const parsed = qvlSchema.safeParse(value);
  if (!parsed.success) throw evidenceRefused("dcap.collateral.format", parsed.error);
  const file = parsed.data;
  const tcbInfo = utf8(file.tcb_info);
  const qeIdentity = utf8(file.qe_identity);
  return assemble({
    tcbInfo: {
      content: readTcbInfo(tcbInfo),
      bytes: tcbInfo,
      signature: hexBytes(file.tcb_info_signature, 64, "dcap.tcb-info.format"),
      chain: readChain(file.tcb_info_issuer_chain),
    },
    qeIdentity: {
      content: readQeIdentity(qeIdentity),
      bytes: qeIdentity,
      signature: hexBytes(file.qe_identity_signature, 64, "dcap.qe-identity.format"),
      chain: readChain(file.qe_identity_issuer_chain),
    },
    rootCrl: file.root_ca_crl ? readCrl(file.root_ca_crl) : undefined,
    pckCrl: file.pck_crl ? readCrl(file.pck_crl) : undefined,
    pckCrlChain: file.pck_crl_issuer_chain ? readChain(file.pck_crl_issuer_chain) : [],
  });
}

/** The answers of Intel's service or of a cache of it, as files. Chains are PEM, also percent-encoded as in a header. */
export interface PcsFiles {
  readonly tcbInfo: Uint8Array;
  readonly tcbInfoIssuerChain?: string;
  readonly qeIdentity: Uint8Array;
  readonly qeIdentityIssuerChain?: string;
  /** DER, PEM, or hex of DER. */
  readonly rootCrl?: Uint8Array;
  readonly pckCrl?: Uint8Array;
  readonly pckCrlIssuerChain?: string;
}

/** Throws EVIDENCE_REFUSED with a rule under `dcap.`. */
export function collateralFromPcs(files: PcsFiles): Collateral {
  const tcbInfo = openEnvelope(files.tcbInfo, "tcbInfo", "dcap.tcb-info.format");
  const qeIdentity = openEnvelope(files.qeIdentity, "enclaveIdentity", "dcap.qe-identity.format");
  return assemble({
    tcbInfo: { ...tcbInfo, content: readTcbInfo(tcbInfo.bytes), chain: readChain(files.tcbInfoIssuerChain) },
    qeIdentity: {
      ...qeIdentity,
      content: readQeIdentity(qeIdentity.bytes),
      chain: readChain(files.qeIdentityIssuerChain),
    },
    rootCrl: files.rootCrl && readCrl(files.rootCrl),
    pckCrl: files.pckCrl && readCrl(files.pckCrl),
    pckCrlChain: readChain(files.pckCrlIssuerChain),
  });
}

/** Cuts the inner object out of `{"name":{...},"signature":"hex"}` without touching a byte of it. */
function openEnvelope(file: Uint8Array, name: string, rule: string): { bytes: Uint8Array; signature: Uint8Array } {
  const value = readJson(file, DCAP_LIMITS.documentBytes, rule);
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (keys.length !== 2 || keys[0] !== name || keys[1] !== "signature") throw evidenceRefused(rule);
  const text = fromUtf8(file);
  const prefix = `{"${name}":`;
  const tail = /,"signature":"([0-9a-fA-F]{128})"\}\s*$/.exec(text);
  if (!text.startsWith(prefix) || !tail?.[1]) throw evidenceRefused(rule);
  return { bytes: utf8(text.slice(prefix.length, tail.index)), signature: hexBytes(tail[1], 64, rule) };
}

/** Nothing but line ends around the blocks: text between them would be signed by nobody. */
const BLOCKS_ALONE = /^[\r\n]*(?:-----BEGIN [A-Z ]+-----[A-Za-z0-9+/=\r\n]*-----END [A-Z ]+-----[\r\n]*)+$/;

/** PEM with what follows its last block cut off: chains in quotes end with a NUL. */
export function readChain(text: string | undefined): Uint8Array[] {
  if (!text) return [];
  if (text.length > DCAP_LIMITS.certificationBytes) throw evidenceRefused("dcap.chain.size");
  return [...readPem(text)];
}

const readPem = keepRead((text: string): readonly Uint8Array[] => {
  const plain = text.includes("%") ? decodePercent(text) : withoutNuls(text);
  const blocks = readBlocks(plain);
  if (blocks.length > DCAP_LIMITS.chainCertificates) throw evidenceRefused("dcap.chain.size");
  if (!BLOCKS_ALONE.test(plain)) throw evidenceRefused("dcap.chain.format");
  if (blocks.some(({ label }) => label !== "CERTIFICATE")) throw evidenceRefused("dcap.chain.format");
  return blocks.map(({ der }) => der);
});

function readBlocks(text: string): ReturnType<typeof parsePem> {
  try {
    return parsePem(text);
  } catch (error) {
    if (error instanceof ModelkeepError) throw evidenceRefused("dcap.chain.format", error);
    throw error;
  }
}

function withoutNuls(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 0) end--;
  return text.slice(0, end);
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw evidenceRefused("dcap.chain.format", error);
  }
}

/** DER as it is, or as hex or PEM text. */
function readCrl(input: Uint8Array | string): Uint8Array {
  if (input.length > DCAP_LIMITS.crlBytes * 2) throw evidenceRefused("dcap.crl.size");
  if (typeof input !== "string" && input[0] === 0x30 && input[1] !== undefined && input[1] >= 0x80) return input;
  const text = (typeof input === "string" ? input : Buffer.from(input).toString("latin1")).trim();
  const bytes = text.startsWith("-----BEGIN") ? readBlocks(text)[0]?.der : fromHex(text);
  if (!bytes || bytes.length === 0) throw evidenceRefused("dcap.crl.format");
  return bytes;
}

type Parts = Omit<Collateral, "digest" | "rootCrl" | "pckCrl"> & {
  readonly rootCrl: Uint8Array | undefined;
  readonly pckCrl: Uint8Array | undefined;
};

function assemble({ rootCrl, pckCrl, ...rest }: Parts): Collateral {
  const whole = { ...rest, ...(rootCrl ? { rootCrl } : {}), ...(pckCrl ? { pckCrl } : {}) };
  return { ...whole, digest: digestCollateral(whole) };
}

/** Hex SHA-256 over everything that a verdict depends on, each part with its length. */
export function digestCollateral(collateral: Omit<Collateral, "digest">): string {
  const { tcbInfo, qeIdentity, rootCrl, pckCrl, pckCrlChain } = collateral;
  const documents = [tcbInfo, qeIdentity].flatMap(({ bytes, signature, chain }) => [
    bytes,
    signature,
    uint32be(chain.length),
    ...chain,
  ]);
  const lists = [rootCrl ?? new Uint8Array(0), pckCrl ?? new Uint8Array(0), ...pckCrlChain];
  const framed = [...documents, ...lists].flatMap((part) => [uint32be(part.length), part]);
  return toHex(
    createHash("sha256")
      .update(concatBytes(...framed))
      .digest(),
  );
}
