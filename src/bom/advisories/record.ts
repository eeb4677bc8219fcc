/** What the index keeps of an advisory for one package, and how an OSV record becomes it. */
import { BOM_LIMITS } from "../limits.ts";
import { normaliseName } from "../packages.ts";
import { moreTrusted, type RatedSeverity, rateSeverity } from "./severity.ts";
import { versionOrder } from "./versions.ts";

export type EventKind = "introduced" | "fixed" | "last_affected";

export interface AdvisoryRecord {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly summary: string;
  readonly severity: RatedSeverity;
  /** Keys of the versions that are affected whatever the ranges say. */
  readonly versions: readonly string[];
  readonly ranges: readonly (readonly (readonly [EventKind, string])[])[];
}

/** A record as the index gives it: its versions are asked for, not listed. */
export interface IndexedRecord extends Omit<AdvisoryRecord, "versions"> {
  /** True for the key of a version that is affected whatever the ranges say. */
  lists(versionKey: string): boolean;
}

export interface AffectedPackage {
  readonly ecosystem: string;
  readonly name: string;
  readonly record: AdvisoryRecord;
}

type Unknown = Readonly<Record<string, unknown>>;

const SUMMARY_CHARACTERS = 200;
const MAX_ALIASES = 200;

/**
 * One entry per affected package; empty for records that are withdrawn, of other ecosystems, or no OSV records.
 * `related` and `upstream` are no aliases (OSV schema 1.7).
 */
export function readAdvisory(document: unknown): AffectedPackage[] {
  const osv = asObject(document);
  const id = osv?.id;
  if (!osv || typeof id !== "string" || id.length > 128 || osv.withdrawn) return [];
  const aliases = texts(osv.aliases).slice(0, MAX_ALIASES);
  const summary = typeof osv.summary === "string" ? osv.summary.slice(0, SUMMARY_CHARACTERS) : "";
  const entries = list(osv.affected).flatMap((affected) => {
    const read = readAffected(asObject(affected) ?? {}, osv);
    return read ? [{ ...read, record: { id, aliases, summary, ...read.record } }] : [];
  });
  return mergeSame(entries);
}

function readAffected(affected: Unknown, osv: Unknown) {
  const { ecosystem, name } = asObject(affected.package) ?? {};
  if (typeof ecosystem !== "string" || typeof name !== "string" || name.length > BOM_LIMITS.nameCharacters)
    return undefined;
  const order = versionOrder(ecosystem);
  if (!order) return undefined;
  const versions = texts(affected.versions).slice(0, BOM_LIMITS.advisoryVersions);
  const own = list(affected.severity);
  const severity = rateSeverity(own.length > 0 ? own : list(osv.severity), [
    asObject(affected.database_specific)?.severity,
    asObject(affected.ecosystem_specific)?.severity,
    asObject(affected.ecosystem_specific)?.urgency,
    asObject(osv.database_specific)?.severity,
  ]);
  return {
    ecosystem,
    name: normaliseName(ecosystem, name),
    record: { severity, versions: [...new Set(versions.map(order.key))], ranges: readRanges(affected.ranges) },
  };
}

/** Ranges of commits say nothing about versions. */
function readRanges(value: unknown): [EventKind, string][][] {
  return list(value).flatMap((item) => {
    const range = asObject(item);
    if (range?.type !== "ECOSYSTEM" && range?.type !== "SEMVER") return [];
    const events = list(range.events).slice(0, BOM_LIMITS.advisoryEvents);
    return [events.flatMap((event) => readEvent(asObject(event)))];
  });
}

function readEvent(event: Unknown | undefined): [EventKind, string][] {
  return (["introduced", "fixed", "last_affected"] as const).flatMap((kind) => {
    const version = event?.[kind];
    return typeof version === "string" && version.length <= BOM_LIMITS.versionCharacters ? [[kind, version]] : [];
  });
}

/** A record may name a package more than once, for each branch. */
function mergeSame(entries: readonly AffectedPackage[]): AffectedPackage[] {
  const byName = new Map<string, AffectedPackage>();
  for (const entry of entries) {
    const key = packageKey(entry.ecosystem, entry.name);
    const before = byName.get(key);
    byName.set(key, before ? { ...entry, record: mergeRecords(before.record, entry.record) } : entry);
  }
  return [...byName.values()];
}

function mergeRecords(a: AdvisoryRecord, b: AdvisoryRecord): AdvisoryRecord {
  const severity = moreTrusted(a.severity, b.severity);
  return { ...a, severity, versions: [...new Set([...a.versions, ...b.versions])], ranges: [...a.ranges, ...b.ranges] };
}

export function packageKey(ecosystem: string, name: string): string {
  return `${ecosystem}\n${name}`;
}

function asObject(value: unknown): Unknown | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Unknown) : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function texts(value: unknown): string[] {
  return list(value).filter(
    (item): item is string => typeof item === "string" && item.length <= BOM_LIMITS.versionCharacters,
  );
}
