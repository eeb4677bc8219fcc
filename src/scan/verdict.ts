/** What a scan says about a file, and how findings add up to it. */

/** From best to worst. `unscannable` and `malformed` say that nobody could look inside: they are not clean. */
export const VERDICTS = ["clean", "malformed", "unscannable", "suspicious", "malicious"] as const;

export type Verdict = (typeof VERDICTS)[number];
export type Severity = Exclude<Verdict, "clean">;

export interface Finding {
  /** Stable id, for example `pickle-dangerous-call`. */
  readonly rule: string;
  readonly severity: Severity;
  /** One sentence with the place inside the file; names from the file are shortened, contents are never quoted. */
  readonly message: string;
}

export interface FileReport {
  readonly path: string;
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
}

export interface ScanReport {
  readonly verdict: Verdict;
  readonly files: readonly FileReport[];
}

export function worstVerdict(verdicts: Iterable<Verdict>): Verdict {
  let worst = 0;
  for (const verdict of verdicts) worst = Math.max(worst, VERDICTS.indexOf(verdict));
  return VERDICTS[worst] ?? "malicious";
}

/** True when the verdict is at or above the threshold. What nobody could look into counts as suspicious. */
export function reachesThreshold(verdict: Verdict, threshold: "suspicious" | "malicious"): boolean {
  return threshold === "malicious" ? verdict === "malicious" : verdict !== "clean";
}
