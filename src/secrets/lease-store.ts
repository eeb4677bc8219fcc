/** The open leases in the store: what every replica sees, and what a restart finds again. */
import { type Clock, ModelkeepError } from "../base/index.ts";
import type { RecordStore, RecordTransaction } from "../store/index.ts";
import { secretError } from "./errors.ts";
import { GroupWrites } from "./group-writes.ts";
import { SECRET_LIMITS } from "./limits.ts";
import { eachRecord } from "./pages.ts";
import { decodeLease, decodeSeen, encodeRecord, type LeaseRecord, placeId, TABLES } from "./records.ts";

export class LeaseStore {
  readonly #store: RecordStore;
  readonly #clock: Clock;
  readonly #writes: GroupWrites;

  constructor(store: RecordStore, clock: Clock) {
    this.#store = store;
    this.#writes = new GroupWrites(store);
    this.#clock = clock;
  }

  /** Throws LEASE_LIMIT when `maxLeases` of the secret are open already. */
  async open(lease: LeaseRecord, maxLeases: number | undefined): Promise<void> {
    const bytes = encodeRecord(lease);
    if (maxLeases === undefined) {
      await this.#writes.add((tx) => tx.put(TABLES.leases, lease.id, bytes));
      return;
    }
    await this.#store.transaction(async (tx) => {
      const taken = await countPlaces(tx, lease.secretName, maxLeases);
      if (taken >= maxLeases) throw secretError("LEASE_LIMIT", { detail: `${maxLeases} of ${lease.secretName}` });
      await tx.put(TABLES.places, placeId(lease), bytes, { ifVersion: 0 });
      await tx.put(TABLES.leases, lease.id, bytes, { ifVersion: 0 });
    });
  }

  /** True when it was there: of all who end a lease at once, one is told so. */
  async end(lease: LeaseRecord): Promise<boolean> {
    return this.#writes.add(async (tx) => {
      if (lease.counted) await tx.delete(TABLES.places, placeId(lease));
      return tx.delete(TABLES.leases, lease.id);
    });
  }

  /** Like `end`, and marks that something changed, for replicas that get no message. */
  async revoke(lease: LeaseRecord): Promise<boolean> {
    return this.#writes.add(async (tx) => {
      if (lease.counted) await tx.delete(TABLES.places, placeId(lease));
      await markChange(tx, this.#clock.now());
      return tx.delete(TABLES.leases, lease.id);
    });
  }

  /** Throws LEASE_NOT_FOUND. */
  async need(id: string): Promise<LeaseRecord> {
    const record = await this.find(id);
    if (!record) throw secretError("LEASE_NOT_FOUND");
    return record;
  }

  async find(id: string): Promise<LeaseRecord | undefined> {
    if (!/^lease_[0-9a-f]{32}$/.test(id)) return undefined;
    const record = await this.#store.get(TABLES.leases, id);
    return record && decodeLease(record.value);
  }

  /** Writes what `change` makes of the record, again when somebody else wrote it meanwhile. Throws LEASE_NOT_FOUND. */
  async update(id: string, change: (lease: LeaseRecord) => LeaseRecord): Promise<LeaseRecord> {
    for (let attempt = 1; ; attempt++) {
      const record = await this.#store.get(TABLES.leases, id);
      if (!record) throw secretError("LEASE_NOT_FOUND");
      const next = change(decodeLease(record.value));
      try {
        await this.#store.put(TABLES.leases, id, encodeRecord(next), { ifVersion: record.version });
        return next;
      } catch (error) {
        const lost = error instanceof ModelkeepError && error.code === "VERSION_CONFLICT";
        if (!lost || attempt === SECRET_LIMITS.writeAttempts) throw error;
      }
    }
  }

  async *each(): AsyncGenerator<LeaseRecord> {
    for await (const { value } of eachRecord(this.#store, TABLES.leases)) yield decodeLease(value);
  }

  /** Grows with every revocation and rotation on any replica. */
  async changes(): Promise<number> {
    return (await this.#store.get(TABLES.marks, "changes"))?.version ?? 0;
  }

  async markChange(): Promise<void> {
    await markChange(this.#store, this.#clock.now());
  }

  /**
   * The latest time that anybody saw: setting the machine's clock back while the server is down lengthens no lease.
   * A process that is killed loses what was seen since the last call, at most SECRET_LIMITS.storeSweepMilliseconds.
   */
  async latestTime(): Promise<number> {
    const record = await this.#store.get(TABLES.marks, "seen");
    const [seen, now] = [record ? decodeSeen(record.value).at : 0, this.#clock.now()];
    if (now > seen) await this.#store.put(TABLES.marks, "seen", encodeRecord({ at: now }));
    return Math.max(seen, now);
  }
}

async function markChange(tx: RecordTransaction, at: number): Promise<void> {
  await tx.put(TABLES.marks, "changes", encodeRecord({ at }));
}

/** Places of leases that are gone are given back on the way. */
async function countPlaces(tx: RecordTransaction, name: string, enough: number): Promise<number> {
  let count = 0;
  let after: string | undefined;
  do {
    const { records, next } = await tx.list(TABLES.places, {
      prefix: `${name}:`,
      limit: SECRET_LIMITS.pageRecords,
      ...(after ? { after } : {}),
    });
    for (const { id } of records) {
      if (await tx.get(TABLES.leases, id.slice(name.length + 1))) count++;
      else await tx.delete(TABLES.places, id);
    }
    after = next;
  } while (after && count < enough);
  return count;
}
