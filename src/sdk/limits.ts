/** Limits of the local agent, and of secrets that are lent to this process. */
export const CHECK_OUT_LIMITS = {
  /** Part of a lease's time after which it is renewed. */
  renewPart: 2 / 3,
  /** Time between two tries to renew, in milliseconds. */
  retryMs: 5_000,
} as const;

export const AGENT_LIMITS = {
  /** Randomness of the key that only this agent knows, in bytes. */
  localKeyBytes: 32,
  /** Headers of one request, in bytes. */
  headerBytes: 32 * 1024,
  headersCount: 100,
  /** Path and query of one request, in characters. */
  targetCharacters: 8 * 1024,
  /** Body of one request, in bytes. */
  bodyBytes: 64 * 1024 * 1024,
  /** Connections of the application, and to the server. */
  connections: 256,
  /** Time for the application to send its headers, in milliseconds. */
  headersTimeoutMs: 10_000,
  /** Time for the application to send a whole request, in milliseconds. */
  requestTimeoutMs: 300_000,
  /** Time without a byte from the server, in milliseconds. */
  silenceMs: 600_000,
  /** Time for running requests to end when the agent closes, in milliseconds. */
  closeMs: 2_000,
} as const;
