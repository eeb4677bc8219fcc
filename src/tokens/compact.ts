/** JWS in compact form with ES256 (RFC 7515): the strict reader that both kinds of JWT here go through. */
import type { KeyObject } from "node:crypto";
import { fromBase64Url, parseJson } from "../base/index.ts";
import { verifyRawEcdsa } from "../codec/index.ts";
import { isObject } from "./jwk.ts";
import { TOKEN_LIMITS } from "./limits.ts";

export interface Compact {
  /** The first part as it came, base64url. */
  readonly header: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly signed: string;
  readonly signature: Uint8Array;
}

/** Three parts, of which the last is 64 bytes: an ES256 signature and no other. */
const SHAPE = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;
const MAX_DEPTH = 4;

/** Undefined for anything that is not canonical base64url over strict JSON objects. */
export function readCompact(text: string): Compact | undefined {
  if (text.length > TOKEN_LIMITS.proofCharacters) return undefined;
  const [, header, body, signed] = SHAPE.exec(text) ?? [];
  if (header === undefined || body === undefined || signed === undefined) return undefined;
  const payload = readJsonPart(body);
  const signature = fromBase64Url(signed);
  if (!payload || !signature) return undefined;
  return { header, payload, signed: text.slice(0, header.length + 1 + body.length), signature };
}

/** A part that is canonical base64url of a JSON object; undefined otherwise. */
export function readJsonPart(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = fromBase64Url(part);
  if (!bytes) return undefined;
  try {
    const value = parseJson(bytes, { maxBytes: TOKEN_LIMITS.proofCharacters, maxDepth: MAX_DEPTH, what: "JWT" });
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** RFC 7518, section 3.4: the signature is r and s, 32 bytes each. */
export function verifyCompact(compact: Compact, key: KeyObject): boolean {
  const data = Buffer.from(compact.signed, "latin1");
  return verifyRawEcdsa("sha256", data, key, compact.signature);
}
