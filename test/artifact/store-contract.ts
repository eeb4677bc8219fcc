/** What every blob store promises, whoever runs it: one suite for all of them. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import type { BlobStore } from "../../src/artifact/index.ts";
import type { StoreLimits } from "../../src/backends/index.ts";
import { codeOf, MIB } from "../sealing/support.ts";

export interface ContractOptions {
  readonly name: string;
  /** A store in a place that nobody used before; the same place for the same word. */
  open(place: string, limits?: Partial<StoreLimits>): Promise<BlobStore>;
  /** The reason why there is none. */
  readonly skip?: string;
  /** Whether the store itself decides between two writers that both want to be first. */
  readonly conditional: boolean;
  /** Whether a write of the store is confirmed by a checksum of the service. */
  readonly confirms: boolean;
  /** The same of a write in parts. */
  readonly confirmsParts?: boolean;
  /** How many names make a list of more than one page, and more than a service gives at once. */
  readonly names: number;
  /** The least size of a part. */
  readonly partBytes: number;
  /** Whether blobs are put together in the store; not given where the kind does not know how. */
  readonly joins?: boolean;
  /** Whether that too is decided between two writers who want to be first; as other writes when absent. */
  readonly joinsConditional?: boolean;
  /** Why the peer does not replace an object in one go. */
  readonly tears?: string;
  /** Names that this peer cannot hold for reasons of its own. */
  readonly without?: (name: string) => boolean;
}

const ODD_NAMES = [
  "a b/c d",
  "ä/ö ü",
  "日本語/模型.bin",
  "100%/%41",
  "a+b/c+d",
  "a&b=c;d",
  "quote'\"<>",
  "tilde~(1)!*",
  "emoji-😀",
  "e\u0301",
  "#hash?query",
  `${"long-".repeat(30)}/${"x".repeat(250)}/${"y".repeat(250)}/${"z".repeat(246)}`,
];

export async function listAll(store: BlobStore, prefix = ""): Promise<string[]> {
  const names: string[] = [];
  for await (const name of store.list(prefix)) names.push(name);
  return names;
}

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

