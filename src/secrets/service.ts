/** The service of secrets: records in the store, values with a driver, keys in guarded memory for the time of a lease. */
import {
  type Clock,
  type EntityRef,
  entityText,
  type Log,
  ModelkeepError,
  type Random,
  type Recorder,
  toHex,
  wipe,
} from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
import type { RecordStore, StoredRecord } from "../store/index.ts";
import type { SecretDriver } from "./driver.ts";
import { createEmbeddedDriver } from "./drivers/embedded.ts";
import { secretError } from "./errors.ts";
import { SecretJournal, secretRef } from "./journal.ts";
import { HeldLeases } from "./leases.ts";
import { SECRET_LIMITS } from "./limits.ts";
import {
  addVersion,
  checkSecretName,
  currentVersion,
  decodeLease,
  decodeSecret,
  encodeRecord,
  type LeaseRecord,
  type SecretRecord,
  TABLES,
} from "./records.ts";
import type { Lease, LeaseInfo, LeaseOptions, PutOptions, SecretInfo, SecretService } from "./secrets.ts";
import { findStale } from "./stale.ts";

export interface SecretServiceOptions {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly recorder: Recorder;
  readonly log: Log;
  /** The embedded driver when absent. */
  readonly driver?: SecretDriver;
}

/** Every replica listens here: `secret NAME` after a change, `lease ID` after an end. */
const CHANNEL = "secrets";

export async function createSecretService(options: SecretServiceOptions): Promise<SecretService> {
  const service = new StoredSecrets(options);
  await service.start();
  return service;
}

class StoredSecrets implements SecretService {
  readonly #options: SecretServiceOptions;
  readonly #driver: SecretDriver;
  readonly #held: HeldLeases;
  readonly #journal: SecretJournal;
  readonly #listeners = new Set<(name: string) => void>();
  #unsubscribe: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextStoreSweepAt = 0;
  #nextLookAt = 0;
  #closed = false;

  constructor(options: SecretServiceOptions) {
    this.#options = options;
    this.#driver = options.driver ?? createEmbeddedDriver(options);
    this.#held = new HeldLeases(options.clock);
    this.#journal = new SecretJournal(options);
  }

