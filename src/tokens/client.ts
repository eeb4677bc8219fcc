/** Asks the token endpoint for a token: with a one-time code the first time, with the enrolled key ever after. */
import { z } from "zod";
import { baseError, type Fetch, type ModelkeepError, parseJson } from "../base/index.ts";
import { tokenError } from "./errors.ts";
import { GRANT_TYPE, TOKEN_TYPES } from "./grant.ts";
import { SESSION_LIMITS } from "./limits.ts";
import type { ProofKey, ProofPorts } from "./proof-key.ts";

export const TOKEN_PATH = "/oauth/token";

export interface TokenRequest extends ProofPorts {
  /** For example `http://127.0.0.1:8420`. */
  readonly serverUrl: string;
  readonly key: ProofKey;
  readonly fetch: Fetch;
  /** Enrols the key; without it the key must be enrolled already. */
  readonly code?: string;
  readonly signal?: AbortSignal;
}

export interface ReceivedToken {
  readonly accessToken: string;
  /** On the clock that only grows, in milliseconds, counted from before the request. */
  readonly receivedAt: number;
  readonly endsAt: number;
  /** As `Type::"id"`. */
  readonly principal: string;
}

const answer = z.object({
  access_token: z.string().regex(/^[\x21-\x7e]{16,4096}$/),
  token_type: z.string().regex(/^dpop$/i),
  expires_in: z.int().min(1).max(86_400),
  principal: z.string().max(1024),
});

const refusal = z.object({ error: z.string().max(100) });

/** Fails with ENROLMENT_REFUSED, RENEWAL_REFUSED, TOKEN_ANSWER_INVALID or UNREACHABLE. */
export async function requestToken(request: TokenRequest): Promise<ReceivedToken> {
  const receivedAt = request.clock.monotonic();
  const response = await send(request);
  const body = await readAnswer(response);
  if (!response.ok) throw refusalOf(request, response, refusal.safeParse(body).data?.error);
  const parsed = answer.safeParse(body);
  if (!parsed.success) throw tokenError("TOKEN_ANSWER_INVALID");
  const { access_token: accessToken, expires_in: seconds, principal } = parsed.data;
  return { accessToken, receivedAt, endsAt: receivedAt + seconds * 1000, principal };
}

async function send(request: TokenRequest): Promise<Response> {
  const url = new URL(TOKEN_PATH, request.serverUrl);
  const { key, code, signal } = request;
  const body = new URLSearchParams({
    grant_type: GRANT_TYPE,
    subject_token: code ?? (await key.assert(url.origin, request)),
    subject_token_type: code === undefined ? TOKEN_TYPES.jwt : TOKEN_TYPES.enrolmentCode,
  });
  const dpop = await key.prove({ method: "POST", url: url.href }, request);
  const timeout = AbortSignal.timeout(SESSION_LIMITS.answerMilliseconds);
  try {
    return await request.fetch(url.href, {
      method: "POST",
      redirect: "error",
      headers: { "content-type": "application/x-www-form-urlencoded", accept: "application/json", dpop },
      body: body.toString(),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    const hint = "start it with `modelkeep serve`, or name another with `modelkeep login --server URL`";
    throw baseError("UNREACHABLE", { detail: url.origin, hint, cause: error });
  }
}

async function readAnswer(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of response.body ?? []) {
    total += chunk.length;
    if (total > SESSION_LIMITS.answerBytes) throw tokenError("TOKEN_ANSWER_INVALID", { detail: "it is too long" });
    chunks.push(chunk);
  }
  try {
    return parseJson(new Uint8Array(Buffer.concat(chunks)), { what: "answer", maxDepth: 8 });
  } catch {
    return undefined;
  }
}

function refusalOf(request: TokenRequest, response: Response, error: string | undefined): ModelkeepError {
  if (response.status >= 500) return baseError("UNREACHABLE", { detail: `the server answered ${response.status}` });
  if (error === undefined) return tokenError("TOKEN_ANSWER_INVALID", { detail: `status ${response.status}` });
  const clock = clockDifference(request, response);
  const detail = [error.replace(/[^a-z_]/g, ""), ...(clock ? [clock] : [])].join("; ");
  return tokenError(request.code === undefined ? "RENEWAL_REFUSED" : "ENROLMENT_REFUSED", { detail });
}

/** A wrong clock is the one cause that the client can see by itself. */
function clockDifference({ clock }: TokenRequest, response: Response): string | undefined {
  const seconds = Math.round((clock.now() - Date.parse(response.headers.get("date") ?? "")) / 1000);
  if (!(Math.abs(seconds) > SESSION_LIMITS.clockDifferenceSeconds)) return undefined;
  return `this machine's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} the server's`;
}
