/** Divides a model among parts: whole files, ranges of large files, and the digests of files that are in ranges. */
import type { SegmentRange } from "../batches.ts";
import { segmentCount } from "../layout.ts";
import { SEALING_LIMITS } from "../limits.ts";

export interface DividedRange extends SegmentRange {
  readonly part: number;
}

export interface DividedFile {
  /** Who seals the file, or hashes it as a whole where others seal its ranges. */
  readonly part: number;
  /** None for a file that is sealed whole. */
  readonly ranges: readonly DividedRange[];
}

interface Piece {
  readonly file: number;
  readonly range?: SegmentRange;
  /** In segments that are sealed; one that is only hashed costs half as much. */
  readonly cost: number;
}

/** The same for the same lengths, in bytes, and number of parts. Large pieces come first, each to who has least to do. */
export function divide(lengths: readonly number[], parts: number): DividedFile[] {
  const counts = lengths.map(segmentCount);
  const share = roundUp(Math.ceil(counts.reduce((sum, count) => sum + count, 0) / parts));
  const pieces = counts.flatMap((count, file) => piecesOf(file, count, share));
  const loads = new Array<number>(parts).fill(0);
  const owners = new Map<Piece, number>();
  for (const piece of pieces.toSorted(largestFirst)) {
    const part = loads.indexOf(Math.min(...loads));
    loads[part] = (loads[part] ?? 0) + piece.cost;
    owners.set(piece, part);
  }
  return collect(lengths.length, pieces, owners);
}

function roundUp(segments: number): number {
  return Math.ceil(segments / SEALING_LIMITS.rangeSegments) * SEALING_LIMITS.rangeSegments;
}

/** A file that is more than one part's share is cut into ranges of about one length. */
function piecesOf(file: number, count: number, share: number): Piece[] {
  if (count <= share) return [{ file, cost: count }];
  const length = roundUp(Math.ceil(count / Math.ceil(count / share)));
  const pieces: Piece[] = [{ file, cost: Math.ceil(count / 2) }];
  for (let first = 0; first < count; first += length) {
    const range = { first, count: Math.min(length, count - first) };
    pieces.push({ file, range, cost: range.count });
  }
  return pieces;
}

/** The sort is stable: what costs the same stays in the order of the model. */
function largestFirst(a: Piece, b: Piece): number {
  return b.cost - a.cost;
}

function collect(files: number, pieces: readonly Piece[], owners: ReadonlyMap<Piece, number>): DividedFile[] {
  const divided = Array.from({ length: files }, () => ({ part: 0, ranges: [] as DividedRange[] }));
  for (const piece of pieces) {
    const at = divided[piece.file];
    const part = owners.get(piece) ?? 0;
    if (piece.range) at?.ranges.push({ ...piece.range, part });
    else if (at) at.part = part;
  }
  return divided;
}
