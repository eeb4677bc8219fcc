/** How models are hashed: every hash and serialisation, threads, links, single files, stores and OCI manifests. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { FolderContent, type ModelContent, OciContent, StoreContent } from "../../src/artifact/index.ts";
import { HASH_LIMITS, hashRuns } from "../../src/host/index.ts";
import { type SignOptions, signModel, trustKeys, verifyBundle, verifyModel } from "../../src/signing/index.ts";
import { codeOf, makePair, makeStore, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";

const pair = makePair();
const trust = trustKeys([pair.publicPem]);
const sign = (root: SignOptions["root"], more: Partial<SignOptions> = {}) =>
  signModel({ root, signer: pair.signer, ...more });
const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const CONTENT = { "config.json": "{}", "sub/weights.bin": "0123456789", empty: "", "a:0:1": "colons" };

async function findings(root: SignOptions["root"], bundle: Uint8Array, more: object = {}): Promise<string[]> {
  const report = await verifyModel({ root, bundle, trust, ...more });
  return report.findings.map(({ rule, path }) => `${rule} ${path}`).sort();
}

test("every hash and serialisation verifies, and tells a changed, a longer and a shorter file", async () => {
  for (const hashType of ["sha256", "blake2b", "blake3"] as const) {
    for (const shardBytes of [undefined, 1, 4, 10, 1_000_000]) {
      const how = shardBytes === undefined ? { hashType } : { hashType, shardBytes };
      const root = writeModel(CONTENT);
      const { bundle } = await sign(root, how);
      const what = `${hashType} ${shardBytes}`;
      assert.deepEqual(await findings(root, bundle), [], what);
      const { serialization } = verifyBundle(bundle, trust);
      assert.deepEqual([serialization.hashType, serialization.shardBytes], [hashType, shardBytes], what);
      const weights = join(root, "sub/weights.bin");
      for (const change of [
        () => writeFileSync(weights, "0123456780"),
        () => writeFileSync(weights, "0123456789x"),
        () => truncateSync(weights, 9),
        () => truncateSync(weights, 0),
      ]) {
        change();
        assert.deepEqual(await findings(root, bundle), ["mismatch sub/weights.bin"], what);
      }
    }
  }
});

test("digests are those of the standards, over the bytes that a name says", async () => {
  const root = writeModel({ abc: "abc", long: "0123456789" });
  const abc: Record<string, string> = {
    sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    blake2b:
      "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
    blake3: "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
  };
  for (const hashType of ["sha256", "blake2b", "blake3"] as const)
    assert.equal((await sign(root, { hashType })).digests.get("abc"), abc[hashType]);
  const { digests, bundle } = await sign(root, { shardBytes: 4 });
  assert.deepEqual(
    [...digests],
    [
      ["abc:0:3", sha256("abc")],
      ["long:0:4", sha256("0123")],
      ["long:4:8", sha256("4567")],
      ["long:8:10", sha256("89")],
    ],
  );
  assert.ok(verifyBundle(bundle, trust).resources.every(({ algorithm }) => algorithm === "sha256-sharded-4"));
});

test("parts of any length, from any place, over any number of threads, are hashed as if each stood alone", async () => {
  const folder = temporaryFolder();
  const whole = Buffer.from(Array.from({ length: 3 * 1024 * 1024 + 17 }, (_, index) => (index * 31) & 255));
  const path = join(folder, "file");
  writeFileSync(path, whole);
  const cuts = fc.uniqueArray(fc.nat(whole.length - 1), { minLength: 1, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(cuts, fc.integer({ min: 1, max: 2 }), async (points, threads) => {
      const [start = 0, ...ends] = [...points, whole.length].sort((a, b) => a - b);
      const runs = [
        { path, start, ends, isLast: true },
        { path, start: 0, ends: [start], isLast: false },
      ];
      const [last, first] = await hashRuns(runs, { hash: "sha256", threads });
      assert.deepEqual(first, [sha256(whole.subarray(0, start))]);
      const expected = ends.map((end, index) => sha256(whole.subarray(ends[index - 1] ?? start, end)));
      assert.deepEqual(last, expected);
    }),
    { numRuns: 15 },
  );
});

/** More than one batch. */
function writeMany(): string {
  const names = Array.from({ length: HASH_LIMITS.batchRuns * 5 }, (_, index) => `f${index}`);
  return writeModel(Object.fromEntries(names.map((name) => [name, name.repeat(50)])));
}

