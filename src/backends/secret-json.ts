/** JSON that carries one secret in base64: written and read so that the secret is never a string, which nobody could wipe. */
import type { z } from "zod";
import { concatBytes, copySecret, fromUtf8, parseJson, utf8 } from "../base/index.ts";
import { backendError } from "./errors.ts";
import { BACKEND_LIMITS } from "./limits.ts";

const ALPHABET = utf8("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const VALUES = new Int16Array(256).fill(-1);
for (const [value, character] of ALPHABET.entries()) VALUES[character] = value;
const PAD = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const STAR = 0x2a;
const NEWLINE = 0x0a;
/** `+` and `-`, `/` and `_`. */
const URL_LETTERS = [
  [0x2b, 0x2d],
  [0x2f, 0x5f],
] as const;
const LETTER_N = 0x6e;

/** `{"NAME":"BASE64 OF SECRET", …rest}`; the caller wipes it. */
export function jsonWithBase64(name: string, secret: Uint8Array, rest: Readonly<Record<string, unknown>>): Uint8Array {
  const encoded = encodeBase64(secret);
  try {
    return jsonWithText(name, encoded, rest);
  } finally {
    encoded.fill(0);
  }
}

/** `{"NAME":"SECRET", …rest}` for a secret of printable ASCII without quotes and backslashes. */
export function jsonWithText(name: string, secret: Uint8Array, rest: Readonly<Record<string, unknown>>): Uint8Array {
  if (!secret.every(isPlain)) throw backendError("KMS_CREDENTIALS_MISSING", { detail: `${name} holds odd characters` });
  const tail = JSON.stringify(rest).slice(1);
  return concatBytes(utf8(`{${JSON.stringify(name)}:"`), secret, utf8(tail === "}" ? '"}' : `",${tail}`));
}

export interface TakenSecret {
  /** The caller wipes it. */
  readonly secret: Uint8Array;
  readonly rest: unknown;
}

/** Like `takeText`, decoded. */
export function takeBase64(text: Uint8Array, name: string): TakenSecret {
  const { secret: encoded, rest } = takeText(text, name);
  const secret = decodeBase64(encoded);
  encoded.fill(0);
  if (!secret) throw backendError("KMS_ANSWER_INVALID", { detail: `${name} is not base64` });
  return { secret, rest };
}

/** `{"NAME":"BASE64URL OF SECRET", …rest}` (RFC 4648, section 5, without padding); the caller wipes it. */
export function jsonWithBase64Url(
  name: string,
  secret: Uint8Array,
  rest: Readonly<Record<string, unknown>>,
): Uint8Array {
  const encoded = encodeBase64(secret);
  for (const [from, to] of URL_LETTERS) replaceByte(encoded, from, to);
  const end = encoded.indexOf(PAD);
  try {
    return jsonWithText(name, end === -1 ? encoded : encoded.subarray(0, end), rest);
  } finally {
    encoded.fill(0);
  }
}

/** Like `takeText`, decoded. */
export function takeBase64Url(text: Uint8Array, name: string): TakenSecret {
  const { secret: encoded, rest } = takeText(text, name);
  const foreign = URL_LETTERS.some(([standard]) => encoded.includes(standard)) || encoded.includes(PAD);
  const padded = new Uint8Array(new ArrayBuffer(Math.ceil(encoded.length / 4) * 4)).fill(PAD);
  padded.set(encoded);
  for (const [to, from] of URL_LETTERS) replaceByte(padded, from, to);
  const secret = foreign || encoded.length % 4 === 1 ? undefined : decodeBase64(padded);
  encoded.fill(0);
  padded.fill(0);
  if (!secret) throw backendError("KMS_ANSWER_INVALID", { detail: `${name} is not base64url` });
  return { secret, rest };
}

function replaceByte(bytes: Uint8Array, from: number, to: number): void {
  for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at)) bytes[at] = to;
}

/**
 * Cuts the one value of `"NAME":"…"` out of the text, blots it out there, and parses what is left. Throws
 * KMS_ANSWER_INVALID; the text holds no secret any more then, either.
 */
export function takeText(text: Uint8Array, name: string): TakenSecret {
  const { secrets, rest } = takeTexts(text, [name]);
  return { secret: secrets[0] as Uint8Array, rest };
}

/** Like `takeText`, for several values, in the order of their names. */
export function takeTexts(
  text: Uint8Array,
  names: readonly string[],
): { readonly secrets: readonly Uint8Array[]; readonly rest: unknown } {
  const buffer = Buffer.from(text.buffer, text.byteOffset, text.length);
  const secrets: Uint8Array[] = [];
  try {
    for (const name of names) secrets.push(cut(buffer, name));
    return { secrets, rest: parseAnswer(text) };
  } catch (error) {
    for (const secret of secrets) secret.fill(0);
    buffer.fill(STAR);
    throw error;
  }
}

