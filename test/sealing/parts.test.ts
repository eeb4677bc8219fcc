/** A model sealed by several machines: the same as a whole seal, in any order, again and at once; what does not fit is refused. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { cpSync, existsSync, globSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import fc from "fast-check";
import { type BlobStore, openBlobStore } from "../../src/artifact/index.ts";
import type { KeyWrapper } from "../../src/backends/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import {
  inspectSealed,
  joinParts,
  type LeafHashName,
  openWithKms,
  SEALED_NAMES,
  SEALING_LIMITS,
  sealModel,
  sealPart,
} from "../../src/sealing/index.ts";
import { divide } from "../../src/sealing/parts/divide.ts";
import { signModel, trustKeys, type VerifiedManifest, verifyBundle } from "../../src/signing/index.ts";
import * as peers from "../artifact/store-peers.ts";
import {
  codeOf,
  MemorySink,
  MIB,
  makeKms,
  makePair,
  makeStore,
  type Pair,
  random,
  temporaryFolder,
  writeModel,
} from "./support.ts";

const PARTS = 3;
const LARGE = Buffer.concat([randomBytes(8 * MIB), Buffer.alloc(26 * MIB, 7), randomBytes(1_000)]);
const CONTENT = { "large.bin": LARGE, "small.bin": randomBytes(3 * MIB + 1), "config.json": "{}", empty: "" };

interface Scene {
  readonly root: string;
  readonly folder: string;
  readonly store: BlobStore;
  readonly pair: Pair;
  readonly wrapper: KeyWrapper;
  readonly bundle: Uint8Array;
  readonly manifest: VerifiedManifest;
}

let base: Scene;

before(async () => {
  const root = writeModel(CONTENT);
  const pair = makePair();
  const { bundle } = await signModel({ root, signer: pair.signer });
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const { wrapper } = await makeKms();
  const folder = temporaryFolder();
  base = { root, folder, store: await makeStore(folder), pair, wrapper, bundle, manifest };
});

async function fresh(from?: Scene): Promise<Scene> {
  const folder = temporaryFolder();
  if (from) cpSync(from.folder, folder, { recursive: true });
  return { ...base, folder, store: await makeStore(folder) };
}

function part(scene: Scene, number: number, more: { parts?: number; leafHash?: LeafHashName; root?: string } = {}) {
  const { root, store, manifest, wrapper } = scene;
  const given = { leafHash: "sha256" as const, parts: PARTS, ...more };
  return sealPart({ root, store, prefix: "", manifest, wrappers: [wrapper], random, part: number, ...given });
}

function joined(scene: Scene) {
  const { store, manifest, bundle, wrapper, pair } = scene;
  return joinParts({ store, prefix: "", manifest, bundle, signer: pair.signer, wrappers: [wrapper], random });
}

async function assertWhole({ store, wrapper, pair, folder }: Scene, isFolder = true): Promise<void> {
  const into = new MemorySink();
  const trust = trustKeys([pair.publicPem]);
  await openWithKms({ store, prefix: "", trust, wrappers: [wrapper], into, random });
  for (const [path, content] of Object.entries(CONTENT))
    assert.ok(into.content(path).equals(Buffer.from(content)), path);
  if (!isFolder) return;
  const names = globSync("**/*", { cwd: folder }).filter((name) => statSync(join(folder, name)).isFile());
  const expected = Object.keys(CONTENT).flatMap((_, at) => [`files/${at}.floe`, `files/${at}.leaves`]);
  assert.deepEqual(
    names.sort(),
    [...expected, "envelope.json", "model.sig", "seal.json"].sort(),
    "nothing else is left",
  );
}

const predicateOf = (folder: string) =>
  JSON.parse(
    Buffer.from(JSON.parse(readFileSync(join(folder, SEALED_NAMES.seal), "utf8")).payload, "base64").toString(),
  );

async function refusal(work: () => Promise<unknown>): Promise<[string, string]> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, String(error));
    return [error.code, error.detail ?? ""];
  }
  return assert.fail("nothing was refused");
}