export function contractTests(options: ContractOptions): void {
  const { name } = options;
  const check = (title: string, body: (place: string) => Promise<void>, skip = options.skip) =>
    test(`${name}: ${title}`, skip ? { skip } : {}, () => body(`t${randomBytes(6).toString("hex")}`));

  check("what was written is read, whole and in ranges, by another client too", async (place) => {
    const store = await options.open(place);
    const written = await store.write("dir/a", [Buffer.from("01234"), Buffer.alloc(0), Buffer.from("56789")]);
    assert.deepEqual(written, { bytes: 10, confirmed: options.confirms });
    for (const reader of [store, await options.open(place)]) {
      const text = async (start: number, end: number) => Buffer.from(await reader.read("dir/a", start, end)).toString();
      assert.deepEqual(
        [
          await text(0, 10),
          await text(2, 5),
          await text(8, 20),
          await text(20, 30),
          await text(5, 5),
          await text(9, 10),
        ],
        ["0123456789", "234", "89", "", "", "9"],
      );
      assert.equal((await reader.stat("dir/a"))?.bytes, 10);
      assert.equal((await reader.readAll("dir/a", 10)).length, 10);
      assert.equal(await codeOf(() => reader.readAll("dir/a", 9)), "LIMIT_EXCEEDED");
      const blob = await reader.open("dir/a");
      const buffer = new Uint8Array(64);
      assert.equal(Buffer.from(await blob.read(3, 6, buffer)).toString(), "345");
      await blob.close();
    }
  });

  check("nothing is there before it is written, and after it was deleted", async (place) => {
    const store = await options.open(place);
    assert.equal(await store.stat("a"), undefined);
    for (const work of [() => store.open("a"), () => store.read("a", 0, 1), () => store.readAll("a", 1)])
      assert.equal(await codeOf(work), "BLOB_NOT_FOUND");
    assert.deepEqual(await listAll(store), []);
    assert.equal(await store.delete("a"), false);
    await store.write("a", [Buffer.from("x")]);
    assert.deepEqual([await store.delete("a"), await store.delete("a")], [true, false]);
    assert.equal(await store.stat("a"), undefined);
    assert.equal(await codeOf(() => store.open("a")), "BLOB_NOT_FOUND");
  });

  check("an empty blob is a blob", async (place) => {
    const store = await options.open(place);
    await store.write("empty", []);
    await store.write("empty-chunks", [Buffer.alloc(0), Buffer.alloc(0)]);
    for (const name of ["empty", "empty-chunks"]) {
      assert.equal((await store.stat(name))?.bytes, 0);
      assert.equal((await store.read(name, 0, 10)).length, 0);
      assert.equal((await store.readAll(name, 0)).length, 0);
    }
    assert.deepEqual(await listAll(store), ["empty", "empty-chunks"]);
  });

  check("odd names come back as they are", async (place) => {
    const store = await options.open(place);
    const names = ODD_NAMES.filter((name) => !options.without?.(name));
    for (const odd of names) await store.write(odd, [Buffer.from(odd)]);
    for (const odd of names) assert.equal(Buffer.from(await store.readAll(odd, 2_000)).toString(), odd);
    const sorted = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    assert.deepEqual(await listAll(store), sorted);
    for (const odd of names) assert.equal(await store.delete(odd), true, odd);
    for (const bad of [
      "",
      "..",
      "a/../b",
      "/a",
      "a/",
      "a//b",
      ".x",
      "a\0",
      "a\nb",
      "a\\b",
      "\ud800",
      "x".repeat(1_025),
    ])
      for (const work of [
        () => store.stat(bad),
        () => store.write(bad, []),
        () => store.delete(bad),
        () => store.open(bad),
      ])
        assert.equal(await codeOf(work), "BLOB_NAME_INVALID", JSON.stringify(bad.slice(0, 20)));
  });

  check("lists are whole, sorted by code points, and of their prefix only", async (place) => {
    const store = await options.open(place);
    const names = Array.from({ length: options.names }, (_, index) => `many/${index}`);
    for (let at = 0; at < names.length; at += 16)
      await Promise.all(names.slice(at, at + 16).map((name) => store.write(name, [Buffer.from(name)])));
    await store.write("manz", [Buffer.from("x")]);
    await store.write("man", [Buffer.from("x")]);
    assert.deepEqual(await listAll(store, "many/"), [...names].sort());
    assert.deepEqual(await listAll(store), ["man", ...[...names].sort(), "manz"]);
    assert.deepEqual(await listAll(store, "many/1000"), names.filter((name) => name.startsWith("many/1000")).sort());
    assert.deepEqual(await listAll(store, "nothing"), []);
  });

  check("64 MiB go in parts and come back the same", async (place) => {
    const store = await options.open(place, { partBytes: options.partBytes });
    const chunk = randomBytes(MIB);
    const hash = createHash("sha256");
    const chunks = async function* () {
      for (let index = 0; index < 64; index++) {
        const piece = Buffer.from(chunk);
        piece.writeUInt32BE(index, 0);
        hash.update(piece);
        yield piece;
      }
    };
    const written = await store.write("large", chunks(), { bytes: 64 * MIB });
    assert.deepEqual(written, { bytes: 64 * MIB, confirmed: options.confirmsParts ?? options.confirms });
    const back = createHash("sha256");
    const blob = await store.open("large");
    for (let at = 0; at < blob.bytes; at += 5 * MIB + 7)
      back.update(await blob.read(at, Math.min(blob.bytes, at + 5 * MIB + 7)));
    await blob.close();
    assert.equal(back.digest("hex"), hash.digest("hex"));
  });

  check(
    "a shorter blob replaces a longer one",
    async (place) => {
      const store = await options.open(place, { partBytes: options.partBytes });
      await store.write("a", [randomBytes(options.partBytes + 1)]);
      await store.write("a", [Buffer.from("short")]);
      assert.equal(Buffer.from(await store.readAll("a", 10)).toString(), "short");
    },
    options.skip ?? options.tears,
  );

  check("a part's edge is no edge of a blob", async (place) => {
    const { partBytes } = options;
    const store = await options.open(place, { partBytes });
    for (const length of [partBytes - 1, partBytes, partBytes + 1, 2 * partBytes]) {
      const bytes = randomBytes(length);
      await store.write("edge", [bytes.subarray(0, 1), bytes.subarray(1)]);
      assert.equal(sha(await store.readAll("edge", length)), sha(bytes), String(length));
    }
  });

  check("a writer that fails leaves what was there, and nothing half", async (place) => {
    const store = await options.open(place, { partBytes: options.partBytes });
    const failing = async function* () {
      for (let index = 0; index < 3; index++) yield randomBytes(options.partBytes);
      throw new Error("the source broke");
    };
    await assert.rejects(store.write("new", failing()), /the source broke/);
    assert.equal(await store.stat("new"), undefined);
    await store.write("old", [Buffer.from("old")]);
    await assert.rejects(store.write("old", failing()), /the source broke/);
    assert.equal(Buffer.from(await store.readAll("old", 10)).toString(), "old");
    await store.discardUnfinished("");
    assert.deepEqual(await listAll(store), ["old"]);
  });

  check(
    "a reader gets one whole blob or an error while others replace it",
    async (place) => {
      const [store, other] = [await options.open(place), await options.open(place)];
      const versions = [1, 2, 3].map((byte) => Buffer.alloc(200_000, byte));
      await store.write("hot", [versions[0] ?? Buffer.alloc(0)]);
      let writing = true;
      const writer = (async () => {
        for (let round = 0; round < 12; round++) await other.write("hot", [versions[round % 3] ?? Buffer.alloc(0)]);
        writing = false;
      })();
      let whole = 0;
      while (writing || whole === 0) {
        const outcome = await store.readAll("hot", 300_000).catch((error: { code: string }) => error.code);
        if (typeof outcome === "string") assert.equal(outcome, "BLOB_CHANGED");
        else {
          assert.ok(outcome.length === 200_000 && outcome.every((byte) => byte === outcome[0]), "a mix of two blobs");
          whole++;
        }
      }
      await writer;
    },
    options.skip ?? options.tears,
  );

  check("of writers who all want to be first one is", async (place) => {
    const stores = await Promise.all([1, 2, 3, 4].map(() => options.open(place)));
    const codes = await Promise.all(
      stores.map((store, index) => codeOf(() => store.write("first", [Buffer.from(String(index))], { absent: true }))),
    );
    if (options.conditional)
      assert.deepEqual(codes.toSorted(), ["BLOB_EXISTS", "BLOB_EXISTS", "BLOB_EXISTS", undefined]);
    const late = await options.open(place);
    if (options.conditional) assert.equal(await codeOf(() => late.write("first", [], { absent: true })), "BLOB_EXISTS");
    assert.equal((await late.stat("first"))?.bytes, 1);
  });

  if (options.joins) joinTests(options, check);

  check("many writers of many names lose nothing", async (place) => {
    const store = await options.open(place);
    await Promise.all(Array.from({ length: 40 }, (_, index) => store.write(`n/${index}`, [Buffer.from(`v${index}`)])));
    assert.equal((await listAll(store, "n/")).length, 40);
    for (const index of [0, 17, 39])
      assert.equal(Buffer.from(await store.readAll(`n/${index}`, 10)).toString(), `v${index}`);
  });
}

