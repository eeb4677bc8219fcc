/** What a lease may be: the limits of the module, the rules of the secret, and what was asked for. */
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";
import type { LeaseRecord, SecretRecord } from "./records.ts";
import type { LeaseOptions, LeaseRules } from "./secrets.ts";

export interface CheckedLease {
  readonly version: number;
  readonly ttlSeconds: number;
  readonly maxUses?: number;
}

const oneLine = /^[^\p{Cc}\p{Zl}\p{Zp}]+$/u;

/** Throws LEASE_TTL_INVALID, LEASE_PURPOSE_INVALID, LEASE_RULES_INVALID or SECRET_VERSION_MISSING. */
export function checkLeaseOptions(secret: SecretRecord, options: LeaseOptions): CheckedLease {
  const { purpose, candidate } = options;
  const rules = secret.rules ?? {};
  if (purpose === undefined && rules.purposeRequired) throw secretError("LEASE_PURPOSE_INVALID");
  if (purpose !== undefined && (purpose.length > SECRET_LIMITS.purposeCharacters || !oneLine.test(purpose)))
    throw secretError("LEASE_PURPOSE_INVALID");
  if (candidate && secret.candidate === undefined)
    throw secretError("SECRET_VERSION_MISSING", { detail: "no version is being tried" });
  const maxUses = smaller(checkCount("maxUses", options.maxUses, SECRET_LIMITS.leaseUses), rules.maxUses);
  return {
    version: (candidate ? secret.candidate : undefined) ?? secret.current,
    ttlSeconds: checkTtl(options.ttlSeconds, rules),
    ...(maxUses === undefined ? {} : { maxUses }),
  };
}

/** The rule shortens; only what no lease may have is refused. */
export function checkTtl(wanted: number | undefined, rules: LeaseRules = {}): number {
  const seconds = wanted ?? SECRET_LIMITS.defaultLeaseSeconds;
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > SECRET_LIMITS.leaseSeconds)
    throw secretError("LEASE_TTL_INVALID", { detail: `1 to ${SECRET_LIMITS.leaseSeconds} seconds are possible` });
  return Math.min(seconds, rules.maxTtlSeconds ?? seconds);
}

/** Without what is undefined. Throws LEASE_RULES_INVALID. */
export function checkRules(rules: LeaseRules): NonNullable<SecretRecord["rules"]> {
  checkCount("maxTtlSeconds", rules.maxTtlSeconds, SECRET_LIMITS.leaseSeconds);
  checkCount("maxUses", rules.maxUses, SECRET_LIMITS.leaseUses);
  checkCount("maxLeases", rules.maxLeases, SECRET_LIMITS.openLeases);
  return Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== undefined && value !== false));
}

/** Of a record that was written before renewals were counted. */
export function grantedSeconds({ grantedSeconds: granted, issuedAt, expiresAt }: LeaseRecord): number {
  return granted ?? Math.ceil((expiresAt - issuedAt) / 1000);
}

function checkCount(name: string, value: number | undefined, most: number): number | undefined {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) return value;
  throw secretError("LEASE_RULES_INVALID", { detail: `${name}: 1 to ${most} are possible` });
}

function smaller(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}