test("a division covers every segment once, in ranges that share no key, and is fair", () => {
  const length = fc.oneof(
    fc.nat(300 * MIB),
    fc.nat(200).map((gib) => gib * 1024 * MIB + 5),
    fc.constant(0),
  );
  const lengths = fc.array(length, { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 64 }), (files, parts) => {
      const divided = divide(files, parts);
      assert.deepEqual(divide(files, parts), divided, "always the same");
      assert.equal(divided.length, files.length);
      const loads = new Array<number>(parts).fill(0);
      let total = 0;
      for (const [at, { part: owner, ranges }] of divided.entries()) {
        const segments = Math.max(1, Math.ceil((files[at] ?? 0) / MIB));
        let reached = 0;
        for (const range of ranges) {
          assert.equal(range.first, reached);
          assert.equal(range.first % SEALING_LIMITS.rangeSegments, 0);
          assert.ok(range.count > 0 && range.part < parts);
          loads[range.part] = (loads[range.part] ?? 0) + range.count;
          reached += range.count;
        }
        assert.equal(reached, ranges.length === 0 ? 0 : segments);
        assert.ok(owner < parts);
        const own = ranges.length === 0 ? segments : Math.ceil(segments / 2);
        loads[owner] = (loads[owner] ?? 0) + own;
        total += segments + (ranges.length === 0 ? 0 : own);
      }
      const largest = Math.max(
        ...divided.flatMap(({ ranges }, at) =>
          ranges.length > 0
            ? [...ranges.map(({ count }) => count), Math.ceil((files[at] ?? 0) / MIB / 2)]
            : [Math.max(1, Math.ceil((files[at] ?? 0) / MIB))],
        ),
      );
      assert.ok(Math.max(...loads) <= total / parts + largest + 1, "nobody has more than a fair share and one piece");
    }),
    { numRuns: 200 },
  );
});

test("parts in any order make what a whole seal makes, every field equal but for what is drawn", async () => {
  const [whole, parts] = [await fresh(), await fresh()];
  const { root, manifest, bundle, pair, wrapper } = base;
  const shared = { root, manifest, bundle, signer: pair.signer, wrappers: [wrapper], prefix: "", random };
  await sealModel({ ...shared, store: whole.store, leafHash: "sha256" });
  const pieces: number[] = [];
  for (const number of [2, 0, 1]) pieces.push((await part(parts, number)).pieces);
  assert.deepEqual(pieces.toSorted(), [2, 2, 3], "three ranges, a digest, three whole files");
  assert.equal(existsSync(join(parts.folder, SEALED_NAMES.seal)), false);
  assert.equal(await codeOf(() => openOf(parts)), "BLOB_NOT_FOUND", "parts are no sealed model");
  await joined(parts);
  await assertWhole(parts);
  const [a, b] = [predicateOf(whole.folder), predicateOf(parts.folder)];
  const drawn = (value: typeof a) => ({
    ...value,
    predicate: {
      ...value.predicate,
      package_id: "",
      files: value.predicate.files.map((file: object) => ({ ...file, header_tag: "" })),
    },
  });
  assert.notEqual(a.predicate.package_id, b.predicate.package_id);
  assert.deepEqual(drawn(b), drawn(a));
  for (const name of readdirSync(join(whole.folder, "files")))
    assert.equal(statSync(join(parts.folder, "files", name)).size, statSync(join(whole.folder, "files", name)).size);
  assert.equal((await inspectSealed(parts.store, "")).files.length, 4);
  assert.equal(await codeOf(() => part(parts, 0)), "SEALED_EXISTS");
  assert.equal(await codeOf(() => joined(parts)), "SEALED_EXISTS");
});

function openOf({ store, wrapper, pair }: Scene) {
  const trust = trustKeys([pair.publicPem]);
  return openWithKms({ store, prefix: "", trust, wrappers: [wrapper], into: new MemorySink(), random });
}

test("one part alone, more parts than pieces, and every kind of leaves", async () => {
  for (const [parts, leafHash] of [
    [1, "sha256"],
    [9, "blake3"],
    [2, "sha256+blake3"],
  ] as const) {
    const scene = await fresh();
    for (let number = 0; number < parts; number++) await part(scene, number, { parts, leafHash });
    await joined(scene);
    await assertWhole(scene);
  }
});

test("all parts at once, each of them twice, agree on one plan; each asks the KMS once", async () => {
  const scene = await fresh();
  let asked = 0;
  const { wrapper } = base;
  const counting: KeyWrapper = {
    uri: wrapper.uri,
    recognises: wrapper.recognises.bind(wrapper),
    wrap: wrapper.wrap.bind(wrapper),
    unwrap: (...words) => {
      asked++;
      return wrapper.unwrap(...words);
    },
  };
  const watched = { ...scene, wrapper: counting };
  await Promise.all([0, 1, 2, 2, 1, 0].map((number) => part(watched, number)));
  assert.equal(asked, 5, "the first one made the key");
  const again = await Promise.all([0, 1, 2].map((number) => part(watched, number)));
  for (const { pieces, resumedPieces } of again) assert.equal(resumedPieces, pieces);
  await joined(watched);
  assert.equal(asked, 9);
  await assertWhole(scene);
});

