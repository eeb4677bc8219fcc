/** The policy of this server: stored with its versions, checked before it counts, reloaded on every replica. */
import { createHash } from "node:crypto";
import { z } from "zod";
import {
  type Authorizer,
  type Caller,
  type Clock,
  entityText,
  fromUtf8,
  type Log,
  ModelkeepError,
  type PolicyDecision,
  parseJson,
  type Recorder,
  utf8,
} from "../base/index.ts";
import { checkPolicy, DEFAULT_POLICY, type Engine, POLICY_LIMITS, PolicyEngine, policyError } from "../policy/index.ts";
import type { RecordStore } from "../store/index.ts";
import { SERVER_LIMITS } from "./limits.ts";
import { policyServiceError } from "./policy-errors.ts";

export interface StoredPolicy {
  readonly text: string;
  /** 0 as long as nobody set one and the default decides. */
  readonly version: number;
  /** SHA-256 of the text, hex. */
  readonly digest: string;
  readonly setBy?: string;
  /** Milliseconds since the epoch. */
  readonly setAt?: number;
}

export interface SetPolicyOptions {
  /** Fails with POLICY_CHANGED when another version is there by now; 0 is the default policy. */
  readonly ifVersion?: number;
  readonly by: Caller;
  /** Without it a policy under which the caller could not set the policy again is refused. */
  readonly allowLockout?: boolean;
}

export interface PolicyService {
  current(): StoredPolicy;
  /** What decides now; another object after every change. */
  authorizer(): Authorizer;
  /** The policy of an earlier version, or undefined. */
  version(version: number): Promise<StoredPolicy | undefined>;
  /** Checked, recorded, stored, and told to every replica. Fails with POLICY_INVALID, POLICY_LOCKS_OUT, POLICY_CHANGED. */
  set(text: string, options: SetPolicyOptions): Promise<StoredPolicy>;
  close(): void;
}

export interface PolicyServicePorts {
  readonly store: RecordStore;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly log: Log;
}

const TABLE = "policy";
const CURRENT = "current";
const CHANNEL = "policy";
/** Room for the text as JSON, in bytes. */
const RECORD_BYTES = POLICY_LIMITS.textBytes * 6 + 4096;

const storedPolicy = z.object({ text: z.string(), set_by: z.string(), set_at: z.number() });

export async function createPolicyService(ports: PolicyServicePorts): Promise<PolicyService> {
  const service = new StoredPolicies(ports);
  await service.start();
  return service;
}

