/** Weaknesses and what was said about them, in the Security profile of SPDX 3.0.1. */
import type { JsonObject } from "../document.ts";
import type { JudgedMatch } from "../vex/judge.ts";
import type { SpdxGraph } from "./spdx-graph.ts";

const JUSTIFICATIONS: Readonly<Record<string, string>> = {
  component_not_present: "componentNotPresent",
  vulnerable_code_not_present: "vulnerableCodeNotPresent",
  vulnerable_code_not_in_execute_path: "vulnerableCodeNotInExecutePath",
  vulnerable_code_cannot_be_controlled_by_adversary: "vulnerableCodeCannotBeControlledByAdversary",
  inline_mitigations_already_exist: "inlineMitigationsAlreadyExist",
};

/** `libraries` are ids by purl; what is not among them is said of the subject. */
export function addVulnerabilities(
  graph: SpdxGraph,
  matches: readonly JudgedMatch[],
  libraries: ReadonlyMap<string, string>,
  subject: string,
): void {
  for (const match of matches) {
    const target = libraries.get(match.purl) ?? subject;
    const identifiers = [match.id, ...match.aliases].map((identifier) => ({
      type: "ExternalIdentifier",
      externalIdentifierType: identifier.startsWith("CVE-") ? "cve" : "securityOther",
      identifier,
    }));
    const vulnerability = graph.add(`vulnerability:${match.id}`, "security_Vulnerability", {
      name: match.id,
      ...(match.summary === "" ? {} : { summary: match.summary }),
      externalIdentifier: identifiers,
    });
    graph.relate(target, "hasAssociatedVulnerability", [vulnerability]);
    const { type, relationship, more } = assess(match);
    graph.relate(vulnerability, relationship, [target], `security_Vex${type}VulnAssessmentRelationship`, more);
  }
}

function assess(match: JudgedMatch): { type: string; relationship: string; more: JsonObject } {
  const { state, statement, waiver, malware } = match;
  if (state === "not_affected") {
    const justification = statement?.justification === undefined ? undefined : JUSTIFICATIONS[statement.justification];
    const more = {
      ...(justification === undefined ? {} : { security_justificationType: justification }),
      ...(statement?.impact === undefined ? {} : { security_impactStatement: statement.impact }),
    };
    return { type: "NotAffected", relationship: "doesNotAffect", more };
  }
  if (state === "fixed") return { type: "Fixed", relationship: "fixedIn", more: {} };
  if (waiver && state === "waived") {
    const action = `accepted by ${waiver.owner} until ${waiver.expires}: ${waiver.reason}`;
    return { type: "Affected", relationship: "affects", more: { security_actionStatement: action } };
  }
  if (malware || statement?.status === "affected") {
    const action = malware
      ? "remove the package: it was made to do harm"
      : (statement?.action ?? "no action was stated");
    return { type: "Affected", relationship: "affects", more: { security_actionStatement: action } };
  }
  return { type: "UnderInvestigation", relationship: "underInvestigationFor", more: {} };
}
