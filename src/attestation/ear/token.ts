/** Attestation results as tokens: EAR (draft-ietf-rats-ear) in a JWT under ES256, for whoever relies on a verdict. */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { z } from "zod";
import { fromBase64Url, fromUtf8, ModelkeepError, parseJson, toBase64Url, toHex, utf8 } from "../../base/index.ts";
import { derSequence, jcs, parseDer } from "../../codec/index.ts";
import { plain } from "../appraisal-json.ts";
import { attestationError } from "../errors.ts";
import type { Verdict } from "../verdict.ts";
import { EAR_LIMITS } from "./limits.ts";
import { type EarStatus, statusOf, type TrustVector, vectorOf } from "./vector.ts";

/** Which reader a token is for. */
export const EAR_PROFILES = {
  veraison: "tag:github.com,2023:veraison/ear",
  trustee: "tag:github.com,2024:confidential-containers/Trustee",
} as const;
export type EarProfile = keyof typeof EAR_PROFILES;

export interface EarInput {
  /** By submodule, for example `cpu0`, `gpu0`, with the TEE that it is about. */
  readonly submodules: Readonly<Record<string, { readonly tee: string; readonly verdict: Verdict<unknown> }>>;
  readonly issuer: string;
  /** Of this program. */
  readonly version: string;
  /** Of the appraisal profile. */
  readonly policyId: string;
  /** 8 to 64 bytes; absent: the token is bound to no exchange. */
  readonly nonce?: Uint8Array;
  readonly profile?: EarProfile;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly lifeSeconds?: number;
}

const invalid = (detail: string, cause?: unknown): ModelkeepError =>
  attestationError("EAR_INVALID", { detail, ...(cause ? { cause } : {}) });

