/** Puts matches, VEX and waivers together: which weaknesses are open, and who says the others are not. */
import type { AdvisoryMatch } from "../advisories/match.ts";
import { SEVERITIES, type SeverityLevel } from "../advisories/severity.ts";
import { packageOfPurl } from "../packages.ts";
import type { VexStatement } from "./statement.ts";
import { isExpired, type Waiver } from "./waivers.ts";

export interface JudgedMatch extends AdvisoryMatch {
  /** `open` counts; the others are named with their reason. Malware is always open. */
  readonly state: "open" | "not_affected" | "fixed" | "waived";
  readonly statement?: VexStatement;
  readonly waiver?: Waiver;
}

export interface Judgements {
  readonly statements?: readonly VexStatement[];
  readonly waivers?: readonly Waiver[];
  /** Milliseconds since the epoch: waivers end. */
  readonly nowMs: number;
}

/** In the order given. The newest statement about a weakness of a package holds; VEX comes before waivers. */
export function judgeMatches(matches: readonly AdvisoryMatch[], judgements: Judgements): JudgedMatch[] {
  const statements = [...(judgements.statements ?? [])].sort((a, b) => b.timeMs - a.timeMs);
  const waivers = (judgements.waivers ?? []).filter((waiver) => !isExpired(waiver, judgements.nowMs));
  return matches.map((match) => judge(match, statements, waivers));
}

function judge(match: AdvisoryMatch, statements: readonly VexStatement[], waivers: readonly Waiver[]): JudgedMatch {
  if (match.malware) return { ...match, state: "open" };
  const ids = new Set([match.id, ...match.aliases]);
  const statement = statements.find(
    (item) => item.ids.some((id) => ids.has(id)) && item.products.some((purl) => isAbout(purl, match)),
  );
  if (statement?.status === "not_affected" || statement?.status === "fixed")
    return { ...match, state: statement.status, statement };
  const waiver = waivers.find(
    (item) => ids.has(item.id) && (item.package === undefined || isAbout(item.package, match)),
  );
  const said = statement ? { statement } : {};
  return waiver ? { ...match, ...said, state: "waived", waiver } : { ...match, ...said, state: "open" };
}

/** Release and architecture of a distribution's package need not be named. */
function isAbout(purl: string, match: AdvisoryMatch): boolean {
  const versioned = /@[^/?#]+(?:[?#]|$)/.test(purl);
  const found = packageOfPurl(versioned ? purl : withVersion(purl));
  if (!found || found.name !== match.package || familyOf(found.ecosystem) !== familyOf(match.ecosystem)) return false;
  const isRelease = /:v?$/.test(found.ecosystem) || found.ecosystem === match.ecosystem;
  return isRelease && (!versioned || found.version === match.version);
}

function withVersion(purl: string): string {
  const at = purl.search(/[?#]/);
  return at === -1 ? `${purl}@0` : `${purl.slice(0, at)}@0${purl.slice(at)}`;
}

function familyOf(ecosystem: string): string {
  return ecosystem.split(":", 1)[0] ?? "";
}

/** True for what stops a pipeline: malware, and what is open at or above the threshold. `kev` is any severity in use. */
export function isBlocking(match: JudgedMatch, failOn: SeverityLevel | "kev" | undefined): boolean {
  if (match.malware) return true;
  if (match.state !== "open" || failOn === undefined) return false;
  return failOn === "kev" ? match.kev : SEVERITIES.indexOf(match.severity) >= SEVERITIES.indexOf(failOn);
}

/** What is said of every match, for a document: open ones are under investigation. */
export function statementsOf(matches: readonly JudgedMatch[], nowMs: number): VexStatement[] {
  return matches.map((match) => {
    const ids = [match.id, ...match.aliases];
    const base = { ids, products: [match.purl], timeMs: match.statement?.timeMs || nowMs };
    if (match.statement) return { ...match.statement, ...base };
    if (match.malware) return { ...base, status: "affected", action: "remove the package: it was made to do harm" };
    if (!match.waiver) return { ...base, status: "under_investigation" };
    const { owner, reason, expires } = match.waiver;
    return { ...base, status: "affected", action: `accepted by ${owner} until ${expires}: ${reason}` };
  });
}
