/** Reads the form of a token exchange (RFC 8693, section 2.1): a one-time code, or a JWT of a key that is enrolled. */
import { hash, type KeyObject } from "node:crypto";
import { readCompact, readJsonPart, verifyCompact } from "./compact.ts";
import { tokenError } from "./errors.ts";
import { isObject } from "./jwk.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import { isInstant, isJti } from "./proof.ts";
import { hashOf } from "./records.ts";

export const GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange";
export const TOKEN_TYPES = {
  accessToken: "urn:ietf:params:oauth:token-type:access_token",
  jwt: "urn:ietf:params:oauth:token-type:jwt",
  enrolmentCode: "urn:modelkeep:params:oauth:token-type:enrolment-code",
} as const;

/** The type of the JWT by which a key renews; a DPoP proof has another, so neither passes for the other. */
export const ASSERTION_TYPE = "modelkeep-renewal+jwt";

export type Grant =
  | { readonly kind: "code"; readonly codeHash: string }
  | { readonly kind: "renewal"; readonly assertion: string };

export function readGrant(form: URLSearchParams): Grant {
  const names = [...form.keys()];
  if (new Set(names).size !== names.length) throw tokenError("INVALID_REQUEST");
  if (form.get("grant_type") !== GRANT_TYPE) throw tokenError("UNSUPPORTED_GRANT_TYPE");
  const wanted = form.get("requested_token_type");
  const subject = form.get("subject_token") ?? "";
  const known = wanted === null || wanted === TOKEN_TYPES.accessToken;
  if (!known || subject === "" || subject.length > TOKEN_LIMITS.proofCharacters || form.has("actor_token")) {
    throw tokenError("INVALID_REQUEST");
  }
  const type = form.get("subject_token_type");
  if (type === TOKEN_TYPES.enrolmentCode) return { kind: "code", codeHash: hashOf(subject) };
  if (type === TOKEN_TYPES.jwt) return { kind: "renewal", assertion: subject };
  throw tokenError("INVALID_REQUEST");
}

export interface AssertionExpectation {
  readonly thumbprint: string;
  readonly key: KeyObject;
  /** Origin of this server. */
  readonly audience: string;
  /** Seconds since the epoch. */
  readonly now: number;
}

/** RFC 7523, section 3, with the key's thumbprint as issuer and subject; undefined when it does not hold. */
export function readAssertionJwt(text: string, expected: AssertionExpectation) {
  const compact = readCompact(text);
  const header = compact && readJsonPart(compact.header);
  if (!compact || !isObject(header) || Object.keys(header).length !== 2) return undefined;
  if (header.typ !== ASSERTION_TYPE || header.alg !== "ES256") return undefined;
  const { iss, sub, aud, iat, exp, jti } = compact.payload;
  if (iss !== expected.thumbprint || sub !== expected.thumbprint || aud !== expected.audience) return undefined;
  if (!isInstant(iat) || !isInstant(exp) || typeof jti !== "string" || !isJti(jti)) return undefined;
  if (iat > expected.now + TOKEN_LIMITS.proofFutureSeconds || exp <= expected.now) return undefined;
  if (exp - iat > TOKEN_LIMITS.assertionSeconds || exp <= iat) return undefined;
  if (!verifyCompact(compact, expected.key)) return undefined;
  return { id: assertionId(exp, `${expected.thumbprint}.${jti}`), expiresAt: exp * 1000 };
}

/** In the order in which they end, so that a sweep finds what is over at the front. */
function assertionId(exp: number, name: string): string {
  return `${String(exp).padStart(12, "0")}.${hash("sha256", name, "hex")}`;
}
