/** A sealing that is killed, or finds the disk full: nothing half-written is taken for whole, and the next run goes on. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import {
  copySealed,
  joinParts,
  openIntoFolder,
  rewrapSealed,
  SEALED_NAMES,
  sealModel,
  sealPart,
} from "../../src/sealing/index.ts";
import { signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import {
  codeOf,
  type Made,
  MIB,
  makeKms,
  makePair,
  makeStore,
  openMade,
  random,
  temporaryFolder,
  writeModel,
} from "./support.ts";

interface Scene {
  readonly root: string;
  readonly words: readonly string[];
  readonly output: string;
  readonly made: Made;
}

const sizes = [3 * MIB + 7, 0, 2 * MIB, 100, 4 * MIB - 1];

async function makeScene(output = temporaryFolder()): Promise<Scene> {
  const folder = temporaryFolder();
  const root = writeModel(Object.fromEntries(sizes.map((size, index) => [`part-${index}`, Buffer.alloc(size, index)])));
  const [pair, kms] = [makePair(), await makeKms()];
  const [key, signature] = [join(folder, "signer.pem"), join(folder, "model.sig")];
  writeFileSync(key, pair.privatePem, { mode: 0o600 });
  writeFileSync(signature, (await signModel({ root, signer: pair.signer })).bundle);
  const store = await makeStore(output);
  const made = { root, folder: output, store, prefix: "", pair, wrapper: kms.wrapper } as unknown as Made;
  return { root, words: [root, signature, key, kms.uri, output], output, made };
}

interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Killed with SIGKILL once it reported that many steps, if that is a number. */
function runChild(words: readonly string[], killAfter?: number, delayMs = 0): Promise<ChildEnd> {
  const child = spawn(process.execPath, [fileURLToPath(new URL("./seal-child.ts", import.meta.url)), ...words]);
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => {
    out.push(chunk.toString());
    if (killAfter !== undefined && out.join("").split(".").length - 1 >= killAfter)
      setTimeout(() => child.kill("SIGKILL"), delayMs);
  });
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk.toString()));
  return new Promise((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal, stdout: out.join(""), stderr: err.join("") })),
  );
}

async function assertWhole({ made }: Scene): Promise<void> {
  const sink = await openMade(made);
  for (const [index, size] of sizes.entries())
    assert.deepEqual(sink.content(`part-${index}`), Buffer.alloc(size, index), `part-${index}`);
}

test("killed at any moment, again and again: never taken for whole, finished by the next run", async (t) => {
  let killed = 0;
  let resumed = 0;
  for (const steps of [1, 4, 6, 8, 12]) {
    const scene = await makeScene();
    for (const delay of [0, 3]) {
      const end = await runChild(scene.words, steps, delay);
      if (end.signal !== "SIGKILL") continue;
      killed++;
      if (!existsSync(join(scene.output, SEALED_NAMES.seal)))
        assert.equal(await codeOf(() => openMade(scene.made)), "BLOB_NOT_FOUND", "no seal, no model");
    }
    const end = existsSync(join(scene.output, SEALED_NAMES.seal)) ? undefined : await runChild(scene.words);
    if (end) {
      assert.equal(end.code, 0, end.stderr);
      resumed += JSON.parse(end.stdout.split("\n").at(-2) ?? "{}").resumed;
      const left = readdirSync(join(scene.output, "files"));
      assert.deepEqual(
        left.filter((name) => !/^\d+\.(floe|leaves)$/.test(name)),
        [],
        "no journal and no unfinished blob stays",
      );
    }
    await assertWhole(scene);
  }
  assert.ok(killed >= 5, `${killed} were killed`);
  assert.ok(resumed >= 1, "some files need not be sealed twice");
  t.diagnostic(`${killed} runs killed, ${resumed} files resumed`);
});

/** A scene that was killed after its first files; what lies in the store is then tampered with. */
async function interrupted(): Promise<Scene> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const scene = await makeScene();
    await runChild(scene.words, 8);
    if (existsSync(join(scene.output, "files/0.done")) && !existsSync(join(scene.output, SEALED_NAMES.seal)))
      return scene;
  }
  return assert.fail("no run could be interrupted between two files");
}