/** Whoever signs, wherever the key lives: as the signers of models do it. */
export interface EarSigner {
  /** SPKI of a key on P-256. */
  readonly publicKeyPem: string;
  /** ECDSA with SHA-256, in DER. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** Throws EAR_INVALID for a key on another curve, and for another nonce or life. */
export async function makeEar(input: EarInput, signer: EarSigner): Promise<string> {
  const jwk = publicJwk(createPublicKey(signer.publicKeyPem));
  const life = input.lifeSeconds ?? EAR_LIMITS.lifeSeconds;
  if (!(life > 0 && life <= EAR_LIMITS.longestLifeSeconds)) throw invalid(`a life of ${life} seconds`);
  const header = { alg: "ES256", typ: "JWT", kid: jwk.kid };
  const signed = `${encode(header)}.${encode(claimsOf(input, life))}`;
  return `${signed}.${toBase64Url(fromDerSignature(await signer.sign(utf8(signed))))}`;
}

const COORDINATE_BYTES = 32;

/** JWS wants r and s, 32 bytes each (RFC 7518, 3.4). */
function fromDerSignature(der: Uint8Array): Uint8Array {
  const [r, s] = derSequence(parseDer(der)).map(({ content }) => content.slice(content[0] === 0 ? 1 : 0));
  if (!r || !s || Math.max(r.length, s.length) > COORDINATE_BYTES) throw invalid("the key is not on P-256");
  const raw = new Uint8Array(COORDINATE_BYTES * 2);
  raw.set(r, COORDINATE_BYTES - r.length);
  raw.set(s, COORDINATE_BYTES * 2 - s.length);
  return raw;
}

const encode = (value: unknown) => toBase64Url(utf8(JSON.stringify(value)));

function claimsOf(input: EarInput, life: number): Record<string, unknown> {
  const { nonce, profile = "veraison", issuer, version, now } = input;
  const { least, most } = EAR_LIMITS.nonceBytes;
  if (nonce && (nonce.length < least || nonce.length > most)) throw invalid(`a nonce of ${nonce.length} bytes`);
  const iat = Math.floor(now / 1000);
  const submods = Object.entries(input.submodules).map(([name, { tee, verdict }]) => [
    name,
    submodule(tee, verdict, input.policyId),
  ]);
  if (submods.length === 0) throw invalid("no submodule");
  return {
    eat_profile: EAR_PROFILES[profile],
    iat,
    exp: iat + Math.floor(life),
    iss: issuer,
    "ear.verifier-id": { build: `modelkeep ${version}`, developer: "modelkeep" },
    ...(nonce ? { eat_nonce: toBase64Url(nonce) } : {}),
    submods: Object.fromEntries(submods),
  };
}

function submodule(tee: string, verdict: Verdict<unknown>, policyId: string): Record<string, unknown> {
  const vector = vectorOf(verdict);
  const failed = verdict.rules.filter(({ result }) => result === "failed").map(({ id }) => id);
  return {
    "ear.status": statusOf(vector, verdict),
    "ear.trustworthiness-vector": vector,
    "ear.appraisal-policy-id": policyId,
    "ear.veraison.annotated-evidence": { [tee]: plain(verdict.claims ?? {}) },
    "ear.veraison.policy-claims": {
      verdict: verdict.verdict,
      failed_rules: failed,
      advisories: verdict.advisories,
      ...(verdict.tcbStatus === undefined ? {} : { tcb_status: verdict.tcbStatus }),
    },
  };
}

export interface PublicEarKey {
  readonly kty: "EC";
  readonly crv: "P-256";
  readonly x: string;
  readonly y: string;
  readonly alg: "ES256";
  readonly use: "sig";
  /** RFC 7638 thumbprint. */
  readonly kid: string;
}

/** Of a private or a public key on P-256. Throws EAR_INVALID for any other. */
export function publicJwk(key: KeyObject): PublicEarKey {
  if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw invalid("the key is not on P-256");
  const { kty, crv, x, y } = (key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" });
  if (kty !== "EC" || crv !== "P-256" || !x || !y) throw invalid("the key is not on P-256");
  const kid = toBase64Url(new Uint8Array(createHash("sha256").update(jcs({ crv, kty, x, y })).digest()));
  return { kty, crv, x, y, alg: "ES256", use: "sig", kid };
}

/** The key set to publish: the key in use first, then those that may still have valid tokens. */
export function earKeySet(keys: readonly KeyObject[]): { readonly keys: readonly PublicEarKey[] } {
  return { keys: keys.map(publicJwk) };
}

const header = z.strictObject({ alg: z.literal("ES256"), typ: z.literal("JWT"), kid: z.string() });
const status = z.enum(["none", "affirming", "warning", "contraindicated"]);
const claims = z.looseObject({
  eat_profile: z.enum(Object.values(EAR_PROFILES)),
  iat: z.int(),
  exp: z.int(),
  iss: z.string(),
  eat_nonce: z.string().optional(),
  submods: z.record(
    z.string(),
    z.looseObject({ "ear.status": status, "ear.trustworthiness-vector": z.record(z.string(), z.int()) }),
  ),
});

export interface EarNeeds {
  /** Keys that are trusted; what a token says of its own key is not looked at. */
  readonly keys: readonly KeyObject[];
  readonly issuer: string;
  /** Milliseconds. */
  readonly now: number;
  readonly nonce?: Uint8Array;
  /** What every device beside the processor must have signed, 32 bytes; there must be one then. */
  readonly deviceNonce?: Uint8Array;
}

export interface VerifiedEar {
  readonly expiresAt: number;
  readonly submodules: Readonly<Record<string, { readonly status: EarStatus; readonly vector: TrustVector }>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Throws EAR_INVALID with what is wrong. */
export function verifyEar(token: string, needs: EarNeeds): VerifiedEar {
  const [head = "", body = "", mark = "", ...more] = token.length > EAR_LIMITS.tokenBytes ? [] : token.split(".");
  const { kid } = readPart(head, header);
  const key = needs.keys.find((candidate) => publicJwk(candidate).kid === kid);
  const signature = fromBase64Url(mark);
  if (!key || !signature || more.length > 0) throw invalid("no trusted key signed it");
  const good = verify("sha256", utf8(`${head}.${body}`), { key, dsaEncoding: "ieee-p1363" }, signature);
  if (!good) throw invalid("the signature does not fit");
  const parsed = readPart(body, claims);
  checkClaims(parsed, needs);
  if (needs.deviceNonce) checkDevices(parsed, needs.deviceNonce);
  const submodules = Object.entries(parsed.submods).map(([name, one]) => [
    name,
    { status: one["ear.status"], vector: one["ear.trustworthiness-vector"] as TrustVector },
  ]);
  return { expiresAt: parsed.exp * 1000, submodules: Object.fromEntries(submodules), claims: parsed };
}

function checkClaims({ iss, iat, exp, eat_nonce: nonce }: z.output<typeof claims>, needs: EarNeeds): void {
  if (iss !== needs.issuer) throw invalid("another issuer");
  if (needs.now < iat * 1000 || needs.now >= exp * 1000) throw invalid("it is not valid at this time");
  if (exp - iat > EAR_LIMITS.longestLifeSeconds) throw invalid("it lives too long");
  if (needs.nonce && nonce !== toBase64Url(needs.nonce)) throw invalid("it answers another nonce");
}

const deviceClaims = z.looseObject({
  "ear.veraison.annotated-evidence": z.looseObject({ nvidia: z.looseObject({ nonce: z.string() }) }),
});

/** The token's own nonce is the processor's: who asked for the evidence of the devices is told in theirs alone. */
function checkDevices({ submods }: z.output<typeof claims>, nonce: Uint8Array): void {
  const devices = Object.entries(submods).filter(([name]) => /^gpu\d+$/.test(name));
  const stated = devices.map(([, one]) => deviceClaims.safeParse(one).data?.["ear.veraison.annotated-evidence"]);
  if (stated.length === 0 || stated.some((evidence) => evidence?.nvidia.nonce !== toHex(nonce)))
    throw invalid("a device answers another nonce");
}

function readPart<Schema extends z.ZodType>(part: string, schema: Schema): z.output<Schema> {
  try {
    const bytes = fromBase64Url(part) ?? new Uint8Array();
    return schema.parse(parseJson(fromUtf8(bytes), { maxBytes: EAR_LIMITS.tokenBytes, what: "token" }));
  } catch (error) {
    if (error instanceof ModelkeepError || error instanceof z.ZodError || error instanceof TypeError)
      throw invalid("it cannot be read", error);
    throw error;
  }
}
