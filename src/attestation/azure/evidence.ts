/** Evidence of Azure's confidential machines as the KBS protocol carries it: a TPM's quote beside the paravisor's report. */
import { z } from "zod";
import { fromBase64Url, fromHex, parseJson } from "../../base/index.ts";
import { parsePem } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import { type HclReport, parseHclReport } from "./hcl.ts";
import { AZURE_LIMITS } from "./limits.ts";

const hexText = (maxBytes: number) =>
  z
    .string()
    .max(maxBytes * 2)
    .transform((text, context) => fromHex(text) ?? refuseText(context));
const base64Text = (maxCharacters: number) =>
  z
    .string()
    .max(maxCharacters)
    .transform((text, context) => readBase64Url(text) ?? refuseText(context));

/** Collectors differ in the padding. */
const readBase64Url = (text: string) => fromBase64Url(text.length % 4 === 0 ? text.replace(/={1,2}$/, "") : text);

function refuseText(context: z.RefinementCtx): never {
  context.addIssue({ code: "custom", message: "another encoding" });
  return z.NEVER;
}

const azureEvidence = z.strictObject({
  /** Absent in the oldest form. */
  version: z.union([z.literal(1), z.literal(2)]).optional(),
  tpm_quote: z.strictObject({
    signature: hexText(AZURE_LIMITS.signatureBytes),
    message: hexText(AZURE_LIMITS.quoteBytes),
    pcrs: z.array(hexText(32)).length(AZURE_LIMITS.pcrs),
  }),
  hcl_report: base64Text(AZURE_LIMITS.hclBytes * 2),
  /** DER in base64url, or PEM. */
  vcek: z.string().max(AZURE_LIMITS.vcekCharacters).optional(),
  td_quote: base64Text(AZURE_LIMITS.tdQuoteCharacters).optional(),
});

export interface AzureEvidence {
  readonly hcl: HclReport;
  readonly quote: {
    readonly message: Uint8Array;
    readonly signature: Uint8Array;
    /** 24 values of the SHA-256 bank. */
    readonly pcrs: readonly Uint8Array[];
  };
  /** SNP: DER of what the machine brought, the chip's certificate first. */
  readonly certificates: readonly Uint8Array[];
  /** TDX. */
  readonly tdQuote?: Uint8Array;
}

/** Throws EVIDENCE_REFUSED with `azure.evidence.format` or what `parseHclReport` refuses. */
export function parseAzureEvidence(data: Uint8Array): AzureEvidence {
  const { tpm_quote, hcl_report, vcek, td_quote } = readEvidence(data);
  if (tpm_quote.pcrs.some(({ length }) => length !== 32)) throw evidenceRefused("azure.evidence.format");
  return {
    hcl: parseHclReport(hcl_report),
    quote: tpm_quote,
    certificates: vcek === undefined ? [] : readCertificates(vcek),
    ...(td_quote ? { tdQuote: td_quote } : {}),
  };
}

function readEvidence(data: Uint8Array): z.output<typeof azureEvidence> {
  try {
    const limits = { maxBytes: AZURE_LIMITS.evidenceBytes, maxDepth: 8, what: "evidence" };
    return azureEvidence.parse(parseJson(data, limits));
  } catch (error) {
    throw evidenceRefused("azure.evidence.format", error);
  }
}

function readCertificates(text: string): Uint8Array[] {
  if (!text.startsWith("-----BEGIN ")) {
    const der = readBase64Url(text);
    if (!der) throw evidenceRefused("azure.evidence.format");
    return [der];
  }
  try {
    return parsePem(text).map(({ der }) => der);
  } catch (error) {
    throw evidenceRefused("azure.evidence.format", error);
  }
}
