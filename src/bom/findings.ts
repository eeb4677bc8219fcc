/** What a publisher states about a model: the verdict of the scan and the counts of advisories. */
import type { z } from "zod";
import type { findingsPredicate, scanVerdict, VulnerabilityCounts } from "../contract/index.ts";
import type { AdvisoryMatch } from "./advisories/match.ts";

/** One count per weakness of a package; malware counts as malware only. */
export function countMatches(matches: readonly AdvisoryMatch[]): VulnerabilityCounts {
  const counts = { critical: 0, high: 0, medium: 0, low: 0, unknown: 0, malware: 0 };
  for (const match of matches) counts[match.malware ? "malware" : match.severity]++;
  return counts;
}

/** The predicate of the findings statement; without `matches` nothing was matched, and it says so. */
export function findingsOf(
  verdict: z.output<typeof scanVerdict>,
  matches: readonly AdvisoryMatch[] | undefined,
): z.output<typeof findingsPredicate> {
  return {
    scan_verdict: verdict,
    vulnerabilities: countMatches(matches ?? []),
    advisories_matched: matches !== undefined,
  };
}
