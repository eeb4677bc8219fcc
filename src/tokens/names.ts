/** What a principal and its groups may be called. */
import { tokenError } from "./errors.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import type { PrincipalRef } from "./tokens.ts";

const PRINCIPAL = /^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/;
const GROUP = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

export function isPrincipalName(id: string): boolean {
  return PRINCIPAL.test(id) && id.length <= TOKEN_LIMITS.principalCharacters;
}

export function checkPrincipal({ type, id }: PrincipalRef): PrincipalRef {
  if (!isPrincipalName(id)) {
    const most = `at most ${TOKEN_LIMITS.principalCharacters} letters, digits and . _ : / @ -`;
    throw tokenError("PRINCIPAL_INVALID", { detail: `a name has ${most}` });
  }
  return { type, id };
}

/** Each once. */
export function checkGroups(groups: readonly string[]): string[] {
  const unique = [...new Set(groups)];
  const bad = unique.find((group) => !GROUP.test(group) || group.length > TOKEN_LIMITS.groupCharacters);
  if (bad !== undefined || unique.length > TOKEN_LIMITS.groupsPerPrincipal) {
    const most = `at most ${TOKEN_LIMITS.groupsPerPrincipal} groups of ${TOKEN_LIMITS.groupCharacters} letters, digits and . _ -`;
    throw tokenError("PRINCIPAL_INVALID", { detail: most });
  }
  return unique;
}

export function checkCodeTtl(ttlSeconds: number): number {
  const most = TOKEN_LIMITS.maxCodeTtlSeconds;
  if (Number.isInteger(ttlSeconds) && ttlSeconds >= 1 && ttlSeconds <= most) return ttlSeconds;
  throw tokenError("PRINCIPAL_INVALID", { detail: `a code lives 1 to ${most} seconds` });
}
