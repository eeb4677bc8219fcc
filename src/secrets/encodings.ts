/** The forms in which a value that got out is still the value: found in bytes, masked, also when it comes in pieces. */
import { wipe } from "../base/index.ts";

export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Values shorter than this are looked for as they are: an encoded piece of them would be found in innocent text. */
export const MIN_ENCODED_BYTES = 8;

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX = "0123456789abcdef";
/** What stays as it is in a URL: by RFC 3986, by encodeURIComponent, in the body of a form, and for who encodes all. */
const UNRESERVED = [/^[A-Za-z0-9._~-]$/, /^[A-Za-z0-9._~!'()*-]$/, /^[A-Za-z0-9.*_-]$/, /^$/] as const;
const FORM = UNRESERVED[2];
const SPACE = 0x20;
const STAR = 0x2a;

/**
 * Every form of the value, longest first: itself, base64 and base64url at each of the three alignments that it can have in
 * a longer text, hex in both cases, as part of a URL in both cases, and as part of a JSON string, also one within another.
 * Made outside of JavaScript's heap; whoever asked for them wipes them with `wipeForms`. Strings are never made.
 */
export function formsOf(value: Uint8Array): readonly Uint8Array[] {
  const forms = [copy(value)];
  if (value.length >= MIN_ENCODED_BYTES) {
    for (const shift of [0, 1, 2]) forms.push(base64At(value, shift, false), base64At(value, shift, true));
    for (const upper of [false, true])
      forms.push(hexOf(value, upper), ...UNRESERVED.map((kept) => percentOf(value, upper, kept)));
    const json = jsonOf(value);
    forms.push(json, jsonOf(json));
  }
  return distinct(forms).sort((a, b) => b.length - a.length);
}

export function wipeForms(forms: readonly Uint8Array[]): void {
  for (const form of forms) wipe(form);
}

/** Where any form stands, in order and apart from each other. */
export function findForms(forms: readonly Uint8Array[], text: Buffer): readonly Span[] {
  const spans: Span[] = [];
  for (const form of forms) {
    for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + form.length))
      spans.push({ start: at, end: at + form.length });
  }
  return spans.length < 2 ? spans : joined(spans);
}

/** Overwrites every form with stars, in place; how many there were. */
export function maskForms(forms: readonly Uint8Array[], text: Buffer): number {
  const spans = findForms(forms, text);
  for (const { start, end } of spans) text.fill(STAR, start, end);
  return spans.length;
}

/** Length of the longest end of `text` from `from` on that is a beginning of a form, but not all of it. */
export function startedBytes(forms: readonly Uint8Array[], text: Uint8Array, from: number): number {
  let longest = 0;
  for (const form of forms) {
    const first = form[0];
    for (let start = Math.max(from, text.length - form.length + 1); start < text.length - longest; start++) {
      if (text[start] === first && matchesFrom(text, start, form)) longest = text.length - start;
    }
  }
  return longest;
}

function matchesFrom(text: Uint8Array, start: number, form: Uint8Array): boolean {
  for (let i = start + 1; i < text.length; i++) if (text[i] !== form[i - start]) return false;
  return true;
}

function joined(spans: Span[]): readonly Span[] {
  const out: { start: number; end: number }[] = [];
  for (const span of spans.sort((a, b) => a.start - b.start)) {
    const last = out.at(-1);
    if (last && span.start < last.end) last.end = Math.max(last.end, span.end);
    else out.push({ ...span });
  }
  return out;
}

function distinct(forms: readonly Uint8Array[]): Uint8Array[] {
  const kept: Uint8Array[] = [];
  for (const form of forms) {
    if (form.length > 0 && !kept.some((one) => Buffer.compare(one, form) === 0)) kept.push(form);
    else wipe(form);
  }
  return kept;
}

function room(length: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(length));
}

function copy(value: Uint8Array): Uint8Array {
  const out = room(value.length);
  out.set(value);
  return out;
}

/** The characters that depend on the value alone when `shift` bytes of something else stand before it. */
function base64At(value: Uint8Array, shift: number, url: boolean): Uint8Array {
  const first = Math.ceil((shift * 8) / 6);
  const last = Math.floor(((shift + value.length) * 8) / 6);
  const out = room(last - first);
  for (let i = first; i < last; i++) {
    const bit = i * 6 - shift * 8;
    const [byte, offset] = [bit >> 3, bit & 7];
    const pair = ((value[byte] ?? 0) << 8) | (value[byte + 1] ?? 0);
    const character = BASE64.charCodeAt((pair >> (10 - offset)) & 63);
    out[i - first] = url && character === 0x2b ? 0x2d : url && character === 0x2f ? 0x5f : character;
  }
  return out;
}

function hexOf(value: Uint8Array, upper: boolean): Uint8Array {
  const out = room(value.length * 2);
  value.forEach((byte, i) => {
    setHex(out, i * 2, byte, upper);
  });
  return out;
}

function setHex(out: Uint8Array, at: number, byte: number, upper: boolean): void {
  const digits = upper ? HEX.toUpperCase() : HEX;
  out[at] = digits.charCodeAt(byte >> 4);
  out[at + 1] = digits.charCodeAt(byte & 15);
}

function percentOf(value: Uint8Array, upper: boolean, kept: RegExp): Uint8Array {
  return expanded(value, (byte, out, at) => {
    if (byte === SPACE && kept === FORM) return plain(0x2b, out, at);
    if (kept.test(String.fromCharCode(byte))) return plain(byte, out, at);
    out[at] = 0x25;
    setHex(out, at + 1, byte, upper);
    return at + 3;
  });
}

const JSON_ESCAPES = new Map([
  [0x08, "b"],
  [0x09, "t"],
  [0x0a, "n"],
  [0x0c, "f"],
  [0x0d, "r"],
  [0x22, '"'],
  [0x5c, "\\"],
]);

function jsonOf(value: Uint8Array): Uint8Array {
  return expanded(value, (byte, out, at) => {
    const escaped = JSON_ESCAPES.get(byte);
    if (escaped === undefined && byte >= 0x20) return plain(byte, out, at);
    out[at] = 0x5c;
    out[at + 1] = escaped?.charCodeAt(0) ?? 0x75;
    if (escaped !== undefined) return at + 2;
    out[at + 2] = 0x30;
    out[at + 3] = 0x30;
    setHex(out, at + 4, byte, false);
    return at + 6;
  });
}

function plain(byte: number, out: Uint8Array, at: number): number {
  out[at] = byte;
  return at + 1;
}

/** `write` returns where the next byte goes; no byte becomes more than six. */
function expanded(value: Uint8Array, write: (byte: number, out: Uint8Array, at: number) => number): Uint8Array {
  const large = room(value.length * 6);
  let length = 0;
  for (const byte of value) length = write(byte, large, length);
  const out = copy(large.subarray(0, length));
  wipe(large);
  return out;
}
