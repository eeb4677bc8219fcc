/** All advisories of a package in one block of JSON: versions are written once, and named by runs of their places. */
import type { AdvisoryRecord, IndexedRecord } from "./record.ts";
import type { RatedSeverity } from "./severity.ts";

interface Packed extends Omit<AdvisoryRecord, "versions"> {
  /** First and last place in turn, both included. */
  readonly runs: readonly number[];
}

/** As JSON; this is what a packer writes. */
interface Block {
  readonly key: string;
  readonly versions: readonly string[];
  readonly records: readonly Packed[];
}

/** Around key, records and versions. */
const FRAME_BYTES = '{"key":,"records":[],"versions":[]}'.length;

/** Takes records one after the other, so that a package with thousands of them needs the memory of one. */
export class BlockPacker {
  readonly #key: string;
  readonly #places = new Map<string, number>();
  readonly #records: Buffer[] = [];
  #bytes = 0;

  constructor(key: string) {
    this.#key = key;
    this.#bytes = Buffer.byteLength(JSON.stringify(key)) + FRAME_BYTES;
  }

  /** Bytes so far, those of the versions included. */
  add({ versions, ...rest }: AdvisoryRecord): number {
    for (const version of versions) {
      if (this.#places.has(version)) continue;
      this.#places.set(version, this.#places.size);
      this.#bytes += Buffer.byteLength(JSON.stringify(version)) + 1;
    }
    const packed: Packed = { ...rest, runs: runsOf(versions, this.#places) };
    const bytes = Buffer.from(`${this.#records.length === 0 ? "" : ","}${JSON.stringify(packed)}`);
    this.#records.push(bytes);
    this.#bytes += bytes.length;
    return this.#bytes;
  }

  pack(): Buffer {
    const versions = JSON.stringify([...this.#places.keys()]);
    const head = Buffer.from(`{"key":${JSON.stringify(this.#key)},"records":[`);
    return Buffer.concat([head, ...this.#records, Buffer.from(`],"versions":${versions}}`)]);
  }
}

function runsOf(versions: readonly string[], places: ReadonlyMap<string, number>): number[] {
  const sorted = versions.map((version) => places.get(version) ?? 0).sort((a, b) => a - b);
  const runs: number[] = [];
  for (const place of sorted) {
    if (runs.at(-1) === place - 1) runs[runs.length - 1] = place;
    else runs.push(place, place);
  }
  return runs;
}

/** The bytes are of this program's own making, and their checksum was right. */
export function unpackBlock(bytes: Uint8Array): { readonly key: string; readonly records: readonly IndexedRecord[] } {
  const block = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8")) as Block;
  const places = new Map(block.versions.map((version, place) => [version, place]));
  return { key: block.key, records: block.records.map((record) => new PackedRecord(record, places)) };
}

class PackedRecord implements IndexedRecord {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly summary: string;
  readonly severity: RatedSeverity;
  readonly ranges: AdvisoryRecord["ranges"];
  readonly #runs: readonly number[];
  readonly #places: ReadonlyMap<string, number>;

  constructor(record: Packed, places: ReadonlyMap<string, number>) {
    this.id = record.id;
    this.aliases = record.aliases;
    this.summary = record.summary;
    this.severity = record.severity;
    this.ranges = record.ranges;
    this.#runs = record.runs;
    this.#places = places;
  }

  lists(versionKey: string): boolean {
    const place = this.#places.get(versionKey);
    if (place === undefined) return false;
    for (let at = 0; at < this.#runs.length; at += 2) {
      if (place >= (this.#runs[at] ?? 0) && place <= (this.#runs[at + 1] ?? -1)) return true;
    }
    return false;
  }
}
