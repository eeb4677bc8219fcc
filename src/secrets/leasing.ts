/** Leases from check-out to their end: in the store for every replica, in guarded memory here, upstream where one lends. */
import { type Clock, type EntityRef, entityText, type Log, ModelkeepError, type Random, toHex } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import type { RecordStore } from "../store/index.ts";
import { secretError } from "./errors.ts";
import { type SecretJournal, secretRef } from "./journal.ts";
import { type CheckedLease, checkLeaseOptions, checkTtl, grantedSeconds } from "./lease-rules.ts";
import { LeaseStore } from "./lease-store.ts";
import { HeldLeases } from "./leases.ts";
import { SECRET_LIMITS } from "./limits.ts";
import { type LeaseRecord, type SecretRecord, toLeaseInfo, versionOf } from "./records.ts";
import type { Lease, LeaseFilter, LeaseInfo, LeaseOptions } from "./secrets.ts";
import type { Source, Sources } from "./sources.ts";
import { findChanged } from "./stale.ts";

export interface LeasingOptions {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly journal: SecretJournal;
  readonly sources: Sources;
  /** Fails with SECRET_NOT_FOUND. */
  readonly secret: (name: string) => Promise<SecretRecord>;
  readonly notify: (message: string) => Promise<void>;
}

/** Leases that are ended at once. */
const AT_ONCE = 100;

export class Leasing {
  readonly #options: LeasingOptions;
  readonly #leases: LeaseStore;
  readonly #held: HeldLeases;
  /** Work that nobody waits for, until the end. */
  readonly #running = new Set<Promise<void>>();
  #changes = 0;
  #closed = false;

