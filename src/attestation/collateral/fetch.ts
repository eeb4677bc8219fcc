/** Fetches what judging a piece of evidence needs: from AMD's, Intel's and NVIDIA's services, or from caches of them. */
import { equalBytes, fromUtf8, type Random, toHex, utf8 } from "../../base/index.ts";
import { type Certificate, encodeOcspRequest, parseOcspResponse, toPem } from "../../codec/index.ts";
import { nvidiaEvidenceOf } from "../appraisal-devices.ts";
import { dcapEvidenceOf, readEvidenceForm } from "../appraisal-evidence.ts";
import type { TeeKind } from "../appraisal-profile.ts";
import { parseAzureEvidence } from "../azure/evidence.ts";
import { parseHclReport } from "../azure/hcl.ts";
import { type Collateral, collateralFromPcs } from "../dcap/collateral.ts";
import { collateralRequest } from "../dcap/judge.ts";
import { pcsUrls } from "../dcap/pcs.ts";
import { attestationError, evidenceRefused } from "../errors.ts";
import {
  NVIDIA_NRAS_KEYS_URL,
  NVIDIA_OCSP_URL,
  NVIDIA_RIM_URL,
  type OcspQuestion,
  ocspQuestions,
  parseRimAnswer,
  rimUrl,
} from "../nvidia/collateral.ts";
import type { GpuEvidence } from "../nvidia/evidence.ts";
import { NVIDIA_LIMITS } from "../nvidia/limits.ts";
import { parseNrasKeys } from "../nvidia/nras-keys.ts";
import { tryReadRim } from "../nvidia/rim.ts";
import { rimIds } from "../nvidia/versions.ts";
import { isZero, parseSnpReport } from "../snp/evidence.ts";
import { kdsChainUrl, kdsCrlUrl, kdsUrl } from "../snp/kds.ts";
import type { SnpProduct } from "../snp/products.ts";
import { parseSnpEvidence } from "../snp/verifier.ts";
import type { Fetcher } from "./fetcher.ts";
import type { NamedFile } from "./set.ts";

/** Other addresses than the vendors' own: caches, and counterparts in tests. Without a path at the end. */
export interface Services {
  readonly kds?: string;
  readonly pcs?: string;
  readonly rim?: string;
  readonly ocsp?: string;
  /** The whole address of the attestation service's key set. */
  readonly nras?: string;
}

export interface FetchRequest {
  readonly kind: TeeKind;
  /** As `attest verify` takes it. */
  readonly evidence: Uint8Array;
  readonly chains: readonly (readonly Certificate[])[];
  /** For SEV-SNP reports of version 2, which do not name their processor. */
  readonly product?: SnpProduct;
  readonly services?: Services;
  readonly fetcher: Fetcher;
  /** Makes nonces for OCSP; absent: answers may be of any age that their dates allow. */
  readonly random?: Random;
}

/** RFC 9654, section 2.1. */
const OCSP_NONCE_BYTES = 32;

/**
 * Files for a folder of collateral, with names that are the same each time. Nothing of it is verified here. Throws
 * EVIDENCE_REFUSED for evidence that cannot be read, COLLATERAL_UNREACHABLE for a service that does not give it.
 */
export async function fetchCollateral(request: FetchRequest): Promise<NamedFile[]> {
  if (request.kind === "snp") return fetchAmd(request, snpReportOf(request.evidence));
  if (request.kind === "nvidia") return fetchNvidia(request);
  return fetchIntel(request, quoteOf(request.evidence));
}

function snpReportOf(file: Uint8Array): Uint8Array {
  const form = readEvidenceForm(file);
  if (form.form === "hcl") return parseHclReport(form.data).hardwareReport;
  if (form.form === "azure") return parseAzureEvidence(form.data).hcl.hardwareReport;
  if (form.form === "plain") return parseSnpEvidence(form.data).report;
  throw evidenceRefused("evidence.form");
}

function quoteOf(file: Uint8Array): Uint8Array {
  const form = readEvidenceForm(file);
  const quote = form.form === "azure" ? parseAzureEvidence(form.data).tdQuote : dcapEvidenceOf(form).quote;
  if (!quote) throw evidenceRefused("azure.td-quote");
  return quote;
}

const KDS = "https://kdsintf.amd.com";

async function fetchAmd({ fetcher, services = {}, product }: FetchRequest, bytes: Uint8Array): Promise<NamedFile[]> {
  const report = parseSnpReport(bytes);
  const name = product ?? report.product;
  if (!name) throw evidenceRefused("snp.product.known");
  const at = (url: string) => url.replace(KDS, services.kds ?? KDS);
  const kind = report.signingKey === "VLEK" ? "vlek" : "vcek";
  const ask = async (file: string, url: string) => ({ name: file, bytes: (await fetcher.ask({ url: at(url) })).bytes });
  const chip = toHex(report.chipId.subarray(0, 8));
  const level = Object.values(report.tcb.reported).join("-");
  const own =
    kind === "vcek" && !isZero(report.chipId) ? [[`amd-vcek-${chip}-${level}.der`, kdsUrl(report, name)]] : [];
  return Promise.all([
    ...own.map(([file = "", url = ""]) => ask(file, url)),
    ask(`amd-${kind}-${name.toLowerCase()}-chain.pem`, kdsChainUrl(name, kind)),
    ask(`amd-${kind}-${name.toLowerCase()}-crl.der`, kdsCrlUrl(name, kind)),
  ]);
}

