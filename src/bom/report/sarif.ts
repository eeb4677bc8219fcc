/** Matches as SARIF 2.1.0 (OASIS): rules are weaknesses, results are packages that have them. */
import { createHash } from "node:crypto";
import type { JsonObject } from "../document.ts";
import type { JudgedMatch } from "../vex/judge.ts";

const LEVELS = { critical: "error", high: "error", medium: "warning", low: "note", unknown: "warning" } as const;

/** `document` is the path of the bill of materials, as a relative reference. */
export function toSarif(matches: readonly JudgedMatch[], document: string): JsonObject {
  const rules = [...new Map(matches.map((match) => [match.id, match])).values()];
  const places = new Map(rules.map(({ id }, index) => [id, index]));
  const driver = { name: "modelkeep", informationUri: "https://osv.dev/", rules: rules.map(ruleOf) };
  const results = matches.map((match) => resultOf(match, places.get(match.id) ?? 0, document));
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [{ tool: { driver }, results, columnKind: "utf16CodeUnits" }],
  };
}

function ruleOf(match: JudgedMatch): JsonObject {
  const text = match.summary === "" ? match.id : match.summary;
  return {
    id: match.id,
    shortDescription: { text },
    helpUri: `https://osv.dev/vulnerability/${encodeURIComponent(match.id.toWellFormed())}`,
    properties: {
      "security-severity": String(match.malware ? 10 : match.score),
      tags: [
        "security",
        ...(match.malware ? ["malware"] : []),
        ...(match.kev ? ["known-exploited"] : []),
        ...match.aliases,
      ],
    },
  };
}

function resultOf(match: JudgedMatch, ruleIndex: number, document: string): JsonObject {
  const fixed = match.fixed.length === 0 ? "no fix is known" : `fixed in ${match.fixed.slice(0, 3).join(", ")}`;
  const word = match.malware ? "is malware" : `has a weakness of severity ${match.severity}`;
  const fingerprint = createHash("sha256").update(`${match.purl}\n${match.id}`).digest("hex");
  return {
    ruleId: match.id,
    ruleIndex,
    level: match.malware ? "error" : LEVELS[match.severity],
    message: { text: `${match.package} ${match.version} ${word}; ${fixed}` },
    locations: [
      {
        physicalLocation: { artifactLocation: { uri: asReference(document) }, region: { startLine: 1 } },
        logicalLocations: [{ fullyQualifiedName: match.purl, kind: "package" }],
      },
    ],
    partialFingerprints: { "modelkeep/v1": fingerprint },
    ...(match.state === "open"
      ? {}
      : { suppressions: [{ kind: "external", status: "accepted", justification: whyClosed(match) }] }),
  };
}

/** RFC 3986: what is a question mark or a hash in a file's name stays one. */
function asReference(path: string): string {
  return path.toWellFormed().split("/").map(encodeURIComponent).join("/");
}

/** In one sentence, for people. */
export function whyClosed({ state, statement, waiver }: JudgedMatch): string {
  if (state === "waived" && waiver) return `accepted by ${waiver.owner} until ${waiver.expires}: ${waiver.reason}`;
  const reason = statement?.impact ?? statement?.justification?.replace(/_/g, " ") ?? "";
  const by = statement?.author === undefined ? "" : ` (${statement.author})`;
  return `${state.replace(/_/g, " ")}${reason === "" ? "" : `: ${reason}`}${by}`;
}
