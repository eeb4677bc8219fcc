/** The service of secrets: records in the store, values with a driver, leases beside them. */
import {
  type Clock,
  type EntityRef,
  type Log,
  ModelkeepError,
  type Random,
  type Recorder,
  wipe,
} from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
import type { RecordStore, StoredRecord } from "../store/index.ts";
import type { SecretDriver } from "./driver.ts";
import { createEmbeddedDriver, type StoringDriver } from "./drivers/embedded.ts";
import { secretError } from "./errors.ts";
import { formsOfKey } from "./forms.ts";
import { SecretJournal, secretRef } from "./journal.ts";
import { checkRules } from "./lease-rules.ts";
import { Leasing } from "./leasing.ts";
import { SECRET_LIMITS } from "./limits.ts";
import { eachRecord } from "./pages.ts";
import {
  checkSecretName,
  decodeSecret,
  encodeRecord,
  type SecretRecord,
  type SecretVersion,
  TABLES,
  toSecretInfo,
} from "./records.ts";
import type {
  ByOptions,
  Lease,
  LeaseFilter,
  LeaseInfo,
  LeaseOptions,
  LeaseRules,
  PutOptions,
  RotateOptions,
  SecretInfo,
  SecretService,
} from "./secrets.ts";
import { Sources } from "./sources.ts";
import { addCandidate, addCurrent, promoteCandidate, retireOld, rollBack, type VersionStep } from "./versions.ts";

export interface SecretServiceOptions {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly recorder: Recorder;
  readonly log: Log;
  /** Keeps what is put here; the embedded driver when absent. */
  readonly driver?: StoringDriver;
  /** Further keepers of secrets, for `link`. */
  readonly drivers?: readonly SecretDriver[];
}

/** Every replica listens here: `secret NAME` after a change, `lease ID…` after an end, `renewed ID`. */
const CHANNEL = "secrets";
const SERVER: EntityRef = { type: "Server", id: "local" };

export async function createSecretService(options: SecretServiceOptions): Promise<SecretService> {
  const service = new StoredSecrets(options);
  await service.start();
  return service;
}

/** What is written in one go: how the record changes, and what the audit log calls it. */
interface Change {
  readonly action: string;
  readonly name: string;
  readonly by: EntityRef;
  readonly step: (before: SecretRecord) => VersionStep;
}

class StoredSecrets implements SecretService {
  readonly #options: SecretServiceOptions;
  readonly #driver: StoringDriver;
  readonly #sources: Sources;
  readonly #leasing: Leasing;
  readonly #journal: SecretJournal;
  readonly #listeners = new Set<(name: string) => void>();
  #unsubscribe: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextSweepAt = 0;

  constructor(options: SecretServiceOptions) {
    this.#options = options;
    this.#driver = options.driver ?? createEmbeddedDriver(options);
    this.#journal = new SecretJournal(options);
    this.#sources = new Sources(options, [this.#driver, ...(options.drivers ?? [])]);
    this.#leasing = new Leasing({
      ...options,
      journal: this.#journal,
      sources: this.#sources,
      secret: async (name) => decodeSecret((await this.#need(name)).value),
      notify: (message) => options.store.notify(CHANNEL, message),
    });
  }

