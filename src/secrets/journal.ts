/** Writes down what happens to secrets and leases: before it happens, and once more when it then failed. */
import { type AuditEvent, type EntityRef, entityText, type Log, ModelkeepError, type Recorder } from "../base/index.ts";
import type { LeaseInfo } from "./secrets.ts";

export interface Happening {
  readonly action: string;
  readonly by: EntityRef;
  readonly resource: EntityRef;
  readonly data?: NonNullable<AuditEvent["data"]>;
}

export class SecretJournal {
  readonly #recorder: Recorder;
  readonly #log: Log;

  constructor({ recorder, log }: { readonly recorder: Recorder; readonly log: Log }) {
    this.#recorder = recorder;
    this.#log = log;
  }

  /** Nothing is done that cannot be written down. */
  async recorded<T>(event: Happening, work: () => Promise<T>): Promise<T> {
    await this.record(event);
    try {
      return await work();
    } catch (error) {
      const reason = error instanceof ModelkeepError ? error.code : "INTERNAL";
      await this.record(event, { outcome: "failed", reason: [reason] }).catch(() =>
        this.#log.warn("what failed was recorded as allowed, and its failure was not", { reason }),
      );
      throw error;
    }
  }

  async recordEnd(
    { id, holder, secretName }: Pick<LeaseInfo, "id" | "holder" | "secretName">,
    ended?: "expired" | "closed",
  ): Promise<void> {
    const data = { lease: id, ...(ended === undefined ? {} : { ended }) };
    await this.record({ action: "secret.checkin", by: holder, resource: secretRef(secretName), data });
  }

  async record(event: Happening, how: Pick<AuditEvent, "outcome" | "reason"> = { outcome: "allowed" }): Promise<void> {
    await this.#recorder.record({
      action: event.action,
      principal: entityText(event.by),
      resource: entityText(event.resource),
      ...how,
      ...(event.data ? { data: event.data } : {}),
    });
  }
}

export function secretRef(name: string): EntityRef {
  return { type: "Secret", id: name };
}
