/** The leases that this process gave out: where a key is in use, and when each of them ends. */
import { type Clock, type EntityRef, entityText } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import { Deadlines } from "./deadlines.ts";
import { secretError } from "./errors.ts";
import { SECRET_LIMITS } from "./limits.ts";
import type { LeaseRecord } from "./records.ts";
import type { Source } from "./sources.ts";

export interface Held {
  info: LeaseRecord;
  readonly key: GuardedBytes;
  readonly source: Source;
}

export interface HeldLeasesOptions {
  readonly clock: Clock;
  /** Told of what has ended by the clock that only grows; the keys are wiped by then. */
  readonly onDue: (ids: readonly string[]) => void;
  /** Told once for each lease that is held no more. */
  readonly onDrop: (source: Source) => void;
}

export class HeldLeases {
  readonly #options: HeldLeasesOptions;
  readonly #deadlines: Deadlines;
  readonly #held = new Map<string, Held>();
  readonly #perHolder = new Map<string, number>();
  /** Leases that are being written, and whether somebody ended them meanwhile. */
  readonly #expected = new Map<string, boolean>();

  constructor(options: HeldLeasesOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (ids) => {
      for (const id of ids) this.drop(id);
      options.onDue(ids);
    });
  }

  get count(): number {
    return this.#held.size;
  }

  /** From before a lease is in the store, where others find it, until `forget`. */
  expect(id: string): void {
    this.#expected.set(id, false);
  }

  forget(id: string): void {
    this.#expected.delete(id);
  }

  /** Throws LEASE_LIMIT; LEASE_NOT_FOUND for one that was ended since it was expected. */
  add(held: Held, milliseconds: number): void {
    this.mustHaveRoom(held.info.holder);
    if (this.#expected.get(held.info.id)) throw secretError("LEASE_NOT_FOUND");
    this.#held.set(held.info.id, held);
    this.#count(held.info.holder, 1);
    this.watch(held.info.id, milliseconds);
  }

  /** `onDue` is told of this lease after so many milliseconds from now, whichever process holds it. */
  watch(id: string, milliseconds: number): void {
    this.#deadlines.set(id, this.#options.clock.monotonic() + milliseconds);
  }

  isWatched(id: string): boolean {
    return this.#deadlines.has(id);
  }

  /** Throws LEASE_LIMIT. */
  mustHaveRoom(holder: EntityRef): void {
    const { openLeases, openLeasesPerHolder } = SECRET_LIMITS;
    // Those of the server itself: workloads that take all the room do not stop the gateway.
    if (this.#held.size >= openLeases && holder.type !== "Server")
      throw secretError("LEASE_LIMIT", { detail: `${openLeases} in this process` });
    if ((this.#perHolder.get(entityText(holder)) ?? 0) >= openLeasesPerHolder)
      throw secretError("LEASE_LIMIT", { detail: `${openLeasesPerHolder} of one holder` });
  }

  #count(holder: EntityRef, change: 1 | -1): void {
    const name = entityText(holder);
    const count = (this.#perHolder.get(name) ?? 0) + change;
    if (count > 0) this.#perHolder.set(name, count);
    else this.#perHolder.delete(name);
  }

  get(id: string): Held | undefined {
    return this.#held.get(id);
  }

  /** Also of those whose key has gone to its holder: what was lent upstream is given back with them. */
  ids(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** Leases whose key is in this process; that of a checkout has gone to its holder. */
  withKey(): readonly LeaseRecord[] {
    return [...this.#held.values()].filter(({ key }) => !key.wiped).map(({ info }) => info);
  }

  /** Wipes the key; true when it was held here. */
  drop(id: string): boolean {
    this.#deadlines.delete(id);
    if (this.#expected.has(id)) this.#expected.set(id, true);
    const held = this.#held.get(id);
    if (!held) return false;
    this.#held.delete(id);
    held.key.wipe();
    this.#count(held.info.holder, -1);
    this.#options.onDrop(held.source);
    return true;
  }

  dropSecret(name: string): void {
    for (const [id, { info }] of this.#held) if (info.secretName === name) this.drop(id);
  }

  /** Wipes every key and looks at no time any more. What was handed out stays lent upstream: its holder still has it. */
  close(): void {
    this.#deadlines.close();
    for (const [id, { key }] of [...this.#held]) if (key.wiped) this.#held.delete(id);
    for (const id of [...this.#held.keys()]) this.drop(id);
  }
}