type Check = (title: string, body: (place: string) => Promise<void>) => void;

function joinTests(options: ContractOptions, check: Check): void {
  const { partBytes } = options;
  const limits = { partBytes, leastPartBytes: partBytes, copyPartBytes: 2 * partBytes };

  /** Written, and named as a piece. */
  async function pieceOf(store: BlobStore, name: string, bytes: Uint8Array) {
    await store.write(name, [bytes], { bytes: bytes.length });
    const tag = (await store.stat(name))?.tag ?? "";
    return { name, tag, bytes: bytes.length };
  }

  check("blobs of any length are put together with bytes before, between and after", async (place) => {
    const store = await options.open(place, limits);
    assert.ok(store.join);
    const shapes = [
      [74, partBytes * 3 + 5, partBytes, 100],
      [74, 10, 20, 30],
      [0, partBytes + 1, 7],
      [partBytes + 1, 3, partBytes * 2 + 1, 4, partBytes],
      [74, partBytes * 5],
      [74],
    ];
    for (const [shape, lengths] of shapes.entries()) {
      const contents = lengths.map((length) => randomBytes(length));
      const pieces = await Promise.all(
        contents.map((bytes, at) =>
          at === 0 || at === 3 ? Promise.resolve(bytes) : pieceOf(store, `pieces/${shape}-${at}`, bytes),
        ),
      );
      const bytes = contents.reduce((sum, { length }) => sum + length, 0);
      const made = await store.join(`whole-${shape}`, pieces, { bytes, scratch: "scratch/" });
      assert.deepEqual(made, { bytes, confirmed: false });
      assert.equal(sha(await store.readAll(`whole-${shape}`, bytes)), sha(Buffer.concat(contents)), String(lengths));
    }
    assert.deepEqual(await listAll(store, "scratch/"), []);
    assert.equal((await listAll(store, "pieces/")).length, shapes.flat().length - 2 * shapes.length + 3);
  });

  check("more pieces than the service takes at once", async (place) => {
    const store = await options.open(place, { ...limits, composedObjects: 3 });
    const contents = Array.from({ length: 11 }, () => randomBytes(50));
    const pieces = await Promise.all(contents.map((bytes, at) => pieceOf(store, `p/${at}`, bytes)));
    await store.join?.("whole", pieces, { scratch: "scratch/" });
    assert.ok(Buffer.concat(contents).equals(await store.readAll("whole", 1_000)));
    assert.deepEqual(await listAll(store, "scratch/"), []);
  });

  check("a piece that is another one by now, or gone, or longer, is not taken; nothing is made", async (place) => {
    const store = await options.open(place, limits);
    const piece = await pieceOf(store, "a", randomBytes(partBytes));
    const other = await pieceOf(store, "b", randomBytes(10));
    const join = (...pieces: Parameters<NonNullable<BlobStore["join"]>>[1]) =>
      store.join?.("whole", pieces, { scratch: "scratch/" }) ?? Promise.reject(new Error("it cannot join"));
    assert.equal(
      await codeOf(() => join(Buffer.from("head"), { ...piece, bytes: piece.bytes - 1 }, other)),
      "BLOB_CHANGED",
    );
    await store.write("a", [randomBytes(partBytes)]);
    assert.equal(await codeOf(() => join(Buffer.from("head"), piece, other)), "BLOB_CHANGED");
    await store.delete("a");
    assert.equal(await codeOf(() => join(Buffer.from("head"), piece, other)), "BLOB_CHANGED");
    assert.equal(await store.stat("whole"), undefined);
    assert.deepEqual(await listAll(store), ["b"]);
  });

  check("what is put together takes a place only where there is none yet, if asked", async (place) => {
    const store = await options.open(place, limits);
    const piece = await pieceOf(store, "a", randomBytes(100));
    await store.write("whole", [Buffer.from("first")]);
    const join = () => store.join?.("whole", [piece], { scratch: "scratch/", absent: true });
    const isDecided = options.joinsConditional ?? options.conditional;
    if (isDecided) assert.equal(await codeOf(async () => join()), "BLOB_EXISTS");
    await store.join?.("whole", [piece], { scratch: "scratch/" });
    assert.equal((await store.stat("whole"))?.bytes, 100);
  });
}
