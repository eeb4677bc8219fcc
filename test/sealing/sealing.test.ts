/** Sealing attacked: every field and every region of a sealed model, swaps, rollbacks, cuts, and what reaches the reader before. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { BlobStore } from "../../src/artifact/index.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { concatBytes } from "../../src/base/index.ts";
import {
  FLOE_HEADER_BYTES,
  inspectSealed,
  openSealedPackage,
  parseEnvelope,
  rewrapSealed,
  SEAL_PREDICATE_TYPE,
  SEALED_NAMES,
  sealModel,
  shredSealed,
  unwrapPackageKey,
  verifySealed,
} from "../../src/sealing/index.ts";
import { signModel, signStatement, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import {
  codeOf,
  type Files,
  KIB,
  type Made,
  MemorySink,
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

const SEGMENT = 1_048_608;
const pattern = (length: number) => Buffer.from(Array.from({ length }, (_, index) => (index * 7 + (index >> 8)) & 255));

/** Codes that say "refused" or "could not be read"; INTERNAL or none at all would be a hole. */
const REFUSALS = new Set([
  "SEALED_TAMPERED",
  "SEALED_INVALID",
  "ENVELOPE_INVALID",
  "NO_KEY_SERVICE",
  "UNWRAP_FAILED",
  "SIGNATURE_INVALID",
  "SIGNER_NOT_TRUSTED",
  "SIGNING_METHOD_UNSUPPORTED",
  "BUNDLE_INVALID",
  "DSSE_INVALID",
  "INVALID_JSON",
  "BLOB_NOT_FOUND",
]);

async function assertRefused(made: Made, what: string): Promise<void> {
  const code = await codeOf(() => openMade(made));
  assert.ok(code !== undefined && REFUSALS.has(code), `${what}: ${code}`);
}

test("any set of files opens as it was sealed", async () => {
  const [pair, { wrapper }] = [makePair(), await makeKms()];
  const name = fc.stringMatching(/^[a-zA-Z0-9._é模\u{1f600} -]{1,12}$/u).filter((n) => n !== "." && n !== "..");
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.constantFrom(0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB).map(pattern),
  );
  const model = fc
    .uniqueArray(fc.tuple(path, content), { selector: ([key]) => key.toLowerCase(), minLength: 1, maxLength: 5 })
    .filter((entries) => entries.every(([a]) => entries.every(([b]) => !`${b}/`.startsWith(`${a}/`) || a === b)))
    .filter((entries) => entries.every(([key]) => !/^\.git/.test(key)));
  await fc.assert(
    fc.asyncProperty(model, async (entries) => {
      const made = await makeSealed(Object.fromEntries(entries), { pair, wrapper });
      const sink = await openMade(made);
      assert.deepEqual([...sink.files.keys()].sort(), entries.map(([key]) => key).sort());
      for (const [key, bytes] of entries) assert.deepEqual(sink.content(key), Buffer.from(bytes), key);
      rmSync(made.folder, { recursive: true });
      rmSync(made.root, { recursive: true });
    }),
    { numRuns: 15 },
  );
});

test("the borders of a segment, hidden folders and names beyond ASCII", async () => {
  const contents: Files = {
    empty: "",
    exact: pattern(MIB),
    over: pattern(MIB + 1),
    ".hidden/.cache/weights.bin": "x",
    "模型/é\u0301 \u{1f600}.bin": "y",
    "a b (copy).bin": "z",
  };
  const made = await makeSealed(contents, { prefix: "models/keeper/1" });
  const sink = await openMade(made);
  for (const [path, content] of Object.entries(contents))
    assert.deepEqual(sink.content(path), Buffer.from(content), path);
  const sizes = Object.fromEntries(made.sealed.files.map((file) => [file.path, file]));
  const sizeOf = (path: string) => statSync(join(made.folder, made.prefix, sizes[path]?.blob ?? "")).size;
  assert.equal(sizeOf("empty"), FLOE_HEADER_BYTES + 32);
  assert.equal(sizeOf("exact"), FLOE_HEADER_BYTES + SEGMENT);
  assert.equal(sizeOf("over"), FLOE_HEADER_BYTES + SEGMENT + 33);
  assert.equal(sink.files.get("over")?.length, 2, "the reader gets segment by segment");
});

