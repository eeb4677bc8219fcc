/** Tokens of NVIDIA's attestation service: ES384 and nothing else, the key found by its id and never in the token. */
import type { KeyObject } from "node:crypto";
import { z } from "zod";
import { fromBase64Url, parseJson, utf8 } from "../../base/index.ts";
import { verifyRawEcdsa } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import { NVIDIA_LIMITS } from "./limits.ts";

const header = z.object({ alg: z.literal("ES384"), kid: z.string().min(1).max(256), crit: z.undefined().optional() });

export interface Token {
  readonly text: string;
  readonly kid: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Throws EVIDENCE_REFUSED `nvidia.nras.format`; says nothing of the signature. */
export function readToken(text: string): Token {
  if (text.length > NVIDIA_LIMITS.nrasTokenBytes) throw malformed(`a token of ${text.length} characters`);
  const [head, body, signature, ...more] = text.split(".");
  if (head === undefined || body === undefined || !signature || more.length > 0) throw malformed("not three parts");
  const parsed = header.safeParse(readPart(head));
  if (!parsed.success) throw malformed("the header is not one of ES384 with a key id");
  return { text, kid: parsed.data.kid, claims: readPart(body) };
}

export function verifyToken(token: Token, key: KeyObject): boolean {
  const end = token.text.lastIndexOf(".");
  const signature = fromBase64Url(token.text.slice(end + 1));
  if (signature?.length !== 96 || key.asymmetricKeyDetails?.namedCurve !== "secp384r1") return false;
  return verifyRawEcdsa("sha384", utf8(token.text.slice(0, end)), key, signature);
}

function readPart(part: string): Record<string, unknown> {
  const bytes = fromBase64Url(part);
  if (!bytes) throw malformed("a part is not base64url");
  let value: unknown;
  try {
    value = parseJson(bytes, { maxBytes: NVIDIA_LIMITS.nrasTokenBytes, maxDepth: 8, what: "token" });
  } catch (error) {
    throw evidenceRefused("nvidia.nras.format", error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed("a part is not an object");
  return value as Record<string, unknown>;
}

function malformed(place: string): Error {
  return evidenceRefused("nvidia.nras.format", new Error(place));
}
