/** Evidence of Azure's confidential machines: the paravisor's report and a quote of its TPM by tpm2-tools, the rest from Azure's address in the guest. */
import { join } from "node:path";
import { z } from "zod";
import { concatBytes, type Fetch, fromUtf8, parseJson, toBase64Url, toHex, utf8 } from "../../base/index.ts";
import { files, readFileBounded, tempDirectory } from "../../host/index.ts";
import type { EvidenceCollector } from "../attestation.ts";
import { type HclReport, parseHclReport } from "../azure/hcl.ts";
import { AZURE_LIMITS } from "../azure/limits.ts";
import { AZURE_SNP_KIND } from "../azure/snp.ts";
import { tpmQualifyingData } from "../azure/tpm-quote.ts";
import { attestationError } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";
import { AZURE_TDX_KIND } from "../tdx/azure.ts";
import { collectFailed } from "./device-files.ts";
import { COLLECT_LIMITS } from "./limits.ts";
import { runProgram } from "./program.ts";

/** Where Azure's paravisor keeps its report and its attestation key. */
const HCL_INDEX = "0x01400001";
const KEY_HANDLE = "0x81000003";
export const AZURE_METADATA = "http://169.254.169.254";

/** What a TDREPORT has of the padded hardware report. */
const TD_REPORT_BYTES = 1024;
const PCR_BYTES = 32;

export interface AzurePorts {
  readonly fetch: Fetch;
  /** Folder of `tpm2_nvread` and `tpm2_quote`; absent: found in PATH. */
  readonly toolsFolder?: string;
  /** How tpm2-tools reach the TPM (`-T`); absent: as they do by themselves. */
  readonly tcti?: string;
  /** In place of Azure's address. */
  readonly metadata?: string;
  readonly signal?: AbortSignal;
}

/** Throws COLLECT_UNAVAILABLE without tpm2-tools, COLLECT_FAILED where the TPM has no report of a paravisor. */
export async function createAzureCollector(ports: AzurePorts): Promise<EvidenceCollector> {
  const hcl = await readHcl(ports);
  const kind = hcl.report.kind === "snp" ? AZURE_SNP_KIND : AZURE_TDX_KIND;
  return {
    kind,
    async collect(reportData) {
      if (reportData.length !== ATTESTATION_LIMITS.reportDataBytes)
        throw attestationError("COLLECT_FAILED", { detail: `report data of ${reportData.length} bytes` });
      const endorsed = hcl.report.kind === "snp" ? await askCertificates(ports) : await askTdQuote(ports, hcl.report);
      const quote = await quoteTpm(ports, tpmQualifyingData(reportData));
      const evidence = { ...endorsed, tpm_quote: quote, hcl_report: toBase64Url(hcl.bytes) };
      return { kind, data: utf8(JSON.stringify(evidence)) };
    },
  };
}

async function readHcl(ports: AzurePorts): Promise<{ readonly bytes: Uint8Array; readonly report: HclReport }> {
  const bytes = await runTool(ports, "tpm2_nvread", ["-C", "o", HCL_INDEX], AZURE_LIMITS.hclBytes);
  try {
    return { bytes, report: parseHclReport(bytes) };
  } catch (error) {
    throw attestationError("COLLECT_FAILED", { detail: "the TPM has no report of Azure's paravisor", cause: error });
  }
}

function runTool(ports: AzurePorts, name: string, words: readonly string[], maxBytes: number): Promise<Uint8Array> {
  const program = ports.toolsFolder === undefined ? name : join(ports.toolsFolder, name);
  const tcti = ports.tcti === undefined ? [] : ["-T", ports.tcti];
  return runProgram(program, [...tcti, ...words], { maxBytes, ...(ports.signal ? { signal: ports.signal } : {}) });
}

const REGISTERS = Array.from({ length: AZURE_LIMITS.pcrs }, (_, index) => index).join(",");

