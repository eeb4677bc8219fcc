/** What the refusals of Google Cloud KMS mean. */
import { z } from "zod";
import type { ModelkeepError } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer } from "../http-service.ts";
import { parseAnswer } from "../secret-json.ts";

type Code = Parameters<typeof backendError>[0];

const CODE_OF: Readonly<Record<string, Code>> = {
  NOT_FOUND: "KMS_KEY_NOT_FOUND",
  PERMISSION_DENIED: "KMS_DENIED",
  UNAUTHENTICATED: "KMS_CREDENTIALS_REFUSED",
  RESOURCE_EXHAUSTED: "KMS_THROTTLED",
  UNAVAILABLE: "KMS_UNREACHABLE",
  DEADLINE_EXCEEDED: "KMS_UNREACHABLE",
  INTERNAL: "KMS_UNREACHABLE",
};
const HINT: Readonly<Partial<Record<Code, string>>> = {
  KMS_KEY_NOT_FOUND: "are project, location and key ring those of the key?",
  KMS_DENIED: "allow cloudkms.cryptoKeyEncrypterDecrypter, or cloudkms.signerVerifier, and cloudkms.viewer, on the key",
};
/** States of a key version and of a key (google.cloud.kms.v1.CryptoKeyVersion.CryptoKeyVersionState). */
const STATE = /\b(DISABLED|DESTROYED|DESTROY_SCHEDULED|PENDING_GENERATION|PENDING_IMPORT|IMPORT_FAILED)\b|not enabled/;
const UNFIT = /purpose|algorithm|not supported/i;

const schema = z.object({
  error: z.object({ status: z.string().max(64).optional(), message: z.string().max(4_096).optional() }),
});

/** Google's own words choose a code and are not shown. `invalid` makes the error of an argument that does not fit. */
export function googleErrorOf(answer: HttpAnswer, uri: string, invalid?: () => ModelkeepError): ModelkeepError {
  const { status, message } = refusalOf(answer);
  const detail = `${uri}, ${status === "" ? `status ${answer.status}` : status}`;
  if (STATE.test(message)) return backendError("KMS_KEY_DISABLED", { detail });
  if (/crc32c|checksum/i.test(message)) return backendError("KMS_ANSWER_INVALID", { detail: "a checksum, on the way" });
  if (status === "FAILED_PRECONDITION" && UNFIT.test(message)) return backendError("KMS_KEY_UNFIT", { detail });
  if (status === "INVALID_ARGUMENT" && invalid) return invalid();
  const code = CODE_OF[status] ?? codeOfStatus(answer.status);
  const hint = HINT[code];
  return backendError(code, { detail, ...(hint === undefined ? {} : { hint }) });
}

function codeOfStatus(status: number): Code {
  if (status === 429) return "KMS_THROTTLED";
  if (status === 401) return "KMS_CREDENTIALS_REFUSED";
  if (status >= 500) return "KMS_UNREACHABLE";
  return status === 403 ? "KMS_DENIED" : "KMS_REFUSED";
}

function refusalOf(answer: HttpAnswer): { status: string; message: string } {
  try {
    const { status = "", message = "" } = schema.parse(parseAnswer(answer.body)).error;
    return { status, message };
  } catch {
    return { status: "", message: "" };
  }
}
