/** The records that the secrets module keeps, and how they are read back. */
import { z } from "zod";
import { parseJson, utf8 } from "../base/index.ts";
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";
import type { LeaseInfo, SecretInfo } from "./secrets.ts";

export const TABLES = {
  secrets: "secrets",
  leases: "leases",
  /** One record for each open lease of a secret whose leases are counted, named `SECRET:LEASE`. */
  places: "lease-places",
  /** What other keepers lent us. */
  upstream: "upstream-leases",
  /** Single records: `changes` is written with every revocation and rotation, `seen` holds the latest time. */
  marks: "lease-marks",
} as const;

/** Names may be paths, for revoking by prefix; a colon is in none. */
const secretName = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/;

export function checkSecretName(name: string): string {
  if (name.length > SECRET_LIMITS.nameCharacters || !secretName.test(name)) throw secretError("SECRET_NAME_INVALID");
  return name;
}

const rulesRecord = z.object({
  maxTtlSeconds: z.int().positive().optional(),
  maxUses: z.int().positive().optional(),
  maxLeases: z.int().positive().optional(),
  purposeRequired: z.boolean().optional(),
  unshared: z.boolean().optional(),
});

const secretRecord = z.object({
  name: z.string(),
  about: z.string(),
  current: z.int().positive(),
  /** The highest number that was ever given: one that was rolled back is not given again. */
  last: z.int().positive().optional(),
  /** A version that is being tried; nobody gets it unasked. */
  candidate: z.int().positive().optional(),
  /** When the version before the current one is dropped, in milliseconds since the epoch. */
  graceUntil: z.int().optional(),
  rules: rulesRecord.optional(),
  versions: z.array(
    z.object({ version: z.int().positive(), driver: z.string(), reference: z.string(), createdAt: z.int() }),
  ),
  createdAt: z.int(),
  updatedAt: z.int(),
});

export type SecretRecord = z.output<typeof secretRecord>;
export type SecretVersion = SecretRecord["versions"][number];

const leaseRecord = z.object({
  id: z.string(),
  secretName: z.string(),
  version: z.int().positive(),
  holder: z.object({ type: z.string(), id: z.string() }),
  purpose: z.string().optional(),
  issuedAt: z.int(),
  expiresAt: z.int(),
  /** All the time that it was given, renewals included, in seconds. */
  grantedSeconds: z.int().optional(),
  /** Of that what the check-out or the last renewal gave. */
  lastSeconds: z.int().optional(),
  renewals: z.int().optional(),
  uses: z.int().optional(),
  maxUses: z.int().optional(),
  /** It stands in TABLES.places too. */
  counted: z.boolean().optional(),
  /** Thumbprint of the key whose token took it. */
  boundTo: z.string().optional(),
  /** Id of the record in TABLES.upstream. */
  upstream: z.string().optional(),
});

export type LeaseRecord = z.output<typeof leaseRecord>;

const upstreamRecord = z.object({
  id: z.string(),
  driver: z.string(),
  leaseId: z.string(),
  secretName: z.string(),
  expiresAt: z.int(),
});

export type UpstreamRecord = z.output<typeof upstreamRecord>;

const seenRecord = z.object({ at: z.int() });

export function encodeRecord(record: SecretRecord | LeaseRecord | UpstreamRecord | { at: number }): Uint8Array {
  return utf8(JSON.stringify(record));
}

export const decodeSecret = (bytes: Uint8Array): SecretRecord => decode(secretRecord, bytes);
export const decodeLease = (bytes: Uint8Array): LeaseRecord => decode(leaseRecord, bytes);
export const decodeUpstream = (bytes: Uint8Array): UpstreamRecord => decode(upstreamRecord, bytes);
export const decodeSeen = (bytes: Uint8Array): { at: number } => decode(seenRecord, bytes);

function decode<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  const parsed = schema.safeParse(parseJson(bytes, { what: "record" }));
  if (!parsed.success) throw secretError("SECRET_DAMAGED");
  return parsed.data;
}

export function placeId({ secretName: name, id }: Pick<LeaseRecord, "secretName" | "id">): string {
  return `${name}:${id}`;
}

export function versionOf(record: SecretRecord, version = record.current): SecretVersion {
  const found = record.versions.find((entry) => entry.version === version);
  if (!found) throw secretError("SECRET_DAMAGED");
  return found;
}

export function toSecretInfo(record: SecretRecord): SecretInfo {
  const { name, about, createdAt, updatedAt, candidate, graceUntil } = record;
  return {
    name,
    about,
    version: record.current,
    versions: record.versions.map(({ version, createdAt: at, driver }) => ({ version, createdAt: at, driver })),
    rules: record.rules ?? {},
    ...(candidate === undefined ? {} : { candidate }),
    ...(graceUntil === undefined ? {} : { graceUntil }),
    createdAt,
    updatedAt,
  };
}

export function toLeaseInfo(record: LeaseRecord): LeaseInfo {
  const { id, secretName: name, version, holder, purpose, issuedAt, expiresAt, maxUses } = record;
  return {
    id,
    secretName: name,
    version,
    holder,
    issuedAt,
    expiresAt,
    ttlSeconds: record.lastSeconds ?? Math.ceil((expiresAt - issuedAt) / 1000),
    uses: record.uses ?? 1,
    renewals: record.renewals ?? 0,
    ...(purpose === undefined ? {} : { purpose }),
    ...(maxUses === undefined ? {} : { maxUses }),
  };
}
