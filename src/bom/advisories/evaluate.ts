/** Says whether a version is affected by a record (OSV schema, "Evaluation"). */
import type { EventKind, IndexedRecord } from "./record.ts";
import { BEGINNING, type VersionOrder } from "./versions.ts";

/** True when one of the candidates is listed or lies inside a range. */
export function isAffected(record: IndexedRecord, candidates: readonly string[], order: VersionOrder): boolean {
  return candidates.some(
    (version) => record.lists(order.key(version)) || record.ranges.some((range) => isInside(version, range, order)),
  );
}

type Event = readonly [EventKind, string];

/** At the same version a fix comes before an introduction, so that what is doubtful counts as affected. */
const RANK: Readonly<Record<EventKind, number>> = { fixed: 0, last_affected: 1, introduced: 2 };

/** Events in order of version switch the state on and off; "0" stands before every version. */
function isInside(given: string, range: readonly Event[], order: VersionOrder): boolean {
  const version = order.read(given);
  if (version === undefined) return false;
  const compare = (a: string, b: string): number => {
    if (a === BEGINNING || b === BEGINNING) return Number(a !== BEGINNING) - Number(b !== BEGINNING);
    return order.compare(a, b);
  };
  let inside = false;
  for (const [kind, at] of sortEvents(range, order, compare)) {
    const difference = compare(version, at);
    if (kind === "introduced" && difference >= 0) inside = true;
    if (kind === "fixed" && difference >= 0) inside = false;
    if (kind === "last_affected" && difference > 0) inside = false;
  }
  return inside;
}

function sortEvents(range: readonly Event[], order: VersionOrder, compare: (a: string, b: string) => number): Event[] {
  return range
    .map(([kind, at]): Event => [kind, kind === "introduced" && at === "0" ? BEGINNING : order.readEvent(at)])
    .sort(([kindA, a], [kindB, b]) => compare(a, b) || rankOf(kindA, a) - rankOf(kindB, b));
}

function rankOf(kind: EventKind, at: string): number {
  return kind === "introduced" && at === BEGINNING ? -1 : RANK[kind];
}

/** The versions that fix the record for somebody at `version`: those after it, in order. */
export function fixesAfter(record: IndexedRecord, given: string, order: VersionOrder): string[] {
  const version = order.read(given);
  if (version === undefined) return [];
  const fixes = record.ranges.flatMap((range) => range.flatMap(([kind, at]) => (kind === "fixed" ? [at] : [])));
  return [...new Set(fixes)].filter((fix) => {
    const at = order.readEvent(fix);
    return at !== BEGINNING && order.compare(at, version) > 0;
  });
}
