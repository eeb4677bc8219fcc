/** Limits of sealed models. */
import { LIMITS } from "../base/index.ts";

export const SEALING_LIMITS = {
  /** Plaintext of one segment, in bytes. */
  segmentBytes: 1024 * 1024,
  files: LIMITS.modelFiles,
  statementBytes: 64 * 1024 * 1024,
  envelopeBytes: 64 * 1024,
  bundleBytes: 64 * 1024 * 1024,
  recipients: 16,
  /** The record of one finished file. */
  journalBytes: 64 * 1024,
  /** Segments that a thread seals at once, and opens at once out of memory or out of a file of this machine; powers of two. */
  sealBatchSegments: 2,
  batchSegments: 4,
  localBatchSegments: 16,
  /** Files that are sealed side by side, so that their digests are made two at a time. */
  filesAtOnce: 2,
  /** A smaller one is not worth a file beside it. */
  largeFileBytes: 16 * 1024 * 1024,
  /** Blobs that are copied from store to store at once. */
  copiesAtOnce: 16,
  /** Of one blob. */
  copyAttempts: 3,
  /** What all of them may take of memory, and what one is counted for at most. */
  copyBudgetBytes: 256 * 1024 * 1024,
  copyBlobBytes: 64 * 1024 * 1024,
  /** Bytes that are asked of a store at once while copying. */
  copyChunkBytes: 8 * 1024 * 1024,
  /** Parts that a model is sealed in. */
  parts: 1_000,
  /** A range of a file that several parts share begins at a multiple of so many segments. */
  rangeSegments: 16,
  /** What every part reads first, and the record of a finished piece. */
  planBytes: 64 * 1024 * 1024,
  pieceRecordBytes: 16 * 1024,
  /** FLOE: segments of one file. */
  segments: 2 ** 40,
} as const;
