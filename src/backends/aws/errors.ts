/** What the refusals of AWS KMS mean. */
import { z } from "zod";
import type { ModelkeepError } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import type { HttpAnswer } from "../http-service.ts";
import { parseAnswer } from "../secret-json.ts";

type Code = Parameters<typeof backendError>[0];

const CODE_OF: Readonly<Record<string, Code>> = {
  NotFoundException: "KMS_KEY_NOT_FOUND",
  ResourceNotFoundException: "KMS_KEY_NOT_FOUND",
  InvalidRequestException: "KMS_KEY_DISABLED",
  DecryptionFailure: "KMS_DENIED",
  InternalServiceError: "KMS_UNREACHABLE",
  ExpiredToken: "KMS_CREDENTIALS_REFUSED",
  Throttling: "KMS_THROTTLED",
  DisabledException: "KMS_KEY_DISABLED",
  KMSInvalidStateException: "KMS_KEY_DISABLED",
  InvalidKeyUsageException: "KMS_KEY_UNFIT",
  UnsupportedOperationException: "KMS_KEY_UNFIT",
  InvalidCiphertextException: "UNWRAP_FAILED",
  IncorrectKeyException: "UNWRAP_FAILED",
  AccessDeniedException: "KMS_DENIED",
  AccessDenied: "KMS_DENIED",
  OptInRequired: "KMS_DENIED",
  UnrecognizedClientException: "KMS_CREDENTIALS_REFUSED",
  InvalidClientTokenId: "KMS_CREDENTIALS_REFUSED",
  InvalidSignatureException: "KMS_CREDENTIALS_REFUSED",
  SignatureDoesNotMatch: "KMS_CREDENTIALS_REFUSED",
  IncompleteSignature: "KMS_CREDENTIALS_REFUSED",
  MissingAuthenticationToken: "KMS_CREDENTIALS_REFUSED",
  MissingAuthenticationTokenException: "KMS_CREDENTIALS_REFUSED",
  ExpiredTokenException: "KMS_CREDENTIALS_REFUSED",
  ThrottlingException: "KMS_THROTTLED",
  LimitExceededException: "KMS_THROTTLED",
  TooManyRequestsException: "KMS_THROTTLED",
  KMSInternalException: "KMS_UNREACHABLE",
  DependencyTimeoutException: "KMS_UNREACHABLE",
  KeyUnavailableException: "KMS_UNREACHABLE",
};
const LATER = new Set<Code | undefined>(["KMS_THROTTLED", "KMS_UNREACHABLE"]);

const MAX_REFUSAL_BYTES = 4_096;

/** What Decrypt says of bytes that name no key of the account: it is the ciphertext, not the permission. */
const NOT_A_CIPHERTEXT = /^The ciphertext refers to a /;

const HINT: Readonly<Record<string, string>> = {
  InvalidSignatureException: "is the clock of this machine right?",
  NotFoundException: "is the key in that region, and of that account? aws kms list-keys --region REGION",
};

const schema = z.object({
  __type: z.string().max(256),
  message: z.string().max(4_096).optional(),
  Message: z.string().max(4_096).optional(),
});

interface Refusal {
  /** The exception's name, empty when there is none. */
  readonly type: string;
  readonly words: string;
}

/** The service answers 400 when it is asked too often. */
export function isThrottling(answer: HttpAnswer): boolean {
  return answer.status !== 200 && LATER.has(CODE_OF[refusalOf(answer).type]);
}

/** AWS's own words are not shown: they repeat parts of the request. */
export function awsErrorOf(answer: HttpAnswer, uri: string, deniedHint: string | undefined): ModelkeepError {
  const { type, words } = refusalOf(answer);
  const code = CODE_OF[type] ?? codeOfStatus(answer.status);
  if (code === "UNWRAP_FAILED" || NOT_A_CIPHERTEXT.test(words)) return backendError("UNWRAP_FAILED");
  const detail = `${uri}, ${type === "" ? `status ${answer.status}` : type}`;
  const hint = code === "KMS_DENIED" ? deniedHint : HINT[type];
  return backendError(code, { detail, ...(hint === undefined ? {} : { hint }) });
}

function codeOfStatus(status: number): Code {
  if (status === 429) return "KMS_THROTTLED";
  if (status >= 500) return "KMS_UNREACHABLE";
  return status === 403 ? "KMS_DENIED" : "KMS_REFUSED";
}

/** The name may come with a namespace before it and a URL after it; what stands before the service answers in XML. */
function refusalOf(answer: HttpAnswer): Refusal {
  const text = Buffer.from(answer.body.subarray(0, MAX_REFUSAL_BYTES)).toString("latin1");
  const code = /<Code>([A-Za-z]{1,64})<\/Code>/.exec(text)?.[1];
  if (code !== undefined) return { type: code, words: "" };
  try {
    const { __type, message, Message } = schema.parse(parseAnswer(answer.body));
    return { type: /(?:^|#)([A-Za-z]{1,64})(?::|$)/.exec(__type)?.[1] ?? "", words: message ?? Message ?? "" };
  } catch {
    return { type: "", words: "" };
  }
}