test("who is late writes what can stand for what is there", async () => {
  const scene = await fresh();
  for (const number of [0, 1, 2]) await part(scene, number);
  const late = await fresh(scene);
  for (const name of readdirSync(join(late.folder, "files")))
    if (name.endsWith(".done")) rmSync(join(late.folder, "files", name));
  for (const number of [0, 1, 2]) await part(late, number);
  await joined(scene);
  let exchanged = 0;
  for (const name of readdirSync(join(late.folder, "files"))) {
    if (!name.endsWith(".floe")) continue;
    const [theirs, ours] = [late, scene].map(({ folder }) => join(folder, "files", name)) as [string, string];
    if (!readFileSync(theirs).equals(readFileSync(ours))) exchanged++;
    cpSync(theirs, ours);
  }
  assert.ok(exchanged >= 3);
  await assertWhole(scene);
});

/** All parts done, for who breaks something then. */
let finished: Scene | undefined;
async function withParts(): Promise<Scene> {
  if (!finished) {
    finished = await fresh();
    for (const number of [0, 1, 2]) await part(finished, number);
  }
  return fresh(finished);
}

const leftBy = (scene: Scene, pattern: string) => {
  const [name] = globSync(pattern, { cwd: scene.folder }).sort();
  assert.ok(name, pattern);
  return join(scene.folder, name);
};

const damage = (path: string) => {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(path, bytes);
};

test("what is missing is named, all of it; a part that is run again closes the gap", async () => {
  const scene = await fresh();
  assert.equal(await codeOf(() => joined(scene)), "PARTS_MISSING");
  await part(scene, 1);
  const [code, detail] = await refusal(() => joined(scene));
  assert.equal(code, "PARTS_MISSING");
  assert.match(detail, /0\/3 .*2\/3/);
  assert.doesNotMatch(detail, /1\/3/);
  await part(scene, 0);
  assert.match((await refusal(() => joined(scene)))[1], /^2\/3/);
  await part(scene, 2);
  await joined(scene);
  await assertWhole(scene);
});

const owned = async (scene: Scene, pattern: string) => leftBy(scene, pattern);
const changes: readonly (readonly [string, string, (scene: Scene) => Promise<void>])[] = [
  ["a range's bytes", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "parts/*/16-*.segments"))],
  ["a range's leaves", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "parts/*/16-*.leaves"))],
  ["a range is gone", "PART_NOT_OURS", async (scene) => rmSync(await owned(scene, "parts/*/0-*.segments"))],
  ["a range's leaves are gone", "PART_NOT_OURS", async (scene) => rmSync(await owned(scene, "parts/*/0-*.leaves"))],
  ["a range's record", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "parts/*/16.done"))],
  ["the whole file's record", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "parts/*/whole.done"))],
  ["the whole file's leaves", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "parts/*/whole-*.leaves"))],
  ["a whole file's record", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "files/*.done"))],
  ["a whole file's bytes", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "files/*.floe"))],
  ["a whole file's leaves", "PART_NOT_OURS", async (scene) => damage(await owned(scene, "files/*.leaves"))],
  [
    "two ranges exchanged",
    "PART_NOT_OURS",
    async (scene) => {
      const [a, b] = [await owned(scene, "parts/*/0-*.segments"), await owned(scene, "parts/*/16-*.segments")];
      const held = readFileSync(a);
      cpSync(b, a);
      writeFileSync(b, held);
    },
  ],
  [
    "two records exchanged",
    "PART_NOT_OURS",
    async (scene) => cpSync(await owned(scene, "parts/*/0.done"), await owned(scene, "parts/*/16.done")),
  ],
  [
    "a record of another package",
    "PART_NOT_OURS",
    async (scene) => {
      const other = await fresh();
      for (const number of [0, 1, 2]) await part(other, number);
      cpSync(await owned(other, "parts/*/16.done"), await owned(scene, "parts/*/16.done"));
    },
  ],
];

test("what was changed after its part is refused by name; the parts again, and it is whole", async () => {
  for (const [what, expected, change] of changes) {
    const scene = await withParts();
    await change(scene);
    const [code, detail] = await refusal(() => joined(scene));
    assert.equal(code, expected, what);
    assert.match(detail, /^part [012]( and [012])?: /, what);
    assert.equal(existsSync(join(scene.folder, SEALED_NAMES.seal)), false);
    for (const number of [0, 1, 2]) await part(scene, number);
    await joined(scene);
    await assertWhole(scene);
  }
});

