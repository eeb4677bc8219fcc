/** Memory of memfd_secret(2): pages that the kernel has taken out of its own map, which even root cannot read from outside. */
import { createRequire } from "node:module";
import type { ForeignFunctions } from "./ffi.ts";

/** The same number on every architecture (Linux 5.14). */
const SYS_MEMFD_SECRET = 447;
/** O_CLOEXEC: no program that is started gets the descriptor. */
const FD_CLOEXEC_FLAG = 0o2000000;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffffffffffffffffn;

export interface SecretMemory {
  /** Zeroed and never given back; undefined when the kernel gives no more. */
  map(length: number): Buffer | undefined;
}

/** Undefined without the optional package, on another system, or where the kernel refuses the call. */
export function loadSecretMemory(): SecretMemory | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const memory = bind(requireForeignFunctions());
    return memory.map(1) ? memory : undefined;
  } catch {
    return undefined;
  }
}

/** At once, where a promise cannot be waited for. Throws where the package is not there. */
export function requireForeignFunctions(): ForeignFunctions {
  const loaded = createRequire(import.meta.url)("koffi") as ForeignFunctions & { readonly default?: ForeignFunctions };
  return loaded.default ?? loaded;
}

function bind(koffi: ForeignFunctions): SecretMemory {
  const libc = koffi.load(null);
  const syscall = libc.func("long syscall(long number, unsigned long flags)");
  const ftruncate = libc.func("int ftruncate(int fd, int64_t length)");
  const mmap = libc.func("void *mmap(void *at, size_t length, int protection, int flags, int fd, int64_t offset)");
  const close = libc.func("int close(int fd)");
  return {
    map(length) {
      const fd = Number(syscall(SYS_MEMFD_SECRET, FD_CLOEXEC_FLAG));
      if (fd < 0) return undefined;
      try {
        if (ftruncate(fd, length) !== 0) return undefined;
        const at: unknown = mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0);
        if (at === null || koffi.address(at) === MAP_FAILED) return undefined;
        return Buffer.from(koffi.view(at, length));
      } finally {
        close(fd);
      }
    },
  };
}
