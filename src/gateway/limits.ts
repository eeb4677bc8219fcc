/** Limits of the gateway; the ones that a server may set otherwise are in GatewayLimits. */

export interface GatewayLimits {
  /** Body of a request, in bytes. */
  readonly requestBytes: number;
  /** Time for a client to send its body, in milliseconds. */
  readonly requestBodyMilliseconds: number;
  /** Requests of one principal that may be under way at once. */
  readonly principalConcurrentRequests: number;
  /** Requests of one principal in a minute; bursts of that size are possible. */
  readonly principalRequestsPerMinute: number;
  /** Time to a connection with the provider, in milliseconds. */
  readonly connectMilliseconds: number;
  /** Time from the request to the head of the reply, in milliseconds: models think long. */
  readonly replyHeadMilliseconds: number;
  /** Longest silence inside a reply, in milliseconds. */
  readonly replyIdleMilliseconds: number;
  /** Longest time that a client may leave a reply unread, in milliseconds. */
  readonly clientIdleMilliseconds: number;
  /** Head of a reply, in bytes. */
  readonly replyHeadBytes: number;
  /** Body of a reply, in bytes. */
  readonly replyBytes: number;
}

export const GATEWAY_LIMITS: GatewayLimits = {
  requestBytes: 16 * 1024 * 1024,
  requestBodyMilliseconds: 30_000,
  principalConcurrentRequests: 256,
  principalRequestsPerMinute: 60_000,
  connectMilliseconds: 5_000,
  replyHeadMilliseconds: 300_000,
  replyIdleMilliseconds: 120_000,
  clientIdleMilliseconds: 60_000,
  replyHeadBytes: 16 * 1024,
  replyBytes: 256 * 1024 * 1024,
};

export const PROVIDER_LIMITS = {
  providers: 200,
  modelsPerProvider: 500,
  modelCharacters: 200,
  urlCharacters: 500,
} as const;

export const GATEWAY_INTERNALS = {
  /** Values in the JSON of a request: a batch of embeddings may be 300,000 token ids. */
  requestValues: 400_000,
  /** Connections to one provider: a stream holds one for its whole life. */
  providerConnections: 1024,
  /** A reply of known length up to here is scrubbed and sent whole, in bytes; streams never wait. */
  wholeReplyBytes: 64 * 1024,
  /** Window at the end of a reply in which the usage is looked for, in bytes. */
  usageWindowBytes: 4096,
  /** A provider key that can be put in a header and told apart from text, in bytes. */
  minKeyBytes: 8,
  maxKeyBytes: 8 * 1024,
  /** Head, key and a small body are written at once from locked memory of this size, in bytes. */
  scratchBytes: 32 * 1024,
  /** Scratches that are kept for the next request; what is locked stays under RLIMIT_MEMLOCK of 8 MiB. */
  keptScratches: 64,
  /** The gateway's own lease of a provider key, in seconds, and the part of it after which a new one is taken. */
  keyLeaseSeconds: 900,
  keyRenewPart: 2 / 3,
  /** The lease of a key that is being tried, in seconds, and what a provider may answer, in bytes. */
  canaryLeaseSeconds: 60,
  canaryReplyBytes: 4 * 1024 * 1024,
  /** A key that no request used for this long is checked in, in milliseconds. */
  keyIdleMilliseconds: 60_000,
  /** Policy decisions that are remembered, and for how long, in milliseconds. */
  decisions: 10_000,
  decisionMilliseconds: 60_000,
  /** Of the policies that decided, those that one event names: all of them could make it too large for the log. */
  recordedPolicies: 32,
  /** Principals whose rate is remembered. */
  principals: 10_000,
  /** Refusals of strangers that are written to the audit log, in one second; the others are only counted. */
  strangerEventsPerSecond: 20,
  /** Audit events that may wait to become durable. */
  waitingEvents: 4096,
  /** Time until the parser of HTTP is made to forget what it read, in milliseconds: replies in it then need it once. */
  parserCleanMilliseconds: 10,
  /** Time between two looks for other providers, beside the messages that tell of them, in milliseconds. */
  providersLookMilliseconds: 1_000,
  /** Label sets of one counter. */
  labelSets: 2_000,
} as const;
