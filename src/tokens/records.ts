/** The records that the tokens module keeps, and how they are read back. Tokens and codes are kept as hashes only. */
import { hash } from "node:crypto";
import { z } from "zod";
import { equalBytes, fromHex, parseJson, utf8 } from "../base/index.ts";
import { tokenError } from "./errors.ts";

/** `principals` is where changes of one principal meet: its transaction writes that record and so excludes others. */
export const TABLES = {
  principals: "token-principals",
  keys: "token-keys",
  codes: "token-codes",
  tokens: "tokens",
  assertions: "token-assertions",
} as const;

const entity = z.object({ type: z.enum(["Workload", "Admin"]), id: z.string() });
const ended = z.object({ id: z.string(), expiresAt: z.int() });

const principalRecord = z.object({
  principal: entity,
  codes: z.array(ended),
  keys: z.array(
    z.object({
      thumbprint: z.string(),
      groups: z.array(z.string()),
      enrolledAt: z.int(),
      usedAt: z.int(),
      tokens: z.array(ended),
    }),
  ),
});
const keyRecord = z.object({ principal: entity });
const codeRecord = z.object({
  hash: z.string(),
  principal: entity,
  groups: z.array(z.string()),
  by: z.string(),
  expiresAt: z.int(),
});
const tokenRecord = z.object({
  hash: z.string(),
  id: z.string(),
  principal: entity,
  groups: z.array(z.string()),
  thumbprint: z.string(),
  issuedAt: z.int(),
  expiresAt: z.int(),
});
const assertionRecord = z.object({ expiresAt: z.int() });

export type PrincipalRecord = z.output<typeof principalRecord>;
export type CodeRecord = z.output<typeof codeRecord>;
export type TokenRecord = z.output<typeof tokenRecord>;

export const readPrincipal = reader(principalRecord);
export const readKeyRecord = reader(keyRecord);
export const readCode = reader(codeRecord);
export const readToken = reader(tokenRecord);
export const readAssertion = reader(assertionRecord);

export function encode(record: unknown): Uint8Array {
  return utf8(JSON.stringify(record));
}

function reader<T>(schema: z.ZodType<T>): (bytes: Uint8Array) => T {
  return (bytes) => {
    const parsed = schema.safeParse(parseJson(bytes, { what: "record" }));
    if (!parsed.success) throw tokenError("TOKEN_RECORD_DAMAGED");
    return parsed.data;
  };
}

/** SHA-256 of a code or token, hex. */
export function hashOf(text: string): string {
  return hash("sha256", text, "hex");
}

/** The public id: half of the hash of 160 or more random bits, so it leads nobody back. */
export function idOf(kind: "code" | "tok", hex: string): string {
  return `${kind}_${hex.slice(0, 32)}`;
}

/** In constant time. */
export function sameHash(a: string, b: string): boolean {
  const [left, right] = [fromHex(a), fromHex(b)];
  return left !== undefined && right !== undefined && equalBytes(left, right);
}