test("no plaintext and no name of the model's own key is in what the store sees", async () => {
  const secret = "a sentence that only the weights know, long enough to be found";
  const made = await makeSealed({ "weights.bin": secret.repeat(100) });
  for (const path of globSync("**/*", { cwd: made.folder })) {
    const full = join(made.folder, path);
    if (statSync(full).isFile()) assert.equal(readFileSync(full).includes(secret.slice(0, 16)), false, path);
  }
  const again = await makeSealed({ "weights.bin": secret.repeat(100) });
  const blob = (m: Made) => readFileSync(join(m.folder, "files/0.floe"));
  assert.equal(blob(made).includes(blob(again).subarray(FLOE_HEADER_BYTES + 16, FLOE_HEADER_BYTES + 48)), false);
});

test("a bit turned over anywhere in any blob is refused before its segment is handed out", async () => {
  const made = await makeSealed({ "a.bin": pattern(MIB + 500), "b.bin": pattern(300), "c/empty": "" });
  const names = globSync("**/*", { cwd: made.folder }).filter((path) => statSync(join(made.folder, path)).isFile());
  assert.equal(names.length, 9);
  const whole = await openMade(made);
  for (const name of names) {
    const path = join(made.folder, name);
    const original = readFileSync(path);
    const edges = [0, 1, 2, 9, 10, 41, 42, 73, 74, 77, 78, 89, 90, original.length - 17, original.length - 1];
    const spread = Array.from({ length: 24 }, (_, index) => Math.floor((original.length * index) / 24));
    for (const at of new Set([...edges, ...spread].filter((place) => place >= 0 && place < original.length))) {
      const damaged = Buffer.from(original);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(path, damaged);
      const sink = new MemorySink();
      const code = await codeOf(() => openInto(made, sink));
      const unchanged = code === undefined && sameMeaning(original, damaged);
      assert.ok(unchanged || (code !== undefined && REFUSALS.has(code)), `${name} at ${at}: ${code}`);
      assertOnlyTrueBytes(sink, whole);
    }
    writeFileSync(path, original);
  }
  await openMade(made);
});

/** A space or a newline of JSON may change without a word of it changing. */
function sameMeaning(a: Buffer, b: Buffer): boolean {
  try {
    assert.deepEqual(JSON.parse(a.toString()), JSON.parse(b.toString()));
    return true;
  } catch {
    return hintLost(b);
  }
}

/** The key's hint in the bundle is not signed: without it every trusted key is tried. */
function hintLost(bundle: Buffer): boolean {
  const value = JSON.parse(bundle.toString()) as { verificationMaterial?: { publicKey?: { hint?: string } } };
  return value.verificationMaterial !== undefined && value.verificationMaterial.publicKey?.hint === undefined;
}

function openInto(made: Made, into: MemorySink) {
  return unwrapPackageKeyOf(made).then(async (packageKey) => {
    const { store, prefix } = made;
    const trust = trustKeys([made.pair.publicPem]);
    await openSealedPackage({ store, prefix, trust, packageKey, into, random }).finally(() => packageKey.wipe());
  });
}

async function unwrapPackageKeyOf(made: Made) {
  const envelope = parseEnvelope(await made.store.readAll(SEALED_NAMES.envelope, 64 * KIB));
  return unwrapPackageKey(envelope, [made.wrapper]);
}

/** What a reader got before the refusal is a true beginning of a file, in whole segments. */
function assertOnlyTrueBytes(sink: MemorySink, whole: MemorySink): void {
  for (const path of sink.files.keys()) {
    const got = sink.content(path);
    assert.ok(whole.content(path).subarray(0, got.length).equals(got), path);
  }
}

