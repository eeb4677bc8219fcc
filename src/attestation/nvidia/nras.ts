/** Judges the answer of NVIDIA's remote attestation service: every token, every digest, and what "overall true" leaves out. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { equalBytes, fromHex, parseJson, toHex, utf8 } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { Rules, type Verdict } from "../verdict.ts";
import { NVIDIA_NRAS_ANCHORS } from "./anchors.ts";
import { checkCcState } from "./cc-state.ts";
import type { GuestCcState } from "./evidence.ts";
import { readToken, type Token, verifyToken } from "./jwt.ts";
import { NVIDIA_LIMITS } from "./limits.ts";
import { checkNrasDevice, type NrasDevice, readNrasDevice } from "./nras-device.ts";
import { checkNrasKey, type NrasKey } from "./nras-keys.ts";
import { isCurrent } from "./nras-time.ts";
import type { NvidiaProfile } from "./profile.ts";

const ISSUER = "https://nras.attestation.nvidia.com";
const SUBJECT = "NVIDIA-PLATFORM-ATTESTATION";
const VERSION = "3.0";

export interface NrasAnswer {
  readonly overall: Token;
  /** By name, for example `GPU-0`. */
  readonly devices: ReadonlyMap<string, Token>;
}

export interface NrasClaims {
  /** Lower-case hex. */
  readonly nonce: string;
  /** Milliseconds. */
  readonly expiresAt: number;
  readonly devices: readonly NrasDevice[];
}

export interface NrasInput {
  /** The service's answer, JSON. */
  readonly answer: Uint8Array;
  readonly keys: readonly NrasKey[];
  readonly profile: NvidiaProfile;
  /** Milliseconds. */
  readonly now: number;
  /** 32 bytes. */
  readonly expectedNonce: Uint8Array;
  readonly ccState?: GuestCcState;
}

const deviceName = /^(?:GPU|SWITCH)-[0-9]{1,3}$/;
const answer = z.tuple([
  z.tuple([z.literal("JWT"), z.string()]),
  z
    .record(z.string().regex(deviceName), z.string())
    .refine((devices) => Object.keys(devices).length > 0 && Object.keys(devices).length <= NVIDIA_LIMITS.devices),
]);

const overallClaims = z.object({
  iss: z.string(),
  sub: z.string(),
  "x-nvidia-ver": z.string(),
  "x-nvidia-overall-att-result": z.boolean(),
  eat_nonce: z.string(),
  iat: z.number().int(),
  nbf: z.number().int(),
  exp: z.number().int(),
  submods: z.record(
    z.string().regex(deviceName),
    z.tuple([z.literal("DIGEST"), z.tuple([z.literal("SHA-256"), z.string().regex(/^[0-9a-f]{64}$/)])]),
  ),
});
type OverallClaims = z.output<typeof overallClaims>;

/** A detached EAT bundle (RFC 9711). Throws EVIDENCE_REFUSED `nvidia.nras.format`. */
export function parseNrasAnswer(data: Uint8Array): NrasAnswer {
  try {
    const limits = { maxBytes: NVIDIA_LIMITS.nrasBytes, maxDepth: 8, what: "answer" };
    const [[, overall], devices] = answer.parse(parseJson(data, limits));
    const tokens = Object.entries(devices).map(([name, text]) => [name, readToken(text)] as const);
    return { overall: readToken(overall), devices: new Map(tokens) };
  } catch (error) {
    throw evidenceRefused("nvidia.nras.format", error);
  }
}

/** Pure. Never throws for what the service or a stranger sent: the verdict says it. */
export function verifyNrasToken(input: NrasInput): Verdict<NrasClaims> {
  const rules = new Rules();
  const read = readAnswer(rules, input.answer);
  if (!read) return { verdict: "refused", rules: rules.list, advisories: [] };
  const { tokens, overall, devices } = read;
  checkSignatures(rules, tokens, input);
  checkDigests(rules, tokens, overall);
  checkOverall(rules, overall, input);
  for (const device of devices) checkNrasDevice(rules, device, { ...input, issuer: ISSUER });
  checkSet(rules, devices, input.profile);
  checkCcState(rules, input.ccState, input.profile);
  const claims = { nonce: overall.eat_nonce, expiresAt: overall.exp * 1000, devices };
  return { verdict: rules.verdict, rules: rules.list, advisories: [], claims };
}

