/** Pages for keys, of the best kind that this machine has, and which kind that is. */
import sodium from "sodium-native";
import { hostError } from "./errors.ts";
import { loadSecretMemory, type SecretMemory } from "./secret-memory.ts";

/** `secret`: memfd_secret. `locked`: mlock and guard pages. `plain`: neither could be had; it may be swapped out. */
export type MemoryLevel = "secret" | "locked" | "plain";

export interface GuardedMemoryLevel {
  readonly level: MemoryLevel;
  readonly about: string;
  /** What to do for a better one. */
  readonly hint?: string;
}

/** Open memory of at least the length that was asked for; only what `give` got back is taken again. */
export interface LockedPage {
  readonly bytes: Buffer;
  readonly level: MemoryLevel;
}

/** Smallest page that is kept for others, in bytes; lengths are rounded up to a power of two. */
const SMALLEST_BYTES = 64;
/** Pages of one size that are kept; what is over goes back to the system where it takes it. */
const KEPT_PER_SIZE = 256;

const ABOUT: Readonly<Record<MemoryLevel, string>> = {
  secret: "memfd_secret: not readable from outside even by root, not in core dumps; keys rest encrypted",
  locked: "sodium_malloc: locked, not in core dumps, guard pages, no access between uses; keys rest encrypted",
  plain: "NOT LOCKED: keys are in ordinary memory while they are used and may reach swap; at rest they are encrypted",
};

const HINT: Partial<Record<MemoryLevel, string>> = {
  locked: "for memfd_secret: Linux 5.14 or newer with secretmem.enable=1, and npm install koffi",
  plain: "ulimit -l 8192",
};

const pool = new Map<number, LockedPage[]>();
let secretMemory: SecretMemory | undefined;
/** The worst kind that was handed out: one page of a lesser kind is enough to say so. */
let inForce: MemoryLevel | undefined;

/** How secrets are held on this machine; the words go to `doctor`, the metrics and the logs. */
export function guardedMemoryLevel(): GuardedMemoryLevel {
  const level = inForce ?? decide();
  const hint = HINT[level];
  return { level, about: ABOUT[level], ...(hint === undefined ? {} : { hint }) };
}

/** Throws MEMORY_LEVEL_MISSING when MODELKEEP_MEMORY asks for what this machine has not. */
function decide(): MemoryLevel {
  const wanted = process.env.MODELKEEP_MEMORY ?? "";
  if (!/^(?:secret|locked|plain)?$/.test(wanted)) throw hostError("MEMORY_LEVEL_MISSING", { detail: wanted });
  if (wanted === "" || wanted === "secret") secretMemory = loadSecretMemory();
  inForce = secretMemory ? "secret" : canLock() && wanted !== "plain" ? "locked" : "plain";
  if (wanted !== "" && wanted !== inForce) throw missing(wanted);
  return inForce;
}

function missing(wanted: string): Error {
  inForce = undefined;
  return hostError("MEMORY_LEVEL_MISSING", { detail: wanted });
}

/** sodium_malloc goes on without a lock when there is none to be had. */
function canLock(): boolean {
  const page = Buffer.allocUnsafeSlow(SMALLEST_BYTES);
  try {
    sodium.sodium_mlock(page);
    sodium.sodium_munlock(page);
    return true;
  } catch {
    return false;
  }
}

/** Zeroed and open. */
export function takePage(length: number): LockedPage {
  const size = Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(length)));
  const kept = pool.get(size)?.pop();
  if (kept) {
    if (kept.level !== "secret") sodium.sodium_mprotect_readwrite(kept.bytes);
    return kept;
  }
  const level = inForce ?? decide();
  const bytes = secretMemory?.map(size);
  if (bytes) return { bytes, level: "secret" };
  if (level === "secret") inForce = canLock() ? "locked" : "plain";
  const ordinary = sodium.sodium_malloc(size);
  ordinary.fill(0);
  return { bytes: ordinary, level: inForce ?? level };
}

/** Zeroes `used` bytes, all of them without a number, and takes the access away where that can be. */
export function givePage(page: LockedPage, used = page.bytes.length): void {
  sodium.sodium_memzero(page.bytes.subarray(0, used));
  const size = page.bytes.length;
  const same = pool.get(size) ?? [];
  pool.set(size, same);
  if (page.level === "secret") same.push(page);
  else if (same.length < KEPT_PER_SIZE) {
    sodium.sodium_mprotect_noaccess(page.bytes);
    same.push(page);
  } else sodium.sodium_free(page.bytes);
}
