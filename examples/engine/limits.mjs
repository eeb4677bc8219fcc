// Names every limit on what a client may send or use.
export const LIMITS = Object.freeze({
  bodyBytes: 256 * 1024,
  messages: 64,
  contextTokens: 2048,
  promptTokens: 1792,
  maxTokens: 1024,
  defaultMaxTokens: 160,
  stopStrings: 4,
  stopCharacters: 64,
  concurrentRequests: 8,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
});
