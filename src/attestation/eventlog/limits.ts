/** Limits of event logs. */
export const EVENT_LOG_LIMITS = {
  /** A log with the unused rest of its area, in bytes. */
  logBytes: 1024 * 1024,
  /** Events of one log. */
  events: 4_096,
  /** Digest algorithms of one log. */
  algorithms: 16,
  /** Data of one event, in bytes. */
  eventBytes: 256 * 1024,
  /** Nesting of a log in JSON. */
  jsonDepth: 4,
} as const;
