/** When a token of the attestation service counts. */
import { NVIDIA_LIMITS } from "./limits.ts";

/** Times in seconds, as in RFC 7519; `now` in milliseconds. */
export function isCurrent(times: { readonly iat: number; readonly nbf: number; readonly exp: number }, now: number) {
  const begins = Math.max(times.nbf, times.iat) * 1000 - NVIDIA_LIMITS.clockSkewMs;
  const lives = (times.exp - times.iat) * 1000;
  return begins <= now && now < times.exp * 1000 && lives <= NVIDIA_LIMITS.nrasTokenLifeMs;
}