test("a damaged second segment lets the first one through and nothing of itself", async () => {
  const made = await makeSealed({ "a.bin": pattern(2 * MIB + 5) });
  const path = join(made.folder, "files/0.floe");
  const bytes = readFileSync(path);
  bytes[FLOE_HEADER_BYTES + SEGMENT + 1000] = (bytes[FLOE_HEADER_BYTES + SEGMENT + 1000] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const sink = new MemorySink();
  assert.equal(await codeOf(() => openInto(made, sink)), "SEALED_TAMPERED");
  assert.deepEqual(sink.content("a.bin"), pattern(MIB * 2 + 5).subarray(0, MIB));
});

test("every field of the envelope counts", async () => {
  const made = await makeSealed({ a: "1" });
  const path = join(made.folder, SEALED_NAMES.envelope);
  const original = readFileSync(path, "utf8");
  const envelope = JSON.parse(original);
  const [recipient] = envelope.recipients;
  const other = await makeKms();
  const second = await makeSealed({ a: "1" }, { wrapper: other.wrapper });
  const foreign = JSON.parse(readFileSync(join(second.folder, SEALED_NAMES.envelope), "utf8"));
  const changes: [string, object][] = [
    ["format", { format: "modelkeep-key-envelope-v2" }],
    ["package", { package_id: "0".repeat(32) }],
    ["root", { root_digest: "0".repeat(64) }],
    ["no recipients", { recipients: [] }],
    ["one more recipient", { recipients: [recipient, foreign.recipients[0]] }],
    ["a stranger's recipient", { recipients: foreign.recipients }],
    ["the same twice", { recipients: [recipient, recipient] }],
    ["KMS", { recipients: [{ ...recipient, kms: "file:///elsewhere" }] }],
    ["key id", { recipients: [{ ...recipient, key_id: "0".repeat(32) }] }],
    ["key version", { recipients: [{ ...recipient, key_version: "2" }] }],
    ["ciphertext", { recipients: [{ ...recipient, ciphertext: foreign.recipients[0].ciphertext }] }],
    ["ciphertext cut", { recipients: [{ ...recipient, ciphertext: recipient.ciphertext.slice(0, 4) }] }],
    ["ciphertext not base64", { recipients: [{ ...recipient, ciphertext: "***" }] }],
    ["code", { mac: foreign.mac }],
    ["no code", { mac: "" }],
    ["a field of its own", { extra: 1 }],
  ];
  for (const [what, change] of changes) {
    writeFileSync(path, JSON.stringify({ ...envelope, ...change }));
    await assertRefused(made, what);
  }
  writeFileSync(path, original);
  await openMade(made);
});

test("every field of the seal counts, even when the right key signed it", async () => {
  const made = await makeSealed({ a: pattern(MIB + 3), b: "2" });
  const path = join(made.folder, SEALED_NAMES.seal);
  const original = readFileSync(path, "utf8");
  const statement = JSON.parse(Buffer.from(JSON.parse(original).payload, "base64").toString());
  const { predicate } = statement;
  const [a, b] = predicate.files;
  const files = (...list: object[]) => ({ predicate: { ...predicate, files: list } });
  const changes: [string, object][] = [
    ["format", { predicate: { ...predicate, format: "modelkeep-sealed-model-v2" } }],
    ["package", { predicate: { ...predicate, package_id: "0".repeat(32) } }],
    ["payload", { predicate: { ...predicate, payload: "plain" } }],
    ["segment length", { predicate: { ...predicate, segment_bytes: 65_536 } }],
    ["leaf hash", { predicate: { ...predicate, leaf_hash: "md5" } }],
    ["a field of its own", { predicate: { ...predicate, extra: 1 } }],
    ["a file less", files(a)],
    ["a file twice", files(a, a)],
    ["another order", files(b, a)],
    ["a file more", files(a, b, { ...b, path: "c", blob: "files/2.floe", leaves: "files/2.leaves" })],
    ["names exchanged", files({ ...a, path: "b" }, { ...b, path: "a" })],
    ["blobs exchanged", files({ ...a, blob: b.blob }, { ...b, blob: a.blob })],
    ["a blob outside", files({ ...a, blob: "../a" }, b)],
    ["length", files({ ...a, bytes: a.bytes - 1 }, b)],
    ["length beyond reason", files({ ...a, bytes: 2 ** 53 }, b)],
    ["header tag", files({ ...a, header_tag: b.header_tag }, b)],
    ["leaves", files({ ...a, leaves_sha256: b.leaves_sha256 }, b)],
    ["digest", files({ ...a, sha256: b.sha256 }, b)],
    ["another model", { rootDigest: "0".repeat(64) }],
    ["another predicate", { predicateType: "urn:modelkeep:seal:v2" }],
  ];
  for (const [what, change] of [["nothing", {}] as const, ...changes]) {
    const input = {
      predicateType: SEAL_PREDICATE_TYPE,
      rootDigest: made.sealed.rootDigest,
      name: "model",
      signer: made.pair.signer,
      ...statement,
      ...change,
    };
    writeFileSync(path, await signStatement(input));
    if (what === "nothing") await openMade(made);
    else await assertRefused(made, what);
  }
  writeFileSync(path, original);
  await openMade(made);
});

test("leaves that do not belong to the plaintext are refused though cipher, tag and list are right", async () => {
  const made = await makeSealed({ a: "plaintext" });
  const leaves = createHash("sha256").update("another plaintext").digest();
  const sealPath = join(made.folder, SEALED_NAMES.seal);
  const statement = JSON.parse(Buffer.from(JSON.parse(readFileSync(sealPath, "utf8")).payload, "base64").toString());
  const [file] = statement.predicate.files;
  const forged = { ...file, leaves_sha256: createHash("sha256").update(leaves).digest("hex") };
  const input = { ...statement, predicate: { ...statement.predicate, files: [forged] } };
  const { signer } = made.pair;
  const text = await signStatement({ ...input, rootDigest: made.sealed.rootDigest, name: "model", signer });
  writeFileSync(sealPath, text);
  writeFileSync(join(made.folder, "files/0.leaves"), leaves);
  const sink = new MemorySink();
  assert.equal(await codeOf(() => openInto(made, sink)), "SEALED_TAMPERED");
  assert.equal(sink.content("a").length, 0);
});

test("two files, two segments and two models cannot be exchanged", async () => {
  const contents = { a: pattern(2 * MIB), b: Buffer.from(pattern(2 * MIB)).reverse() };
  const [pair, { wrapper }] = [makePair(), await makeKms()];
  const made = await makeSealed(contents, { pair, wrapper });
  const other = await makeSealed(contents, { pair, wrapper });
  const at = (name: string, m = made) => join(m.folder, name);
  const swap = (x: string, y: string) => {
    renameSync(x, `${x}.held`);
    renameSync(y, x);
    renameSync(`${x}.held`, y);
  };
  swap(at("files/0.floe"), at("files/1.floe"));
  await assertRefused(made, "files");
  swap(at("files/0.leaves"), at("files/1.leaves"));
  await assertRefused(made, "files with their leaves");
  swap(at("files/0.floe"), at("files/1.floe"));
  swap(at("files/0.leaves"), at("files/1.leaves"));
  const blob = readFileSync(at("files/0.floe"));
  const segment = (index: number) =>
    blob.subarray(FLOE_HEADER_BYTES + index * SEGMENT, FLOE_HEADER_BYTES + (index + 1) * SEGMENT);
  writeFileSync(at("files/0.floe"), concatBytes(blob.subarray(0, FLOE_HEADER_BYTES), segment(1), segment(0)));
  await assertRefused(made, "segments");
  writeFileSync(at("files/0.floe"), concatBytes(blob.subarray(0, FLOE_HEADER_BYTES), segment(0), segment(0)));
  await assertRefused(made, "a segment twice");
  writeFileSync(at("files/0.floe"), blob);
  await openMade(made);
  const blobs = ["files/0.floe", "files/0.leaves", SEALED_NAMES.seal, SEALED_NAMES.envelope];
  for (const name of blobs.filter((blobName) => blobName !== "files/0.leaves")) {
    swap(at(name), at(name, other));
    await assertRefused(made, `${name} of the same model, sealed another time`);
    swap(at(name), at(name, other));
  }
  const stranger = await makeSealed({ ...contents, b: "other" }, { pair, wrapper });
  for (const name of [...blobs, SEALED_NAMES.bundle].filter((blobName) => blobName !== "files/0.leaves")) {
    swap(at(name), at(name, stranger));
    await assertRefused(made, `${name} of another model`);
    swap(at(name), at(name, stranger));
  }
  await openMade(made);
});

test("the KMS is asked once for the right envelope, and never for another model's", async () => {
  const { wrapper } = await makeKms();
  let asked = 0;
  const counting = {
    uri: wrapper.uri,
    recognises: wrapper.recognises.bind(wrapper),
    wrap: wrapper.wrap.bind(wrapper),
    unwrap: (...words: Parameters<typeof wrapper.unwrap>) => {
      asked++;
      return wrapper.unwrap(...words);
    },
  };
  const pair = makePair();
  const made = await makeSealed({ a: "1", b: pattern(MIB + 1), c: "3" }, { pair, wrapper: counting });
  await openMade(made);
  assert.equal(asked, 1);
  for (const contents of [{ a: "1", b: pattern(MIB + 1), c: "3" }, { a: "2" }]) {
    const other = await makeSealed(contents, { pair, wrapper });
    copyFileSync(join(other.folder, SEALED_NAMES.envelope), join(made.folder, SEALED_NAMES.envelope));
    assert.equal(await codeOf(() => openMade(made)), "ENVELOPE_INVALID");
  }
  assert.equal(asked, 1);
});

test("a whole older model in the place of a newer one is told by the root digest that was published", async () => {
  const [pair, { wrapper }] = [makePair(), await makeKms()];
  const older = await makeSealed({ a: "1" }, { pair, wrapper });
  const newer = await makeSealed({ a: "2" }, { pair, wrapper });
  rmSync(newer.folder, { recursive: true });
  cpSync(older.folder, newer.folder, { recursive: true });
  assert.equal(await codeOf(() => openMade(newer)), undefined, "nothing inside is wrong");
  const { rootDigest } = newer.sealed;
  assert.equal(await codeOf(() => openMade(newer, { rootDigest })), "SEALED_TAMPERED");
});

test("blobs that are cut, lengthened or gone are refused", async () => {
  for (const cut of [1, 16, 33, 500]) {
    const made = await makeSealed({ a: pattern(MIB + 500) });
    const path = join(made.folder, "files/0.floe");
    const original = readFileSync(path);
    truncateSync(path, original.length - cut);
    await assertRefused(made, `cut by ${cut}`);
    writeFileSync(path, original);
    appendFileSync(path, Buffer.alloc(cut));
    await assertRefused(made, `lengthened by ${cut}`);
    truncateSync(path, FLOE_HEADER_BYTES + SEGMENT);
    await assertRefused(made, "the last segment is gone");
  }
  const made = await makeSealed({ a: "1", b: "2" });
  for (const name of ["files/0.floe", "files/1.leaves", ...Object.values(SEALED_NAMES).slice(0, 3)]) {
    const held = readFileSync(join(made.folder, name));
    rmSync(join(made.folder, name));
    await assertRefused(made, `${name} is gone`);
    writeFileSync(join(made.folder, name), "");
    await assertRefused(made, `${name} is empty`);
    writeFileSync(join(made.folder, name), held);
  }
  appendFileSync(join(made.folder, "files/0.leaves"), Buffer.alloc(32));
  await assertRefused(made, "a leaf more");
});

test("a store that answers differently the second time is not believed", async () => {
  const made = await makeSealed({ a: pattern(3 * MIB) });
  let reads = 0;
  const { store } = made;
  const lying: BlobStore = {
    uri: store.uri,
    stat: (name) => store.stat(name),
    read: (name, start, end) => store.read(name, start, end),
    async open(name) {
      const blob = await store.open(name);
      return {
        bytes: blob.bytes,
        async read(start, end, buffer) {
          const bytes = await blob.read(start, end, buffer);
          if (name.endsWith(".floe") && ++reads === 3) bytes[100] = (bytes[100] ?? 0) ^ 1;
          return bytes;
        },
        close: () => blob.close(),
      };
    },
    readAll: (name, maxBytes) => store.readAll(name, maxBytes),
    write: (name, chunks) => store.write(name, chunks),
    delete: (name) => store.delete(name),
    list: (prefix) => store.list(prefix),
    discardUnfinished: (prefix) => store.discardUnfinished(prefix),
  };
  assert.equal(await codeOf(() => openMade(made, { store: lying })), "SEALED_TAMPERED");
});

test("only the signer that is trusted counts, for signature and seal alike", async () => {
  const made = await makeSealed({ a: "1" });
  const stranger = makePair();
  assert.equal(await codeOf(() => openMade(made, { trust: [stranger.publicPem] })), "SIGNER_NOT_TRUSTED");
  const statement = JSON.parse(
    Buffer.from(JSON.parse(readFileSync(join(made.folder, SEALED_NAMES.seal), "utf8")).payload, "base64").toString(),
  );
  const { rootDigest } = made.sealed;
  const text = await signStatement({ ...statement, rootDigest, name: "model", signer: stranger.signer });
  writeFileSync(join(made.folder, SEALED_NAMES.seal), text);
  const both = [made.pair.publicPem, stranger.publicPem];
  assert.equal(await codeOf(() => openMade(made, { trust: both })), "SIGNATURE_INVALID", "another trusted key's seal");
});

test("what could never be opened again is not sealed", async () => {
  const root = writeModel({ a: "1" });
  const [pair, other, { wrapper }] = [makePair(), makePair(), await makeKms()];
  const { bundle } = await signModel({ root, signer: pair.signer });
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const base = { root, manifest, bundle, signer: pair.signer, wrappers: [wrapper], prefix: "", random };
  const sealing = async (change: Partial<Parameters<typeof sealModel>[0]>) => {
    const folder = temporaryFolder();
    const code = await codeOf(async () => sealModel({ ...base, store: await makeStore(folder), ...change }));
    assert.equal(existsSync(join(folder, SEALED_NAMES.seal)), code === undefined);
    return code;
  };
  assert.equal(await sealing({ signer: other.signer }), "SEALER_NOT_SIGNER");
  const sharded = { ...manifest, serialization: { ...manifest.serialization, method: "shards" as const } };
  assert.equal(await sealing({ manifest: sharded }), "SEAL_UNSUPPORTED");
  const slash = writeModel({ "a\\b": "1" });
  const odd = await signModel({ root: slash, signer: pair.signer });
  const oddManifest = verifyBundle(odd.bundle, trustKeys([pair.publicPem]));
  assert.equal(await sealing({ root: slash, bundle: odd.bundle, manifest: oddManifest }), "MODEL_PATH_INVALID");
  writeFileSync(join(root, "extra"), "");
  assert.equal(await sealing({}), "MODEL_NOT_AS_SIGNED", "an unsigned file would stay behind");
  rmSync(join(root, "extra"));
  writeFileSync(join(root, "a"), "2");
  assert.equal(await sealing({}), "MODEL_NOT_AS_SIGNED");
  writeFileSync(join(root, "a"), "1");
  assert.equal(await sealing({}), undefined);
});

test("nothing is sealed over a sealed model, nor beside another unfinished one", async () => {
  const made = await makeSealed({ a: "1" });
  const { bundle } = await signModel({ root: made.root, signer: made.pair.signer });
  const manifest = verifyBundle(bundle, trustKeys([made.pair.publicPem]));
  const options = { bundle, manifest, signer: made.pair.signer, wrappers: [made.wrapper], prefix: "", random };
  const again = () => sealModel({ ...options, root: made.root, store: made.store });
  const before = readFileSync(join(made.folder, SEALED_NAMES.envelope));
  assert.equal(await codeOf(again), "SEALED_EXISTS");
  await shredSealed(made.store, "");
  assert.equal(await codeOf(again), "SEALED_EXISTS", "a shredded one is one as well");
  rmSync(join(made.folder, SEALED_NAMES.seal));
  writeFileSync(join(made.folder, SEALED_NAMES.envelope), before);
  const root = writeModel({ a: "2" });
  const other = await signModel({ root, signer: made.pair.signer });
  const otherManifest = verifyBundle(other.bundle, trustKeys([made.pair.publicPem]));
  const mixing = () =>
    sealModel({ ...options, bundle: other.bundle, manifest: otherManifest, root, store: made.store });
  assert.equal(await codeOf(mixing), "SEALED_EXISTS");
});

test("of sealings that begin at once in one place one takes it, and the others say so", async () => {
  const root = writeModel({ a: pattern(2 * MIB) });
  const [pair, { wrapper }, folder] = [makePair(), await makeKms(), temporaryFolder()];
  const { bundle } = await signModel({ root, signer: pair.signer });
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const shared = { root, manifest, bundle, signer: pair.signer, prefix: "", random };
  const store = await makeStore(folder);
  /** The other one takes the place while this one asks its key service. */
  const slow = Object.assign(Object.create(wrapper) as typeof wrapper, {
    wrap: async (...words: Parameters<typeof wrapper.wrap>) => {
      await sealModel({ ...shared, wrappers: [wrapper], store });
      return wrapper.wrap(...words);
    },
  });
  assert.equal(await codeOf(() => sealModel({ ...shared, wrappers: [slow], store })), "SEALED_EXISTS");
  const made = { folder, store, prefix: "", pair, wrapper } as unknown as Made;
  assert.deepEqual((await openMade(made)).content("a"), pattern(2 * MIB));
});

test("rewrap moves a model to another key in a moment, and leaves the payload alone", async () => {
  const made = await makeSealed({ a: pattern(5 * MIB) });
  const next = await makeKms();
  const digests = () =>
    readdirSync(join(made.folder, "files")).map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(made.folder, "files", name)))
        .digest("hex"),
    ]);
  const before = digests();
  const times: number[] = [];
  for (const [from, to] of [
    [made.wrapper, next.wrapper] as const,
    [next.wrapper, made.wrapper] as const,
    [made.wrapper, next.wrapper] as const,
  ]) {
    const started = performance.now();
    await rewrapSealed(made.store, "", [from], [to]);
    times.push(performance.now() - started);
  }
  assert.ok(Math.min(...times) < 50, `${Math.min(...times)} ms`);
  assert.deepEqual(digests(), before);
  assert.equal(await codeOf(() => openMade(made)), "NO_KEY_SERVICE", "the old key opens it no more");
  assert.deepEqual((await openMade({ ...made, wrapper: next.wrapper })).content("a"), pattern(5 * MIB));
  await rewrapSealed(made.store, "", [next.wrapper], [next.wrapper, made.wrapper]);
  assert.equal((await inspectSealed(made.store, "")).recipients.length, 2);
  for (const wrapper of [made.wrapper, next.wrapper]) await openMade({ ...made, wrapper });
  const envelope = readFileSync(join(made.folder, SEALED_NAMES.envelope));
  assert.equal(await codeOf(() => rewrapSealed(made.store, "", [], [made.wrapper])), "NO_KEY_SERVICE");
  assert.deepEqual(readFileSync(join(made.folder, SEALED_NAMES.envelope)), envelope, "a failed rewrap changes nothing");
});

