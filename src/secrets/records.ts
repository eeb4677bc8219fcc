/** The records that the secrets module keeps, and how they are read back. */
import { z } from "zod";
import { parseJson, utf8 } from "../base/index.ts";
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";

export const TABLES = { secrets: "secrets", leases: "leases" } as const;

const secretName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

export function checkSecretName(name: string): string {
  if (!secretName.test(name)) throw secretError("SECRET_NAME_INVALID");
  return name;
}

const secretRecord = z.object({
  name: z.string(),
  about: z.string(),
  current: z.int().positive(),
  versions: z.array(
    z.object({ version: z.int().positive(), driver: z.string(), reference: z.string(), createdAt: z.int() }),
  ),
  createdAt: z.int(),
  updatedAt: z.int(),
});

export type SecretRecord = z.output<typeof secretRecord>;

const leaseRecord = z.object({
  id: z.string(),
  secretName: z.string(),
  version: z.int().positive(),
  holder: z.object({ type: z.string(), id: z.string() }),
  issuedAt: z.int(),
  expiresAt: z.int(),
});

export type LeaseRecord = z.output<typeof leaseRecord>;

export function encodeRecord(record: SecretRecord | LeaseRecord): Uint8Array {
  return utf8(JSON.stringify(record));
}

export function decodeSecret(bytes: Uint8Array): SecretRecord {
  return decode(secretRecord, bytes);
}

export function decodeLease(bytes: Uint8Array): LeaseRecord {
  return decode(leaseRecord, bytes);
}

function decode<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  const parsed = schema.safeParse(parseJson(bytes, { what: "record" }));
  if (!parsed.success) throw secretError("SECRET_DAMAGED");
  return parsed.data;
}

export function currentVersion(record: SecretRecord): SecretRecord["versions"][number] {
  const found = record.versions.find((entry) => entry.version === record.current);
  if (!found) throw secretError("SECRET_DAMAGED");
  return found;
}

/** The record with one more version, and the versions that fall out of it. */
export function addVersion(
  record: SecretRecord,
  added: { readonly driver: string; readonly reference: string; readonly createdAt: number },
): { readonly next: SecretRecord; readonly dropped: SecretRecord["versions"] } {
  const current = record.current + 1;
  const all = [...record.versions, { version: current, ...added }];
  const kept = all.slice(-SECRET_LIMITS.keptVersions);
  return {
    next: { ...record, current, versions: kept, updatedAt: added.createdAt },
    dropped: all.slice(0, all.length - kept.length),
  };
}
