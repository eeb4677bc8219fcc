/** Hashes as lockfiles write them: subresource integrity, and `sha256:HEX`. */
import { fromBase64, toHex } from "../../base/index.ts";
import type { LibraryHash } from "./component.ts";

const ALGORITHMS = { sha256: "SHA-256", sha384: "SHA-384", sha512: "SHA-512" } as const;

/** Subresource integrity: `sha512-BASE64`. */
export function readIntegrity(value: unknown): LibraryHash[] {
  const match = typeof value === "string" ? /^(sha256|sha384|sha512)-([A-Za-z0-9+/=]+)$/.exec(value.trim()) : null;
  const bytes = match?.[2] ? fromBase64(match[2]) : undefined;
  if (!match || !bytes) return [];
  return [{ algorithm: ALGORITHMS[match[1] as keyof typeof ALGORITHMS], hex: toHex(bytes) }];
}

/** `sha256:HEX` or bare hex of that length. */
export function readSha256(value: unknown): LibraryHash[] {
  const hex = typeof value === "string" ? /^(?:sha256[:=])?([0-9a-fA-F]{64})$/.exec(value)?.[1] : undefined;
  return hex ? [{ algorithm: "SHA-256", hex: hex.toLowerCase() }] : [];
}