test("after shredding nobody opens it, and inspect says so", async () => {
  const made = await makeSealed({ a: "1" });
  assert.equal((await inspectSealed(made.store, "")).recipients.length, 1);
  assert.equal(await shredSealed(made.store, ""), true);
  assert.equal(await shredSealed(made.store, ""), false);
  assert.equal(await codeOf(() => openMade(made)), "BLOB_NOT_FOUND");
  assert.deepEqual((await inspectSealed(made.store, "")).recipients, []);
  const { store, prefix, pair } = made;
  await verifySealed({ store, prefix, trust: trustKeys([pair.publicPem]) });
});

test("a key file that moved still opens what it wrapped", async () => {
  const made = await makeSealed({ a: "1" });
  const folder = temporaryFolder();
  const moved = join(folder, "moved.kek");
  copyFileSync(new URL(made.wrapper.uri), moved);
  const wrapper = await openKeyWrapper(`file://${moved}`, { random });
  assert.equal((await openMade({ ...made, wrapper })).content("a").toString(), "1");
});

test("opening stops between two segments when it is told to", async () => {
  const made = await makeSealed({ a: pattern(3 * MIB) });
  const abort = new AbortController();
  const into = new MemorySink();
  const packageKey = await unwrapPackageKeyOf(made);
  const { store, prefix } = made;
  const trust = trustKeys([made.pair.publicPem]);
  const progress = () => abort.abort();
  const opening = openSealedPackage({ store, prefix, trust, packageKey, into, random, progress, signal: abort.signal });
  await assert.rejects(opening, { name: "AbortError" });
  assert.equal(into.content("a").length, MIB);
});
