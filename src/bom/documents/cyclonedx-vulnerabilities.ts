/** A matched weakness as CycloneDX writes it, with what was said about it (VEX, waivers) as its analysis. */
import type { JsonObject } from "../document.ts";
import type { JudgedMatch } from "../vex/judge.ts";
import type { VexJustification, VexStatus } from "../vex/statement.ts";

const STATES: Readonly<Record<VexStatus, string>> = {
  not_affected: "not_affected",
  affected: "exploitable",
  fixed: "resolved",
  under_investigation: "in_triage",
};

const JUSTIFICATIONS: Readonly<Record<VexJustification, string>> = {
  component_not_present: "requires_dependency",
  vulnerable_code_not_present: "code_not_present",
  vulnerable_code_not_in_execute_path: "code_not_reachable",
  vulnerable_code_cannot_be_controlled_by_adversary: "requires_configuration",
  inline_mitigations_already_exist: "protected_by_mitigating_control",
};

export function vulnerabilityOf(match: JudgedMatch): JsonObject {
  const source = sourceOf(match.id);
  const rating = { ...(match.score > 0 ? { score: match.score } : {}), severity: match.severity };
  const references = match.aliases.map((id) => ({ id, source: sourceOf(id) }));
  const rows = [
    ...(match.malware ? [{ name: "modelkeep:malware", value: "true" }] : []),
    ...(match.kev ? [{ name: "modelkeep:kev", value: "true" }] : []),
    ...(match.epss === undefined ? [] : [{ name: "modelkeep:epss", value: String(match.epss) }]),
  ];
  return {
    id: match.id,
    source,
    ...(references.length === 0 ? {} : { references }),
    ratings: [rating],
    ...(match.summary === "" ? {} : { description: match.summary }),
    ...(match.fixed.length === 0 ? {} : { recommendation: `update to ${match.fixed.slice(0, 5).join(", ")} or later` }),
    analysis: analysisOf(match),
    affects: [{ ref: match.purl }],
    ...(rows.length === 0 ? {} : { properties: rows }),
  };
}

function analysisOf({ state, statement, waiver, malware }: JudgedMatch): JsonObject {
  if (malware) return { state: "exploitable" };
  if (waiver && state === "waived") {
    const detail = `accepted by ${waiver.owner} until ${waiver.expires}: ${waiver.reason}`;
    return { state: "exploitable", response: ["will_not_fix"], detail };
  }
  if (!statement) return { state: "in_triage" };
  const detail = statement.impact ?? statement.action;
  const time = statement.timeMs === 0 ? {} : { lastUpdated: new Date(statement.timeMs).toISOString() };
  return {
    state: STATES[statement.status],
    ...(statement.justification === undefined ? {} : { justification: JUSTIFICATIONS[statement.justification] }),
    ...(detail === undefined ? {} : { detail }),
    ...time,
  };
}

/** The databases that the prefixes of ids stand for. */
function sourceOf(id: string): JsonObject {
  const [prefix = ""] = id.split("-", 1);
  const names: Readonly<Record<string, string>> = {
    CVE: "CVE",
    GHSA: "GitHub",
    PYSEC: "PyPA",
    MAL: "OpenSSF",
    DSA: "Debian",
    DLA: "Debian",
  };
  return {
    name: names[prefix] ?? "OSV",
    url: `https://osv.dev/vulnerability/${encodeURIComponent(id.toWellFormed())}`,
  };
}
