/** Engines and threads of sealing when they fail: wrong answers, errors in the middle, threads that end, bytes left behind. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  AEAD_NAMES,
  type AeadEngine,
  type AeadLoader,
  type AeadName,
  chooseAmong,
  loadAead,
} from "../../src/host/aead.ts";
import { checkAead } from "../../src/host/aead-check.ts";
import { cryptoAead, RECORD_BODY_AT, RECORD_OVERHEAD_BYTES, SealThreads } from "../../src/host/index.ts";
import { type OpenTask, runRecords, type SealTask } from "../../src/host/seal-run.ts";
import {
  type LeafHashName,
  type ModelSink,
  openIntoFolder,
  openSealedPackage,
  openWithKms,
  parseEnvelope,
  SEALED_NAMES,
  sealModel,
  unwrapPackageKey,
} from "../../src/sealing/index.ts";
import { signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import {
  codeOf,
  MIB,
  makeKms,
  makePair,
  makeSealed,
  makeStore,
  openMade,
  random,
  temporaryFolder,
  writeModel,
} from "./support.ts";

const pattern = (length: number, seed = 7) =>
  Buffer.alloc(
    length,
    Uint8Array.from({ length: 251 }, (_, i) => i ^ seed),
  );

/** node:crypto, changed in one way. */
function changed(change: Partial<ReturnType<AeadEngine["key"]>>): AeadEngine {
  return {
    name: "koffi",
    about: "changed",
    key: (bytes) => ({ ...cryptoAead.key(bytes), ...change }),
  };
}

const WRONG: Readonly<Record<string, AeadEngine>> = {
  "does not encrypt": changed({ seal() {} }),
  "makes no tag": {
    ...changed({}),
    key: (k) => ({ ...cryptoAead.key(k), seal: (n, a, b) => cryptoAead.key(k).seal(n, a, b, new Uint8Array(16)) }),
  },
  "checks no tag": {
    ...changed({}),
    key: (k) => ({ ...cryptoAead.key(k), open: (n, a, b, t) => cryptoAead.key(k).open(n, a, b, t) || true }),
  },
  "leaves what was refused": {
    ...changed({}),
    key: (k) => ({
      ...cryptoAead.key(k),
      open(n, a, b, t) {
        const before = Uint8Array.from(b);
        const right = cryptoAead.key(k).open(n, a, b, t);
        if (!right) b.set(before);
        return right;
      },
    }),
  },
  "takes no associated data": {
    ...changed({}),
    key: (k) => ({
      ...cryptoAead.key(k),
      seal: (n, _, b, t) => cryptoAead.key(k).seal(n, new Uint8Array(0), b, t),
      open: (n, _, b, t) => cryptoAead.key(k).open(n, new Uint8Array(0), b, t),
    }),
  },
  "is wrong in long records only": {
    ...changed({}),
    key: (k) => ({
      ...cryptoAead.key(k),
      seal(n, a, b, t) {
        cryptoAead.key(k).seal(n, a, b, t);
        if (b.length > 500_000) b[400_000] = (b[400_000] ?? 0) ^ 1;
      },
    }),
  },
  throws: changed({
    seal() {
      throw new Error("no");
    },
  }),
};

test("an engine with a wrong answer is found by the known answers, and never chosen", async () => {
  assert.equal(checkAead(cryptoAead), true);
  const absent: AeadLoader = async () => undefined;
  for (const [what, engine] of Object.entries(WRONG)) {
    assert.equal(checkAead(engine), false, what);
    const loaders: Record<AeadName, AeadLoader> = {
      ffi: absent,
      koffi: async () => engine,
      crypto: async () => cryptoAead,
    };
    const { engine: taken, wrong } = await chooseAmong(loaders);
    assert.deepEqual([taken.name, wrong], ["crypto", ["koffi"]], what);
    assert.equal(await codeOf(() => chooseAmong(loaders, "koffi")), "ENGINE_MISSING", "not even when asked for");
  }
  const loaders = { ffi: absent, koffi: absent, crypto: async () => cryptoAead };
  assert.equal(await codeOf(() => chooseAmong(loaders, "ffi")), "ENGINE_MISSING");
  assert.equal(await codeOf(() => chooseAmong(loaders, "fastest")), "ENGINE_MISSING");
  assert.equal((await chooseAmong(loaders, "")).engine.name, "crypto");
});

const keyOf = (bytes: Uint8Array) => {
  const key = new SharedArrayBuffer(bytes.length);
  new Uint8Array(key).set(bytes);
  return key;
};
const isZero = (memory: SharedArrayBuffer) => Buffer.from(memory).every((byte) => byte === 0);
const SIZE = 1_000;
const STRIDE = SIZE + RECORD_OVERHEAD_BYTES;
const secret = pattern(32, 99);

