/** Matches packages against advisories and puts together what names the same weakness. */
import { type PackageRef, purlOf } from "../packages.ts";
import { fixesAfter, isAffected } from "./evaluate.ts";
import type { ExploitationIndex } from "./exploitation.ts";
import type { AdvisoryIndex } from "./index-file.ts";
import type { IndexedRecord } from "./record.ts";
import { moreTrusted, type SeverityLevel } from "./severity.ts";
import { type VersionOrder, versionOrder } from "./versions.ts";

export interface AdvisoryMatch {
  readonly ecosystem: string;
  readonly package: string;
  readonly version: string;
  /** The package URL, as the document has it. */
  readonly purl: string;
  /** The id that stands for the group. */
  readonly id: string;
  /** Every other id of the group: matched records and their aliases. */
  readonly aliases: readonly string[];
  readonly severity: SeverityLevel;
  /** 0 to 10; 0 when nobody rated it. */
  readonly score: number;
  /** The package itself is hostile: this version was made to do harm. */
  readonly malware: boolean;
  /** In CISA's catalogue of known exploited vulnerabilities. */
  readonly kev: boolean;
  /** Probability of use within 30 days by FIRST, 0 to 1; absent when nobody said one. */
  readonly epss?: number;
  readonly fixed: readonly string[];
  readonly summary: string;
}

/** In order of package, version and id; one match per weakness of a package. */
export function matchAdvisories(
  packages: readonly PackageRef[],
  index: AdvisoryIndex,
  exploitation?: ExploitationIndex,
): AdvisoryMatch[] {
  const unique = new Map(packages.map((item) => [`${item.ecosystem}\n${item.name}\n${item.version}`, item]));
  return [...unique.values()]
    .flatMap((item) => matchPackage(item, index))
    .map((match) => (exploitation ? rateUse(match, exploitation) : match))
    .sort(inOrder);
}

function rateUse(match: AdvisoryMatch, exploitation: ExploitationIndex): AdvisoryMatch {
  const known = [match.id, ...match.aliases].flatMap((id) => exploitation.find(id) ?? []);
  const scores = known.flatMap(({ epss }) => epss ?? []);
  return { ...match, kev: known.some(({ kev }) => kev), ...(scores.length === 0 ? {} : { epss: Math.max(...scores) }) };
}

function inOrder(a: AdvisoryMatch, b: AdvisoryMatch): number {
  return compareText(a.package, b.package) || compareText(a.version, b.version) || compareText(a.id, b.id);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function matchPackage(item: PackageRef, index: AdvisoryIndex): AdvisoryMatch[] {
  const order = versionOrder(item.ecosystem);
  if (!order) return [];
  const { name, version } = item.source ?? item;
  const candidates = order.candidates(version);
  const hits = index.find(item.ecosystem, name).filter((record) => isAffected(record, candidates, order));
  return groupByAlias(hits).map((group) => describe(item, group, order));
}

/** Records that share an id or an alias, directly or by way of others. */
function groupByAlias(records: readonly IndexedRecord[]): IndexedRecord[][] {
  const groupOf = new Map<string, IndexedRecord[]>();
  for (const record of records) {
    const ids = [record.id, ...record.aliases];
    const touched = new Set(ids.flatMap((id) => groupOf.get(id) ?? []));
    const group = [...touched, record];
    for (const member of group) for (const id of [member.id, ...member.aliases]) groupOf.set(id, group);
  }
  return [...new Set(groupOf.values())];
}

function describe(item: PackageRef, group: readonly IndexedRecord[], order: VersionOrder): AdvisoryMatch {
  const [first] = group.map(({ id }) => id).sort((a, b) => rankOf(a) - rankOf(b) || compareText(a, b));
  const id = first ?? "";
  const all = new Set(group.flatMap((record) => [record.id, ...record.aliases]));
  const malware = [...all].some((name) => name.startsWith("MAL-"));
  const severity = group.map((record) => record.severity).reduce(moreTrusted);
  return {
    ecosystem: item.ecosystem,
    package: item.name,
    version: item.version,
    purl: item.purl ?? purlOf(item.ecosystem, item.name, item.version),
    id,
    aliases: [...all].filter((name) => name !== id).sort(compareText),
    severity: malware ? "critical" : severity.level,
    score: severity.score,
    malware,
    kev: false,
    fixed: [...new Set(group.flatMap((record) => fixesAfter(record, (item.source ?? item).version, order)))],
    summary: group.map(({ summary }) => summary).find((summary) => summary !== "") ?? "",
  };
}

/** Which id speaks for a group: malware first, then the ecosystem's own database. */
function rankOf(id: string): number {
  const at = ["MAL-", "PYSEC-", "GHSA-", "CVE-"].findIndex((prefix) => id.startsWith(prefix));
  return at === -1 ? 9 : at;
}