class StoredPolicies implements PolicyService {
  readonly #ports: PolicyServicePorts;
  #current: StoredPolicy = defaultPolicy();
  #engine: Authorizer = PolicyEngine.load(DEFAULT_POLICY);
  #unsubscribe: (() => void) | undefined;
  /** Reads of the stored policy are numbered as they begin: of two under way the older answer may come last. */
  #asked = 0;
  #used = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(ports: PolicyServicePorts) {
    this.#ports = ports;
  }

  async start(): Promise<void> {
    const reload = () => void this.#reloadOrRefuse();
    this.#unsubscribe = await this.#ports.store.subscribe(CHANNEL, reload, reload);
    this.#use(await this.#read());
    // A message can be lost, and another process may have the same file open.
    this.#timer = setInterval(reload, SERVER_LIMITS.policyLookMs).unref();
  }

  current(): StoredPolicy {
    return this.#current;
  }

  authorizer(): Authorizer {
    return this.#engine;
  }

  async version(version: number): Promise<StoredPolicy | undefined> {
    if (version === 0) return defaultPolicy();
    const record = await this.#ports.store.get(TABLE, historyId(version));
    return record ? fromRecord(record.value, version) : undefined;
  }

  async set(text: string, options: SetPolicyOptions): Promise<StoredPolicy> {
    const checked = checkPolicy(text);
    if (!checked.ok) throw invalid(checked.errors);
    const engine = PolicyEngine.load(text);
    if (!options.allowLockout) refuseLockout(engine, options.by);
    const before = await this.#read();
    if (options.ifVersion !== undefined && options.ifVersion !== before.version) throw changed(before.version);
    const next = await this.#recorded(options.by, before, digestOf(text), () => this.#write(text, options.by, before));
    this.#engine = engine;
    this.#current = next;
    this.#used = ++this.#asked;
    await this.#ports.store.notify(CHANNEL, String(next.version));
    return next;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#unsubscribe?.();
  }

  /** Recorded before it happens: a change that cannot be kept in the log is not made. */
  async #recorded<T>(by: Caller, before: StoredPolicy, digest: string, work: () => Promise<T>): Promise<T> {
    const event = {
      action: "policy.set",
      principal: entityText(by.principal),
      resource: 'Server::"local"',
      data: { from_version: before.version, from: before.digest, to: digest },
    };
    await this.#ports.recorder.record({ ...event, outcome: "allowed" });
    try {
      return await work();
    } catch (error) {
      const reason = [error instanceof ModelkeepError ? error.code : "INTERNAL"];
      await this.#ports.recorder.record({ ...event, outcome: "failed", reason });
      throw error;
    }
  }

  async #write(text: string, by: Caller, before: StoredPolicy): Promise<StoredPolicy> {
    const setBy = entityText(by.principal);
    const setAt = this.#ports.clock.now();
    const value = utf8(JSON.stringify({ text, set_by: setBy, set_at: setAt }));
    const version = await this.#ports.store.transaction(async (tx) => {
      const there = (await tx.get(TABLE, CURRENT))?.version ?? 0;
      if (there !== before.version) throw changed(there);
      const written = await tx.put(TABLE, CURRENT, value, { ifVersion: there });
      await tx.put(TABLE, historyId(written), value, { ifVersion: 0 });
      return written;
    });
    return { text, version, digest: digestOf(text), setBy, setAt };
  }

  async #read(): Promise<StoredPolicy> {
    const record = await this.#ports.store.get(TABLE, CURRENT);
    return record ? fromRecord(record.value, record.version) : defaultPolicy();
  }

  /** The same policy keeps its engine, and so the decisions that are remembered. */
  #use(policy: StoredPolicy): void {
    const { version, digest } = this.#current;
    if (this.#engine !== refuseAll && version === policy.version && digest === policy.digest) return;
    this.#engine = PolicyEngine.load(policy.text);
    this.#current = policy;
  }

  /** Another replica may have changed the policy. One that cannot be read here refuses everything until it can be. */
  async #reloadOrRefuse(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const stored = await this.#read();
      if (this.#isNewest(asked)) this.#use(stored);
    } catch (error) {
      if (!this.#isNewest(asked) || this.#engine === refuseAll) return;
      this.#ports.log.error("the policy cannot be reloaded: everything is refused", { error });
      this.#engine = refuseAll;
    }
  }

  #isNewest(asked: number): boolean {
    if (asked < this.#used) return false;
    this.#used = asked;
    return true;
  }
}

const refuseAll: Authorizer = {
  decide: (): PolicyDecision => ({ allowed: false, policies: [], errors: ["the policy cannot be read"] }),
};

function defaultPolicy(): StoredPolicy {
  return { text: DEFAULT_POLICY, version: 0, digest: digestOf(DEFAULT_POLICY) };
}

function fromRecord(value: Uint8Array, version: number): StoredPolicy {
  const { text, set_by, set_at } = storedPolicy.parse(
    parseJson(fromUtf8(value), { maxBytes: RECORD_BYTES, what: "stored policy" }),
  );
  return { text, version, digest: digestOf(text), setBy: set_by, setAt: set_at };
}

function historyId(version: number): string {
  return `version-${String(version).padStart(12, "0")}`;
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function invalid(errors: readonly { line: number; message: string }[]): ModelkeepError {
  const shown = errors.slice(0, 3).map(({ line, message }) => `line ${line}: ${message}`);
  return policyError("POLICY_INVALID", { detail: shown.join("; ") });
}

function changed(version: number): ModelkeepError {
  return policyServiceError("POLICY_CHANGED", { detail: `it is at version ${version}` });
}

function refuseLockout(engine: Engine, by: Caller): void {
  const { allowed } = engine.decide({
    principal: by.principal,
    groups: by.groups,
    action: "managePolicy",
    resource: { type: "Server", id: "local" },
    context: {},
  });
  if (!allowed) throw policyServiceError("POLICY_LOCKS_OUT", { detail: entityText(by.principal) });
}