function readAnswer(rules: Rules, data: Uint8Array) {
  try {
    const tokens = parseNrasAnswer(data);
    const overall = overallClaims.parse(tokens.overall.claims);
    const devices = [...tokens.devices].map(([name, token]) => readNrasDevice(name, token.claims));
    return { tokens, overall, devices };
  } catch {
    rules.fail("nvidia.nras.format", "the answer is not a bundle of ES384 tokens of version 3.0");
    return undefined;
  }
}

function checkSignatures(rules: Rules, tokens: NrasAnswer, input: NrasInput): void {
  const anchors = input.profile.nras_anchors ?? NVIDIA_NRAS_ANCHORS;
  const all = [tokens.overall, ...tokens.devices.values()];
  const used = [...new Set(all.map(({ kid }) => kid))].map((kid) => input.keys.find((key) => key.kid === kid));
  const trusted = used.filter((key) => key !== undefined && checkNrasKey(rules, key, input.now, anchors));
  if (used.includes(undefined)) rules.fail("nvidia.nras.key", "a token names a key that is not known: fetch the keys");
  const good = all.filter((token) => {
    const key = trusted.find((candidate) => candidate?.kid === token.kid)?.key;
    return key !== undefined && verifyToken(token, key);
  });
  rules.check("nvidia.nras.signature", good.length === all.length, {
    passed: "every token is signed by a trusted key of the service",
    failed: "a token is not signed by a trusted key of the service",
    have: `${good.length} of ${all.length}`,
  });
}

/** The digest is made of the token's text as it was received, never of what was read from it. */
function checkDigests(rules: Rules, tokens: NrasAnswer, overall: OverallClaims): void {
  const stated = Object.entries(overall.submods);
  const good = stated.filter(([name, [, [, digest]]]) => {
    const token = tokens.devices.get(name);
    return token !== undefined && createHash("sha256").update(token.text).digest("hex") === digest;
  });
  rules.check("nvidia.nras.digest", good.length === stated.length && stated.length === tokens.devices.size, {
    passed: "the overall token names exactly these device tokens",
    failed: "the overall token names other device tokens than came with it",
    have: `${good.length} of ${tokens.devices.size}`,
  });
}

function checkOverall(rules: Rules, overall: OverallClaims, { now, expectedNonce }: NrasInput): void {
  const named = overall.iss === ISSUER && overall.sub === SUBJECT && overall["x-nvidia-ver"] === VERSION;
  rules.check("nvidia.nras.issuer", named, {
    passed: "the service says so of a platform",
    failed: "another issuer, subject or version",
    have: `${overall.iss} ${overall.sub} ${overall["x-nvidia-ver"]}`.slice(0, 200),
    need: `${ISSUER} ${SUBJECT} ${VERSION}`,
  });
  rules.check("nvidia.nras.time", isCurrent(overall, now), {
    passed: "the token is valid now",
    failed: "the token is not valid now, or was made for too long: attest again",
  });
  rules.check("nvidia.nras.nonce", equalBytes(fromHex(overall.eat_nonce) ?? utf8(""), expectedNonce), {
    passed: "the token answers this nonce",
    failed: "the token answers another nonce",
    need: toHex(expectedNonce),
  });
  rules.check("nvidia.nras.overall", overall["x-nvidia-overall-att-result"], {
    passed: "the service accepts the platform",
    failed: "the service refuses the platform",
  });
}

function checkSet(rules: Rules, devices: readonly NrasDevice[], profile: NvidiaProfile): void {
  const gpus = devices.filter(({ kind }) => kind === "gpu").length;
  const switches = devices.length - gpus;
  const { gpu_count: gpuCount = gpus, switch_count: switchCount = switches } = profile;
  rules.check("nvidia.devices.count", gpuCount === gpus && switchCount === switches, {
    passed: "as many GPUs and switches as asked for",
    failed: "another number of devices than gpu_count or switch_count says",
    have: `${gpus} GPUs, ${switches} switches`,
    need: `${profile.gpu_count ?? "any"} GPUs, ${profile.switch_count ?? "any"} switches`,
  });
  rules.check("nvidia.devices.unique", new Set(devices.map(({ ueid }) => ueid)).size === devices.length, {
    passed: "every device is there once",
    failed: "one device stands for two",
  });
}