/** All that somebody without the package key could make: everything consistent but the code. */
function forge(at: (name: string) => string): void {
  const { file, mac } = JSON.parse(readFileSync(at("0.done"), "utf8"));
  const [blob, leaves] = [readFileSync(at("0.floe")), Buffer.alloc(readFileSync(at("0.leaves")).length, 1)];
  blob.fill(7, 42, 74);
  writeFileSync(at("0.floe"), blob);
  writeFileSync(at("0.leaves"), leaves);
  const header_tag = blob.subarray(42, 74).toString("hex");
  const leaves_sha256 = createHash("sha256").update(leaves).digest("hex");
  writeFileSync(at("0.done"), JSON.stringify({ file: { ...file, header_tag, leaves_sha256 }, mac }));
}

test("a journal is not believed when it, the blob or the leaves were changed meanwhile", async () => {
  const changes: [string, (at: (name: string) => string) => void][] = [
    ["journal damaged", (at) => writeFileSync(at("0.done"), "{")],
    ["journal null", (at) => writeFileSync(at("0.done"), "null")],
    ["journal of the other file", (at) => writeFileSync(at("0.done"), readFileSync(at("1.done")))],
    [
      "length changed",
      (at) => writeFileSync(at("0.done"), readFileSync(at("0.done"), "utf8").replace("3145735", "3145736")),
    ],
    ["blob cut", (at) => truncateSync(at("0.floe"), 1000)],
    ["blob gone", (at) => rmSync(at("0.floe"))],
    ["blob of the other file", (at) => writeFileSync(at("0.floe"), readFileSync(at("1.floe")))],
    ["leaves changed", (at) => writeFileSync(at("0.leaves"), Buffer.alloc(128))],
    ["leaves gone", (at) => rmSync(at("0.leaves"))],
  ];
  changes.push(["a journal, a blob and leaves that fit each other", forge]);
  const scene = await interrupted();
  for (const [what, change] of changes) {
    const output = temporaryFolder();
    execFileSync("cp", ["-a", `${scene.output}/.`, output]);
    change((name) => join(output, "files", name));
    const end = await runChild([...scene.words.slice(0, 4), output]);
    assert.equal(end.code, 0, `${what}: ${end.stderr}`);
    await assertWhole({ ...scene, made: { ...scene.made, store: await makeStore(output) } });
  }
});

test("an interrupted run goes on for other recipients too", async () => {
  const scene = await interrupted();
  const { pair, wrapper, store } = scene.made;
  const next = await makeKms();
  const bundle = readFileSync(scene.words[1] ?? "");
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const { signer } = pair;
  const wrappers = [wrapper, next.wrapper];
  const { resumedFiles } = await sealModel({
    root: scene.root,
    bundle,
    manifest,
    signer,
    wrappers,
    store,
    prefix: "",
    random,
  });
  assert.ok(resumedFiles > 0);
  await assertWhole({ ...scene, made: { ...scene.made, wrapper: next.wrapper } });
});

/** A small file system in memory for the time of the work; its folder and a way to make it larger. */
async function onSmallDisk(
  t: TestContext,
  work: (mount: string, grow: (mib?: number) => void) => Promise<void>,
): Promise<void> {
  if (process.getuid?.() !== 0) return t.skip("needs root to mount a small tmpfs: run the tests as root");
  const mount = join(temporaryFolder(), "small");
  mkdirSync(mount);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=5m", "tmpfs", mount], { stdio: "pipe" });
  } catch {
    return t.skip("tmpfs cannot be mounted here: run the tests with CAP_SYS_ADMIN");
  }
  try {
    await work(mount, (mib = 64) => execFileSync("mount", ["-o", `remount,size=${mib}m`, mount]));
  } finally {
    execFileSync("umount", [mount]);
  }
}

function sealScene({ root, words, made }: Scene) {
  const { pair, wrapper, store } = made;
  const bundle = readFileSync(words[1] ?? "");
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const { signer } = pair;
  return sealModel({ root, bundle, manifest, signer, wrappers: [wrapper], store, prefix: "", random });
}

