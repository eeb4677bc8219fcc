/** What is started, as the development evidence describes it; its digest stands where a TEE has its measurement. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { toHex } from "../../base/index.ts";
import { jcs } from "../../codec/index.ts";
import { attestationError } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";

const word = z.string().max(ATTESTATION_LIMITS.wordCharacters);

export const launchDescription = z.strictObject({
  /** The program as it was named, not where it was found. */
  program: word.min(1),
  /** Its words as typed, with `{model}` in place of the folder. */
  arguments: z.array(word).max(ATTESTATION_LIMITS.programWords).readonly(),
  /** `name@version`. */
  model: word.min(1),
  package_id: word.min(1),
  /** `full`: every segment was checked before the program starts. */
  verify: z.literal("full"),
});

export type LaunchDescription = z.output<typeof launchDescription>;

/** SHA-384 of the canonical JSON of the description, lower-case hex. */
export function measureLaunch(launch: LaunchDescription): string {
  const bytes = jcs(launch);
  if (bytes.length > ATTESTATION_LIMITS.launchBytes) {
    throw attestationError("LAUNCH_INVALID", {
      detail: `${bytes.length} bytes, the limit is ${ATTESTATION_LIMITS.launchBytes}`,
    });
  }
  return toHex(createHash("sha384").update(bytes).digest());
}

/** Fails with LAUNCH_INVALID and the first wrong place. */
export function parseLaunch(value: unknown): LaunchDescription {
  const parsed = launchDescription.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw attestationError("LAUNCH_INVALID", { detail: `${issue?.path.join(".") || "launch"}: ${issue?.message}` });
}