/** Three records of 1,000 bytes, sealed in a slot. */
function sealedSlot(): { task: SealTask; open: Omit<OpenTask, "key"> } {
  const slot = new SharedArrayBuffer(3 * STRIDE);
  for (const at of [0, 1, 2]) new Uint8Array(slot, at * STRIDE + RECORD_BODY_AT, SIZE).set(pattern(SIZE, at));
  const plans = [0, 1, 2].map((at) => ({
    head: Uint8Array.of(255, 255, 255, 255),
    aad: Uint8Array.of(at),
    plainBytes: SIZE,
    nonce: random.bytes(12),
  }));
  const task: SealTask = {
    kind: "seal",
    key: keyOf(secret),
    slot,
    stride: STRIDE,
    records: plans,
    leafHashes: ["sha256"],
  };
  const leaves = Buffer.concat([0, 1, 2].map((at) => createHash("sha256").update(pattern(SIZE, at)).digest()));
  return { task, open: { kind: "open", slot, stride: STRIDE, records: plans, leafHash: "sha256", leaves } };
}

test("records are sealed and opened in their own memory; the key is zeroed with the task", () => {
  const { task, open } = sealedSlot();
  const made = runRecords(task, cryptoAead);
  assert.ok("leaves" in made && Buffer.from(made.leaves).equals(open.leaves));
  assert.ok(isZero(task.key));
  const key = keyOf(secret);
  assert.ok("leaves" in runRecords({ ...open, key }, cryptoAead));
  assert.ok(isZero(key));
  assert.deepEqual(Buffer.from(open.slot, STRIDE + RECORD_BODY_AT, SIZE), pattern(SIZE, 1));
});

test("after a refusal or an error in the middle neither key nor plaintext is left, and the answer says which record", () => {
  const failing = { ...cryptoAead };
  let calls = 0;
  failing.key = (bytes) => {
    const inner = cryptoAead.key(bytes);
    return {
      ...inner,
      open(...words) {
        if (++calls === 2) throw new Error("gave up");
        return inner.open(...words);
      },
    };
  };
  const cases: [string, AeadEngine, (open: Omit<OpenTask, "key">) => Omit<OpenTask, "key">, number][] = [
    ["engine", failing, (open) => open, 1],
    [
      "leaf",
      cryptoAead,
      (open) => ({ ...open, leaves: open.leaves.map((byte, at) => (at === 64 ? byte ^ 1 : byte)) }),
      2,
    ],
    ["tag", cryptoAead, (open) => touched(open, STRIDE), 1],
    ["tag", cryptoAead, (open) => touched(open, 2 * STRIDE + 500), 2],
    ["cut", cryptoAead, (open) => ({ ...open, stride: 0, source: { descriptor: emptyFile(), at: 0 } }), 0],
    ["read", cryptoAead, (open) => ({ ...open, stride: 0, source: { descriptor: 9_999, at: 0 } }), 0],
    ["write", cryptoAead, (open) => ({ ...open, sink: { descriptor: 9_999, at: 0 } }), 0],
  ];
  for (const [why, engine, change, record] of cases) {
    const { task, open } = sealedSlot();
    runRecords(task, cryptoAead);
    const key = keyOf(secret);
    const made = runRecords({ ...change(open), key }, engine);
    assert.ok("failed" in made, why);
    assert.deepEqual([made.failed.why, made.failed.record], [why, record]);
    assert.ok(isZero(open.slot), `${why}: the slot`);
    assert.ok(isZero(key), `${why}: the key`);
  }
});

function touched(open: Omit<OpenTask, "key">, at: number): Omit<OpenTask, "key"> {
  const bytes = new Uint8Array(open.slot);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return open;
}

function emptyFile(): number {
  const path = join(temporaryFolder(), "empty");
  writeFileSync(path, "");
  return openSync(path, "r");
}

const lost = new URL("./lost-thread.mjs", import.meta.url);

test("a thread that ends in the middle of its work is an error, and its memory is wiped by the caller", async () => {
  const threads = await SealThreads.start({ workBytes: 0, slotBytes: 3 * STRIDE, threads: 2, program: lost });
  const results: Promise<unknown>[] = [];
  const keys: SharedArrayBuffer[] = [];
  await new Promise((resolve) => setTimeout(resolve, 300));
  for (let count = 0; count < 4; count++) {
    const { task } = sealedSlot();
    keys.push(task.key);
    results.push(threads.run(task));
  }
  const codes = await Promise.all(results.map((result) => codeOf(() => threads.wait(result))));
  assert.deepEqual(codes.slice(0, 2), ["THREAD_LOST", "THREAD_LOST"]);
  assert.deepEqual(codes.slice(2), [undefined, undefined], "what it had not begun is done by the caller");
  const slot = threads.takeSlot();
  new Uint8Array(slot).fill(1);
  await threads.close();
  assert.ok(isZero(slot));
  assert.ok(keys.every(isZero));
});