async function fetchIntel({ fetcher, services = {} }: FetchRequest, quote: Uint8Array): Promise<NamedFile[]> {
  const wanted = collateralRequest(quote);
  const urls = pcsUrls({ ...wanted, ...(services.pcs === undefined ? {} : { base: services.pcs }) });
  const [tcbInfo, qeIdentity, pckCrl, rootCrl] = await Promise.all(
    [urls.tcbInfo, urls.qeIdentity, urls.pckCrl, urls.rootCrl].map((url) => fetcher.ask({ url })),
  );
  if (!tcbInfo || !qeIdentity || !pckCrl || !rootCrl) throw evidenceRefused("dcap.collateral.missing");
  const collateral = collateralFromPcs({
    tcbInfo: tcbInfo.bytes,
    tcbInfoIssuerChain: tcbInfo.header("tcb-info-issuer-chain") ?? "",
    qeIdentity: qeIdentity.bytes,
    qeIdentityIssuerChain: qeIdentity.header("sgx-enclave-identity-issuer-chain") ?? "",
    pckCrl: pckCrl.bytes,
    pckCrlIssuerChain: pckCrl.header("sgx-pck-crl-issuer-chain") ?? "",
    rootCrl: rootCrl.bytes,
  });
  const name = `intel-${wanted.tee}-${wanted.fmspc}-${wanted.authority}.json`;
  return [{ name, bytes: utf8(JSON.stringify(collateralToJson(collateral))) }];
}

/** The form that dcap-qvl made common; the signed texts byte for byte. */
export function collateralToJson({ tcbInfo, qeIdentity, rootCrl, pckCrl, pckCrlChain }: Collateral) {
  const pem = (chain: readonly Uint8Array[]) => chain.map((der) => toPem("CERTIFICATE", der)).join("");
  return {
    pck_crl_issuer_chain: pem(pckCrlChain),
    root_ca_crl: toHex(rootCrl ?? new Uint8Array()),
    pck_crl: toHex(pckCrl ?? new Uint8Array()),
    tcb_info_issuer_chain: pem(tcbInfo.chain),
    tcb_info: fromUtf8(tcbInfo.bytes),
    tcb_info_signature: toHex(tcbInfo.signature),
    qe_identity_issuer_chain: pem(qeIdentity.chain),
    qe_identity: fromUtf8(qeIdentity.bytes),
    qe_identity_signature: toHex(qeIdentity.signature),
  };
}

async function fetchNvidia(request: FetchRequest): Promise<NamedFile[]> {
  const form = readEvidenceForm(request.evidence);
  if (form.form === "nras") return [await fetchNrasKeys(request)];
  if (form.form !== "plain") throw evidenceRefused("evidence.form");
  const { devices } = nvidiaEvidenceOf(form.data, request.chains);
  const rims = await fetchRims(request, devices);
  const chains = [
    ...devices.map(({ certificates }) => ocspQuestions(certificates, "device")),
    ...rims.flatMap(({ bytes }) => ocspQuestions(tryReadRim(bytes)?.certificates ?? [], "rim")),
  ];
  const questions = new Map(chains.flat().map((one) => [`${one.certificate.sha256} ${one.issuer.sha256}`, one]));
  return [...rims, ...(await Promise.all([...questions.values()].map((question) => fetchOcsp(request, question))))];
}

async function fetchNrasKeys({ fetcher, services }: FetchRequest): Promise<NamedFile> {
  const { bytes } = await fetcher.ask({
    url: services?.nras ?? NVIDIA_NRAS_KEYS_URL,
    maxBytes: NVIDIA_LIMITS.nrasBytes,
  });
  parseNrasKeys(bytes);
  return { name: "nvidia-nras-keys.json", bytes };
}

/** An answer that names another nonce is an old one; responders that name none answer for many, and their dates count. */
async function fetchOcsp(
  { fetcher, services, random }: FetchRequest,
  { certificate, issuer }: OcspQuestion,
): Promise<NamedFile> {
  const url = services?.ocsp ?? NVIDIA_OCSP_URL;
  const nonce = random?.bytes(OCSP_NONCE_BYTES);
  const body = encodeOcspRequest({ certificate, issuer, ...(nonce ? { nonce } : {}) });
  const asked = { url, body, contentType: "application/ocsp-request", maxBytes: NVIDIA_LIMITS.ocspBytes };
  const { bytes } = await fetcher.ask(asked);
  const answered = readOcspNonce(bytes, url);
  if (answered && nonce && !equalBytes(answered, nonce))
    throw attestationError("COLLATERAL_UNREACHABLE", { detail: `${url}: an answer to another question` });
  return { name: `nvidia-ocsp-${certificate.sha256.slice(0, 16)}.der`, bytes };
}

function readOcspNonce(bytes: Uint8Array, url: string): Uint8Array | undefined {
  try {
    return parseOcspResponse(bytes).nonce;
  } catch (cause) {
    throw attestationError("COLLATERAL_UNREACHABLE", { detail: `${url}: no answer about a certificate`, cause });
  }
}

async function fetchRims({ fetcher, services }: FetchRequest, devices: readonly GpuEvidence[]): Promise<NamedFile[]> {
  const ids = devices.flatMap(({ arch, report }) => Object.values(rimIds(arch, report.opaque)));
  return Promise.all(
    [...new Set(ids)].map(async (id) => {
      const { bytes } = await fetcher.ask({ url: rimUrl(id, services?.rim ?? NVIDIA_RIM_URL) });
      return { name: `nvidia-rim-${id}.xml`, bytes: parseRimAnswer(bytes, id) };
    }),
  );
}
