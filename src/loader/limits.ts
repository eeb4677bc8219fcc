/** Limits of the loader. */
export const LOADER_LIMITS = {
  /** What the inner program is told, in bytes: store, trusted keys, digests. */
  jobBytes: 4 * 1024 * 1024,
  /** One line of what the inner program tells back, in bytes. */
  statusBytes: 64 * 1024,
  /** Words of the program that is started. */
  commandWords: 10_000,
  packageKeyBytes: 32,
  /** Room beside the files in the memory file system, in bytes: folders and their tables. */
  spareBytes: 16 * 1024 * 1024,
  /** Rounding of one file up to a page of any architecture, in bytes. */
  perFileBytes: 64 * 1024,
  /** Time for `mount` and for a look at the host, in milliseconds. */
  toolMilliseconds: 10_000,
  /** Time between two words about the progress, in milliseconds. */
  progressMilliseconds: 200,
} as const;

/**
 * RLIMIT_CORE in bytes. One, not zero: the kernel then neither writes a file nor feeds a core handler through a pipe
 * (fs/coredump.c), where zero would still feed the handler.
 */
export const CORE_LIMIT_BYTES = 1;
