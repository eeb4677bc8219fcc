/** The tree in the store: tiles of up to 256 hashes of one level, as in C2SP tlog-tiles, and the edge where it grows. */
import { concatBytes } from "../base/index.ts";
import type { RecordTransaction } from "../store/index.ts";
import { auditError } from "./errors.ts";
import { Frontier, foldPerfect, HASH_BYTES } from "./merkle.ts";
import type { NodeSource } from "./proofs.ts";

export type TileReader = Pick<RecordTransaction, "get">;

const TABLE = "audit-tiles";
const TILE_LEVELS = 8;
const TILE_WIDTH = 256;

/** The tree's right edge in memory: the frontier and the unfinished tile of every level. */
export class TreeEdge {
  readonly #frontier: Frontier;
  readonly #open: Uint8Array[][];
  readonly #changed = new Map<string, readonly Uint8Array[]>();

  constructor(frontier = new Frontier(), open: readonly (readonly Uint8Array[])[] = []) {
    this.#frontier = frontier;
    this.#open = open.map((tile) => [...tile]);
  }

  get size(): number {
    return this.#frontier.size;
  }

  root(): Uint8Array {
    return this.#frontier.root();
  }

  push(leafHash: Uint8Array): void {
    this.#frontier.push(leafHash, (level, index, node) => {
      if (level % TILE_LEVELS === 0) this.#keep(level / TILE_LEVELS, index, node);
    });
  }

  #keep(tileLevel: number, index: number, node: Uint8Array): void {
    const place = index % TILE_WIDTH;
    const tile = place === 0 ? [] : (this.#open[tileLevel] ?? []);
    tile.push(node);
    this.#open[tileLevel] = tile;
    this.#changed.set(tileId(tileLevel, Math.floor(index / TILE_WIDTH)), tile);
  }

  /** Writes the tiles that were touched since the clone. */
  async save(tx: Pick<RecordTransaction, "put">): Promise<void> {
    for (const [id, hashes] of this.#changed) await tx.put(TABLE, id, concatBytes(...hashes));
  }

  clone(): TreeEdge {
    return new TreeEdge(this.#frontier.clone(), this.#open);
  }
}

/** The edge as it was at `size`, which is at most the size of the tree. Throws AUDIT_TAMPERED when hashes are missing. */
export async function loadEdge(reader: TileReader, size: number): Promise<TreeEdge> {
  const open: Uint8Array[][] = [];
  for (let level = 0; countAt(size, level) > 0; level++) {
    const count = countAt(size, level);
    const used = count % TILE_WIDTH;
    open.push(used === 0 ? [] : await readTile(reader, level, Math.floor(count / TILE_WIDTH), used));
  }
  return new TreeEdge(new Frontier(size, peaksOf(size, open)), open);
}

/** The bits of the size are the heights of the peaks, the largest first. */
function peaksOf(size: number, open: readonly (readonly Uint8Array[])[]): Uint8Array[] {
  const peaks: Uint8Array[] = [];
  let start = 0;
  for (let height = 52; height >= 0; height--) {
    if (Math.floor(size / 2 ** height) % 2 === 0) continue;
    const level = Math.floor(height / TILE_LEVELS);
    const first = countAt(start, level) % TILE_WIDTH;
    peaks.push(foldPerfect((open[level] ?? []).slice(first, first + 2 ** (height % TILE_LEVELS))));
    start += 2 ** height;
  }
  return peaks;
}

/** Nodes out of the stored tiles; a tile is read once. */
export function nodesOf(reader: TileReader): NodeSource {
  const tiles = new Map<string, Promise<Uint8Array[]>>();
  return async (height, index) => {
    const level = Math.floor(height / TILE_LEVELS);
    const width = 2 ** (height % TILE_LEVELS);
    const [tile, first] = [Math.floor((index * width) / TILE_WIDTH), (index * width) % TILE_WIDTH];
    const id = tileId(level, tile);
    const read = tiles.get(id) ?? readTile(reader, level, tile);
    tiles.set(id, read);
    const hashes = (await read).slice(first, first + width);
    if (hashes.length < width) throw damaged(id);
    return foldPerfect(hashes);
  };
}

/** The first `count` hashes, or all. */
async function readTile(reader: TileReader, level: number, tile: number, count?: number): Promise<Uint8Array[]> {
  const id = tileId(level, tile);
  const value = (await reader.get(TABLE, id))?.value;
  const there = (value?.length ?? 0) / HASH_BYTES;
  if (!value || !Number.isInteger(there) || there > TILE_WIDTH || there < (count ?? 1)) throw damaged(id);
  return Array.from({ length: count ?? there }, (_, i) => value.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}

function countAt(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

function tileId(level: number, tile: number): string {
  return `${level}/${String(tile).padStart(14, "0")}`;
}

function damaged(id: string) {
  return auditError("AUDIT_TAMPERED", { detail: `tile ${id}` });
}
