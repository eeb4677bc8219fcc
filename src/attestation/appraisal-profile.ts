/** The appraisal profile: one YAML file that says which TEEs are accepted, and in which state. */
import { type Document, LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { fromUtf8, type ModelkeepError } from "../base/index.ts";
import { APPRAISAL_LIMITS } from "./appraisal-limits.ts";
import { azureProfile } from "./azure/profile.ts";
import { attestationError } from "./errors.ts";
import { nvidiaProfile } from "./nvidia/profile.ts";
import { sgxProfile } from "./sgx/profile.ts";
import { snpProfile } from "./snp/profile.ts";
import { tdxProfile } from "./tdx/profile.ts";

const name = z.string().regex(/^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/, "small letters, digits, dots and dashes");

export const appraisalProfile = z.strictObject({
  version: z.literal(1).default(1).describe("Of this file's form"),
  name: name.default("default").describe("How results name this profile"),
  snp: snpProfile.optional().describe("AMD SEV-SNP; absent: not accepted"),
  tdx: tdxProfile.optional().describe("Intel TDX; absent: not accepted"),
  sgx: sgxProfile.optional().describe("Intel SGX; absent: not accepted"),
  nvidia: nvidiaProfile.optional().describe("NVIDIA GPUs and switches; absent: not accepted"),
  azure: azureProfile.optional().describe("Azure's virtual TPM, beside snp or tdx; absent: not accepted"),
});

export type AppraisalProfile = z.output<typeof appraisalProfile>;
export type AppraisalProfileInput = z.input<typeof appraisalProfile>;

export const TEE_KINDS = ["snp", "tdx", "sgx", "nvidia"] as const;
export type TeeKind = (typeof TEE_KINDS)[number];

/** YAML or JSON. Throws PROFILE_INVALID with the line, the field and the reason of every problem. */
export function parseAppraisalProfile(file: Uint8Array): AppraisalProfile {
  if (file.length > APPRAISAL_LIMITS.profileBytes) throw invalid([`over ${APPRAISAL_LIMITS.profileBytes} bytes`]);
  const lines = new LineCounter();
  const document = parseDocument(textOf(file), { lineCounter: lines, uniqueKeys: true });
  const broken = [...document.errors, ...document.warnings].map(
    ({ pos: [start], message }) => `line ${lines.linePos(start).line}: ${message.split("\n")[0] ?? ""}`,
  );
  if (broken.length > 0) throw invalid(broken);
  const parsed = appraisalProfile.safeParse(plainOf(document) ?? {});
  if (parsed.success) return parsed.data;
  throw invalid(parsed.error.issues.flatMap((issue) => problemsOf(document, lines, issue)));
}

function textOf(file: Uint8Array): string {
  try {
    return fromUtf8(file);
  } catch {
    throw invalid(["it is not UTF-8"]);
  }
}

/** Aliases could make a small file large. */
function plainOf(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    throw invalid([error instanceof Error ? error.message : "unreadable"]);
  }
}

function problemsOf(document: Document, lines: LineCounter, issue: z.core.$ZodIssue): string[] {
  const extra = issue.code === "unrecognized_keys" ? issue.keys : [];
  const places = extra.length > 0 ? extra.map((key) => [...issue.path, key]) : [issue.path];
  const message = extra.length > 0 ? "there is no such field" : issue.message;
  return places.map((path) => `line ${lineOf(document, lines, path)}: ${path.join(".") || "file"}: ${message}`);
}

/** Of the field, or of the nearest thing around it that is in the file. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length).map(String), true);
    const range = typeof node === "object" && node !== null && "range" in node ? node.range : undefined;
    if (Array.isArray(range) && typeof range[0] === "number") return lines.linePos(range[0]).line;
  }
  return 1;
}

function invalid(problems: readonly string[]): ModelkeepError {
  const shown = problems.slice(0, APPRAISAL_LIMITS.profileProblems);
  const more = problems.length > shown.length ? [`and ${problems.length - shown.length} more`] : [];
  return attestationError("PROFILE_INVALID", { detail: [...shown, ...more].join("; ") });
}
