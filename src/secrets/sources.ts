/** The values in use: read once from their driver, shared by the leases of a version, given back with the last of them. */
import { type Clock, equalBytes, type Log, ModelkeepError, type Random, toHex } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import type { RecordStore } from "../store/index.ts";
import type { SecretDriver, UpstreamLease } from "./driver.ts";
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";
import { eachRecord } from "./pages.ts";
import { decodeUpstream, encodeRecord, type SecretVersion, TABLES, type UpstreamRecord } from "./records.ts";

/** A value that at least one lease stands on. */
export interface Source {
  readonly key: GuardedBytes;
  /** Record of what the driver lent; absent for a value that stands still. */
  readonly upstream?: UpstreamRecord;
}

interface Entry extends Source {
  readonly name: string;
  readonly renewable: boolean;
  readonly version: SecretVersion;
  holders: number;
  /** When it is looked for again, on the clock that only grows; endless for what nobody else changes. */
  staleAt: number;
  /** On the clock that only grows; endless for a value that stands still. */
  endsAt: number;
}

export interface SourceRequest {
  readonly secretName: string;
  readonly version: SecretVersion;
  readonly ttlSeconds: number;
  readonly unshared: boolean;
}

export class Sources {
  readonly #store: RecordStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #drivers: ReadonlyMap<string, SecretDriver>;
  /** What the next lease of a version may share. */
  readonly #shared = new Map<string, Entry>();
  readonly #pending = new Map<string, Promise<Entry>>();
  /** Every value that was read and not wiped yet, also one that no further lease may share. */
  readonly #inUse = new Set<Entry>();
  readonly #lent = new Map<string, Entry>();
  /** Records of upstream leases that nobody used at the last look. */
  #unused = new Set<string>();

  constructor(ports: { store: RecordStore; clock: Clock; random: Random; log: Log }, drivers: readonly SecretDriver[]) {
    this.#store = ports.store;
    this.#clock = ports.clock;
    this.#random = ports.random;
    this.#log = ports.log;
    this.#drivers = new Map(drivers.map((driver) => [driver.kind, driver]));
  }

  /** Throws SECRET_DRIVER_UNKNOWN. */
  driver(kind: string): SecretDriver {
    const driver = this.#drivers.get(kind);
    if (!driver) throw secretError("SECRET_DRIVER_UNKNOWN", { detail: kind });
    return driver;
  }

  /** Whoever acquires it releases it. What it is read with is what the driver throws. */
  async acquire(request: SourceRequest): Promise<Source> {
    const id = `${request.secretName}:${request.version.reference}`;
    const entry = request.unshared ? await this.#read(request) : await this.#sharedEntry(id, request);
    if (entry.key.wiped) return this.acquire(request);
    entry.holders++;
    return entry;
  }

  async #sharedEntry(id: string, request: SourceRequest): Promise<Entry> {
    const known = this.#shared.get(id);
    if (known && !known.key.wiped && (await this.#lasts(known, request.ttlSeconds))) return known;
    const running = this.#pending.get(id);
    if (running) return running;
    const reading = this.#read(request).finally(() => this.#pending.delete(id));
    this.#pending.set(id, reading);
    const entry = await reading;
    this.#shared.set(id, entry);
    return entry;
  }

  /** True when the upstream lease covers the time, after a renewal if need be. */
  async #lasts(entry: Entry, ttlSeconds: number): Promise<boolean> {
    const needed = this.#clock.monotonic() + ttlSeconds * 1000;
    if (entry.endsAt >= needed) return true;
    if (!entry.renewable || !entry.upstream) return false;
    const granted = await this.#renewed(entry.upstream, ttlSeconds);
    if (granted > 0) entry.endsAt = Math.max(entry.endsAt, this.#clock.monotonic() + granted * 1000);
    return entry.endsAt >= needed && !entry.key.wiped;
  }

  async #renewed(upstream: UpstreamRecord, ttlSeconds: number): Promise<number> {
    try {
      const granted = (await this.driver(upstream.driver).renew?.(upstream.leaseId, ttlSeconds)) ?? 0;
      const expiresAt = this.#clock.now() + granted * 1000;
      await this.#store.put(TABLES.upstream, upstream.id, encodeRecord({ ...upstream, expiresAt }));
      return granted;
    } catch (error) {
      this.#log.warn("a lease was not renewed by the keeper of the secret", { secret: upstream.secretName, error });
      return 0;
    }
  }

