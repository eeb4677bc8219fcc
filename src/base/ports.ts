/** What the house needs of the outside world, passed in by the composition roots. */

export interface Clock {
  /** Milliseconds since the Unix epoch; may jump when somebody sets the machine's clock. */
  now(): number;
  /** Milliseconds that only grow, with no relation to the date. */
  monotonic(): number;
}

export interface Random {
  /** Cryptographically strong bytes; `length` in bytes. */
  bytes(length: number): Uint8Array;
}

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** One thing that happened; what the audit log keeps. Values are public: never a secret, never a token. */
export interface AuditEvent {
  /** Dotted verb of the field, for example `token.issue`, `key.release`, `model.publish`. */
  readonly action: string;
  readonly outcome: "allowed" | "refused" | "failed";
  /** Who did it, as `Type::"id"`, for example `Workload::"demo"`. */
  readonly principal: string;
  /** What it was done to, as `Type::"id"`. */
  readonly resource: string;
  /** Ties the events of one model together: the hex root digest of its signed manifest. */
  readonly modelRoot?: string;
  /** Why: policy ids, rule ids, an error code. */
  readonly reason?: readonly string[];
  readonly data?: Readonly<Record<string, unknown>>;
}

export interface Recorder {
  /** Resolves when the event is durable. Rejects when it could not be kept: the caller must then refuse. */
  record(event: AuditEvent): Promise<void>;
}

export type Fetch = typeof globalThis.fetch;

/** A log that keeps nothing, for library callers that pass none. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Told of long work; `done` and `total` in the unit that `unit` names. */
export interface Progress {
  (update: { readonly step: string; readonly done: number; readonly total: number; readonly unit: string }): void;
}