test("a full disk is a clear error, and with more room the same command goes on", (t) =>
  onSmallDisk(t, async (mount, grow) => {
    const scene = await makeScene(join(mount, "sealed"));
    assert.equal(await codeOf(() => sealScene(scene)), "STORE_UNWRITABLE");
    assert.equal(existsSync(join(scene.output, SEALED_NAMES.seal)), false);
    grow();
    assert.ok((await sealScene(scene)).resumedFiles > 0);
    await assertWhole(scene);
  }));

test("a disk too small for what is copied or opened is a clear error, and nothing is taken for whole", (t) =>
  onSmallDisk(t, async (mount, grow) => {
    const scene = await makeScene();
    await sealScene(scene);
    const { store, pair, wrapper } = scene.made;
    const options = { store, prefix: "", trust: trustKeys([pair.publicPem]), wrappers: [wrapper], random };
    const open = () => openIntoFolder(options, join(mount, "opened"));
    assert.equal(await codeOf(open), "OUTPUT_UNWRITABLE");
    assert.deepEqual(readdirSync(mount), [], "no plaintext stays");
    const to = { store: await makeStore(join(mount, "copy")), prefix: "" };
    const copy = () => copySealed({ from: { store, prefix: "" }, to });
    assert.equal(await codeOf(copy), "STORE_UNWRITABLE");
    assert.equal(existsSync(join(mount, "copy", SEALED_NAMES.seal)), false);
    grow();
    assert.ok((await copy()).keptBlobs > 0, "it goes on where it stopped");
    await assertWhole({ ...scene, made: { ...scene.made, store: to.store } });
    await open();
  }));

test("parts, their join and a change of keys on a full disk are clear errors too, and go on with more room", (t) =>
  onSmallDisk(t, async (mount, grow) => {
    const scene = await makeScene(join(mount, "parts"));
    const large = Buffer.alloc(20 * MIB, 9);
    const root = writeModel({
      ...Object.fromEntries(sizes.map((size, at) => [`part-${at}`, Buffer.alloc(size, at)])),
      large,
    });
    const { pair, wrapper, store } = scene.made;
    const { bundle } = await signModel({ root, signer: pair.signer });
    const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
    const shared = { root, manifest, store, prefix: "", wrappers: [wrapper], random };
    const part = (number: number) => sealPart({ ...shared, part: number, parts: 2 });
    const joined = () => joinParts({ ...shared, bundle, signer: pair.signer });
    const codes = [await codeOf(() => part(0)), await codeOf(() => part(1))];
    assert.ok(codes.includes("STORE_UNWRITABLE"), String(codes));
    assert.equal(await codeOf(joined), "PARTS_MISSING");
    grow(34);
    for (const number of [0, 1]) await part(number);
    assert.equal(await codeOf(joined), "STORE_UNWRITABLE", "no room for the ranges and the file at once");
    assert.equal(existsSync(join(scene.output, SEALED_NAMES.seal)), false);
    grow();
    await joined();
    await assertWhole(scene);
    assert.deepEqual((await openMade(scene.made)).content("large"), large);
    const filler = join(mount, "filler");
    assert.throws(() => writeFileSync(filler, Buffer.alloc(64 * MIB)), { code: "ENOSPC" });
    const before = readFileSync(join(scene.output, SEALED_NAMES.envelope));
    const next = await makeKms();
    assert.equal(await codeOf(() => rewrapSealed(store, "", [wrapper], [next.wrapper])), "STORE_UNWRITABLE");
    assert.deepEqual(readFileSync(join(scene.output, SEALED_NAMES.envelope)), before);
    rmSync(filler);
    await rewrapSealed(store, "", [wrapper], [next.wrapper]);
    await assertWhole({ ...scene, made: { ...scene.made, wrapper: next.wrapper } });
  }));

test("what a run of another version left unfinished under other names is cleared away", async () => {
  const scene = await interrupted();
  writeFileSync(join(scene.output, "files/.tmp-1-1"), Buffer.alloc(100));
  const end = await runChild(scene.words);
  assert.equal(end.code, 0, end.stderr);
  assert.equal(existsSync(join(scene.output, "files/.tmp-1-1")), false);
  const wrapper = await openKeyWrapper(scene.words[3] ?? "", { random });
  await assertWhole({ ...scene, made: { ...scene.made, wrapper, store: await openBlobStore(scene.made.store.uri) } });
});
