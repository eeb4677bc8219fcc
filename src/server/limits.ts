/** Limits of the server. */
export const SERVER_LIMITS = {
  /** Life of a token by which the server logs in elsewhere, in seconds. */
  identitySeconds: 600,
  /** How long an RSA key for these tokens stays published after its end, in seconds; others may keep the set for a day. */
  identityKeyKeptSeconds: 86_400 + 600,
  /** RSA keys for these tokens that are published at once. */
  identityKeys: 32,
  identityRsaBits: 3_072,
  configBytes: 256 * 1024,
  headerBytes: 16 * 1024,
  headersCount: 100,
  /** Time for a client to send its headers, in milliseconds. */
  headersTimeoutMs: 10_000,
  /** Time for a client to send a whole request, in milliseconds. */
  requestTimeoutMs: 120_000,
  keepAliveTimeoutMs: 65_000,
  /** Time for a client to end a TLS handshake, in milliseconds. */
  handshakeTimeoutMs: 10_000,
  /** Time for a client to take an answer of the API that is ready, in milliseconds. */
  answerTimeoutMs: 120_000,
  connections: 10_000,
  /** Requests to the API of one principal that may be under way at once: each may hold a body in memory. */
  principalConcurrentRequests: 64,
  /** Requests to the API of one principal in a minute; bursts of that size are possible. Refusals are recorded. */
  principalRequestsPerMinute: 12_000,
  /** Bodies of requests with a token that are held at once, in bytes; judging evidence costs about five times as much. */
  bodiesInFlightBytes: 64 * 1024 * 1024,
  /** Of these those of one principal, in bytes: nobody fills the room of all. */
  principalBodiesInFlightBytes: 16 * 1024 * 1024,
  modelsPerPage: 100,
  /** Time between two looks at the files with reference values, in milliseconds. */
  referenceLookMs: 60_000,
  /** Values in the JSON of a request; the documents of a publication are single strings. */
  bodyValues: 10_000,
  /** Time between two looks for another policy, beside the messages that tell of one, in milliseconds. */
  policyLookMs: 1_000,
  /** The same for the signer policy and the files that it names. */
  signerPolicyLookMs: 2_000,
  /** Time between two looks for another index of advisories, in milliseconds. */
  advisoryLookMs: 5_000,
  /** Every published model is matched again at least this often, in milliseconds: other replicas publish too. */
  advisoryMatchMs: 10 * 60_000,
  /** Waivers that are kept, those that are over included. */
  waivers: 1_000,
  /** How far from today a waiver's last day may be, in days. */
  waiverDays: 366,
  /** A model counts as running for this long after a host last said that it loaded it, in milliseconds. */
  runningMs: 24 * 60 * 60_000,
} as const;
