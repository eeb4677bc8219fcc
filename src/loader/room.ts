/** How large the memory file system must be, and whether this host has that much memory left. */
import { loaderError } from "./errors.ts";
import { LOADER_LIMITS } from "./limits.ts";
import { readProc } from "./swap.ts";

/** Memory limits of the control group that a container sees as its own; version 2, version 1. */
const GROUPS = [
  { limit: "/sys/fs/cgroup/memory.max", used: "/sys/fs/cgroup/memory.current" },
  { limit: "/sys/fs/cgroup/memory/memory.limit_in_bytes", used: "/sys/fs/cgroup/memory/memory.usage_in_bytes" },
];

export interface ModelSize {
  readonly files: number;
  readonly bytes: number;
}

/** In bytes. */
export function mountBytes(size: ModelSize): number {
  return size.bytes + size.files * LOADER_LIMITS.perFileBytes + LOADER_LIMITS.spareBytes;
}

/** Fails with MEMORY_TOO_SMALL before anything was decrypted. */
export async function checkRoom(size: ModelSize): Promise<void> {
  const available = await availableBytes();
  if (available === undefined || size.bytes <= available) return;
  throw loaderError("MEMORY_TOO_SMALL", { detail: `it has ${size.bytes} bytes, ${available} are available` });
}

async function availableBytes(): Promise<number | undefined> {
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(await readProc("/proc/meminfo"))?.[1];
  const rooms = kilobytes === undefined ? [] : [Number(kilobytes) * 1024];
  for (const group of GROUPS) {
    const [limit, used] = [
      Number.parseInt(await readProc(group.limit), 10),
      Number.parseInt(await readProc(group.used), 10),
    ];
    if (Number.isFinite(limit) && Number.isFinite(used)) rooms.push(Math.max(0, limit - used));
  }
  return rooms.length === 0 ? undefined : Math.min(...rooms);
}