test("threads give the same root as one, and hash everything once", async () => {
  const root = writeMany();
  let done = 0;
  const progress = (update: { done: number }) => {
    done = update.done;
  };
  const alone = await sign(root, { threads: 1 });
  const together = await sign(root, { threads: 4, progress });
  assert.equal(together.rootDigest, alone.rootDigest);
  assert.equal(
    done,
    together.files.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  writeFileSync(join(root, "f7"), "changed");
  assert.deepEqual(await findings(root, alone.bundle, { threads: 4 }), ["mismatch f7"]);
});

/** The folder as it was listed before `change` came. */
function changedAfterWalk(root: string, change: () => void): ModelContent {
  const folder = new FolderContent(root);
  return {
    name: folder.name,
    walk: async (options) => {
      const found = await folder.walk(options);
      change();
      return found;
    },
    digest: (...words) => folder.digest(...words),
  };
}

test("a file that changes its length between the list and the hash is not signed, and is a finding", async () => {
  for (const threads of [1, 3]) {
    for (const change of [appendFileSync, (path: string) => truncateSync(path, 3)]) {
      const root = writeMany();
      const { bundle } = await sign(root);
      const changing = () => changedAfterWalk(root, () => change(join(root, "f9"), "x"));
      assert.equal(await codeOf(() => sign(changing(), { threads })), "MODEL_CHANGED");
      const fresh = writeMany();
      const racing = changedAfterWalk(fresh, () => change(join(fresh, "f9"), "x"));
      assert.deepEqual(await findings(racing, bundle, { threads }), ["mismatch f9"]);
    }
  }
});

test("a file that is gone or became a link, a folder or a pipe after the list is no digest at all", async () => {
  const become: [string, (path: string) => void][] = [
    ["gone", () => undefined],
    ["a folder", (path) => mkdirSync(path)],
    ["a link", (path) => symlinkSync("f8", path)],
    ["a pipe", (path) => void execFileSync("mkfifo", [path])],
  ];
  for (const threads of [1, 3]) {
    for (const [what, make] of become) {
      const root = writeMany();
      const content = changedAfterWalk(root, () => {
        rmSync(join(root, "f9"));
        make(join(root, "f9"));
      });
      const code = await codeOf(() => sign(content, { threads }));
      assert.ok(code === "MODEL_NOT_READABLE" || code === "MODEL_CHANGED", `${what}: ${code}`);
    }
  }
});

test("an abort ends it with the abort's reason, before and in the middle", async () => {
  const root = writeMany();
  const reason = new Error("enough");
  await assert.rejects(sign(root, { signal: AbortSignal.abort(reason), threads: 3 }), reason);
  for (const threads of [1, 3]) {
    const stop = new AbortController();
    const progress = () => stop.abort(reason);
    await assert.rejects(sign(root, { signal: stop.signal, progress, threads }), reason);
  }
});

const HASH_RUNS = new URL("../../src/host/hash-runs.ts", import.meta.url).href;

function hashInChild(flags: readonly string[], options: object): unknown {
  const [a, b] = [join(temporaryFolder(), "a"), join(temporaryFolder(), "b")];
  for (const path of [a, b]) writeFileSync(path, "abc");
  const runs = Array.from({ length: 200 }, (_, index) => ({
    path: index % 2 ? a : b,
    start: 0,
    ends: [3],
    isLast: true,
  }));
  const code = `import { hashRuns } from ${JSON.stringify(HASH_RUNS)};
    const runs = ${JSON.stringify(runs)};
    const digests = await hashRuns(runs, ${JSON.stringify(options)}).catch((error) => error.code);
    console.log(JSON.stringify(digests));`;
  const words = [...flags, "--input-type=module", "--eval", code];
  return JSON.parse(execFileSync(process.execPath, words, { stdio: ["ignore", "pipe", "ignore"] }).toString());
}

test("where threads cannot start or cannot hash, this one does all of it", () => {
  const expected = Array.from({ length: 200 }, () => [sha256("abc")]);
  const forbidden = ["--permission", "--allow-fs-read=*"];
  assert.deepEqual(hashInChild(forbidden, { hash: "sha256", threads: 4 }), expected);
  const gone = `import { isMainThread } from "node:worker_threads"; if (!isMainThread) process.exit(9);`;
  const flags = [`--import=data:text/javascript,${encodeURIComponent(gone)}`];
  assert.deepEqual(hashInChild(flags, { hash: "sha256", threads: 4 }), expected);
});

test("without its package BLAKE3 is what could not be verified, not what failed", () => {
  const hook = `import { registerHooks } from "node:module";
    registerHooks({ resolve(name, context, next) {
      if (name.startsWith("@napi-rs/blake-hash")) throw new Error("absent");
      return next(name, context);
    } });`;
  const flags = [`--import=data:text/javascript,${encodeURIComponent(hook)}`];
  assert.equal(hashInChild(flags, { hash: "blake3" }), "BLAKE3_MISSING");
});

test("links inside the model are followed when asked; out of it, to nowhere and in circles never", async () => {
  const root = writeModel({ "real/file": "x", plain: "y" });
  symlinkSync("real/file", join(root, "link"));
  symlinkSync("real", join(root, "folder"));
  assert.equal(await codeOf(() => sign(root)), "MODEL_FILE_REFUSED");
  const { bundle, digests } = await sign(root, { allowSymlinks: true });
  assert.deepEqual([...digests.keys()], ["folder/file", "link", "plain", "real/file"]);
  assert.equal(digests.get("link"), sha256("x"));
  assert.equal(verifyBundle(bundle, trust).serialization.allowSymlinks, true);
  assert.deepEqual(await findings(root, bundle, { allowSymlinks: true }), []);
  assert.deepEqual(await findings(root, bundle), ["missing folder/file", "refused folder", "refused link"]);
  rmSync(join(root, "link"));
  symlinkSync("plain", join(root, "link"));
  assert.deepEqual(await findings(root, bundle, { allowSymlinks: true }), ["mismatch link"]);
  const outside = writeModel({ file: "x" });
  const bad: [string, string][] = [
    [join(outside, "file"), "out of the model, by an absolute path"],
    ["../../outside", "to nowhere"],
    [".", "the model itself"],
    ["..", "what holds the model"],
    ["link", "itself"],
    [`${root}x`, "a neighbour whose name begins alike"],
  ];
  mkdirSync(`${root}x`);
  for (const [target, what] of bad) {
    rmSync(join(root, "link"), { force: true });
    symlinkSync(target, join(root, "link"));
    assert.equal(await codeOf(() => sign(root, { allowSymlinks: true })), "MODEL_FILE_REFUSED", what);
    const told = await findings(root, bundle, { allowSymlinks: true });
    assert.deepEqual(told, ["refused link"], what);
  }
});

test("two folders that link to each other are a circle", async () => {
  const root = writeModel({ "a/x": "1", "b/y": "2" });
  symlinkSync("../b", join(root, "a/to-b"));
  assert.deepEqual([...(await sign(root, { allowSymlinks: true })).digests.keys()], ["a/to-b/y", "a/x", "b/y"]);
  symlinkSync("../a", join(root, "b/to-a"));
  assert.equal(await codeOf(() => sign(root, { allowSymlinks: true })), "MODEL_FILE_REFUSED");
});

test("links to folders that hold links to folders do not grow without end", async () => {
  const root = writeModel({ x: "" });
  for (let level = 0; level < 20; level++) {
    mkdirSync(join(root, `l${level}`));
    for (const name of ["a", "b"]) symlinkSync(`../l${level + 1}`, join(root, `l${level}`, name));
  }
  mkdirSync(join(root, "l20"));
  assert.equal(await codeOf(() => sign(root, { allowSymlinks: true })), "MODEL_PATH_INVALID");
});

test("a single file verifies under the dot of the reference and under its own name", async () => {
  const folder = writeModel({ "keeper.gguf": "weights", "other.gguf": "weights" });
  const file = join(folder, "keeper.gguf");
  for (const more of [{}, { shardBytes: 4 }]) {
    const dot = await sign(file, more);
    assert.deepEqual(await findings(file, dot.bundle), []);
    const named = await sign(folder, { ...more, ignore: ["other.gguf"] });
    assert.deepEqual(await findings(file, named.bundle), []);
    assert.deepEqual(await findings(join(folder, "other.gguf"), named.bundle), ["missing keeper.gguf", "unsigned ."]);
    writeFileSync(file, "Weights");
    assert.deepEqual(await findings(file, dot.bundle), ["mismatch ."]);
    assert.deepEqual(await findings(file, named.bundle), ["mismatch keeper.gguf"]);
    writeFileSync(file, "weights");
  }
});

test("a model in a store is hashed where it lies, to the same root", async () => {
  const root = writeModel({ "model/config.json": "{}", "model/sub/w.bin": "w".repeat(3_000_000), "model/empty": "" });
  const store = await makeStore(root);
  const content = () => new StoreContent(store, "model");
  for (const more of [{}, { shardBytes: 1_000_001, hashType: "blake2b" as const }]) {
    const local = await sign(join(root, "model"), more);
    const remote = await sign(content(), more);
    assert.equal(remote.rootDigest, local.rootDigest);
    assert.deepEqual(await findings(content(), local.bundle), []);
    assert.deepEqual(await findings(join(root, "model"), remote.bundle), []);
  }
  const { bundle } = await sign(content());
  const partly = await sign(content(), { ignore: ["sub"] });
  assert.deepEqual([...partly.digests.keys()], ["config.json", "empty"]);
  writeFileSync(join(root, "model/sub/w.bin"), "v".repeat(3_000_000));
  writeFileSync(join(root, "model/more"), "");
  rmSync(join(root, "model/empty"));
  assert.deepEqual(await findings(content(), bundle), ["mismatch sub/w.bin", "missing empty", "unsigned more"]);
  assert.equal(await codeOf(() => sign(new StoreContent(store, "nothing"))), "MODEL_EMPTY");
});

interface Layer {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Record<string, string>;
}

const layer = (title: string, text: string): Layer => ({
  digest: `sha256:${sha256(text)}`,
  size: text.length,
  annotations: { "org.opencontainers.image.title": title },
});
const oci = (...layers: Layer[]) =>
  new OciContent(Buffer.from(JSON.stringify({ schemaVersion: 2, config: {}, layers })), "manifest.json");

test("an OCI manifest is signed by its layers, and the signature is that of the files", async () => {
  const layers = [layer("sub/w.bin", "weights"), layer("config.json", "{}")];
  const { bundle } = await sign(oci(...layers));
  assert.deepEqual(await findings(oci(...layers), bundle), []);
  const pulled = writeModel({ "config.json": "{}", "sub/w.bin": "weights" });
  assert.deepEqual(await findings(pulled, bundle), []);
  const other = oci(layer("config.json", "[]"), layer("more", ""));
  assert.deepEqual(await findings(other, bundle), ["mismatch config.json", "missing sub/w.bin", "unsigned more"]);
  const lying = oci({ ...layer("config.json", "{}"), size: 100 }, layer("sub/w.bin", "weights"));
  assert.deepEqual(await findings(lying, bundle), [], "sizes are not signed; the digest is");
  const bad: [Layer[], string][] = [
    [[], "OCI_MANIFEST_INVALID"],
    [[layer("a", "1"), layer("a", "2")], "OCI_MANIFEST_INVALID"],
    [[{ digest: layer("a", "").digest, size: 0 }], "OCI_MANIFEST_INVALID"],
    [[{ ...layer("a", ""), digest: `sha512:${"0".repeat(128)}` }], "OCI_MANIFEST_INVALID"],
    [[layer("../a", "")], "MODEL_PATH_INVALID"],
    [[layer("/a", "")], "MODEL_PATH_INVALID"],
  ];
  for (const [list, code] of bad) assert.equal(await codeOf(() => oci(...list)), code);
  assert.equal(await codeOf(() => sign(oci(...layers), { hashType: "blake2b" })), "INVALID_INPUT");
  assert.equal(await codeOf(() => new OciContent(Buffer.from("{"), "x")), "INVALID_JSON");
});

test("a layer that calls itself empty and is not cannot pass among files that a list of shards does not name", async () => {
  const { bundle } = await sign(writeModel({ "w.bin": "weights" }), { shardBytes: 1_000 });
  const weights = layer("w.bin", "weights");
  assert.deepEqual(await findings(oci(weights, layer("nothing", "")), bundle), []);
  assert.deepEqual(await findings(oci(weights, layer("more", "evil")), bundle), ["unsigned more"]);
  const hidden = { ...layer("more", "evil"), size: 0 };
  assert.equal(await codeOf(() => findings(oci(weights, hidden), bundle)), "OCI_MANIFEST_INVALID");
});

test("whatever stands in the place of an OCI manifest, the answer is a code", async () => {
  const title = fc.oneof(fc.string(), fc.constantFrom("a", "a/b", "..", "/a", "a//b", "a\\b", "\0", "."));
  const digest = fc.oneof(fc.string(), fc.constant(`sha256:${sha256("x")}`));
  const size = fc.oneof(fc.integer(), fc.double(), fc.constant(5));
  const annotations = fc.dictionary(fc.constantFrom("org.opencontainers.image.title", "other"), title);
  const layers = fc.array(fc.record({ digest, size, annotations }, { requiredKeys: [] }), { maxLength: 4 });
  const manifest = fc.record({ schemaVersion: fc.constantFrom(2, 1, "2"), layers }, { requiredKeys: [] });
  const names = new Set<string | undefined>();
  await fc.assert(
    fc.asyncProperty(fc.oneof(manifest, fc.jsonValue()), async (value) => {
      const read = () => new OciContent(Buffer.from(JSON.stringify(value)), "manifest.json");
      const code = await codeOf(read);
      names.add(code);
      if (code !== undefined) return;
      for (const { path } of await read().walk({ allowEmpty: true }))
        assert.ok(
          path.split("/").every((part) => !["", ".", ".."].includes(part)),
          JSON.stringify(path),
        );
    }),
    { numRuns: 2_000 },
  );
  assert.ok(names.has(undefined) && names.has("OCI_MANIFEST_INVALID") && names.has("MODEL_PATH_INVALID"));
});

test("names that look like shards, and shards of any size, sign and verify", async () => {
  const part = fc.constantFrom("a", "0", "1:2", "a:0:1", ":", "a:", " ", "é", ".b", "9".repeat(20));
  const names = fc.uniqueArray(part, { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(names, fc.integer({ min: 1, max: 12 }), fc.string(), async (list, shardBytes, text) => {
      const root = writeModel(Object.fromEntries(list.map((name) => [name, `x${text}`])));
      const { bundle } = await sign(root, { shardBytes });
      assert.deepEqual(await findings(root, bundle), []);
      writeFileSync(join(root, list[0] ?? ""), `y${text}`);
      assert.deepEqual(await findings(root, bundle), [`mismatch ${list[0]}`]);
    }),
    { numRuns: 60 },
  );
});

test("shards that no verifier would read are not signed, nor a model of which they would list nothing", async () => {
  const root = writeModel({ a: "", large: "" });
  assert.equal(await codeOf(() => sign(root, { shardBytes: 10 })), "MODEL_EMPTY");
  truncateSync(join(root, "large"), 2_000_000_000);
  assert.equal(await codeOf(() => sign(root, { shardBytes: 1 })), "LIMIT_EXCEEDED");
  for (const shardBytes of [0, -1, 0.5, Number.NaN])
    assert.equal(await codeOf(() => sign(root, { shardBytes })), "INVALID_INPUT");
});

test("the command line: hashes, shards, links and OCI manifests", async () => {
  const folder = temporaryFolder();
  const root = writeModel({ ...CONTENT }, join(folder, "model"));
  symlinkSync("config.json", join(root, "link"));
  writeFileSync(join(folder, "signer.pem"), pair.privatePem, { mode: 0o600 });
  writeFileSync(join(folder, "signer.pub"), pair.publicPem);
  const run = async (...words: string[]) => (await modelkeep(words, folder)).exit;
  const signing = ["sign", "model", "--key", "signer.pem"];
  const verifying = ["verify", "model", "--signature", "model/model.sig", "--public-key", "signer.pub"];
  assert.equal(await run(...signing), 1, "a link is not signed unasked");
  for (const more of [
    ["--hash", "blake2b"],
    ["--hash", "blake3", "--shards", "3"],
    ["--shards", "1000000000"],
  ]) {
    assert.equal(await run(...signing, "--allow-symlinks", ...more), 0, more.join(" "));
    assert.equal(await run(...verifying, "--allow-symlinks"), 0, more.join(" "));
    assert.equal(await run(...verifying), 4, more.join(" "));
  }
  for (const more of [
    ["--hash", "md5"],
    ["--shards", "0"],
    ["--shards", "1e9"],
    ["--oci", "--shards", "1"],
  ])
    assert.equal(await run(...signing, ...more), 2, more.join(" "));
  const manifest = { schemaVersion: 2, layers: [layer("config.json", "{}")] };
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  assert.equal(await run("sign", "manifest.json", "--oci", "--key", "signer.pem"), 0);
  const oci = ["verify", "manifest.json", "--oci", "--signature", "manifest.json.sig", "--public-key", "signer.pub"];
  assert.equal(await run(...oci), 0);
  manifest.layers.push(layer("more", ""));
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  assert.equal(await run(...oci), 4);
  assert.ok(readFileSync(join(folder, "manifest.json.sig")).length > 0);
});
