/** What the refusals of Azure Key Vault and Managed HSM mean. */
import { z } from "zod";
import type { ModelkeepError } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer } from "../http-service.ts";
import { parseAnswer } from "../secret-json.ts";
import type { AzureKey } from "./uri.ts";

type Code = Parameters<typeof backendError>[0];

const HINT: Readonly<Partial<Record<Code, string>>> = {
  KMS_DENIED: "give the role Key Vault Crypto User, or get, wrapKey, unwrapKey and sign; and open the vault's firewall",
  KMS_CREDENTIALS_REFUSED: "is AZURE_TENANT_ID the tenant of the vault?",
};
const DISABLED =
  /KeyDisabled|SecretDisabled|KeyExpired|KeyNotYetValid|ObjectIsDeletedButRecoverable|ObjectIsBeingDeleted/;
const DISABLED_WORDS = /disabled (?:key|secret)|is disabled|expired|not yet valid/i;
const UNFIT = /KeyOperationForbidden|KeyTypeNotSupported|AlgorithmNotSupported/;
const UNFIT_WORDS = /not permitted on this key|not supported|key type/i;

const schema = z.object({
  error: z.object({
    code: z.string().max(64).optional(),
    message: z.string().max(4_096).nullish(),
    innererror: z.object({ code: z.string().max(64).optional() }).nullish(),
  }),
});

/** Azure's own words choose a code and are not shown. `bad` makes the error of a parameter that does not fit. */
export function azureErrorOf(answer: HttpAnswer, uri: string, bad?: () => ModelkeepError): ModelkeepError {
  const { codes, message } = refusalOf(answer);
  const detail = `${uri}, ${codes === "" ? `status ${answer.status}` : codes}`;
  if (DISABLED.test(codes) || (answer.status === 403 && DISABLED_WORDS.test(message)))
    return backendError("KMS_KEY_DISABLED", { detail });
  if (UNFIT.test(codes) || (answer.status < 500 && UNFIT_WORDS.test(message)))
    return backendError("KMS_KEY_UNFIT", { detail });
  if (answer.status === 400 && bad) return bad();
  const code = codeOfStatus(answer.status);
  const hint = HINT[code];
  return backendError(code, { detail, ...(hint === undefined ? {} : { hint }) });
}

function codeOfStatus(status: number): Code {
  if (status === 401) return "KMS_CREDENTIALS_REFUSED";
  if (status === 403) return "KMS_DENIED";
  if (status === 404) return "KMS_KEY_NOT_FOUND";
  if (status === 429) return "KMS_THROTTLED";
  return status >= 500 ? "KMS_UNREACHABLE" : "KMS_REFUSED";
}

function refusalOf(answer: HttpAnswer): { codes: string; message: string } {
  try {
    const { code = "", innererror, message } = schema.parse(parseAnswer(answer.body)).error;
    const codes = [code, innererror?.code ?? ""].filter((text) => /^\w{1,64}$/.test(text)).join(" ");
    return { codes, message: message ?? "" };
  } catch {
    return { codes: "", message: "" };
  }
}

/**
 * A service that refuses a token says whose token it wants. One that names somebody else's is after a token that it
 * could use there: nothing is asked for, and it is told.
 */
export function challengeError(
  answer: HttpAnswer,
  key: Pick<AzureKey, "host" | "resource">,
): ModelkeepError | undefined {
  const challenge = answer.header("www-authenticate") ?? "";
  const [, given] = /\b(?:resource|scope)="([^"]{1,512})"/.exec(challenge) ?? [];
  const wanted = given === undefined ? undefined : URL.parse(given);
  if (given === undefined || wanted?.origin === key.resource) return undefined;
  return backendError("KMS_CREDENTIALS_REFUSED", {
    detail: `${key.host} asks for a token of ${wanted?.host.slice(0, 100) ?? "nobody"}, which is not its own`,
    hint: "is the vault's name right? no token was sent for it",
  });
}
