/** Finds in a set of collateral what Intel says of one platform, put together where it came in parts. */
import { fromUtf8, ModelkeepError, parseJson } from "../../base/index.ts";
import { type Certificate, type Crl, toPem } from "../../codec/index.ts";
import { type Collateral, collateralFromPcs } from "../dcap/collateral.ts";
import type { CollateralRequest } from "../dcap/judge.ts";
import { DCAP_LIMITS } from "../dcap/limits.ts";
import type { CollateralSet } from "./set.ts";

const AUTHORITIES = { platform: "Intel SGX PCK Platform CA", processor: "Intel SGX PCK Processor CA" } as const;
const ROOT = "Intel SGX Root CA";
const SIGNER = "Intel SGX TCB Signing";

/** The newest that fits; undefined when there is none for that platform. */
export function findDcapCollateral(set: CollateralSet, request: CollateralRequest): Collateral | undefined {
  const id = request.tee === "tdx" ? "TDX" : "SGX";
  const whole = set.dcap.filter(({ tcbInfo: { content } }) => content.fmspc === request.fmspc && content.id === id);
  const made = makeFromParts(set, request, id);
  const all = [...whole.map((collateral) => withLists(collateral, set, request)), ...(made ? [made] : [])];
  return all.sort((a, b) => b.tcbInfo.content.issueDate - a.tcbInfo.content.issueDate)[0];
}

/** A set that came without a list gets the one that lies beside it; its digest then covers that list too. */
function withLists(collateral: Collateral, set: CollateralSet, { authority }: CollateralRequest): Collateral {
  const rootCrl = collateral.rootCrl ? undefined : newestCrl(set.crls, ROOT);
  const pckCrl = collateral.pckCrl ? undefined : newestCrl(set.crls, AUTHORITIES[authority]);
  if (!rootCrl && !pckCrl) return collateral;
  const added = [rootCrl, pckCrl].map((crl) => crl?.sha256 ?? "");
  return {
    ...collateral,
    ...(rootCrl ? { rootCrl: rootCrl.raw } : {}),
    ...(pckCrl ? { pckCrl: pckCrl.raw } : {}),
    digest: [collateral.digest, ...added].join(" "),
  };
}

function makeFromParts(set: CollateralSet, request: CollateralRequest, id: "TDX" | "SGX"): Collateral | undefined {
  const tcbInfo = newest(set.tcbInfos, "tcbInfo", (info) => info.id === id && sameHex(info.fmspc, request.fmspc));
  const enclave = id === "TDX" ? "TD_QE" : "QE";
  const qeIdentity = newest(set.qeIdentities, "enclaveIdentity", (identity) => identity.id === enclave);
  if (!tcbInfo || !qeIdentity) return undefined;
  const chain = signerChain(set.certificates);
  const rootCrl = newestCrl(set.crls, ROOT);
  const pckCrl = newestCrl(set.crls, AUTHORITIES[request.authority]);
  return collateralFromPcs({
    ...{ tcbInfo, qeIdentity, tcbInfoIssuerChain: chain, qeIdentityIssuerChain: chain },
    ...(rootCrl ? { rootCrl: rootCrl.raw } : {}),
    ...(pckCrl ? { pckCrl: pckCrl.raw } : {}),
  });
}

const sameHex = (text: unknown, hex: string) => typeof text === "string" && text.toLowerCase() === hex;

type Member = Readonly<Record<string, unknown>>;

function newest(files: readonly Uint8Array[], name: string, fits: (member: Member) => boolean): Uint8Array | undefined {
  const read = files.map((bytes) => ({ bytes, member: memberOf(bytes, name) }));
  const fitting = read.filter(({ member }) => member !== undefined && fits(member));
  const dateOf = ({ member }: (typeof read)[number]) => String(member?.issueDate ?? "");
  return fitting.sort((a, b) => (dateOf(a) < dateOf(b) ? 1 : -1))[0]?.bytes;
}

/** Read a second time and strictly by whoever judges it; here only to find it. */
function memberOf(bytes: Uint8Array, name: string): Member | undefined {
  try {
    const value = parseJson(fromUtf8(bytes), { maxBytes: DCAP_LIMITS.documentBytes, what: name }) as Member;
    const member = value[name];
    return typeof member === "object" && member !== null ? (member as Member) : undefined;
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

function newestCrl(crls: readonly Crl[], issuer: string): Crl | undefined {
  return crls.filter((crl) => crl.issuer.commonName === issuer).sort((a, b) => b.thisUpdate - a.thisUpdate)[0];
}

/** PEM, the signer and the root; empty when they are not there. */
function signerChain(certificates: readonly Certificate[]): string {
  const newestOf = (name: string) =>
    certificates.filter(({ subject }) => subject.commonName === name).sort((a, b) => b.notBefore - a.notBefore)[0];
  const chain = [newestOf(SIGNER), newestOf(ROOT)].filter((certificate) => certificate !== undefined);
  return chain.map(({ raw }) => toPem("CERTIFICATE", raw)).join("");
}
