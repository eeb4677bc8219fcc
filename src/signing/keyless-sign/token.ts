/** The identity token: from a file, the environment or the CI platform; in guarded memory, and in no error. */
import { z } from "zod";
import { copySecret, parseJson, wipe } from "../../base/index.ts";
import { GuardedBytes, readFileBounded } from "../../host/index.ts";
import { parseAnswer } from "./answer.ts";
import { isGuarded } from "./endpoints.ts";
import { keylessError } from "./errors.ts";
import { askForBody, type KeylessPorts, limitsOf, whereOf } from "./http.ts";
import { KEYLESS_LIMITS } from "./limits.ts";

export interface TokenOptions {
  /** Absolute path of a file that holds the token alone. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For whom the token must be; `sigstore` when absent. */
  readonly audience?: string | undefined;
}

export interface TokenClaims {
  readonly issuers: readonly string[];
  /** What a certificate may name for this token. */
  readonly identities: readonly string[];
}

export interface IdentityToken {
  /** The caller wipes it. */
  readonly secret: GuardedBytes;
  readonly claims: TokenClaims;
}

export type TokenSource = (ports: KeylessPorts) => Promise<IdentityToken>;

const AUDIENCE = "sigstore";
const ACTIONS = "https://token.actions.githubusercontent.com";

/** Decides where the token comes from; it is read when it is needed, since it lives for minutes. Throws KEYLESS_TOKEN_MISSING. */
export function tokenSource({ file, env, audience = AUDIENCE }: TokenOptions): TokenSource {
  const read = readerOf(file, env, audience);
  return async (ports) => {
    const bytes = await read(ports);
    try {
      const text = trimmed(bytes);
      const claims = claimsOf(text, audience, ports);
      return { secret: GuardedBytes.take(copySecret(text)), claims };
    } finally {
      wipe(bytes);
    }
  };
}

function readerOf(
  file: string | undefined,
  env: TokenOptions["env"],
  audience: string,
): (ports: KeylessPorts) => Promise<Uint8Array> {
  if (file !== undefined) return () => readFileBounded(file, KEYLESS_LIMITS.tokenBytes);
  const { SIGSTORE_ID_TOKEN: token, ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer } = env;
  if (token) return async () => Buffer.from(token.slice(0, KEYLESS_LIMITS.tokenBytes + 1));
  if (url && bearer) return (ports) => askActions(ports, url, bearer, audience);
  throw keylessError("KEYLESS_TOKEN_MISSING");
}

const actionsAnswer = z.object({ value: z.string().min(1).max(KEYLESS_LIMITS.tokenBytes) });

async function askActions(ports: KeylessPorts, text: string, bearer: string, audience: string): Promise<Uint8Array> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !isGuarded(url))
    throw keylessError("KEYLESS_TOKEN_MISSING", { detail: "ACTIONS_ID_TOKEN_REQUEST_URL is not an https:// URL" });
  url.searchParams.set("audience", audience);
  const request = {
    service: "identity provider",
    url: url.href,
    method: "GET",
    headers: { authorization: `bearer ${bearer}`, accept: "application/json" },
    milliseconds: limitsOf(ports).identityMilliseconds,
    repeat: "harmless",
  } as const;
  const body = await askForBody(ports, request);
  try {
    return Buffer.from(parseAnswer(body, actionsAnswer, whereOf(request)).value);
  } finally {
    wipe(body);
  }
}

const invalid = (detail: string) => keylessError("KEYLESS_TOKEN_INVALID", { detail });

/** The characters of a signed JWT only: it is written into JSON as it is. */
function trimmed(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && [0x0a, 0x0d, 0x20].includes(bytes[end - 1] ?? 0)) end--;
  const text = bytes.subarray(0, end);
  if (text.length === 0 || text.length > KEYLESS_LIMITS.tokenBytes) throw invalid("its length");
  const dots = text.reduce((count, byte) => count + (byte === 0x2e ? 1 : 0), 0);
  if (dots !== 2 || !text.every((byte) => byte === 0x2e || isBase64Url(byte))) throw invalid("it is not a signed JWT");
  return text;
}

function isBase64Url(byte: number): boolean {
  const letter = byte | 0x20;
  return (letter >= 0x61 && letter <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x5f;
}

const text = z.string().min(1).max(2_048);
const schema = z.object({
  iss: text,
  aud: z.union([text, z.array(text).max(32)]),
  exp: z.number(),
  sub: text.optional(),
  email: text.optional(),
  job_workflow_ref: text.optional(),
  ci_config_ref_uri: text.optional(),
  federated_claims: z.object({ connector_id: text }).optional(),
});

/** Nothing is believed of it: the authority verifies the token, and these claims only say what to expect of it. */
function claimsOf(token: Uint8Array, audience: string, ports: KeylessPorts): TokenClaims {
  const parsed = schema.safeParse(payloadOf(token));
  if (!parsed.success) throw invalid("its claims");
  const { iss, aud, exp, sub, email, job_workflow_ref, ci_config_ref_uri, federated_claims } = parsed.data;
  if (![aud].flat().includes(audience)) throw invalid("it is for another audience");
  if (exp * 1000 <= ports.clock.now()) throw invalid("it has expired");
  const workflow = iss === ACTIONS && job_workflow_ref ? `https://github.com/${job_workflow_ref}` : undefined;
  const pipeline = ci_config_ref_uri ? `https://${ci_config_ref_uri}` : undefined;
  const given = (value: string | undefined) => value !== undefined;
  return {
    issuers: [iss, federated_claims?.connector_id].filter(given),
    identities: [email, workflow, pipeline, sub].filter(given),
  };
}

function payloadOf(token: Uint8Array): unknown {
  const parts = [token.indexOf(0x2e) + 1, token.lastIndexOf(0x2e)] as const;
  const payload = Buffer.from(Buffer.from(token.subarray(...parts)).toString("latin1"), "base64url");
  try {
    return parseJson(payload, { maxBytes: KEYLESS_LIMITS.tokenBytes, maxDepth: 8, what: "claims" });
  } catch {
    throw invalid("its claims are not JSON");
  } finally {
    wipe(payload);
  }
}
