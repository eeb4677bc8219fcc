/** Waivers: who takes which weakness upon himself, why, and until when. */
import { z } from "zod";
import { ModelkeepError } from "../../base/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { parseYamlLock } from "../plain.ts";

export interface Waiver {
  /** CVE, GHSA or another id of the weakness. */
  readonly id: string;
  /** Package URL; without a version every version; absent: every package. */
  readonly package?: string | undefined;
  readonly owner: string;
  readonly reason: string;
  /** The last day it holds, `YYYY-MM-DD`, in UTC. */
  readonly expires: string;
}

const file = z.strictObject({
  waivers: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[A-Za-z0-9][\w.:-]{2,127}$/),
        package: z.string().startsWith("pkg:").max(1000).optional(),
        owner: z.string().trim().min(1).max(200),
        reason: z.string().trim().min(1).max(2000),
        expires: z.iso.date(),
      }),
    )
    .max(BOM_LIMITS.vexStatements),
});

/** YAML or JSON with a list `waivers`; every member but `package` has to be there. Throws WAIVERS_INVALID. */
export function parseWaivers(text: string): readonly Waiver[] {
  try {
    const parsed = file.safeParse(parseYamlLock(text, "waivers"));
    if (parsed.success) return parsed.data.waivers;
    const [issue] = parsed.error.issues;
    throw bomError("WAIVERS_INVALID", { detail: `${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}` });
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code === "WAIVERS_INVALID") throw error;
    throw bomError("WAIVERS_INVALID", { detail: error.message, cause: error });
  }
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** It holds to the end of its last day. */
export function isExpired(waiver: Waiver, nowMs: number): boolean {
  return nowMs >= Date.parse(`${waiver.expires}T00:00:00Z`) + DAY_MS;
}
