/** The versions of a secret: what follows from a rotation, a trial, a promotion, a roll-back and the end of a grace period. */
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";
import type { SecretRecord, SecretVersion } from "./records.ts";

export interface VersionStep {
  readonly next: SecretRecord;
  /** Versions whose value nobody needs any more. */
  readonly dropped: readonly SecretVersion[];
}

type Added = Omit<SecretVersion, "version">;

/** The new version is the current one; the one before it stays for the grace period. */
export function addCurrent(record: SecretRecord, added: Added, graceUntil: number | undefined): VersionStep {
  const version = nextNumber(record);
  const versions = [...without(record, record.candidate), { version, ...added }].slice(-SECRET_LIMITS.keptVersions);
  return step(record, { current: version, last: version, versions, candidate: undefined, graceUntil }, added.createdAt);
}

/** The new version can be tried by who asks for it; one that was being tried before it is dropped. */
export function addCandidate(record: SecretRecord, added: Added): VersionStep {
  const version = nextNumber(record);
  const versions = [...without(record, record.candidate), { version, ...added }];
  return step(record, { last: version, versions, candidate: version }, added.createdAt);
}

/** Throws SECRET_VERSION_MISSING when nothing is being tried. */
export function promoteCandidate(record: SecretRecord, graceUntil: number | undefined, now: number): VersionStep {
  const { candidate, current } = record;
  if (candidate === undefined) throw secretError("SECRET_VERSION_MISSING", { detail: "no version is being tried" });
  const versions = record.versions.filter(({ version }) => version === candidate || version === current);
  return step(record, { current: candidate, versions, candidate: undefined, graceUntil }, now);
}

/** Drops what is being tried, else the current version for the one before it; SECRET_VERSION_MISSING without either. */
export function rollBack(record: SecretRecord, now: number): VersionStep {
  const bad = record.candidate ?? record.current;
  const versions = without(record, bad);
  const current = record.candidate === undefined ? versions.at(-1)?.version : record.current;
  if (current === undefined) throw secretError("SECRET_VERSION_MISSING", { detail: "no earlier version is kept" });
  return step(record, { current, versions, candidate: undefined, graceUntil: undefined }, now);
}

/** Drops every version but the current one and the one that is being tried. */
export function retireOld(record: SecretRecord, now: number): VersionStep {
  const versions = record.versions.filter(({ version }) => version === record.current || version === record.candidate);
  return step(record, { versions, graceUntil: undefined }, now);
}

function nextNumber(record: SecretRecord): number {
  return Math.max(record.last ?? 0, record.current, ...record.versions.map(({ version }) => version)) + 1;
}

function without(record: SecretRecord, dropped: number | undefined): SecretVersion[] {
  return record.versions.filter(({ version }) => version !== dropped);
}

type Changes = { [Name in keyof SecretRecord]?: SecretRecord[Name] | undefined };

function step(record: SecretRecord, changes: Changes, updatedAt: number): VersionStep {
  const next = { ...record, last: nextNumber(record) - 1, ...changes, updatedAt } as SecretRecord;
  const kept = new Set(next.versions.map(({ version }) => version));
  return { next, dropped: record.versions.filter(({ version }) => !kept.has(version)) };
}