test("a record of an older plan of the same package is stale", async () => {
  const scene = await withParts();
  const [plan, record] = [join(scene.folder, "parts/plan.json"), leftBy(scene, "parts/*/16.done")];
  const old = readFileSync(record);
  rmSync(plan);
  for (const number of [0, 1, 2]) await part(scene, number);
  assert.notDeepEqual(readFileSync(record), old, "the part made its piece anew under the new plan");
  writeFileSync(record, old);
  assert.equal(await codeOf(() => joined(scene)), "PART_NOT_OURS");
});

test("a plan that was changed is not followed, by a part or by who joins", async () => {
  const scene = await withParts();
  const path = join(scene.folder, "parts/plan.json");
  const original = readFileSync(path, "utf8");
  const plan = JSON.parse(original);
  const [first] = plan.files;
  const edits: [string, object][] = [
    ["format", { format: "modelkeep-parts-v2" }],
    ["package", { package_id: "0".repeat(32) }],
    ["root", { root_digest: "0".repeat(64) }],
    ["leaf hash", { leaf_hash: "blake3" }],
    ["parts", { parts: 4 }],
    ["files", { files: plan.files.slice(1) }],
    ["header", { files: [{ ...first, header: "0".repeat(148) }, ...plan.files.slice(1)] }],
    ["owner", { files: [{ ...first, part: (first.part + 1) % 3 }, ...plan.files.slice(1)] }],
    ["length", { files: [{ ...first, bytes: first.bytes + 1 }, ...plan.files.slice(1)] }],
    ["code", { mac: "0".repeat(64) }],
    ["a field of its own", { extra: 1 }],
  ];
  for (const [what, edit] of edits) {
    writeFileSync(path, JSON.stringify({ ...plan, ...edit }));
    assert.equal(await codeOf(() => joined(scene)), "PART_NOT_OURS", what);
    assert.equal(await codeOf(() => part(scene, 0)), "PART_NOT_OURS", what);
  }
  writeFileSync(path, original);
  await joined(scene);
});

test("parts that were given other numbers, another hash, another key or another model are refused", async () => {
  const scene = await fresh();
  await part(scene, 0);
  assert.equal(await codeOf(() => part(scene, 1, { parts: 4 })), "PARTS_DIFFER");
  assert.equal(await codeOf(() => part(scene, 1, { leafHash: "sha256+blake3" })), "PARTS_DIFFER");
  assert.equal(await codeOf(async () => part({ ...scene, wrapper: (await makeKms()).wrapper }, 1)), "NO_KEY_SERVICE");
  const root = writeModel({ a: "another" });
  const other = await signModel({ root, signer: base.pair.signer });
  const manifest = verifyBundle(other.bundle, trustKeys([base.pair.publicPem]));
  assert.equal(await codeOf(() => part({ ...scene, root, manifest }, 1)), "SEALED_EXISTS");
  assert.equal(await codeOf(() => joined({ ...scene, manifest, bundle: other.bundle })), "SEALED_EXISTS");
  assert.equal(await codeOf(() => joined({ ...scene, pair: makePair() })), "SEALER_NOT_SIGNER");
  const registry = await openBlobStore("oci://127.0.0.1:1/models/m:v1");
  assert.equal(await codeOf(() => part({ ...scene, store: registry }, 0)), "PARTS_STORE_UNFIT");
});

test("a model that changed between two parts is noticed, wherever it changed", async () => {
  for (const at of [5, 20 * MIB, LARGE.length - 1]) {
    const scene = await fresh();
    const changed = Buffer.from(LARGE);
    changed[at] = (changed[at] ?? 0) ^ 1;
    const root = writeModel({ ...CONTENT, "large.bin": changed });
    const codes = new Set<string | undefined>();
    for (const number of [0, 1, 2]) {
      const code = await codeOf(() => part(scene, number, { root }));
      codes.add(code);
      if (code) await part(scene, number);
    }
    assert.ok(codes.has("MODEL_NOT_AS_SIGNED"), "who hashes the file as a whole sees it");
    const again = await codeOf(() => joined(scene));
    if (again) {
      assert.equal(again, "MODEL_CHANGED");
      for (const number of [0, 1, 2]) await part(scene, number);
      await joined(scene);
    }
    await assertWhole(scene);
    rmSync(root, { recursive: true });
  }
  const scene = await fresh();
  await part(scene, 0);
  const root = writeModel({ ...CONTENT, "small.bin": "shorter" });
  assert.equal(await codeOf(() => part(scene, 1, { root })), "MODEL_CHANGED");
});

