/** An in-memory store, a recorder and keys for the tests of secrets and gateway. */
import type { AuditEvent, Recorder } from "../../src/base/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { type DriverPorts, openDrivers, type SecretDriver } from "../../src/secrets/index.ts";
import type { RecordPage, RecordStore, RecordTransaction, StoredRecord } from "../../src/store/store.ts";

/** Two stores with the same `shared` are two replicas. */
export class MemoryShared {
  readonly tables = new Map<string, Map<string, StoredRecord>>();
  readonly listeners = new Set<{ channel: string; onMessage: (message: string) => void }>();
  /** Transactions wait for each other here. */
  tail: Promise<unknown> = Promise.resolve();
}

export class MemoryStore implements RecordStore {
  readonly shared: MemoryShared;
  constructor(shared = new MemoryShared()) {
    this.shared = shared;
  }
  #table(name: string): Map<string, StoredRecord> {
    const table = this.shared.tables.get(name) ?? new Map();
    this.shared.tables.set(name, table);
    return table;
  }
  async get(table: string, id: string): Promise<StoredRecord | undefined> {
    const record = this.#table(table).get(id);
    return record && { ...record, value: new Uint8Array(record.value) };
  }
  async put(table: string, id: string, value: Uint8Array, condition?: { ifVersion?: number }): Promise<number> {
    const before = this.#table(table).get(id)?.version ?? 0;
    if (condition?.ifVersion !== undefined && condition.ifVersion !== before) {
      throw new ModelkeepError("VERSION_CONFLICT", { status: 409, exit: 1, title: "conflict" });
    }
    this.#table(table).set(id, { id, value: new Uint8Array(value), version: before + 1 });
    return before + 1;
  }
  async delete(table: string, id: string): Promise<boolean> {
    return this.#table(table).delete(id);
  }
  async list(table: string, options: { prefix?: string; after?: string; limit?: number } = {}): Promise<RecordPage> {
    const ids = [...this.#table(table).keys()]
      .sort()
      .filter((id) => id.startsWith(options.prefix ?? "") && (!options.after || id > options.after));
    const page = ids.slice(0, options.limit ?? 200);
    const records = page.flatMap((id) => this.#table(table).get(id) ?? []);
    const last = page.at(-1);
    return ids.length > page.length && last ? { records, next: last } : { records };
  }
  transaction<T>(work: (tx: RecordTransaction) => Promise<T>): Promise<T> {
    const run = this.shared.tail.then(() => work(this));
    this.shared.tail = run.catch(() => undefined);
    return run;
  }
  async notify(channel: string, message: string): Promise<void> {
    for (const listener of [...this.shared.listeners]) if (listener.channel === channel) listener.onMessage(message);
  }
  async subscribe(channel: string, onMessage: (message: string) => void): Promise<() => void> {
    const listener = { channel, onMessage };
    this.shared.listeners.add(listener);
    return () => void this.shared.listeners.delete(listener);
  }
  async ping(): Promise<void> {}
  async close(): Promise<void> {}
}

export class KeptEvents implements Recorder {
  readonly events: AuditEvent[] = [];
  broken = false;
  async record(event: AuditEvent): Promise<void> {
    if (this.broken) throw new Error("disk full");
    this.events.push(event);
  }
  actions(): string[] {
    return this.events.map((event) => event.action);
  }
}

export class FakeClock {
  at = 1_800_000_000_000;
  now(): number {
    return this.at;
  }
  monotonic(): number {
    return this.at - 1_700_000_000_000;
  }
}

/** A driver that the configuration `NAME=URI` names, without a server around it. */
export async function openDriver(
  uri: string,
  env: Record<string, string>,
  more: Partial<DriverPorts> = {},
): Promise<SecretDriver> {
  const [driver] = await openDrivers([`keeper=${uri}`], {
    ...lonely,
    limits: { attempts: 2, backoffMilliseconds: 5 },
    env,
    ...more,
  });
  if (!driver) throw new Error("no driver");
  return driver;
}

/** A server that has no secrets and no name. */
export const lonely: DriverPorts = {
  random: systemRandom,
  issueIdentity: undefined,
  withSecret: () => Promise.reject(new Error("no secret is needed here")),
};
