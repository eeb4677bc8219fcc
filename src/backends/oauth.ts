/** What the OAuth 2.0 logins of clouds have in common: forms that carry a secret, answers that carry a token, assertions. */
import { type KeyObject, sign } from "node:crypto";
import { z } from "zod";
import { type Clock, concatBytes, copySecret, toBase64Url, utf8, wipe } from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
import type { AccessTokens } from "./access-tokens.ts";
import { backendError } from "./errors.ts";
import type { HttpAnswer, HttpService } from "./http-service.ts";
import { BACKEND_LIMITS } from "./limits.ts";
import { type Fresh, Renewing } from "./renewing.ts";
import { takeText } from "./secret-json.ts";

export const FORM = "application/x-www-form-urlencoded";

const PERCENT = 0x25;
const UNRESERVED = /[A-Za-z0-9._~-]/;
const HEX = utf8("0123456789ABCDEF");

/** Seconds; some services write the number as text. */
const lifeSchema = z.object({
  expires_in: z.union([z.number(), z.string().regex(/^\d{1,9}$/)]).transform(Number),
});

/** `name=secret&…fields`, percent-encoded; the secret is never a string. The caller wipes it. */
export function formWithSecret(name: string, secret: Uint8Array, fields: Readonly<Record<string, string>>): Uint8Array {
  const value = percentEncoded(secret);
  const form = concatBytes(utf8(`${new URLSearchParams(fields)}&${name}=`), value);
  wipe(value);
  return form;
}

/** RFC 3986, section 2.1, all but the unreserved characters; the caller wipes it. */
export function percentEncoded(secret: Uint8Array): Uint8Array {
  const encoded: number[] = [];
  for (const byte of secret) {
    if (UNRESERVED.test(String.fromCharCode(byte))) encoded.push(byte);
    else encoded.push(PERCENT, HEX[byte >> 4] ?? 0, HEX[byte & 15] ?? 0);
  }
  const value = new Uint8Array(new ArrayBuffer(encoded.length));
  value.set(encoded);
  encoded.fill(0);
  return value;
}

/** A JWT (RFC 7519) that this key signs, for `client_assertion` and the JWT bearer grant (RFC 7523). */
export function signAssertion(
  key: KeyObject,
  header: Readonly<Record<string, string>>,
  claims: Readonly<Record<string, string | number>>,
): Uint8Array {
  const text = [{ alg: "RS256", typ: "JWT", ...header }, claims]
    .map((part) => toBase64Url(utf8(JSON.stringify(part))))
    .join(".");
  return utf8(`${text}.${toBase64Url(sign("sha256", utf8(text), key))}`);
}

/** The token of an answer 200. `who` names the login in errors. Throws KMS_CREDENTIALS_REFUSED and others. */
export function takeAccessToken(answer: HttpAnswer, who: string): Fresh<GuardedBytes> {
  refuseLogin(answer, who);
  const { secret, rest } = takeText(answer.body, "access_token");
  const life = lifeSchema.safeParse(rest);
  if (!life.success || secret.length === 0 || secret.length > BACKEND_LIMITS.accessTokenBytes) {
    wipe(secret);
    throw backendError("KMS_ANSWER_INVALID", { detail: `${who}: the token` });
  }
  return { value: GuardedBytes.take(secret), lifeSeconds: life.data.expires_in };
}

/** Throws for every status but 200; the login's own words are not shown, since they repeat parts of what was sent. */
export function refuseLogin(answer: HttpAnswer, who: string): void {
  const { status } = answer;
  if (status === 200) return;
  wipe(answer.body);
  const detail = `${who}, status ${status}`;
  if (status === 429) throw backendError("KMS_THROTTLED", { detail });
  throw backendError(status >= 500 ? "KMS_UNREACHABLE" : "KMS_CREDENTIALS_REFUSED", { detail });
}

export interface FormPost {
  readonly path: string;
  readonly secretName: string;
  /** Wiped. */
  readonly secret: Uint8Array;
  readonly fields: Readonly<Record<string, string>>;
}

/** Asking for a token again does no harm. */
export async function postForm(http: HttpService, post: FormPost): Promise<HttpAnswer> {
  const body = formWithSecret(post.secretName, post.secret, post.fields);
  wipe(post.secret);
  try {
    const headers = { "content-type": FORM, accept: "application/json" };
    return await http.send(() => ({ method: "POST", path: post.path, headers, body }), { repeatable: true });
  } finally {
    wipe(body);
  }
}

/** Keeps a token for each scope. */
export class CachedTokens implements AccessTokens {
  readonly #clock: Clock;
  readonly #login: (scope: string) => Promise<Fresh<GuardedBytes>>;
  readonly #byScope = new Map<string, Renewing<GuardedBytes>>();

  constructor(clock: Clock, login: (scope: string) => Promise<Fresh<GuardedBytes>>) {
    this.#clock = clock;
    this.#login = login;
  }

  async token(scope: string, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const token = this.#of(scope).use((value) => value.use(copySecret));
    return signal ? orAborted(token, signal) : token;
  }

  /** After a service refused it. */
  drop(scope: string): void {
    this.#byScope.get(scope)?.drop();
  }

  #of(scope: string): Renewing<GuardedBytes> {
    const known = this.#byScope.get(scope);
    if (known) return known;
    const fresh = new Renewing<GuardedBytes>({
      clock: this.#clock,
      fetch: () => this.#login(scope),
      wipe: (value) => value.wipe(),
    });
    this.#byScope.set(scope, fresh);
    return fresh;
  }
}

/** The login goes on for the others who wait for it. */
function orAborted(token: Promise<Uint8Array>, signal: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    token.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
