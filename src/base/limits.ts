/** Limits that more than one module shares; a module's own limits live beside its code. Each name carries its unit. */
export const LIMITS = {
  /** A JSON document that nobody named a limit for, in bytes. */
  jsonBytes: 16 * 1024 * 1024,
  /** Nesting of arrays and objects in a JSON document. */
  jsonDepth: 64,
  /** Files of one model. */
  modelFiles: 100_000,
  /** A relative path inside a model, in UTF-8 bytes. */
  modelPathBytes: 4096,
  /** An id of a principal, secret, lease, token, provider or model, in characters. */
  idCharacters: 256,
  /** A token's longest life, in seconds. */
  tokenTtlSeconds: 3600,
} as const;