  /** Seconds that a lease on this source may last; it is renewed upstream if need be. */
  async secondsLeft(source: Source, wantedSeconds: number): Promise<number> {
    const entry = source as Entry;
    if (await this.#lasts(entry, wantedSeconds)) return wantedSeconds;
    return Math.max(0, Math.floor((entry.endsAt - this.#clock.monotonic()) / 1000));
  }

  /** The seconds that the upstream lease then has, also one of a process that is gone; at most what is wanted. */
  async renew(upstreamId: string, wantedSeconds: number): Promise<number> {
    const entry = this.#lent.get(upstreamId);
    if (entry) return this.secondsLeft(entry, wantedSeconds);
    const record = await this.#store.get(TABLES.upstream, upstreamId);
    return record ? this.#renewed(decodeUpstream(record.value), wantedSeconds) : 0;
  }

  async #read({ secretName, version, ttlSeconds }: SourceRequest): Promise<Entry> {
    const driver = this.driver(version.driver);
    const { key, lease, freshSeconds } = await driver.read(version.reference, { ttlSeconds });
    const staleAt = this.#staleAt(freshSeconds);
    const base = {
      name: secretName,
      version,
      key,
      holders: 0,
      endsAt: Number.POSITIVE_INFINITY,
      renewable: false,
      staleAt,
    };
    if (!lease) {
      this.#inUse.add(base);
      return base;
    }
    const endsAt = this.#clock.monotonic() + lease.ttlSeconds * 1000;
    try {
      const upstream = await this.#keep(driver, secretName, lease);
      const entry = { ...base, endsAt, renewable: lease.renewable, upstream };
      this.#lent.set(upstream.id, entry);
      this.#inUse.add(entry);
      return entry;
    } catch (error) {
      key.wipe();
      await driver.revoke?.(lease.id).catch(() => this.#log.warn("a lease upstream ends by its own time only"));
      throw error;
    }
  }

  #staleAt(freshSeconds = Number.POSITIVE_INFINITY): number {
    return this.#clock.monotonic() + freshSeconds * 1000;
  }

  /**
   * Looks for values in use that may have been changed where they are kept. Returns the names of those that were: the
   * next lease reads them anew. When the keeper is away what is known stays.
   */
  async refresh(): Promise<readonly string[]> {
    const now = this.#clock.monotonic();
    const due = [...this.#shared].filter(([, { staleAt, key }]) => staleAt <= now && !key.wiped);
    const changed: string[] = [];
    for (let at = 0; at < due.length; at += SECRET_LIMITS.looksAtOnce)
      await Promise.all(
        due.slice(at, at + SECRET_LIMITS.looksAtOnce).map(async ([id, entry]) => {
          if (await this.#isAsKept(entry)) return;
          if (this.#shared.get(id) === entry) this.#shared.delete(id);
          changed.push(entry.name);
        }),
      );
    return changed;
  }

  async #isAsKept(entry: Entry): Promise<boolean> {
    const { driver: kind, reference } = entry.version;
    try {
      const driver = this.driver(kind);
      const { key, lease, freshSeconds } = await driver.read(reference, { ttlSeconds: 1 });
      using kept = key;
      if (lease) await driver.revoke?.(lease.id);
      entry.staleAt = this.#staleAt(freshSeconds);
      return entry.key.wiped || entry.key.use((mine) => kept.use((other) => equalBytes(mine, other)));
    } catch (error) {
      if (error instanceof ModelkeepError && error.code === "SECRET_NOT_FOUND") return false;
      entry.staleAt = this.#staleAt(SECRET_LIMITS.keeperFreshSeconds);
      this.#log.warn("a secret could not be looked for where it is kept: what is known stays", {
        secret: entry.name,
        error,
      });
      return true;
    }
  }

  /** Written down before it is used: a process that is killed then leaves what the next one gives back. */
  async #keep(driver: SecretDriver, secretName: string, lease: UpstreamLease): Promise<UpstreamRecord> {
    if (lease.id.length > SECRET_LIMITS.upstreamIdCharacters)
      throw secretError("SECRET_DAMAGED", { detail: "the id of the lease upstream is too long" });
    const id = `up_${toHex(this.#random.bytes(16))}`;
    const expiresAt = this.#clock.now() + lease.ttlSeconds * 1000;
    const record = { id, driver: driver.kind, leaseId: lease.id, secretName, expiresAt };
    await this.#store.put(TABLES.upstream, id, encodeRecord(record), { ifVersion: 0 });
    return record;
  }

  /** The last one to let go wipes the value and gives back what was lent. */
  async release(source: Source): Promise<void> {
    const entry = source as Entry;
    if (--entry.holders > 0 || entry.key.wiped) return;
    this.#forget(entry);
    if (entry.upstream) await this.#giveBack(entry.upstream);
  }

  #forget(entry: Entry): void {
    entry.key.wipe();
    this.#inUse.delete(entry);
    for (const [id, shared] of this.#shared) if (shared === entry) this.#shared.delete(id);
    if (entry.upstream) this.#lent.delete(entry.upstream.id);
  }

  /** The record stays when the keeper does not answer: the next look tries again, until the lease has ended by itself. */
  async #giveBack(upstream: UpstreamRecord): Promise<void> {
    try {
      await this.driver(upstream.driver).revoke?.(upstream.leaseId);
    } catch (error) {
      const over = upstream.expiresAt < this.#clock.now() - SECRET_LIMITS.storeSweepMilliseconds;
      this.#log.warn("a lease could not be given back to the keeper of the secret", {
        secret: upstream.secretName,
        again: !over,
        error,
      });
      if (!over) return;
    }
    await this.#store.delete(TABLES.upstream, upstream.id);
  }

  /**
   * Gives back what a process that is gone had been lent and no open lease stands on, at two looks one after the other:
   * a lease that is being made just now is not in the store yet.
   */
  async sweep(inUse: ReadonlySet<string>): Promise<void> {
    const unused = new Set<string>();
    for await (const { value } of eachRecord(this.#store, TABLES.upstream)) {
      const record = decodeUpstream(value);
      if (this.#lent.has(record.id) || inUse.has(record.id)) continue;
      if (this.#unused.has(record.id)) await this.#giveBack(record);
      else unused.add(record.id);
    }
    this.#unused = unused;
  }

  /** Positions of every value in use. */
  live(): readonly GuardedBytes[] {
    return [...this.#inUse].map(({ key }) => key).filter((key) => !key.wiped);
  }

  async close(): Promise<void> {
    for (const entry of this.#inUse) this.#forget(entry);
  }
}
