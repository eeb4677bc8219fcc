/** PEM: RFC 7468, strict. */
import { fromBase64, toBase64 } from "../base/index.ts";
import { codecError } from "./errors.ts";

export interface PemBlock {
  /** For example `PUBLIC KEY`. */
  readonly label: string;
  readonly der: Uint8Array;
}

const MAX_BLOCKS = 64;
const MAX_CHARACTERS = 1024 * 1024;
const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,64})-----\r?\n([A-Za-z0-9+/=\r\n]*?)-----END \1-----/g;

/** Every block of the text, in order; throws PEM_INVALID when there is none or one is damaged. */
export function parsePem(text: string): PemBlock[] {
  if (text.length > MAX_CHARACTERS) throw codecError("PEM_INVALID", { detail: `over ${MAX_CHARACTERS} characters` });
  const blocks = [...text.matchAll(BLOCK)].slice(0, MAX_BLOCKS + 1).map(([, label, body]) => {
    const der = fromBase64((body ?? "").replace(/[\r\n]/g, ""));
    if (!der || der.length === 0) throw codecError("PEM_INVALID", { detail: label ?? "" });
    return { label: label ?? "", der };
  });
  if (blocks.length === 0 || blocks.length > MAX_BLOCKS)
    throw codecError("PEM_INVALID", { detail: `${blocks.length} blocks` });
  if (blocks.length !== text.split("-----BEGIN ").length - 1)
    throw codecError("PEM_INVALID", { detail: "a block is damaged" });
  return blocks;
}

/** Lines of 64 characters and a final newline, as OpenSSL prints them. */
export function toPem(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
