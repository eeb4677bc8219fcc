/** Severity of an advisory: CVSS 4 before CVSS 3 before CVSS 2 before the word of the database. */
import calculator from "ae-cvss-calculator";

export const SEVERITIES = ["unknown", "low", "medium", "high", "critical"] as const;

export type SeverityLevel = (typeof SEVERITIES)[number];

export interface RatedSeverity {
  readonly level: SeverityLevel;
  /** 0 to 10; of a word without a vector, the lower end of its band. */
  readonly score: number;
  /** How much the source is trusted: 4 is CVSS 4, 3 is CVSS 3, 2 is CVSS 2, 1 is a word, 0 is nothing. */
  readonly trust: number;
}

const TRUST: Readonly<Record<string, number>> = { CVSS_V4: 4, CVSS_V3: 3, CVSS_V2: 2 };
const WORDS: Readonly<Record<string, readonly [SeverityLevel, number]>> = {
  CRITICAL: ["critical", 9],
  HIGH: ["high", 7],
  MODERATE: ["medium", 4],
  MEDIUM: ["medium", 4],
  LOW: ["low", 0.1],
};

/** Checked before the calculator sees it: that one complains on the console. */
const VECTOR = /^(?:CVSS:(?:3\.[01]|4\.0)\/)?[A-Za-z]{1,3}:[A-Za-z]{1,6}(?:\/[A-Za-z]{1,3}:[A-Za-z]{1,6})*$/;

const UNRATED: RatedSeverity = { level: "unknown", score: 0, trust: 0 };

/** `entries` are OSV severity entries, `words` what the database says beside them. */
export function rateSeverity(entries: readonly unknown[], words: readonly unknown[]): RatedSeverity {
  const rated = [...entries.map(rateEntry), ...words.map(rateWord)];
  return rated.reduce(moreTrusted, UNRATED);
}

/** The more trusted of two; of two equally trusted ones the worse. */
export function moreTrusted(a: RatedSeverity, b: RatedSeverity): RatedSeverity {
  return b.trust > a.trust || (b.trust === a.trust && b.score > a.score) ? b : a;
}

function rateEntry(entry: unknown): RatedSeverity {
  const { type, score: vector } = (entry ?? {}) as { type?: unknown; score?: unknown };
  const trust = typeof type === "string" ? TRUST[type] : undefined;
  if (trust === undefined || typeof vector !== "string" || vector.length > 512 || !VECTOR.test(vector)) return UNRATED;
  const score = scoreOf(vector);
  return score === undefined ? UNRATED : { level: levelOf(score), score, trust };
}

function scoreOf(vector: string): number | undefined {
  try {
    const scores: unknown = calculator.fromVector(vector)?.calculateScores();
    const { base, overall } = (scores ?? {}) as { base?: unknown; overall?: unknown };
    return typeof base === "number" && typeof overall === "number" ? overall : undefined;
  } catch {
    return undefined;
  }
}

function rateWord(word: unknown): RatedSeverity {
  const known = typeof word === "string" ? WORDS[word.toUpperCase()] : undefined;
  return known ? { level: known[0], score: known[1], trust: 1 } : UNRATED;
}

/** CVSS 3.1, section 5; a score of 0 stays in the lowest band that is counted. */
function levelOf(score: number): SeverityLevel {
  if (score >= 9) return "critical";
  if (score >= 7) return "high";
  return score >= 4 ? "medium" : "low";
}
