/** Workload identity federation: a token of another identity provider, in a file, for one of Google's (RFC 8693). */
import { z } from "zod";
import { copySecret, utf8, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { postForm, refuseLogin, takeAccessToken } from "../oauth.ts";
import { guardSecret, readCredentialFile, revealText } from "../private-file.ts";
import type { Fresh } from "../renewing.ts";
import { takeText } from "../secret-json.ts";
import { type GoogleLogin, type GoogleLoginPorts, serviceAt } from "./place.ts";

const CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform";

/** What `gcloud iam workload-identity-pools create-cred-config` writes for a token in a file. */
export const externalAccount = z.object({
  audience: z.string().min(1).max(1_024),
  subject_token_type: z.string().min(1).max(128),
  token_url: z.string().max(512),
  service_account_impersonation_url: z.string().max(1_024).optional(),
  credential_source: z.object({
    file: z.string().min(1).max(4_096),
    format: z
      .object({ type: z.enum(["text", "json"]), subject_token_field_name: z.string().max(64).optional() })
      .optional(),
  }),
});

type ExternalAccount = z.output<typeof externalAccount>;

export async function openExternalAccount(account: ExternalAccount, ports: GoogleLoginPorts): Promise<GoogleLogin> {
  const sts = await serviceAt(account.token_url, ports);
  const impersonation = account.service_account_impersonation_url;
  const become = impersonation === undefined ? undefined : await openImpersonation(impersonation, ports);
  return async (scope) => {
    using subject = await subjectToken(account.credential_source);
    const fields = {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      audience: account.audience,
      scope: become ? CLOUD_PLATFORM : scope,
      requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
      subject_token_type: account.subject_token_type,
    };
    const path = new URL(account.token_url).pathname;
    const secret = subject.use(copySecret);
    const answer = await postForm(sts, { path, secretName: "subject_token", secret, fields });
    const federated = takeAccessToken(answer, "token exchange");
    return become ? become(federated, scope) : federated;
  };
}

type Impersonation = (federated: Fresh<GuardedBytes>, scope: string) => Promise<Fresh<GuardedBytes>>;

const impersonated = z.object({ expireTime: z.iso.datetime({ offset: true }) });

/** IAM Service Account Credentials, generateAccessToken. */
export async function openImpersonation(place: string, ports: GoogleLoginPorts): Promise<Impersonation> {
  const http = await serviceAt(place, ports);
  const path = new URL(place).pathname;
  return async ({ value }, scope) => {
    using token = value;
    const body = utf8(JSON.stringify({ scope: [scope], lifetime: "3600s" }));
    const headers = () => ({ authorization: `Bearer ${revealText(token)}`, "content-type": "application/json" });
    const answer = await http.send(() => ({ method: "POST", path, headers: headers(), body }), { repeatable: true });
    refuseLogin(answer, "impersonation of the service account");
    const { secret, rest } = takeText(answer.body, "accessToken");
    const known = impersonated.safeParse(rest);
    if (known.success && secret.length > 0 && secret.length <= BACKEND_LIMITS.accessTokenBytes)
      return {
        value: GuardedBytes.take(secret),
        lifeSeconds: Math.max(0, (Date.parse(known.data.expireTime) - ports.clock.now()) / 1000),
      };
    wipe(secret);
    throw backendError("KMS_ANSWER_INVALID", { detail: "impersonation of the service account" });
  };
}

async function subjectToken(source: ExternalAccount["credential_source"]): Promise<GuardedBytes> {
  const { file, format } = source;
  const text = await readCredentialFile(file, BACKEND_LIMITS.credentialFileBytes, { mayBeOpenToOthers: true });
  try {
    if (format?.type !== "json") return guardSecret(text, file);
    const { secret } = takeText(text, format.subject_token_field_name ?? "");
    return guardSecret(secret, file);
  } finally {
    wipe(text);
  }
}
