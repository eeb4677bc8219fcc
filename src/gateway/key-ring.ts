/** The provider keys in use: one lease per secret, shared by its requests, checked in when nobody needs it any more. */
import type { Clock, EntityRef, Log } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import type { Lease, SecretService } from "../secrets/index.ts";
import { gatewayError } from "./errors.ts";
import { GATEWAY_INTERNALS as INTERNALS } from "./limits.ts";
import type { SlotTable } from "./splice.ts";

/** A key for one request; `release` must be called once, when the reply has ended. */
export interface HeldKey {
  /** What undici writes into the head in place of the key. */
  readonly slot: string;
  readonly key: GuardedBytes;
  release(): void;
}

interface Entry {
  readonly lease: Lease;
  readonly slot: string;
  readonly renewAt: number;
  users: number;
  usedAt: number;
  stale: boolean;
}

export interface KeyRingOptions {
  readonly secrets: SecretService;
  readonly slots: SlotTable;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of every key that nobody here needs any more. */
  readonly onCheckIn: () => void;
}

const HOLDER: EntityRef = { type: "Server", id: "gateway" };

export class KeyRing {
  readonly #secrets: SecretService;
  readonly #slots: SlotTable;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onCheckIn: () => void;
  readonly #entries = new Map<string, Entry>();
  readonly #pending = new Map<string, Promise<Entry>>();
  readonly #unsubscribe: () => void;
  readonly #timer: NodeJS.Timeout;

  constructor(options: KeyRingOptions) {
    this.#secrets = options.secrets;
    this.#slots = options.slots;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onCheckIn = options.onCheckIn;
    this.#unsubscribe = this.#secrets.onChange((name) => this.#retire(name));
    this.#timer = setInterval(() => this.checkInIdle(), INTERNALS.keyIdleMilliseconds / 4).unref();
  }

  /** Throws PROVIDER_KEY_UNAVAILABLE. */
  async acquire(secretName: string): Promise<HeldKey> {
    const entry = this.#usable(secretName) ?? (await this.#renewed(secretName));
    entry.users++;
    entry.usedAt = this.#clock.monotonic();
    let released = false;
    return {
      slot: entry.slot,
      key: entry.lease.key,
      release: () => {
        if (released) return;
        released = true;
        entry.users--;
        entry.usedAt = this.#clock.monotonic();
        if (entry.stale && entry.users === 0) this.#checkIn(entry);
      },
    };
  }

  #usable(name: string): Entry | undefined {
    const entry = this.#entries.get(name);
    if (entry && !entry.lease.key.wiped && this.#clock.monotonic() < entry.renewAt) return entry;
    if (entry) this.#retire(name);
    return undefined;
  }

  async #renewed(name: string): Promise<Entry> {
    const running = this.#pending.get(name);
    if (running) return running;
    const fresh = this.#lease(name).finally(() => this.#pending.delete(name));
    this.#pending.set(name, fresh);
    return fresh;
  }

  async #lease(name: string): Promise<Entry> {
    const lease = await this.#grant(name);
    if (!lease.key.use(isUsableKey)) {
      await lease.checkIn();
      throw gatewayError("PROVIDER_KEY_UNAVAILABLE", { detail: "it is no printable ASCII of 8 to 8,192 bytes" });
    }
    const now = this.#clock.monotonic();
    // A rule of the secret, or what a keeper of secrets lent, may have made it shorter than what was asked for.
    const renewAt = now + (lease.expiresAt - lease.issuedAt) * INTERNALS.keyRenewPart;
    const entry: Entry = { lease, slot: this.#slots.add(lease.key), renewAt, users: 0, usedAt: now, stale: false };
    this.#entries.set(name, entry);
    return entry;
  }

  async #grant(name: string): Promise<Lease> {
    try {
      const options = { holder: HOLDER, ttlSeconds: INTERNALS.keyLeaseSeconds, purpose: "gateway" };
      return await this.#secrets.lease(name, options);
    } catch (error) {
      throw gatewayError("PROVIDER_KEY_UNAVAILABLE", { detail: "no lease was granted", cause: error });
    }
  }

  /** The next request leases anew; requests under way keep the old key until their replies have ended. */
  #retire(name: string): void {
    // A lease that is being taken now may be of the version before: nobody after this waits for it.
    const pending = this.#pending.get(name);
    if (pending) {
      this.#pending.delete(name);
      void pending.then(
        (entry) => this.#drop(name, entry),
        () => undefined,
      );
    }
    const entry = this.#entries.get(name);
    if (entry) this.#drop(name, entry);
  }

  #drop(name: string, entry: Entry): void {
    if (this.#entries.get(name) === entry) this.#entries.delete(name);
    entry.stale = true;
    if (entry.users === 0) this.#checkIn(entry);
  }

  #checkIn(entry: Entry): void {
    this.#slots.remove(entry.slot);
    this.#onCheckIn();
    entry.lease.checkIn().catch(() => this.#log.warn("a lease was wiped, but its end is not written down"));
  }

  /** Checks in every key that no request used for a while. */
  checkInIdle(idleMilliseconds: number = INTERNALS.keyIdleMilliseconds): void {
    const before = this.#clock.monotonic() - idleMilliseconds;
    for (const [name, entry] of this.#entries) {
      if (entry.users === 0 && entry.usedAt <= before) this.#drop(name, entry);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#unsubscribe();
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const entry of entries) {
      this.#slots.remove(entry.slot);
      await entry.lease.checkIn().catch(() => undefined);
    }
  }
}

/** Visible ASCII: anything else could end the header line or add another. */
function isUsableKey(key: Uint8Array): boolean {
  const { minKeyBytes, maxKeyBytes } = INTERNALS;
  return key.length >= minKeyBytes && key.length <= maxKeyBytes && key.every((byte) => byte > 0x20 && byte < 0x7f);
}