test("threads that cannot start cost speed and nothing else", async () => {
  const nowhere = pathToFileURL(join(temporaryFolder(), "no-such-program.mjs"));
  const threads = await SealThreads.start({ workBytes: 0, slotBytes: 3 * STRIDE, threads: 3, program: nowhere });
  const { task } = sealedSlot();
  assert.ok("leaves" in ((await threads.wait(threads.run(task))) as object));
  await threads.close();
});

test("dropped work rejects, and its key is zeroed", async () => {
  const threads = await SealThreads.start({ workBytes: 0, slotBytes: 3 * STRIDE, threads: 1 });
  const { task } = sealedSlot();
  const result = threads.run(task);
  await threads.drain();
  await assert.rejects(result, { name: "AbortError" });
  assert.ok(isZero(task.key));
  await threads.close();
});

const contents = { "a.bin": pattern(37 * MIB + 5), b: "small", c: "", "d.bin": pattern(3 * MIB) };

async function scene() {
  const [root, pair, { wrapper }] = [writeModel(contents), makePair(), await makeKms()];
  const { bundle } = await signModel({ root, signer: pair.signer });
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const base = { root, manifest, bundle, signer: pair.signer, wrappers: [wrapper], prefix: "", random };
  return { base, pair, wrapper, trust: trustKeys([pair.publicPem]) };
}

test("every leaf hash, number of threads and kind of store gives the same files", async () => {
  const { base, wrapper, trust } = await scene();
  for (const leafHash of ["sha256", "blake3", "sha256+blake3"] satisfies LeafHashName[])
    for (const threads of [1, 2, 3]) {
      const { writeLocal: _, ...remote } = unbound(await makeStore());
      const store = threads === 3 ? remote : await makeStore();
      await sealModel({ ...base, store, leafHash, threads });
      const output = join(temporaryFolder(), "out");
      await openIntoFolder({ store, prefix: "", trust, wrappers: [wrapper], random, threads }, output);
      for (const [path, content] of Object.entries(contents))
        assert.ok(readFileSync(join(output, path)).equals(Buffer.from(content)), `${path}, ${leafHash}, ${threads}`);
      const list = createHash("sha256")
        .update(await store.read("files/0.leaves", 0, 1e6))
        .digest("hex");
      const hashes = leafHash === "sha256+blake3" ? 2 : 1;
      assert.equal((await store.stat("files/0.leaves"))?.bytes, 38 * 32 * hashes, list);
    }
});

/** A store whose blobs other threads cannot reach. */
function unbound(store: Awaited<ReturnType<typeof makeStore>>) {
  return {
    uri: store.uri,
    stat: store.stat.bind(store),
    read: store.read.bind(store),
    readAll: store.readAll.bind(store),
    write: store.write.bind(store),
    delete: store.delete.bind(store),
    list: store.list.bind(store),
    discardUnfinished: store.discardUnfinished.bind(store),
    writeLocal: undefined,
    async open(name: string) {
      const { local: _, ...blob } = await store.open(name);
      return blob;
    },
  };
}

test("a segment that was changed is not written by any thread, wherever it lies", async () => {
  const made = await makeSealed({ "a.bin": contents["a.bin"] });
  const blob = join(made.folder, "files/0.floe");
  const original = readFileSync(blob);
  for (const segment of [0, 5, 17, 36, 37]) {
    const damaged = Buffer.from(original);
    const at = Math.min(74 + segment * 1_048_608 + 2_000, damaged.length - 1);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    writeFileSync(blob, damaged);
    const folder = temporaryFolder();
    const envelope = parseEnvelope(await made.store.readAll(SEALED_NAMES.envelope, MIB));
    using packageKey = await unwrapPackageKey(envelope, [made.wrapper]);
    const trust = trustKeys([made.pair.publicPem]);
    const opening = openSealedPackage({
      store: made.store,
      prefix: "",
      trust,
      packageKey,
      into: fileSink(folder),
      random,
      threads: 2,
    });
    assert.equal(await codeOf(() => opening), "SEALED_TAMPERED");
    const written = readFileSync(join(folder, "a.bin")).subarray(segment * MIB, (segment + 1) * MIB);
    assert.ok(
      written.every((byte) => byte === 0),
      `segment ${segment}`,
    );
  }
});

/** As the loader's: threads write into it. */
function fileSink(folder: string): ModelSink {
  return {
    async open(path) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      const descriptor = openSync(join(folder, path), "wx");
      const error = (code: string) => new Error(code);
      return {
        write: async () => assert.fail("threads write"),
        close: async () => closeSync(descriptor),
        local: { descriptor, error },
      };
    },
  };
}

