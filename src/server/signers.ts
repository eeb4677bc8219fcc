/** The signer policy of the configuration: asked when a model is registered, and again whenever its key is asked for. */
import { resolve } from "node:path";
import { type AuditEvent, type Clock, type Log, ModelkeepError, type Recorder } from "../base/index.ts";
import type { Publication } from "../contract/index.ts";
import {
  loadTrustedKey,
  type NamedBytes,
  readSignerPolicy,
  requirePolicy,
  rereadSignerPolicy,
  type SignerPolicy,
} from "../signing/index.ts";
import type { Config } from "./config.ts";
import { SERVER_LIMITS } from "./limits.ts";
import type { Metrics } from "./metrics.ts";

/** What of a publication is signed. */
export type SignedParts = Pick<Publication, "public_key" | "bundle" | "signatures" | "statements">;

export interface SignerCheck {
  /** The names of the signers that count; throws SIGNER_POLICY_REFUSED. */
  accept(ref: string, parts: SignedParts): readonly string[];
  close(): void;
}

export interface SignerCheckPorts {
  readonly config: Pick<Config, "signer_policy">;
  readonly clock: Pick<Clock, "now">;
  readonly log: Log;
  readonly recorder: Recorder;
  readonly metrics: Pick<Metrics, "add" | "set">;
  /** Between two looks for another policy; that of SERVER_LIMITS when absent. */
  readonly lookMs?: number;
}

/** Throws SIGNER_POLICY_INVALID, so that a server whose policy cannot be read does not start. */
export async function openSignerCheck(ports: SignerCheckPorts): Promise<SignerCheck | undefined> {
  const { signer_policy: file } = ports.config;
  if (file === undefined) return undefined;
  return new WatchedPolicy(resolve(file), await readSignerPolicy(resolve(file)), ports);
}

/** The policy and every key, certificate and list that it names are looked at again and again. */
class WatchedPolicy implements SignerCheck {
  readonly #file: string;
  readonly #ports: SignerCheckPorts;
  readonly #timer: NodeJS.Timeout;
  #policy: SignerPolicy;
  #looking = false;
  /** What was wrong at the last look: a file that is just being written is another one at the next. */
  #wrong: string | undefined;
  /** What the log was told last; the same is not told twice. */
  #told: string | undefined;

  constructor(file: string, policy: SignerPolicy, ports: SignerCheckPorts) {
    this.#file = file;
    this.#policy = policy;
    this.#ports = ports;
    this.#tellState(false);
    this.#timer = setInterval(() => void this.#look(), ports.lookMs ?? SERVER_LIMITS.signerPolicyLookMs).unref();
  }

  accept(ref: string, parts: SignedParts): readonly string[] {
    return requirePolicy(this.#policy, {
      model: ref,
      signatures: named("signature", [parts.bundle, ...(parts.signatures ?? [])]),
      statements: statementsOf(parts),
      keys: [loadTrustedKey(parts.public_key)],
      atMs: this.#ports.clock.now(),
      sealed: true,
    }).signers;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const next = await rereadSignerPolicy(this.#file, this.#policy);
      if (next.digest !== this.#policy.digest) await this.#use(next);
      this.#told = this.#wrong = undefined;
      this.#tellState(false);
    } catch (error) {
      await this.#keepOld(error);
    } finally {
      this.#looking = false;
    }
  }

  /** Recorded before it counts: a policy whose change cannot be kept in the log is not used. */
  async #use(next: SignerPolicy): Promise<void> {
    const { log, metrics } = this.#ports;
    const data = { from: this.#policy.digest, to: next.digest };
    await this.#record("allowed", data);
    this.#policy = next;
    metrics.add("modelkeep_signer_policy_changes_total", "Signer policies that came into force.", {});
    log.info("another signer policy is in force", data);
  }

  /** A policy that cannot be read never opens what the one before it had closed, nor closes everything. */
  async #keepOld(error: unknown): Promise<void> {
    const wrong = error instanceof ModelkeepError ? error.message : "INTERNAL";
    const isNew = wrong !== this.#wrong;
    this.#wrong = wrong;
    if (isNew) return;
    this.#tellState(true);
    if (wrong === this.#told) return;
    this.#told = wrong;
    this.#ports.log.error("the signer policy cannot be read: the one before it stays in force", { error });
    const code = error instanceof ModelkeepError ? error.code : "INTERNAL";
    await this.#record("failed", { from: this.#policy.digest }, [code]).catch(() => undefined);
  }

  #record(outcome: AuditEvent["outcome"], data: Readonly<Record<string, unknown>>, reason?: readonly string[]) {
    const server = 'Server::"local"';
    const event = { action: "signers.change", principal: server, resource: server, outcome, data };
    return this.#ports.recorder.record(reason ? { ...event, reason } : event);
  }

  #tellState(isStale: boolean): void {
    const about = "1 while the signer policy's files cannot be read and an older policy is in force.";
    this.#ports.metrics.set("modelkeep_signer_policy_stale", about, {}, isStale ? 1 : 0);
  }
}

function statementsOf({ statements }: SignedParts): NamedBytes[] {
  const { seal, bom, findings, more = [] } = statements;
  return [...named("statement", [seal, bom, findings]), ...named("further statement", more)];
}

function named(what: string, texts: readonly string[]): NamedBytes[] {
  return texts.map((bytes, index) => ({ name: `${what} ${index + 1}`, bytes }));
}
