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

/** Told of long work; `done` and `total` in the unit that `unit` names; total 0 when it is not known. */
export type Progress = (update: {
  readonly step: string;
  readonly done: number;
  readonly total: number;
  readonly unit: string;
}) => void;

/** A principal or a resource, printed as `Type::"id"`. */
export interface EntityRef {
  readonly type: string;
  readonly id: string;
}

export function entityText(entity: EntityRef): string {
  return `${entity.type}::${JSON.stringify(entity.id)}`;
}

/** Who is asking, once a token was checked. */
export interface Caller {
  readonly principal: EntityRef;
  readonly groups: readonly string[];
  /** The id of the token (its `jti`), public. */
  readonly tokenId: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** RFC 7638 thumbprint of the key the token is bound to. */
  readonly keyThumbprint: string;
}

export interface PolicyRequest {
  readonly principal: EntityRef;
  readonly groups: readonly string[];
  readonly action: string;
  readonly resource: EntityRef;
  readonly context: Readonly<Record<string, unknown>>;
}

export interface PolicyDecision {
  readonly allowed: boolean;
  /** Ids of the policies that decided; empty when nothing permitted it. */
  readonly policies: readonly string[];
  /** What went wrong while a policy was evaluated; such a policy did not count. */
  readonly errors: readonly string[];
}

export interface Authorizer {
  decide(request: PolicyRequest): PolicyDecision;
}
