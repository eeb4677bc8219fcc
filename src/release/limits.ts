/** Limits of the key release. */
export const RELEASE_LIMITS = {
  nonceBytes: 32,
  /** What each device of a machine signs. */
  deviceNonceBytes: 32,
  /** Life of a challenge, in milliseconds. */
  challengeMilliseconds: 60_000,
  /** Challenges that one principal may have open. */
  openChallengesPerPrincipal: 32,
  /** Time between two looks for challenges that ended unused, in milliseconds. */
  sweepMilliseconds: 60_000,
  /** Challenges looked at in one sweep. */
  sweptChallenges: 10_000,
  /** Records asked of the store at once. */
  pageRecords: 200,
  packageKeyBytes: 32,
} as const;