test("an abort between batches ends threads and files, and the next opening works", async () => {
  const made = await makeSealed({ "a.bin": contents["a.bin"] });
  const abort = new AbortController();
  const trust = trustKeys([made.pair.publicPem]);
  const options = { store: made.store, prefix: "", trust, wrappers: [made.wrapper], random, threads: 2 };
  const opening = openWithKms({
    ...options,
    into: fileSink(temporaryFolder()),
    signal: abort.signal,
    progress: () => abort.abort(),
  });
  await assert.rejects(opening, { name: "AbortError" });
  assert.ok((await openMade(made)).content("a.bin").equals(contents["a.bin"]));
});

const program = (name: string) => fileURLToPath(new URL(name, import.meta.url));

test("what one engine sealed another one opens", async (t) => {
  const { base, wrapper, trust, pair } = await scene();
  const folder = temporaryFolder();
  const [key, signature] = [join(folder, "signer.pem"), join(folder, "model.sig")];
  writeFileSync(key, pair.privatePem, { mode: 0o600 });
  writeFileSync(signature, base.bundle);
  const here = await makeStore();
  await sealModel({ ...base, store: here, threads: 2 });
  for (const name of AEAD_NAMES) {
    if (!(await loadAead(name))) {
      t.diagnostic(`no engine ${name}: ${name === "ffi" ? "run with Node 26.1 or newer" : "npm install koffi"}`);
      continue;
    }
    const [sealed, opened, back] = [join(folder, `${name}-sealed`), join(folder, `${name}-opened`), join(folder, name)];
    const env = { ...process.env, MODELKEEP_ENGINE: name };
    const run = (words: readonly string[]) => spawnSync(process.execPath, words, { env, encoding: "utf8" });
    const opening = run([program("./engine-child.ts"), wrapper.uri, here.uri, pair.publicPem, opened]);
    assert.deepEqual([opening.status, opening.stdout], [0, name], opening.stderr);
    const sealing = run([program("./seal-child.ts"), base.root, signature, key, wrapper.uri, sealed]);
    assert.equal(sealing.status, 0, sealing.stderr);
    const store = await makeStore(sealed);
    await openIntoFolder({ store, prefix: "", trust, wrappers: [wrapper], random }, back);
    for (const output of [opened, back])
      for (const [path, content] of Object.entries(contents))
        assert.ok(readFileSync(join(output, path)).equals(Buffer.from(content)), `${name} ${path}`);
    t.diagnostic(`${name} opened and sealed`);
  }
});

test("without the optional packages all works, but for a model whose leaves are BLAKE3 alone, which is a clear error", async () => {
  const { base, wrapper, pair } = await scene();
  const folder = temporaryFolder();
  const [key, signature, sealed] = [join(folder, "signer.pem"), join(folder, "model.sig"), join(folder, "sealed")];
  writeFileSync(key, pair.privatePem, { mode: 0o600 });
  writeFileSync(signature, base.bundle);
  const hide = ["--import", new URL("./without-packages.mjs", import.meta.url).href];
  const { MODELKEEP_ENGINE: _, ...env } = process.env;
  const run = (words: readonly string[]) => spawnSync(process.execPath, [...hide, ...words], { env, encoding: "utf8" });
  const open = (uri: string, output: string) =>
    run([program("./engine-child.ts"), wrapper.uri, uri, pair.publicPem, join(folder, output)]);
  for (const leafHash of ["sha256", "sha256+blake3", "blake3"] satisfies LeafHashName[]) {
    const store = await makeStore();
    await sealModel({ ...base, store, leafHash });
    const { status, stdout, stderr } = open(store.uri, leafHash);
    if (leafHash === "blake3") {
      assert.notEqual(status, 0);
      assert.match(stderr, /BLAKE3_MISSING/);
      assert.ok(!existsSync(join(folder, leafHash)));
    } else {
      assert.equal(status, 0, stderr);
      assert.match(stdout, process.getBuiltinModule("node:ffi") ? /^ffi$/ : /^crypto$/);
      assert.ok(readFileSync(join(folder, leafHash, "a.bin")).equals(contents["a.bin"]));
    }
  }
  const sealing = run([program("./seal-child.ts"), base.root, signature, key, wrapper.uri, sealed]);
  assert.equal(sealing.status, 0, sealing.stderr);
  const statement = JSON.parse(readFileSync(join(sealed, SEALED_NAMES.seal), "utf8")) as { payload: string };
  assert.match(Buffer.from(statement.payload, "base64").toString(), /"leaf_hash":"sha256"/);
});