/** The tool gives the registers as they were when the TPM signed: it checks them against the quote itself. */
async function quoteTpm(ports: AzurePorts, qualifying: Uint8Array) {
  const folder = await files.mkdtemp(join(tempDirectory(), "modelkeep-quote-"));
  try {
    const [message, signature, pcrs] = ["message", "signature", "pcrs"].map((name) => join(folder, name));
    if (!message || !signature || !pcrs) throw new Error("three names");
    const what = ["-c", KEY_HANDLE, "-l", `sha256:${REGISTERS}`, "-q", toHex(qualifying), "-g", "sha256"];
    const where = ["-m", message, "-s", signature, "-f", "plain", "-o", pcrs, "-F", "values"];
    await runTool(ports, "tpm2_quote", [...what, ...where], COLLECT_LIMITS.answerBytes);
    return {
      message: toHex(await readFileBounded(message, AZURE_LIMITS.quoteBytes)),
      signature: toHex(await readFileBounded(signature, AZURE_LIMITS.signatureBytes)),
      pcrs: splitPcrs(await readFileBounded(pcrs, AZURE_LIMITS.pcrs * PCR_BYTES)),
    };
  } catch (error) {
    throw attestationErrorOf(error);
  } finally {
    await files.rm(folder, { recursive: true, force: true });
  }
}

function splitPcrs(bytes: Uint8Array): string[] {
  if (bytes.length !== AZURE_LIMITS.pcrs * PCR_BYTES) throw new Error(`${bytes.length} bytes of registers`);
  return Array.from({ length: AZURE_LIMITS.pcrs }, (_, i) => toHex(bytes.subarray(i * PCR_BYTES, (i + 1) * PCR_BYTES)));
}

const certification = z.looseObject({ vcekCert: z.string(), certificateChain: z.string() });
const tdQuote = z.looseObject({ quote: z.string().max(AZURE_LIMITS.tdQuoteCharacters) });

/** THIM: the certificate of the chip's key and what is above it, PEM. */
async function askCertificates(ports: AzurePorts): Promise<{ readonly version: 2; readonly vcek: string }> {
  const path = "/metadata/THIM/amd/certification";
  const { vcekCert, certificateChain } = await ask(ports, path, { headers: { metadata: "true" } }, certification);
  return { version: 2, vcek: `${vcekCert.trim()}\n${certificateChain.trim()}\n` };
}

async function askTdQuote(ports: AzurePorts, { hardwareReport }: HclReport) {
  const body = JSON.stringify({ report: toBase64Url(hardwareReport.subarray(0, TD_REPORT_BYTES)) });
  const headers = { "content-type": "application/json" };
  const { quote } = await ask(ports, "/acc/tdquote", { method: "POST", headers, body }, tdQuote);
  return { version: 1 as const, td_quote: quote.replace(/=+$/, "") };
}

async function ask<Schema extends z.ZodType>(
  { fetch, metadata = AZURE_METADATA, signal }: AzurePorts,
  path: string,
  init: RequestInit,
  schema: Schema,
): Promise<z.output<Schema>> {
  const timeout = AbortSignal.timeout(COLLECT_LIMITS.metadataMs);
  try {
    const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
    const response = await fetch(`${metadata}${path}`, { ...init, redirect: "error", signal: either });
    if (!response.ok) throw new Error(`${path} answers ${response.status}`);
    const text = await readBounded(response);
    return schema.parse(parseJson(text, { maxBytes: COLLECT_LIMITS.metadataBytes, maxDepth: 4, what: "answer" }));
  } catch (error) {
    throw attestationErrorOf(error, `${metadata}${path}`);
  }
}

async function readBounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > COLLECT_LIMITS.metadataBytes) throw new Error("the answer is too long");
    parts.push(part);
  }
  return fromUtf8(concatBytes(...parts));
}

function attestationErrorOf(error: unknown, place?: string) {
  if (error instanceof Error && "code" in error && String(error.code).startsWith("COLLECT_")) return error;
  if (place === undefined) return collectFailed(error);
  return attestationError("COLLECT_FAILED", { detail: `${place} does not give what it should`, cause: error });
}
