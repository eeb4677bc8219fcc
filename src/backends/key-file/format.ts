/** The text of a key file, read and written without a key ever being a string, which nobody could wipe. */
import { concatBytes, utf8 } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export const KEY_FILE_FORMAT = "modelkeep-kek-v1";
export const KEY_BYTES = 32;

const HEADER = /^modelkeep-kek-v1 ([0-9a-f]{32})$/;
const VERSION = /^[1-9]\d{0,5}$/;
const HEX_DIGITS = utf8("0123456789abcdef");
const NEWLINE = 0x0a;
const SPACE = 0x20;

export interface KeyFileContent {
  readonly keyId: string;
  /** In the order of the file; the last one wraps. */
  readonly keys: ReadonlyMap<string, GuardedBytes>;
}

/** `modelkeep-kek-v1 KEYID`, then a line `VERSION HEX` per key. The caller wipes it. */
export function keyFileText(keyId: string, version: string, key: Uint8Array): Uint8Array {
  const hex = new Uint8Array(key.length * 2);
  for (const [index, byte] of key.entries()) {
    hex[index * 2] = HEX_DIGITS[byte >> 4] ?? 0;
    hex[index * 2 + 1] = HEX_DIGITS[byte & 15] ?? 0;
  }
  const text = concatBytes(utf8(`${KEY_FILE_FORMAT} ${keyId}\n${version} `), hex, utf8("\n"));
  hex.fill(0);
  return text;
}

/** Undefined when the text is not exactly a key file. */
export function parseKeyFile(text: Uint8Array): KeyFileContent | undefined {
  const [first, ...rest] = linesOf(text);
  const keyId = first && HEADER.exec(latin1(first))?.[1];
  const keys = new Map<string, GuardedBytes>();
  const good = rest.length > 0 && rest.length <= BACKEND_LIMITS.keyFileVersions && rest.every((l) => addKey(keys, l));
  if (keyId && good) return { keyId, keys };
  for (const key of keys.values()) key.wipe();
  return undefined;
}

function linesOf(text: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  let start = 0;
  for (let end = text.indexOf(NEWLINE); end !== -1; end = text.indexOf(NEWLINE, start)) {
    lines.push(text.subarray(start, end));
    start = end + 1;
  }
  if (start < text.length) lines.push(text.subarray(start));
  return lines;
}

function addKey(keys: Map<string, GuardedBytes>, line: Uint8Array): boolean {
  const space = line.indexOf(SPACE);
  const version = latin1(line.subarray(0, Math.max(space, 0)));
  const hex = line.subarray(space + 1);
  if (!VERSION.test(version) || keys.has(version) || hex.length !== KEY_BYTES * 2) return false;
  const key = GuardedBytes.allocate(KEY_BYTES);
  const good = key.use((bytes) => decodeHex(hex, bytes));
  if (good) keys.set(version, key);
  else key.wipe();
  return good;
}

function decodeHex(hex: Uint8Array, into: Uint8Array): boolean {
  for (let index = 0; index < into.length; index++) {
    const high = HEX_DIGITS.indexOf(hex[index * 2] ?? 0);
    const low = HEX_DIGITS.indexOf(hex[index * 2 + 1] ?? 0);
    if (high === -1 || low === -1) return false;
    into[index] = high * 16 + low;
  }
  return true;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
