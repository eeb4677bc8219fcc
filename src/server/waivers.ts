/** Waivers of the server: who accepts which weakness of which model, why, and until when. */
import {
  type Caller,
  type Clock,
  entityText,
  fromUtf8,
  parseJson,
  type Random,
  type Recorder,
  toHex,
  utf8,
} from "../base/index.ts";
import { isExpired } from "../bom/index.ts";
import { type NewWaiver, type StandingWaiver, waiver as wireWaiver } from "../contract/index.ts";
import type { RecordStore } from "../store/index.ts";
import { serverError } from "./errors.ts";
import { SERVER_LIMITS } from "./limits.ts";

const TABLE = "advisory-waivers";
const DAY_MS = 24 * 60 * 60_000;
const RECORDED_CHARACTERS = 500;

export interface WaiverPorts {
  readonly store: RecordStore;
  readonly recorder: Recorder;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
}

export class Waivers {
  readonly #ports: WaiverPorts;

  constructor(ports: WaiverPorts) {
    this.#ports = ports;
  }

  /** In order of id; those whose last day is over are marked. */
  async list(): Promise<StandingWaiver[]> {
    const { store, clock } = this.#ports;
    const found: StandingWaiver[] = [];
    for (let after: string | undefined; ; ) {
      const limit = SERVER_LIMITS.modelsPerPage;
      const page = await store.list(TABLE, { limit, ...(after === undefined ? {} : { after }) });
      for (const { value } of page.records) found.push(readWaiver(value, clock.now()));
      after = page.next;
      if (after === undefined) return found;
    }
  }

  /** Those that count now. */
  async standing(): Promise<StandingWaiver[]> {
    return (await this.list()).filter(({ expired }) => !expired);
  }

  async get(id: string): Promise<StandingWaiver | undefined> {
    const record = await this.#ports.store.get(TABLE, id.slice(0, 64));
    return record && readWaiver(record.value, this.#ports.clock.now());
  }

  /** Recorded, then stored. Fails with WAIVER_REFUSED. */
  async add(given: NewWaiver, by: Caller): Promise<StandingWaiver> {
    const { store, clock, random } = this.#ports;
    const nowMs = clock.now();
    const why = faultOf(given, nowMs) ?? (await this.#isFull());
    if (why !== undefined) throw serverError("WAIVER_REFUSED", { detail: why });
    const set = { set_by: entityText(by.principal), set_at: new Date(nowMs).toISOString() };
    const made = { ...given, id: `waiver_${toHex(random.bytes(16))}`, ...set, expired: false };
    await this.#record("advisory.waive", made, by);
    await store.put(TABLE, made.id, utf8(JSON.stringify(made)), { ifVersion: 0 });
    return made;
  }

  async remove(waiver: StandingWaiver, by: Caller): Promise<void> {
    await this.#record("advisory.unwaive", waiver, by);
    await this.#ports.store.delete(TABLE, waiver.id);
  }

  async #isFull(): Promise<string | undefined> {
    const { length } = await this.list();
    return length < SERVER_LIMITS.waivers ? undefined : `there are ${length} waivers: take back those that are over`;
  }

  async #record(action: string, waiver: StandingWaiver, by: Caller): Promise<void> {
    const { id, weakness, model, owner, expires, reason } = waiver;
    await this.#ports.recorder.record({
      action,
      outcome: "allowed",
      principal: entityText(by.principal),
      resource: entityText(waiverResource(waiver)),
      reason: [weakness],
      data: {
        token: by.tokenId,
        waiver: id,
        owner,
        expires,
        why: reason.slice(0, RECORDED_CHARACTERS),
        ...(model === undefined ? {} : { model }),
        ...(waiver.package === undefined ? {} : { package: waiver.package.slice(0, RECORDED_CHARACTERS) }),
      },
    });
  }
}

/** What policy is asked about: the one model, or the server where it is about every model. */
export function waiverResource({ model }: Pick<NewWaiver, "model">) {
  return model === undefined ? { type: "Server", id: "local" } : { type: "Model", id: model };
}

/** From today to the last day, both counted; 0 when that is over. */
export function waiverDays({ expires }: Pick<NewWaiver, "expires">, nowMs: number): number {
  return Math.max(0, Math.ceil((Date.parse(`${expires}T00:00:00Z`) + DAY_MS - nowMs) / DAY_MS));
}

function faultOf(given: NewWaiver, nowMs: number): string | undefined {
  if (given.weakness.startsWith("MAL-")) return `${given.weakness} is malware, which nobody may accept`;
  const days = waiverDays(given, nowMs);
  if (days === 0) return `${given.expires} is over`;
  const most = SERVER_LIMITS.waiverDays;
  return days > most ? `${given.expires} is ${days} days from now, at most ${most} are allowed` : undefined;
}

function readWaiver(value: Uint8Array, nowMs: number): StandingWaiver {
  const read = wireWaiver.parse(parseJson(fromUtf8(value), { what: "stored waiver" }));
  return { ...read, expired: isExpired({ ...read, id: read.weakness }, nowMs) };
}
