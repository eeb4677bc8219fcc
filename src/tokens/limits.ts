/** Limits of the tokens module. */
import { LIMITS } from "../base/index.ts";

export const TOKEN_LIMITS = {
  /** Randomness of a one-time code, in bytes. */
  codeBytes: 20,
  /** A one-time code that nobody named a time for, in seconds. */
  codeTtlSeconds: 15 * 60,
  /** The longest time of a one-time code, in seconds. */
  maxCodeTtlSeconds: 24 * 3600,
  /** The code for the first administrator, in seconds. */
  bootstrapTtlSeconds: 3600,
  /** Randomness of an access token, in bytes. */
  tokenBytes: 32,
  /** Life of an access token, in seconds. */
  tokenTtlSeconds: 15 * 60,
  /** The longest life of an access token, in seconds. */
  maxTokenTtlSeconds: LIMITS.tokenTtlSeconds,
  /** A token that says it was issued later than this from now was issued under another clock, in seconds. */
  issuedAheadSeconds: 60,
  /** One-time codes of one principal that are open at a time. */
  codesPerPrincipal: 20,
  /** Keys of one principal: instances of a workload. */
  keysPerPrincipal: 128,
  /** Live tokens of one key; one more ends the oldest. */
  tokensPerKey: 64,
  /** A key that was not used for so long renews no more, and gives way to a new one, in seconds. */
  keyIdleSeconds: 30 * 24 * 3600,
  groupsPerPrincipal: 16,
  groupCharacters: 64,
  principalCharacters: 200,
  /** Body of POST /oauth/token, in bytes. */
  formBytes: 16 * 1024,
  /** Value of the DPoP header, in characters. */
  proofCharacters: 8 * 1024,
  /** The `jti` of a proof, in characters. */
  minJtiCharacters: 8,
  maxJtiCharacters: 128,
  /** How old a proof may be, in seconds. */
  proofPastSeconds: 60,
  /** How far the client's clock may be ahead, in seconds. */
  proofFutureSeconds: 5,
  /** Proofs that this process remembers against replay, in all and of one key. */
  rememberedProofs: 500_000,
  rememberedProofsPerKey: 250_000,
  /** After the machine's clock was set back by at most so much, proofs of that time are refused, in seconds. */
  clockStepSeconds: 120,
  /** Longest life of the JWT by which a key renews, in seconds. */
  assertionSeconds: 60,
  /** Tokens held in the memory of this process. */
  cachedTokens: 20_000,
  /** Public keys held ready in the memory of this process. */
  cachedKeys: 10_000,
  /** After this long the store is asked again, so that a lost message delays a revocation by no more. */
  cacheMilliseconds: 500,
  /** Refused exchanges that are written down, each minute; of more, only a log at level debug tells. */
  recordedRefusalsPerMinute: 60,
  /** Time between two sweeps of what has ended, in milliseconds. */
  sweepMilliseconds: 5 * 60_000,
  /** Tokens in one listing. */
  listed: 10_000,
  /** Records that are asked of the store at once. */
  pageRecords: 200,
} as const;

/** Limits of the client half. */
export const SESSION_LIMITS = {
  /** An answer of the token endpoint, in bytes. */
  answerBytes: 16 * 1024,
  /** Time for an answer of the token endpoint, in milliseconds. */
  answerMilliseconds: 30_000,
  /** Part of a token's life after which it is renewed. */
  renewAfterPart: 0.8,
  /** Difference of the clocks that is worth a word, in seconds. */
  clockDifferenceSeconds: 5,
} as const;
