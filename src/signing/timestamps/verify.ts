/** The times at which trusted authorities saw a signature: what of a bundle's timestamps holds. */
import { ModelkeepError } from "../../base/index.ts";
import { checkTimestamp, parseTimestampResponse, type TimestampToken } from "../../codec/index.ts";
import { SIGNING_LIMITS } from "../limits.ts";
import { subjectText } from "../methods/subject.ts";
import { revocationFault, STAMPING } from "../revocation.ts";
import type { TimestampTrust, Trust } from "../trust.ts";

export interface TrustedTime {
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** How far off that may be. */
  readonly accuracyMs: number;
  /** Subject of the certificate that stamped. */
  readonly authority: string;
}

export interface SeenTimes {
  /** The earliest first. */
  readonly times: readonly TrustedTime[];
  /** Why each of the others does not count. */
  readonly faults: readonly string[];
}

/** A timestamp that does not hold counts as none: an attacker who can add a bad one can take away a good one as well. */
export function readTimes(timestamps: readonly Uint8Array[], signature: Uint8Array, trust: Trust): SeenTimes {
  const { timestamps: trusted } = trust;
  if (!trusted) return { times: [], faults: [] };
  const judged = timestamps.map((response) => judge(response, signature, trusted, trust));
  const times = judged.filter((one) => typeof one !== "string");
  return {
    times: times.sort((a, b) => a.atMs - b.atMs).slice(0, SIGNING_LIMITS.trustedTimes),
    faults: judged.filter((one) => typeof one === "string"),
  };
}

function judge(
  response: Uint8Array,
  signature: Uint8Array,
  { anchors, atMs }: TimestampTrust,
  { revocation }: Trust,
): TrustedTime | string {
  const token = readToken(response);
  if (typeof token === "string") return token;
  const result = checkTimestamp({ token, bytes: signature, anchors });
  if (!result.ok) return result.rule;
  const { at, accuracyMs } = token;
  if (at > atMs + SIGNING_LIMITS.timestampSkewMs) return "from-the-future";
  const fault =
    revocation && revocationFault(result.path, { atMs, seen: { atMs: at, accuracyMs } }, revocation, STAMPING);
  return fault ? fault.kind : { atMs: at, accuracyMs, authority: subjectText(result.path[0]) };
}

function readToken(response: Uint8Array): TimestampToken | string {
  try {
    const answer = parseTimestampResponse(response);
    return answer.granted ? answer.token : "not-granted";
  } catch (error) {
    if (error instanceof ModelkeepError) return "malformed";
    throw error;
  }
}
