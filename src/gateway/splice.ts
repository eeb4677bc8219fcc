/** Puts the key into a request at the last moment: undici sees a placeholder, the socket's `write` replaces it in locked memory. */
// Node would otherwise make a string of the key (one copy per request, never wiped), and a corked head and body would be
// joined in memory that is freed unwiped. HTTP/1.1 only: HPACK needs strings.
import { type Random, toHex } from "../base/index.ts";
import { type GuardedBytes, LockedScratch, type net } from "../host/index.ts";
import { gatewayError } from "./errors.ts";
import { GATEWAY_INTERNALS } from "./limits.ts";
import type { ReplyGuard } from "./reply-guard.ts";

const MARK = "@KEYSLOT-";
const SLOT_CHARACTERS = MARK.length + 32;

/** Which placeholder stands for which key. Placeholders are random: no client can write one into its own headers. */
export class SlotTable {
  readonly #keys = new Map<string, GuardedBytes>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  add(key: GuardedBytes): string {
    const slot = MARK + toHex(this.#random.bytes(16));
    this.#keys.set(slot, key);
    return slot;
  }

  remove(slot: string): void {
    this.#keys.delete(slot);
  }

  /** Throws PROVIDER_KEY_UNAVAILABLE when the lease has ended since the request was queued. */
  need(slot: string): GuardedBytes {
    const key = this.#keys.get(slot);
    if (!key || key.wiped) throw gatewayError("PROVIDER_KEY_UNAVAILABLE", { detail: "the lease has ended" });
    return key;
  }
}

/** Open locked buffers for writes under way; wiped before they are kept for the next. */
export class ScratchPool {
  readonly #free: LockedScratch[] = [];

  take(length: number): LockedScratch {
    if (length > GATEWAY_INTERNALS.scratchBytes) return LockedScratch.allocate(length);
    return this.#free.pop() ?? LockedScratch.allocate(GATEWAY_INTERNALS.scratchBytes);
  }

  give(scratch: LockedScratch, used: number): void {
    scratch.wipe(used);
    const standard = scratch.bytes.length === GATEWAY_INTERNALS.scratchBytes;
    if (standard && this.#free.length < GATEWAY_INTERNALS.keptScratches) this.#free.push(scratch);
    else scratch.free();
  }

  close(): void {
    for (const scratch of this.#free.splice(0)) scratch.free();
  }
}

interface Filled {
  readonly scratch: LockedScratch;
  used: number;
}

/** Wraps a connected socket; only after `connect` or `secureConnect`, else Node keeps a copy of the first write. */
export function spliceKeys(socket: net.Socket, slots: SlotTable, pool: ScratchPool, guard: ReplyGuard): void {
  const write = socket.write.bind(socket) as (
    chunk: Uint8Array | string,
    encoding?: BufferEncoding,
    done?: WriteDone,
  ) => boolean;
  let corked = false;
  let waiting: Filled | undefined;

  const flush = (): void => {
    const filled = waiting;
    waiting = undefined;
    if (!filled) return;
    write(filled.scratch.bytes.subarray(0, filled.used), undefined, () => pool.give(filled.scratch, filled.used));
  };
  const spliced = (chunk: Uint8Array | string, encoding?: BufferEncoding | WriteDone, done?: WriteDone): boolean => {
    const callback = typeof encoding === "function" ? encoding : done;
    const at = typeof chunk === "string" ? chunk.indexOf(MARK) : -1;
    if (typeof chunk === "string" && at >= 0) {
      flush();
      const key = slots.need(chunk.slice(at, at + SLOT_CHARACTERS));
      guard.expect(key);
      waiting = fill(chunk, at, key, pool);
    } else if (waiting && typeof chunk !== "string" && append(waiting, chunk)) {
      // Head and body leave in one write, out of locked memory.
    } else {
      flush();
      return write(chunk, typeof encoding === "string" ? encoding : undefined, callback);
    }
    if (!corked) flush();
    if (callback) queueMicrotask(() => callback());
    return !socket.writableNeedDrain;
  };
  socket.cork = () => {
    corked = true;
  };
  socket.uncork = () => {
    corked = false;
    flush();
  };
  socket.write = spliced as net.Socket["write"];
  socket.once("close", () => {
    if (waiting) pool.give(waiting.scratch, waiting.used);
    waiting = undefined;
  });
}

type WriteDone = (error?: Error | null) => void;

function fill(head: string, at: number, key: GuardedBytes, pool: ScratchPool): Filled {
  const used = head.length - SLOT_CHARACTERS + key.length;
  const scratch = pool.take(used);
  const { bytes } = scratch;
  bytes.write(head.slice(0, at), 0, "latin1");
  key.use((secret) => bytes.set(secret, at));
  bytes.write(head.slice(at + SLOT_CHARACTERS), at + key.length, "latin1");
  return { scratch, used };
}

function append(filled: Filled, chunk: Uint8Array): boolean {
  const { bytes } = filled.scratch;
  if (filled.used + chunk.length > bytes.length) return false;
  bytes.set(chunk, filled.used);
  filled.used += chunk.length;
  return true;
}