  async start(): Promise<void> {
    const { store } = this.#options;
    this.#unsubscribe = await store.subscribe(
      CHANNEL,
      (message) => this.#hear(message),
      () => void this.#reconcile(),
    );
    this.#timer = setInterval(() => void this.#sweep(), SECRET_LIMITS.sweepMilliseconds).unref();
  }

  findHeld(line: Buffer): ReturnType<HeldLeases["find"]> {
    return this.#held.find(line);
  }

  async put(name: string, value: Uint8Array, options: PutOptions): Promise<SecretInfo> {
    return this.#write("secret.put", name, value, options, false);
  }

  async rotate(name: string, value: Uint8Array, options: PutOptions): Promise<SecretInfo> {
    return this.#write("secret.rotate", name, value, options, true);
  }

  async #write(
    action: string,
    name: string,
    value: Uint8Array,
    options: PutOptions,
    mustExist: boolean,
  ): Promise<SecretInfo> {
    const guarded = this.#takeValue(name, value, options);
    try {
      const before = await this.#options.store.get(TABLES.secrets, name);
      if (mustExist && !before) throw secretError("SECRET_NOT_FOUND", { detail: name });
      const { next, dropped } = await this.#addVersion(name, guarded, options, before);
      await this.#save(action, options.by, next, before);
      for (const version of dropped) await this.#driver.delete(version.reference);
      await this.#options.store.notify(CHANNEL, `secret ${name}`);
      return toInfo(next);
    } finally {
      guarded.wipe();
    }
  }

  #takeValue(name: string, value: Uint8Array, options: PutOptions): GuardedBytes {
    try {
      this.#mustBeOpen();
      checkSecretName(name);
      if (value.length < 1 || value.length > SECRET_LIMITS.valueBytes) {
        throw secretError("SECRET_VALUE_INVALID", { detail: `1 to ${SECRET_LIMITS.valueBytes} bytes are possible` });
      }
      if ((options.about ?? "").length > SECRET_LIMITS.aboutCharacters) {
        throw secretError("SECRET_VALUE_INVALID", {
          detail: `about: at most ${SECRET_LIMITS.aboutCharacters} characters`,
        });
      }
      return GuardedBytes.take(value);
    } finally {
      wipe(value);
    }
  }

  async #addVersion(name: string, value: GuardedBytes, options: PutOptions, before: StoredRecord | undefined) {
    const createdAt = this.#options.clock.now();
    const old: SecretRecord = before
      ? decodeSecret(before.value)
      : { name, about: "", current: 0, versions: [], createdAt, updatedAt: createdAt };
    const reference = await this.#driver.write(value);
    return addVersion(
      { ...old, about: options.about ?? old.about },
      { driver: this.#driver.kind, reference, createdAt },
    );
  }

  async #save(action: string, by: EntityRef, next: SecretRecord, before: StoredRecord | undefined): Promise<void> {
    const event = { action, by, resource: secretRef(next.name), data: { version: next.current } };
    const ifVersion = before?.version ?? 0;
    let mayBeThere = false;
    try {
      await this.#journal.recorded(event, () => {
        mayBeThere = true;
        return this.#options.store.put(TABLES.secrets, next.name, encodeRecord(next), { ifVersion });
      });
    } catch (error) {
      const lost = error instanceof ModelkeepError && error.code === "VERSION_CONFLICT";
      // A database that went away may have kept the record all the same: its value must be there then.
      if (lost || !mayBeThere) await this.#driver.delete(currentVersion(next).reference);
      throw lost ? secretError("SECRET_CHANGED", { detail: next.name, cause: error }) : error;
    }
  }

  async list(): Promise<readonly SecretInfo[]> {
    const records = await this.#all(TABLES.secrets);
    return records.map((record) => toInfo(decodeSecret(record.value)));
  }

  async find(name: string): Promise<SecretInfo | undefined> {
    const record = await this.#options.store.get(TABLES.secrets, checkSecretName(name));
    return record && toInfo(decodeSecret(record.value));
  }

  async delete(name: string, options: { readonly by: EntityRef }): Promise<void> {
    const { store } = this.#options;
    const record = decodeSecret((await this.#need(name)).value);
    const event = { action: "secret.delete", by: options.by, resource: secretRef(name) };
    await this.#journal.recorded(event, () => store.delete(TABLES.secrets, name));
    for (const version of record.versions) await this.#driver.delete(version.reference);
    for (const lease of await this.listLeases()) if (lease.secretName === name) await this.#end(lease.id);
    this.#held.dropSecret(name);
    await store.notify(CHANNEL, `secret ${name}`);
  }

  async lease(name: string, options: LeaseOptions): Promise<Lease> {
    this.#mustBeOpen();
    const ttlSeconds = checkTtl(options.ttlSeconds ?? SECRET_LIMITS.defaultLeaseSeconds);
    const secret = decodeSecret((await this.#need(name)).value);
    const info = this.#newLease(secret, options.holder, ttlSeconds);
    this.#held.mustHaveRoom(info.holder);
    const key = await this.#driver.read(currentVersion(secret).reference);
    try {
      const data = { lease: info.id, version: info.version, ttlSeconds };
      const event = { action: "secret.lease", by: info.holder, resource: secretRef(name), data };
      await this.#journal.recorded(event, () => this.#open(info, key));
    } catch (error) {
      key.wipe();
      throw error;
    }
    return { ...info, key, checkIn: () => this.#checkInOwn(info) };
  }

  async #open(info: LeaseRecord, key: GuardedBytes): Promise<void> {
    const { store } = this.#options;
    await store.put(TABLES.leases, info.id, encodeRecord(info), { ifVersion: 0 });
    try {
      this.#mustBeOpen();
      this.#held.add(info, key);
    } catch (error) {
      await store.delete(TABLES.leases, info.id);
      throw error;
    }
  }

  #newLease(secret: SecretRecord, holder: EntityRef, ttlSeconds: number): LeaseRecord {
    const issuedAt = this.#options.clock.now();
    return {
      id: `lease_${toHex(this.#options.random.bytes(16))}`,
      secretName: secret.name,
      version: secret.current,
      holder: { type: holder.type, id: holder.id },
      issuedAt,
      expiresAt: issuedAt + ttlSeconds * 1000,
    };
  }

  async #checkInOwn(info: LeaseInfo): Promise<void> {
    if (!this.#held.drop(info.id)) return;
    await this.#end(info.id);
    await this.#journal.recordEnd(info);
  }

  async checkIn(leaseId: string, holder: EntityRef): Promise<void> {
    const info = await this.#needLease(leaseId);
    if (entityText(info.holder) !== entityText(holder)) throw secretError("LEASE_NOT_FOUND");
    this.#held.drop(leaseId);
    await this.#end(leaseId);
    await this.#journal.recordEnd(info);
  }

  async listLeases(): Promise<readonly LeaseInfo[]> {
    const now = this.#options.clock.now();
    const records = await this.#all(TABLES.leases);
    return records.map((record) => decodeLease(record.value)).filter((lease) => lease.expiresAt > now);
  }

  async revokeLease(leaseId: string, options: { readonly by: EntityRef }): Promise<void> {
    const info = await this.#needLease(leaseId);
    this.#held.drop(leaseId);
    await this.#end(leaseId);
    const data = { lease: leaseId, holder: entityText(info.holder) };
    await this.#journal.record({ action: "secret.revoke", by: options.by, resource: secretRef(info.secretName), data });
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    const open = this.#held.ids().flatMap((id) => this.#held.get(id) ?? []);
    this.#held.dropAll();
    this.#unsubscribe?.();
    await Promise.all(open.map((info) => this.#endUnasked(info, "closed")));
  }

  async #end(leaseId: string): Promise<void> {
    await this.#options.store.delete(TABLES.leases, leaseId);
    await this.#options.store.notify(CHANNEL, `lease ${leaseId}`);
  }

  #hear(message: string): void {
    const [kind, id] = message.split(" ");
    if (!id) return;
    if (kind === "lease") this.#held.drop(id);
    else if (kind === "secret") for (const listener of this.#listeners) listener(id);
  }

  /** Messages may have been missed: what the store no longer knows is wiped, and everybody reads again. */
  async #reconcile(): Promise<void> {
    for (const id of this.#held.ids()) {
      const name = this.#held.get(id)?.secretName;
      const known = await this.#options.store.get(TABLES.leases, id).catch(() => undefined);
      if (!known) this.#held.drop(id);
      if (name) for (const listener of this.#listeners) listener(name);
    }
  }

  /** Ends what is over its time; a lease that could not be deleted from the store ends there by its own time. */
  async #sweep(): Promise<void> {
    for (const info of this.#held.dropEnded()) await this.#endUnasked(info, "expired");
    const { clock, log } = this.#options;
    const now = clock.monotonic();
    const [looks, sweeps] = [now >= this.#nextLookAt, now >= this.#nextStoreSweepAt];
    if (looks) this.#nextLookAt = now + SECRET_LIMITS.lookMilliseconds;
    if (sweeps) this.#nextStoreSweepAt = now + SECRET_LIMITS.storeSweepMilliseconds;
    try {
      if (looks) await this.#look();
      if (sweeps) await this.#sweepAbandoned();
    } catch (error) {
      log.warn("the leases in the store could not be read", { error });
    }
  }

  async #look(): Promise<void> {
    const { ended, changed } = await findStale(this.#options.store, this.#held.withKey());
    for (const id of ended) this.#held.drop(id);
    for (const name of changed) for (const listener of this.#listeners) listener(name);
  }

  /** A process that was killed leaves its leases in the store. */
  async #sweepAbandoned(): Promise<void> {
    const before = this.#options.clock.now() - SECRET_LIMITS.abandonedMilliseconds;
    const leases = (await this.#all(TABLES.leases)).map((record) => decodeLease(record.value));
    for (const info of leases) if (info.expiresAt <= before) await this.#endUnasked(info, "expired");
  }

  async #endUnasked(info: LeaseInfo, ended: "expired" | "closed"): Promise<void> {
    try {
      if (await this.#options.store.delete(TABLES.leases, info.id)) await this.#journal.recordEnd(info, ended);
    } catch {
      this.#options.log.warn("an ended lease could not be written down", { lease: info.id });
    }
  }

  async #need(name: string): Promise<StoredRecord> {
    const record = await this.#options.store.get(TABLES.secrets, checkSecretName(name));
    if (!record) throw secretError("SECRET_NOT_FOUND", { detail: name });
    return record;
  }

  async #needLease(leaseId: string): Promise<LeaseRecord> {
    const record = /^lease_[0-9a-f]{32}$/.test(leaseId)
      ? await this.#options.store.get(TABLES.leases, leaseId)
      : undefined;
    if (!record) throw secretError("LEASE_NOT_FOUND");
    return decodeLease(record.value);
  }

  async #all(table: string): Promise<readonly StoredRecord[]> {
    const records: StoredRecord[] = [];
    let after: string | undefined;
    do {
      const page = await this.#options.store.list(table, {
        limit: SECRET_LIMITS.pageRecords,
        ...(after ? { after } : {}),
      });
      records.push(...page.records);
      after = page.next;
    } while (after && records.length < SECRET_LIMITS.listed);
    return records;
  }

  #mustBeOpen(): void {
    if (this.#closed) throw secretError("SECRETS_CLOSED");
  }
}

function checkTtl(ttlSeconds: number): number {
  if (Number.isInteger(ttlSeconds) && ttlSeconds >= 1 && ttlSeconds <= SECRET_LIMITS.leaseSeconds) return ttlSeconds;
  throw secretError("LEASE_TTL_INVALID", { detail: `1 to ${SECRET_LIMITS.leaseSeconds} seconds are possible` });
}

function toInfo(record: SecretRecord): SecretInfo {
  return {
    name: record.name,
    about: record.about,
    version: record.current,
    versions: record.versions.map(({ version, createdAt }) => ({ version, createdAt })),
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}