test("what killed parts left half written is gone when they are joined", async () => {
  const scene = await fresh();
  for (const number of [0, 1, 2]) await part(scene, number);
  const half = ["", "files/", "parts/"].map((folder) => `${folder}.tmp-0b5b1a3c-0000-4000-8000-000000000000`);
  for (const name of half) writeFileSync(join(scene.folder, name), "half");
  await joined(scene);
  await assertWhole(scene);
  for (const name of half) assert.equal(existsSync(join(scene.folder, name)), false, name);
});

test("a seal without --part finishes alone what parts began, and leaves nothing of them", async () => {
  const scene = await fresh();
  await part(scene, 0);
  await part(scene, 1);
  const { root, manifest, bundle, pair, wrapper, store } = scene;
  await sealModel({ root, manifest, bundle, signer: pair.signer, wrappers: [wrapper], store, prefix: "", random });
  await assertWhole(scene);
});

const [moto, azurite, fakeGcs] = await Promise.all([peers.startMotoS3(), peers.startAzurite(), peers.startFakeGcs()]);
for (const [kind, peer] of Object.entries({ s3: moto, az: azurite, gs: fakeGcs }))
  test(`${kind}: parts at once and joined in a bucket`, typeof peer === "string" ? { skip: peer } : {}, async () => {
    assert.ok(typeof peer !== "string");
    const scene = { ...base, store: await peer.open(`p${randomBytes(6).toString("hex")}`) };
    await Promise.all([0, 1, 2].map((number) => part(scene, number)));
    await joined(scene);
    await assertWhole(scene, false);
    const names: string[] = [];
    for await (const name of scene.store.list("")) names.push(name);
    assert.equal(names.length, 11, names.join(" "));
  });

/** Tells which blobs are read. */
function listening(store: BlobStore, read: string[]): BlobStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...words: unknown[]) => {
        if (["open", "read", "readAll"].includes(String(name))) read.push(String(words[0]));
        return value.apply(target, words);
      };
    },
  });
}

for (const [kind, peer] of Object.entries({ s3: moto, gs: fakeGcs }))
  test(
    `${kind}: ranges stay in the bucket when they are joined; one that was changed is found`,
    typeof peer === "string" ? { skip: peer } : {},
    async () => {
      assert.ok(typeof peer !== "string");
      const at = await peer.open(`p${randomBytes(6).toString("hex")}`);
      const read: string[] = [];
      const scene = { ...base, store: listening(at, read) };
      for (const number of [0, 1, 2]) await part(scene, number);
      const names: string[] = [];
      for await (const name of at.list("parts/")) names.push(name);
      const range = names.find((name) => name.endsWith(".segments")) ?? "";
      const held = await at.readAll(range, 64 * MIB);
      const damaged = Uint8Array.from(held);
      damaged[1_000] = (damaged[1_000] ?? 0) ^ 1;
      await at.write(range, [damaged]);
      assert.equal(await codeOf(() => joined(scene)), "PART_NOT_OURS");
      for (const number of [0, 1, 2]) await part(scene, number);
      read.length = 0;
      await joined(scene);
      assert.deepEqual(
        read.filter((name) => /\.segments$/.test(name)),
        [],
      );
      await assertWhole(scene, false);
    },
  );

test(
  "s3: a whole file that was changed after its part is found, and looked at only then",
  typeof moto === "string" ? { skip: moto } : {},
  async () => {
    assert.ok(typeof moto !== "string");
    const at = await moto.open(`p${randomBytes(6).toString("hex")}`);
    const read: string[] = [];
    const scene = { ...base, store: listening(at, read) };
    for (const number of [0, 1, 2]) await part(scene, number);
    const small = "files/3.floe";
    const held = await at.readAll(small, 64 * MIB);
    const damaged = Uint8Array.from(held);
    damaged[2 * MIB] = (damaged[2 * MIB] ?? 0) ^ 1;
    await at.write(small, [damaged]);
    assert.equal(await codeOf(() => joined(scene)), "PART_NOT_OURS");
    for (const number of [0, 1, 2]) await part(scene, number);
    await joined(scene);
    await assertWhole(scene, false);
  },
);
