/** Limits on stores over the network. */
export const STORE_LIMITS = {
  uriCharacters: 2_048,
  /** Everything that is not a blob: answers, lists, errors. */
  answerBytes: 1024 * 1024,
  answerHeadBytes: 32 * 1024,
  connectMilliseconds: 5_000,
  /** Without a byte from the other side. */
  idleMilliseconds: 30_000,
  /** What a body may take at the slowest, ours or theirs, beside the idle time. */
  slowestBytesPerSecond: 64 * 1024,
  /** Of one request. */
  attempts: 5,
  backoffMilliseconds: 200,
  /** The longest wait, also when the service asks for more. */
  backoffMaxMilliseconds: 8_000,
  /** What is read and thrown away, of a service that knows no ranges, before a range begins. */
  skippedBytes: 256 * 1024 * 1024,
  /** How often one read goes on where the connection broke. */
  resumes: 8,
  connections: 16,
  /** A blob of more bytes is sent in parts; also the least size of a part. A multiple of 256 KiB for Google. */
  partBytes: 8 * 1024 * 1024,
  /** Parts of one blob on their way at once. */
  partsAtOnce: 4,
  /** What they may take of memory together, beside the one that is being filled; one may always be on its way. */
  partBudgetBytes: 64 * 1024 * 1024,
  /** Parts of one blob; S3 allows 10,000. */
  parts: 10_000,
  /** The part size of a blob whose length nobody knows. */
  unknownPartBytes: 16 * 1024 * 1024,
  /** The largest part: a blob of more parts of that size than `parts` is larger than S3 takes. */
  largestPartBytes: 640 * 1024 * 1024,
  /** The least part of S3 but the last, and what is copied of another object in one request. */
  leastPartBytes: 5 * 1024 * 1024,
  copyPartBytes: 256 * 1024 * 1024,
  /** Objects that Google puts together in one request. */
  composedObjects: 32,
  /** Names in one page of a list. */
  pageNames: 250,
  /** Names of one list. */
  listNames: 1_000_000,
  /** Pages of one list: a service may send empty ones. */
  listPages: 20_000,
  /** Pages of the list of what refers to one manifest. */
  referrerPages: 50,
  /** Unfinished uploads that are looked at in one go. */
  unfinishedUploads: 10_000,
  /** Bearer tokens and other credentials. */
  credentialBytes: 64 * 1024,
  /** An OCI manifest or index; registries refuse larger ones. */
  manifestBytes: 4 * 1024 * 1024,
  /** Redirects of one blob's download from a registry. */
  redirects: 3,
  /** Hosts that downloads were redirected to and whose connections are kept. */
  redirectHosts: 8,
} as const;

export type StoreLimits = { readonly [K in keyof typeof STORE_LIMITS]: number };
