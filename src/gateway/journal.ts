/** Writes down what the gateway did, and stops it when that cannot be written down. */
import { type AuditEvent, type Caller, entityText, type Log, type Recorder } from "../base/index.ts";
import { gatewayError } from "./errors.ts";
import { GATEWAY_INTERNALS } from "./limits.ts";

export class Journal {
  readonly #recorder: Recorder;
  readonly #log: Log;
  readonly #waiting = new Set<Promise<void>>();
  #failing = false;
  #second = 0;
  #strangers = 0;

  constructor(recorder: Recorder, log: Log) {
    this.#recorder = recorder;
    this.#log = log;
  }

  /**
   * Events become durable after the reply, in batches of the recorder. While one could not be kept, or too many wait,
   * nothing is served: throws AUDIT_UNAVAILABLE. The refusal is recorded too, which is how service comes back.
   */
  mustWork(): void {
    if (this.#failing) throw gatewayError("AUDIT_UNAVAILABLE");
    if (this.#waiting.size >= GATEWAY_INTERNALS.waitingEvents) {
      throw gatewayError("AUDIT_UNAVAILABLE", { detail: "too many events wait" });
    }
  }

  record(event: AuditEvent): void {
    const kept = this.#recorder.record(event).then(
      () => {
        this.#failing = false;
      },
      () => {
        if (!this.#failing) this.#log.error("the audit log cannot be written, the gateway refuses requests");
        this.#failing = true;
      },
    );
    this.#waiting.add(kept);
    void kept.then(() => this.#waiting.delete(kept));
  }

  /** Strangers could fill the log: only some of their refusals a second are kept. `now` in milliseconds. */
  recordStranger(event: AuditEvent, now: number): void {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) this.#strangers = 0;
    this.#second = second;
    if (++this.#strangers <= GATEWAY_INTERNALS.strangerEventsPerSecond) this.record(event);
  }

  /** Resolves when everything that was recorded is durable or refused. */
  async settled(): Promise<void> {
    await Promise.all(this.#waiting);
  }
}

export function principalText(caller: Caller | undefined): string {
  return caller ? entityText(caller.principal) : 'Stranger::"unknown"';
}