  constructor(options: LeasingOptions) {
    this.#options = options;
    this.#leases = new LeaseStore(options.store, options.clock);
    this.#held = new HeldLeases({
      clock: options.clock,
      onDue: (ids) => this.#run(this.#endDue(ids)),
      onDrop: (source) => this.#run(options.sources.release(source)),
    });
  }

  #run(work: Promise<void>): void {
    const guarded = work
      .catch((error) => this.#options.log.warn("the end of a lease could not be written down", { error }))
      .finally(() => this.#running.delete(guarded));
    this.#running.add(guarded);
  }

  async lease(name: string, options: LeaseOptions): Promise<Lease> {
    this.mustBeOpen();
    this.#held.mustHaveRoom(options.holder);
    const { secret, checked, source } = await this.#acquire(name, options);
    const { sources, journal } = this.#options;
    const maxLeases = secret.rules?.maxLeases;
    let key: GuardedBytes | undefined;
    try {
      const ttlSeconds = await this.#secondsOf(source, checked.ttlSeconds);
      const info = this.#newLease(secret, { ...options, ...checked, ttlSeconds }, source);
      key = source.key.clone();
      const held = { info, key, source };
      await journal.recorded(leaseEvent(info, ttlSeconds), () => this.#open(held, maxLeases));
      return { ...toLeaseInfo(info), key, checkIn: () => this.#checkInOwn(info) };
    } catch (error) {
      key?.wipe();
      await sources.release(source);
      throw error;
    }
  }

  /** A version that is dropped between the two reads is no error: there is another by then. */
  async #acquire(
    name: string,
    options: LeaseOptions,
    before?: SecretRecord,
  ): Promise<{ readonly secret: SecretRecord; readonly checked: CheckedLease; readonly source: Source }> {
    const secret = await this.#options.secret(name);
    const checked = checkLeaseOptions(secret, options);
    const version = versionOf(secret, checked.version);
    const { unshared = false } = secret.rules ?? {};
    const request = { secretName: name, version, ttlSeconds: checked.ttlSeconds, unshared };
    try {
      return { secret, checked, source: await this.#options.sources.acquire(request) };
    } catch (error) {
      const gone = error instanceof ModelkeepError && error.code === "SECRET_NOT_FOUND";
      if (!gone || secret.updatedAt === before?.updatedAt) throw error;
      return this.#acquire(name, options, secret);
    }
  }

  async #secondsOf(source: Source, wanted: number): Promise<number> {
    const seconds = await this.#options.sources.secondsLeft(source, wanted);
    if (seconds >= 1) return seconds;
    throw secretError("LEASE_TTL_INVALID", { detail: "what the keeper of the secret lent has ended" });
  }

  async #open(held: { info: LeaseRecord; key: GuardedBytes; source: Source }, maxLeases?: number): Promise<void> {
    const { info } = held;
    this.#held.expect(info.id);
    try {
      await this.#leases.open(info, maxLeases);
      await this.#hold(held);
    } finally {
      this.#held.forget(info.id);
    }
  }

  async #hold(held: { info: LeaseRecord; key: GuardedBytes; source: Source }): Promise<void> {
    const { info } = held;
    try {
      this.mustBeOpen();
      this.#held.add(held, info.expiresAt - info.issuedAt);
    } catch (error) {
      await this.#leases.end(info);
      throw error;
    }
  }

  #newLease(
    secret: SecretRecord,
    options: LeaseOptions & { readonly ttlSeconds: number; readonly version: number },
    source: Source,
  ): LeaseRecord {
    const issuedAt = this.#options.clock.now();
    const { holder, purpose, maxUses, boundTo, ttlSeconds, version } = options;
    return {
      id: `lease_${toHex(this.#options.random.bytes(16))}`,
      secretName: secret.name,
      version,
      holder: { type: holder.type, id: holder.id },
      issuedAt,
      expiresAt: issuedAt + ttlSeconds * 1000,
      grantedSeconds: ttlSeconds,
      lastSeconds: ttlSeconds,
      uses: 1,
      ...(purpose === undefined ? {} : { purpose }),
      ...(maxUses === undefined ? {} : { maxUses }),
      ...(boundTo === undefined ? {} : { boundTo }),
      ...(secret.rules?.maxLeases === undefined ? {} : { counted: true }),
      ...(source.upstream ? { upstream: source.upstream.id } : {}),
    };
  }

  async find(leaseId: string, holder: EntityRef): Promise<LeaseInfo> {
    return toLeaseInfo(await this.#needOwn(leaseId, holder));
  }

  async use(leaseId: string, holder: EntityRef): Promise<{ lease: LeaseInfo; key: GuardedBytes }> {
    const lease = await this.#needOwn(leaseId, holder);
    const { journal } = this.#options;
    const event = { action: "secret.use", by: holder, resource: secretRef(lease.secretName), data: { lease: leaseId } };
    const key = await this.#valueOf(lease);
    try {
      const used = await journal.recorded(event, () => this.#leases.update(leaseId, countUse));
      return { lease: toLeaseInfo(used), key };
    } catch (error) {
      key.wipe();
      throw error;
    }
  }

  async #valueOf(lease: LeaseRecord): Promise<GuardedBytes> {
    const held = this.#held.get(lease.id);
    if (held) return held.source.key.clone();
    if (lease.upstream !== undefined)
      throw secretError("LEASE_USED_UP", { detail: "its value was given once, by a process that is gone" });
    const secret = await this.#options.secret(lease.secretName);
    const version = versionOf(secret, lease.version);
    const wanted = { secretName: lease.secretName, version, ttlSeconds: 1, unshared: false };
    const source = await this.#options.sources.acquire(wanted);
    try {
      return source.key.clone();
    } finally {
      await this.#options.sources.release(source);
    }
  }

  async renew(leaseId: string, options: { holder: EntityRef; ttlSeconds?: number }): Promise<LeaseInfo> {
    const { clock, journal, sources } = this.#options;
    const lease = await this.#needOwn(leaseId, options.holder);
    const { rules } = await this.#options.secret(lease.secretName);
    const wanted = checkTtl(options.ttlSeconds, rules);
    const held = this.#held.get(leaseId);
    const upstream = lease.upstream === undefined ? wanted : await sources.renew(lease.upstream, wanted);
    const seconds = Math.min(wanted, upstream);
    const event = { action: "secret.renew", by: options.holder, resource: secretRef(lease.secretName) };
    const renewed = await journal.recorded({ ...event, data: { lease: leaseId, ttlSeconds: seconds } }, () =>
      this.#leases.update(leaseId, (current) => extend(current, clock.now(), seconds)),
    );
    if (held) held.info = renewed;
    this.#held.watch(leaseId, this.#millisecondsLeft(renewed, clock.now()));
    await this.#options.notify(`renewed ${leaseId}`);
    return toLeaseInfo(renewed);
  }

  async #checkInOwn(info: LeaseRecord): Promise<void> {
    if (this.#held.drop(info.id)) await this.#end(info);
  }

  async checkIn(leaseId: string, holder: EntityRef): Promise<void> {
    const lease = await this.#needOwn(leaseId, holder);
    this.#held.drop(leaseId);
    await this.#end(lease);
  }

  async #end(info: LeaseRecord): Promise<void> {
    await this.#leases.end(info);
    await this.#options.notify(`lease ${info.id}`);
    await this.#options.journal.recordEnd(info);
  }

  async list(): Promise<readonly LeaseInfo[]> {
    const now = this.#options.clock.now();
    const open: LeaseInfo[] = [];
    for await (const lease of this.#leases.each()) {
      if (lease.expiresAt > now) open.push(toLeaseInfo(lease));
      if (open.length >= SECRET_LIMITS.listed) break;
    }
    return open;
  }

  /** Ends what the filter holds for; the keys that are held here are wiped before anything is written. */
  async revoke(filter: LeaseFilter, by: EntityRef): Promise<readonly string[]> {
    const found: LeaseRecord[] = [];
    if ("leaseId" in filter) found.push(await this.#leases.need(filter.leaseId));
    else for await (const lease of this.#leases.each()) if (isMeant(filter, lease)) found.push(lease);
    for (const { id } of found) this.#held.drop(id);
    await inGroups(found, (lease) => this.#revokeOne(lease, by));
    for (let at = 0; at < found.length; at += SECRET_LIMITS.messageIds) {
      const ids = found.slice(at, at + SECRET_LIMITS.messageIds).map(({ id }) => id);
      await this.#options.notify(`lease ${ids.join(" ")}`);
    }
    return found.map(({ id }) => id);
  }

  async #revokeOne(lease: LeaseRecord, by: EntityRef): Promise<void> {
    if (!(await this.#leases.revoke(lease))) return;
    const data = { lease: lease.id, holder: entityText(lease.holder) };
    await this.#options.journal.record({ action: "secret.revoke", by, resource: secretRef(lease.secretName), data });
  }

  /** After a rotation or a deletion, for replicas that get no message. */
  async markChange(): Promise<void> {
    await this.#leases.markChange();
  }

  dropSecret(name: string): void {
    this.#held.dropSecret(name);
  }

  /** `lease ID…` ended somewhere, or `renewed ID`. */
  hear(kind: string, ids: readonly string[]): void {
    if (kind === "lease") for (const id of ids) this.#held.drop(id);
    else if (kind === "renewed") this.#run(this.#watchAgain(ids));
  }

  async #watchAgain(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const lease = await this.#leases.find(id);
      const held = this.#held.get(id);
      if (!lease || (held?.info.renewals ?? 0) >= (lease.renewals ?? 0)) continue;
      if (held) held.info = lease;
      this.#held.watch(id, this.#millisecondsLeft(lease, this.#options.clock.now()));
    }
  }

  /** The keys are wiped already. A lease that was renewed by another process while no message came stays in the store. */
  async #endDue(ids: readonly string[]): Promise<void> {
    const now = this.#options.clock.now();
    await inGroups(ids, async (id) => {
      const lease = await this.#leases.find(id);
      if (!lease) return;
      const renewed = (lease.renewals ?? 0) > 0 && lease.expiresAt > now + SECRET_LIMITS.abandonedMilliseconds;
      if (renewed) this.#held.watch(id, this.#millisecondsLeft(lease, now));
      else await this.#endUnasked(lease, "expired");
    });
  }

  async #endUnasked(lease: LeaseRecord, ended: "expired" | "closed"): Promise<void> {
    if (!(await this.#leases.end(lease))) return;
    await this.#options.notify(`lease ${lease.id}`);
    await this.#options.journal.recordEnd(lease, ended);
  }

  /** By the later of the clock and what was seen before; never more than one grant. */
  #millisecondsLeft(lease: LeaseRecord, now: number): number {
    return Math.min(Math.max(0, lease.expiresAt - now), SECRET_LIMITS.leaseSeconds * 1000);
  }

  /** Names of secrets that have changed; leases that have ended are dropped. One read when nothing happened. */
  async look(): Promise<readonly string[]> {
    const changes = await this.#leases.changes();
    if (changes === this.#changes) return [];
    this.#changes = changes;
    return this.reconcile();
  }

  async reconcile(): Promise<readonly string[]> {
    // Before the store is read: what is opened meanwhile is in it, and not among these.
    const held = this.#held.ids();
    const open = new Set<string>();
    if (held.length > 0) for await (const { id } of this.#leases.each()) open.add(id);
    for (const id of held) if (!open.has(id)) this.#held.drop(id);
    return findChanged(this.#options.store, this.#held.withKey());
  }

  /** Finds the leases of processes that are gone: each ends at its time, whoever gave it out. */
  async sweep(): Promise<void> {
    const { clock, sources } = this.#options;
    const now = await this.#leases.latestTime();
    const inUse = new Set<string>();
    for await (const lease of this.#leases.each()) {
      if (lease.upstream !== undefined) inUse.add(lease.upstream);
      // A machine that slept: the clock that only grows stood still meanwhile.
      const slept = lease.expiresAt + SECRET_LIMITS.storeSweepMilliseconds < clock.now();
      if (this.#held.isWatched(lease.id) && !slept) continue;
      const wait = this.#held.get(lease.id) ? 0 : SECRET_LIMITS.abandonedMilliseconds;
      this.#held.watch(lease.id, this.#millisecondsLeft(lease, now) + wait);
    }
    await sources.sweep(inUse);
  }

  async start(): Promise<void> {
    this.#changes = await this.#leases.changes();
    await this.sweep();
  }

  /** Ends the leases whose key is here. What was handed out stays with its holder, whichever process runs then. */
  async close(): Promise<void> {
    this.#closed = true;
    const open = this.#held.withKey();
    this.#held.close();
    for (const lease of open) this.#run(this.#endUnasked(lease, "closed"));
    while (this.#running.size > 0) await Promise.all(this.#running);
    await this.#options.sources.close();
  }

  mustBeOpen(): void {
    if (this.#closed) throw secretError("SECRETS_CLOSED");
  }

  /** Somebody else's lease is not there, nor is one whose time is over and whose end is being written down. */
  async #needOwn(leaseId: string, holder: EntityRef): Promise<LeaseRecord> {
    this.mustBeOpen();
    const lease = await this.#leases.need(leaseId);
    const over = lease.expiresAt <= this.#options.clock.now();
    if (over || entityText(lease.holder) !== entityText(holder)) throw secretError("LEASE_NOT_FOUND");
    return lease;
  }
}

function leaseEvent(info: LeaseRecord, ttlSeconds: number) {
  const { id, version, holder, secretName, purpose } = info;
  const data = { lease: id, version, ttlSeconds, ...(purpose === undefined ? {} : { purpose }) };
  return { action: "secret.lease", by: holder, resource: secretRef(secretName), data };
}

function countUse(lease: LeaseRecord): LeaseRecord {
  const uses = (lease.uses ?? 1) + 1;
  if (uses > (lease.maxUses ?? SECRET_LIMITS.leaseUses)) throw secretError("LEASE_USED_UP");
  return { ...lease, uses };
}

/** What is given is counted in seconds and not by the date, so that no clock makes a lease live for ever. */
function extend(lease: LeaseRecord, now: number, seconds: number): LeaseRecord {
  const expiresAt = Math.max(lease.expiresAt, now + seconds * 1000);
  const granted = grantedSeconds(lease) + Math.ceil((expiresAt - lease.expiresAt) / 1000);
  if (seconds < 1 || granted > SECRET_LIMITS.leaseLifeSeconds) throw secretError("LEASE_LIFE_OVER");
  return { ...lease, expiresAt, grantedSeconds: granted, lastSeconds: seconds, renewals: (lease.renewals ?? 0) + 1 };
}

function isMeant(filter: Exclude<LeaseFilter, { leaseId: string }>, lease: LeaseRecord): boolean {
  if ("holder" in filter) return isTakenBy(filter, lease);
  if ("prefix" in filter) return lease.secretName.startsWith(filter.prefix);
  if (lease.secretName !== filter.secretName) return false;
  return filter.version === undefined || (lease.version === filter.version && lease.holder.type !== "Server");
}

function isTakenBy({ holder, boundTo }: Extract<LeaseFilter, { holder: EntityRef }>, lease: LeaseRecord): boolean {
  return entityText(holder) === entityText(lease.holder) && (boundTo === undefined || boundTo === lease.boundTo);
}

async function inGroups<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += AT_ONCE) await Promise.all(all.slice(at, at + AT_ONCE).map(work));
}
