/** Rules that compare a value with a list of the profile. */
import type { Rules } from "../verdict.ts";

/** Without a list there is nothing to compare with: the rule is unchecked, and nobody may take it for passed. */
export function checkListed(
  rules: Rules,
  id: string,
  what: string,
  have: string | undefined,
  list: readonly string[] | undefined,
): void {
  if (!list) {
    rules.skip(id, `The profile names no ${what}.`, have === undefined ? {} : { have });
    return;
  }
  const holds = have !== undefined && list.includes(have);
  rules.check(id, holds, {
    passed: `${what} is one that the profile accepts.`,
    failed: `${what} is not one that the profile accepts: compare it with the reference values and add it if it is right.`,
    have: have ?? "unknown",
    need: list.length > 0 ? `one of ${list.length} accepted values` : "none is accepted",
  });
}