/** Like `takeText` for a value of lines, such as a key in PEM: its line breaks are written `\\n`. */
export function takeLines(text: Uint8Array, name: string): TakenSecret {
  const buffer = Buffer.from(text.buffer, text.byteOffset, text.length);
  const start = startOfValue(buffer, name);
  const end = start === -1 ? -1 : buffer.indexOf(QUOTE, start);
  const value = buffer.subarray(Math.max(start, 0), Math.max(end, 0));
  const secret = copySecret(value);
  const length = end === -1 ? -1 : unescapeLines(value, secret);
  value.fill(STAR);
  if (length === -1) {
    buffer.fill(STAR);
    secret.fill(0);
    throw backendError("KMS_ANSWER_INVALID", { detail: `${name} is not there, once and as plain lines` });
  }
  return { secret: secret.subarray(0, length), rest: parseAnswer(text) };
}

/** The bytes written; -1 for another escape or a byte that is not printable. */
function unescapeLines(from: Uint8Array, into: Uint8Array): number {
  let to = 0;
  for (let at = 0; at < from.length; at++) {
    const byte = from[at] ?? 0;
    if (byte === BACKSLASH && from[at + 1] !== LETTER_N) return -1;
    if (byte !== BACKSLASH && (byte < 0x20 || byte > 0x7e)) return -1;
    into[to++] = byte === BACKSLASH ? NEWLINE : byte;
    if (byte === BACKSLASH) at++;
  }
  into.fill(0, to);
  return to;
}

function cut(text: Buffer, name: string): Uint8Array {
  const start = startOfValue(text, name);
  const end = start === -1 ? -1 : text.indexOf(QUOTE, start);
  const secret = copySecret(text.subarray(Math.max(start, 0), Math.max(end, 0)));
  if (end !== -1 && secret.every(isPlain)) {
    text.fill(STAR, start, end);
    return secret;
  }
  secret.fill(0);
  throw backendError("KMS_ANSWER_INVALID", { detail: `${name} is not there, once and as plain text` });
}

function isPlain(byte: number): boolean {
  return byte > 0x20 && byte < 0x7f && byte !== QUOTE && byte !== BACKSLASH;
}

/** Throws KMS_ANSWER_INVALID for what is not one strict JSON document, such as half of one. */
export function parseAnswer(text: Uint8Array): unknown {
  try {
    fromUtf8(text);
    return parseJson(text, { maxBytes: BACKEND_LIMITS.answerBytes, what: "answer" });
  } catch {
    throw backendError("KMS_ANSWER_INVALID", { detail: "it is not JSON" });
  }
}

/** What the schema makes of an answer without a secret. Throws KMS_ANSWER_INVALID with the place that does not fit. */
export function readAnswer<T>(answer: { readonly body: Uint8Array }, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(parseAnswer(answer.body));
  if (parsed.success) return parsed.data;
  throw backendError("KMS_ANSWER_INVALID", { detail: parsed.error.issues[0]?.path.join(".") ?? "" });
}

function startOfValue(text: Buffer, name: string): number {
  const key = `"${name}"`;
  const at = text.indexOf(key);
  if (at === -1 || text.indexOf(key, at + 1) !== -1) return -1;
  const rest = text.subarray(at + key.length, at + key.length + 16).toString("latin1");
  const gap = /^\s*:\s*"/.exec(rest);
  return gap ? at + key.length + gap[0].length : -1;
}

/** RFC 4648, section 4; the caller wipes it. */
export function encodeBase64(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(new ArrayBuffer(Math.ceil(bytes.length / 3) * 4)).fill(PAD);
  for (let from = 0, to = 0; from < bytes.length; from += 3, to += 4) {
    const left = bytes.length - from;
    const group = ((bytes[from] ?? 0) << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0);
    for (let digit = 0; digit < Math.min(left + 1, 4); digit++)
      out[to + digit] = ALPHABET[(group >> (18 - 6 * digit)) & 63] ?? 0;
  }
  return out;
}

/** Strict (RFC 4648, section 4, with padding); undefined when it is not canonical. */
export function decodeBase64(text: Uint8Array): Uint8Array | undefined {
  const padding = text.at(-1) !== PAD ? 0 : text.at(-2) !== PAD ? 1 : 2;
  if (text.length % 4 !== 0) return undefined;
  // Outside of the heap, as in copySecret.
  const out = new Uint8Array(new ArrayBuffer((text.length / 4) * 3 - padding));
  const digits = text.length - padding;
  let bits = 0;
  let held = 0;
  for (let at = 0, to = 0; at < digits; at++) {
    const value = VALUES[text[at] ?? 0] ?? -1;
    if (value === -1) return wiped(out);
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[to++] = (held >> bits) & 0xff;
    }
  }
  return (held & ((1 << bits) - 1)) === 0 ? out : wiped(out);
}

function wiped(bytes: Uint8Array): undefined {
  bytes.fill(0);
  return undefined;
}
