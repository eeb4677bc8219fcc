/** The leases that this process holds: the only places where a key is in the clear. */
import { type Clock, type EntityRef, entityText } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";
import type { LeaseInfo } from "./secrets.ts";

interface Held {
  readonly info: LeaseInfo;
  readonly key: GuardedBytes;
  /** On the clock that only grows, in milliseconds: setting the machine's clock back lengthens no lease. */
  readonly endsAt: number;
}

export class HeldLeases {
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();
  readonly #perHolder = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#held.size;
  }

  add(info: LeaseInfo, key: GuardedBytes): void {
    this.mustHaveRoom(info.holder);
    const endsAt = this.#clock.monotonic() + (info.expiresAt - info.issuedAt);
    this.#held.set(info.id, { info, key, endsAt });
    this.#count(info.holder, 1);
  }

  /** Throws LEASE_LIMIT. */
  mustHaveRoom(holder: EntityRef): void {
    const { openLeases, openLeasesPerHolder } = SECRET_LIMITS;
    if (this.#held.size >= openLeases) throw secretError("LEASE_LIMIT", { detail: `${openLeases} in this process` });
    if ((this.#perHolder.get(entityText(holder)) ?? 0) >= openLeasesPerHolder)
      throw secretError("LEASE_LIMIT", { detail: `${openLeasesPerHolder} of one holder` });
  }

  #count(holder: EntityRef, change: 1 | -1): void {
    const name = entityText(holder);
    const count = (this.#perHolder.get(name) ?? 0) + change;
    if (count > 0) this.#perHolder.set(name, count);
    else this.#perHolder.delete(name);
  }

  get(id: string): LeaseInfo | undefined {
    return this.#held.get(id)?.info;
  }

  ids(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** Leases whose key is in this process; that of a checkout has gone to its holder. */
  withKey(): readonly LeaseInfo[] {
    return [...this.#held.values()].filter(({ key }) => !key.wiped).map(({ info }) => info);
  }

  /** Wipes the key; true when it was held here. */
  drop(id: string): boolean {
    const held = this.#held.get(id);
    if (!held) return false;
    held.key.wipe();
    this.#count(held.info.holder, -1);
    return this.#held.delete(id);
  }

  /** Where a key that is held now stands in the bytes. */
  find(line: Buffer): readonly { readonly start: number; readonly end: number }[] {
    return [...this.#held.values()].flatMap(({ key }) =>
      key.wiped ? [] : key.use((bytes) => positionsOf(bytes, line)),
    );
  }

  dropSecret(name: string): void {
    for (const [id, held] of this.#held) if (held.info.secretName === name) this.drop(id);
  }

  dropAll(): void {
    for (const id of this.ids()) this.drop(id);
  }

  /** Wipes what has ended by either clock, and says which. */
  dropEnded(): readonly LeaseInfo[] {
    const now = this.#clock.now();
    const monotonic = this.#clock.monotonic();
    const ended = [...this.#held.values()].filter((held) => held.endsAt <= monotonic || held.info.expiresAt <= now);
    for (const held of ended) this.drop(held.info.id);
    return ended.map((held) => held.info);
  }
}

function positionsOf(key: Uint8Array, line: Buffer): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (let at = line.indexOf(key); at >= 0; at = line.indexOf(key, at + key.length)) {
    found.push({ start: at, end: at + key.length });
  }
  return found;
}