  async start(): Promise<void> {
    const { store, clock } = this.#options;
    this.#unsubscribe = await store.subscribe(
      CHANNEL,
      (message) => this.#hear(message),
      () => void this.#reconcile(),
    );
    await this.#leasing.start();
    this.#nextSweepAt = clock.monotonic() + SECRET_LIMITS.storeSweepMilliseconds;
    this.#timer = setInterval(() => void this.#look(), SECRET_LIMITS.lookMilliseconds).unref();
  }

  findHeld(line: Buffer) {
    return this.#sources.live().flatMap((key) => formsOfKey(key).find(line));
  }

  put(name: string, value: Uint8Array, options: PutOptions): Promise<SecretInfo> {
    return this.#keep(
      "secret.put",
      name,
      value,
      options,
      (before, added) => addCurrent(before, added, undefined),
      true,
    );
  }

  async rotate(name: string, value: Uint8Array, options: RotateOptions): Promise<SecretInfo> {
    return this.#keep("secret.rotate", name, value, options, (before, added) =>
      addCurrent(before, added, this.#graceUntil(options)),
    );
  }

  stage(name: string, value: Uint8Array, options: ByOptions): Promise<SecretInfo> {
    return this.#keep("secret.stage", name, value, options, addCandidate);
  }

  async #keep(
    action: string,
    name: string,
    value: Uint8Array,
    options: PutOptions,
    step: (before: SecretRecord, added: Omit<SecretVersion, "version">) => VersionStep,
    mayBeNew = false,
  ): Promise<SecretInfo> {
    const guarded = this.#takeValue(name, value, options);
    try {
      const before = await this.#before(name, options, mayBeNew);
      const reference = await this.#driver.write(guarded);
      const added = { driver: this.#driver.kind, reference, createdAt: this.#options.clock.now() };
      const change = { action, name, by: options.by, step: (record: SecretRecord) => step(record, added) };
      return await this.#save(change, before, reference);
    } finally {
      guarded.wipe();
    }
  }

  async link(
    name: string,
    { driver: kind, reference }: { readonly driver: string; readonly reference: string },
    options: PutOptions,
  ): Promise<SecretInfo> {
    this.#leasing.mustBeOpen();
    checkSecretName(name);
    checkAbout(options.about);
    if (kind === this.#driver.kind) throw secretError("SECRET_DRIVER_UNKNOWN", { detail: kind });
    const driver = this.#sources.driver(kind);
    if (reference.length < 1 || reference.length > SECRET_LIMITS.referenceCharacters)
      throw secretError("SECRET_REFERENCE_INVALID");
    driver.check?.(reference);
    const before = await this.#before(name, options, true);
    const added = { driver: kind, reference, createdAt: this.#options.clock.now() };
    const step = (record: SecretRecord) => addCurrent(record, added, undefined);
    return this.#save({ action: "secret.link", name, by: options.by, step }, before);
  }

  #takeValue(name: string, value: Uint8Array, options: PutOptions): GuardedBytes {
    try {
      this.#leasing.mustBeOpen();
      checkSecretName(name);
      checkAbout(options.about);
      if (value.length < 1 || value.length > SECRET_LIMITS.valueBytes) {
        throw secretError("SECRET_VALUE_INVALID", { detail: `1 to ${SECRET_LIMITS.valueBytes} bytes are possible` });
      }
      return GuardedBytes.take(value);
    } finally {
      wipe(value);
    }
  }

  /** The record as it is, with the words and rules of the options; a new one at version 0. */
  async #before(name: string, { about, rules }: PutOptions, mayBeNew: boolean) {
    const stored = await this.#options.store.get(TABLES.secrets, name);
    if (!stored && !mayBeNew) throw secretError("SECRET_NOT_FOUND", { detail: name });
    const now = this.#options.clock.now();
    const old: SecretRecord = stored
      ? decodeSecret(stored.value)
      : { name, about: "", current: 0, versions: [], createdAt: now, updatedAt: now };
    const record = { ...old, about: about ?? old.about, ...(rules ? { rules: checkRules(rules) } : {}) };
    return { record, storedVersion: stored?.version ?? 0 };
  }

  #graceUntil({ graceSeconds }: RotateOptions): number | undefined {
    if (graceSeconds === undefined) return undefined;
    if (!Number.isInteger(graceSeconds) || graceSeconds < 0 || graceSeconds > SECRET_LIMITS.graceSeconds)
      throw secretError("LEASE_TTL_INVALID", { detail: `grace: 0 to ${SECRET_LIMITS.graceSeconds} seconds` });
    return this.#options.clock.now() + graceSeconds * 1000;
  }

  promote(name: string, options: RotateOptions): Promise<SecretInfo> {
    const { clock } = this.#options;
    const step = (record: SecretRecord) => promoteCandidate(record, this.#graceUntil(options), clock.now());
    return this.#change({ action: "secret.promote", name, by: options.by, step });
  }

  rollBack(name: string, { by }: ByOptions): Promise<SecretInfo> {
    const step = (record: SecretRecord) => rollBack(record, this.#options.clock.now());
    return this.#change({ action: "secret.rollback", name, by, step }, true);
  }

  retire(name: string, { by }: ByOptions): Promise<SecretInfo> {
    const step = (record: SecretRecord) => retireOld(record, this.#options.clock.now());
    return this.#change({ action: "secret.retire", name, by, step }, true);
  }

  setRules(name: string, rules: LeaseRules, { by }: ByOptions): Promise<SecretInfo> {
    const step = (record: SecretRecord): VersionStep => ({
      next: { ...record, rules: checkRules(rules), updatedAt: this.#options.clock.now() },
      dropped: [],
    });
    return this.#change({ action: "secret.rules", name, by, step });
  }

  async #change(change: Change, endLeases = false): Promise<SecretInfo> {
    this.#leasing.mustBeOpen();
    const stored = await this.#need(change.name);
    const record = decodeSecret(stored.value);
    return this.#save(change, { record, storedVersion: stored.version }, undefined, endLeases);
  }

  /** `written` is a reference that must be deleted again when the record cannot be kept. */
  async #save(
    { action, name, by, step }: Change,
    before: { readonly record: SecretRecord; readonly storedVersion: number },
    written?: string,
    endLeases = false,
  ): Promise<SecretInfo> {
    let mayBeThere = false;
    try {
      const { next, dropped } = step(before.record);
      const event = { action, by, resource: secretRef(name), data: { version: next.candidate ?? next.current } };
      await this.#journal.recorded(event, () => {
        mayBeThere = true;
        return this.#options.store.put(TABLES.secrets, name, encodeRecord(next), { ifVersion: before.storedVersion });
      });
      await this.#tell(name);
      await this.#drop(name, dropped, endLeases ? by : undefined);
      return toSecretInfo(next);
    } catch (error) {
      const lost = error instanceof ModelkeepError && error.code === "VERSION_CONFLICT";
      // A database that went away may have kept the record all the same: its value must be there then.
      if (written !== undefined && (lost || !mayBeThere)) await this.#driver.delete(written);
      throw lost ? secretError("SECRET_CHANGED", { detail: name, cause: error }) : error;
    }
  }

  async #drop(name: string, dropped: readonly SecretVersion[], endedBy?: EntityRef): Promise<void> {
    for (const { driver, reference, version } of dropped) {
      await this.#sources.driver(driver).delete?.(reference);
      if (endedBy) await this.#leasing.revoke({ secretName: name, version }, endedBy);
    }
  }

  async #tell(name: string): Promise<void> {
    await this.#leasing.markChange();
    await this.#options.store.notify(CHANNEL, `secret ${name}`);
  }

  async list(): Promise<readonly SecretInfo[]> {
    const found: SecretInfo[] = [];
    for await (const { value } of eachRecord(this.#options.store, TABLES.secrets)) {
      found.push(toSecretInfo(decodeSecret(value)));
      if (found.length >= SECRET_LIMITS.listed) break;
    }
    return found;
  }

  async find(name: string): Promise<SecretInfo | undefined> {
    const record = await this.#options.store.get(TABLES.secrets, checkSecretName(name));
    return record && toSecretInfo(decodeSecret(record.value));
  }

  async delete(name: string, options: ByOptions): Promise<void> {
    const { store } = this.#options;
    const record = decodeSecret((await this.#need(name)).value);
    const event = { action: "secret.delete", by: options.by, resource: secretRef(name) };
    await this.#journal.recorded(event, () => store.delete(TABLES.secrets, name));
    await this.#leasing.revoke({ secretName: name }, options.by);
    this.#leasing.dropSecret(name);
    for (const { driver, reference } of record.versions) await this.#sources.driver(driver).delete?.(reference);
    await this.#tell(name);
  }

  lease(name: string, options: LeaseOptions): Promise<Lease> {
    return this.#leasing.lease(name, options);
  }

  findLease(leaseId: string, holder: EntityRef): Promise<LeaseInfo> {
    return this.#leasing.find(leaseId, holder);
  }

  use(leaseId: string, holder: EntityRef) {
    return this.#leasing.use(leaseId, holder);
  }

  renew(leaseId: string, options: { readonly holder: EntityRef; readonly ttlSeconds?: number }): Promise<LeaseInfo> {
    return this.#leasing.renew(leaseId, options);
  }

  checkIn(leaseId: string, holder: EntityRef): Promise<void> {
    return this.#leasing.checkIn(leaseId, holder);
  }

  listLeases(): Promise<readonly LeaseInfo[]> {
    return this.#leasing.list();
  }

  async revokeLease(leaseId: string, { by }: ByOptions): Promise<void> {
    await this.#leasing.revoke({ leaseId }, by);
  }

  revoke(filter: LeaseFilter, { by }: ByOptions): Promise<readonly string[]> {
    return this.#leasing.revoke(filter, by);
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#leasing.close();
    this.#unsubscribe?.();
  }

  #hear(message: string): void {
    const [kind = "", ...ids] = message.split(" ");
    if (kind === "secret") this.#changed(ids);
    else this.#leasing.hear(kind, ids);
  }

  #changed(names: readonly string[]): void {
    for (const name of names) for (const listener of this.#listeners) listener(name);
  }

  /** Messages may have been missed: what the store no longer knows is wiped, and who uses what has changed reads again. */
  async #reconcile(): Promise<void> {
    await this.#guarded(async () => this.#changed(await this.#leasing.reconcile()));
  }

  async #look(): Promise<void> {
    const now = this.#options.clock.monotonic();
    await this.#guarded(async () => this.#changed(await this.#leasing.look()));
    await this.#guarded(async () => this.#changed(await this.#sources.refresh()));
    if (now < this.#nextSweepAt) return;
    this.#nextSweepAt = now + SECRET_LIMITS.storeSweepMilliseconds;
    await this.#guarded(() => this.#leasing.sweep());
    await this.#guarded(() => this.#endGrace());
  }

  async #endGrace(): Promise<void> {
    const now = this.#options.clock.now();
    for (const { name, graceUntil } of await this.list())
      if (graceUntil !== undefined && graceUntil <= now) await this.retire(name, { by: SERVER });
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.log.warn("the leases in the store could not be read", { error });
    }
  }

  async #need(name: string): Promise<StoredRecord> {
    const record = await this.#options.store.get(TABLES.secrets, checkSecretName(name));
    if (!record) throw secretError("SECRET_NOT_FOUND", { detail: name });
    return record;
  }
}

function checkAbout(about = ""): void {
  if (about.length > SECRET_LIMITS.aboutCharacters)
    throw secretError("SECRET_VALUE_INVALID", { detail: `about: at most ${SECRET_LIMITS.aboutCharacters} characters` });
}
