/** Evidence as people have it in files: which of the known forms it is, and what is inside. */
import { fromBase64, fromBase64Url, fromHex, fromUtf8, parseJson, utf8 } from "../base/index.ts";
import { APPRAISAL_LIMITS } from "./appraisal-limits.ts";
import { type DcapEvidence, parseDcapEvidence } from "./dcap/evidence-json.ts";
import { evidenceRefused } from "./errors.ts";
import { parseDstackEventLog } from "./eventlog/dstack.ts";

export type EvidenceForm =
  /** What the TEE's own parser reads. */
  | { readonly form: "plain"; readonly data: Uint8Array }
  /** A quote and an event log, as dstack writes them. */
  | { readonly form: "dcap"; readonly evidence: DcapEvidence }
  /** JSON of the KBS protocol for Azure's machines. */
  | { readonly form: "azure"; readonly data: Uint8Array }
  /** The report of Azure's paravisor without a quote of its TPM. */
  | { readonly form: "hcl"; readonly data: Uint8Array }
  /** A manifest of NVIDIA, XML. */
  | { readonly form: "rim"; readonly data: Uint8Array }
  /** The answer of NVIDIA's attestation service. */
  | { readonly form: "nras"; readonly data: Uint8Array };

const OPENING = { brace: 0x7b, bracket: 0x5b, angle: 0x3c } as const;
const HCL_MAGIC = "HCLA";

/** Throws EVIDENCE_REFUSED with `evidence.size` or `evidence.format`. */
export function readEvidenceForm(file: Uint8Array): EvidenceForm {
  if (file.length > APPRAISAL_LIMITS.evidenceBytes) throw evidenceRefused("evidence.size");
  if (isText(file, HCL_MAGIC)) return { form: "hcl", data: file };
  const first = file.find((byte) => byte > 0x20);
  if (first === OPENING.brace || first === OPENING.bracket) return readJsonForm(file);
  if (first === OPENING.angle) return { form: "rim", data: file };
  return { form: "plain", data: fromHexText(file) ?? file };
}

const isText = (file: Uint8Array, text: string) =>
  Buffer.from(file.subarray(0, text.length)).toString("latin1") === text;

/** Tools print quotes and reports as hex, with or without 0x and a line end. */
function fromHexText(file: Uint8Array): Uint8Array | undefined {
  if (file.subarray(0, 16).some((byte) => byte > 0x7f || byte === 0)) return undefined;
  const text = Buffer.from(file).toString("latin1").trim().replace(/^0x/, "");
  return fromHex(text);
}

function readJsonForm(file: Uint8Array): EvidenceForm {
  const value = readJson(file);
  if (Array.isArray(value)) {
    const isAnswer = Array.isArray(value[0]) && value[0][0] === "JWT";
    return { form: isAnswer ? "nras" : "plain", data: file };
  }
  const members = value as Readonly<Record<string, unknown>>;
  if (Array.isArray(members.verification_requests)) return readEvidenceForm(onlyRequest(members.verification_requests));
  if (members.detached_eat !== undefined) return { form: "nras", data: utf8(JSON.stringify(members.detached_eat)) };
  if (members.hcl_report !== undefined) return { form: "azure", data: file };
  const dstack = typeof members.quote === "string" ? fromHex(members.quote) : undefined;
  if (dstack && typeof members.event_log === "string")
    return { form: "dcap", evidence: { quote: dstack, events: parseDstackEventLog(members.event_log) } };
  return { form: "plain", data: file };
}

function readJson(file: Uint8Array): object {
  try {
    const limits = { maxBytes: APPRAISAL_LIMITS.evidenceBytes, maxDepth: APPRAISAL_LIMITS.evidenceDepth };
    const value = parseJson(fromUtf8(file), { ...limits, what: "evidence" });
    if (typeof value === "object" && value !== null) return value;
  } catch (error) {
    throw evidenceRefused("evidence.format", error);
  }
  throw evidenceRefused("evidence.format");
}

/** The request of an attestation service's REST interface, with the evidence of one TEE in base64url. */
function onlyRequest(requests: readonly unknown[]): Uint8Array {
  const [request, ...more] = requests as readonly { readonly evidence?: unknown }[];
  const text = typeof request?.evidence === "string" ? request.evidence.replace(/=+$/, "") : undefined;
  const bytes = text === undefined ? undefined : (fromBase64Url(text) ?? fromBase64(text));
  if (!bytes || more.length > 0 || isRequest(bytes)) throw evidenceRefused("evidence.format");
  return bytes;
}

const isRequest = (bytes: Uint8Array) => Buffer.from(bytes).includes('"verification_requests"');

/** A quote in any of its forms. */
export function dcapEvidenceOf(form: EvidenceForm): DcapEvidence {
  if (form.form === "dcap") return form.evidence;
  if (form.form === "plain") return parseDcapEvidence(form.data);
  throw evidenceRefused("evidence.form");
}
