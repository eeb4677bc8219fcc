/** Cuts a file's segments into batches, each of which one thread takes. */
import { segmentCount } from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface Segment {
  readonly index: number;
  readonly isLast: boolean;
  /** Of plaintext. */
  readonly bytes: number;
}

export interface SegmentBatch {
  readonly first: number;
  readonly count: number;
  /** Of plaintext. */
  readonly bytes: number;
  readonly segments: readonly Segment[];
}

/** Segments of a file that follow each other. */
export interface SegmentRange {
  readonly first: number;
  readonly count: number;
}

export function wholeRange(fileBytes: number): SegmentRange {
  return { first: 0, count: segmentCount(fileBytes) };
}

/** Of plaintext. */
export function rangeBytes(fileBytes: number, { first, count }: SegmentRange): number {
  const { segmentBytes } = SEALING_LIMITS;
  return Math.min(fileBytes, (first + count) * segmentBytes) - first * segmentBytes;
}

/**
 * Batches of at most `most` segments, fewer where a file would not keep `wanted` batches under way. Their length is a
 * power of two and the range begins at a multiple of `most`, so that all segments of a batch share one key.
 */
export function* batchesOf(
  fileBytes: number,
  most: number,
  wanted: number,
  range = wholeRange(fileBytes),
): Generator<SegmentBatch> {
  const total = segmentCount(fileBytes);
  const end = range.first + range.count;
  let size = 1;
  while (size * 2 <= most && size * 2 * wanted <= range.count) size *= 2;
  for (let first = range.first; first < end; first += size) {
    const count = Math.min(size, end - first);
    const segments = Array.from({ length: count }, (_, at) => segmentAt(fileBytes, first + at, total));
    yield { first, count, segments, bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0) };
  }
}

function segmentAt(fileBytes: number, index: number, total: number): Segment {
  const isLast = index === total - 1;
  const bytes = isLast ? fileBytes - index * SEALING_LIMITS.segmentBytes : SEALING_LIMITS.segmentBytes;
  return { index, isLast, bytes };
}
