/** One process of the benchmark: `memory`, `files MODEL PLACE SHARDED`, `once FOLDER` or `sparse`; prints a row in each line. */
import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type BlobStore, openBlobStore } from "../../src/artifact/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { chooseAead, hasLeafHash, systemRandom as random } from "../../src/host/index.ts";
import { runRecords } from "../../src/host/seal-run.ts";
import { openIntoFolder, rewrapSealed, type SealOptions, sealModel } from "../../src/sealing/index.ts";
import { loadEcSigner, signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import { best, MIB, type Row } from "./model.ts";

const SPARSE_BYTES = 8 * 1024 * MIB;
const [job = "", root = "", place = "", sharded = ""] = process.argv.slice(2);

const say = (row: Row) => process.stdout.write(`${JSON.stringify(row)}\n`);
const peakMib = () => Math.round(process.resourceUsage().maxRSS / 1024);

/** Not by the helpers of the tests: they load the test runner, whose hooks slow every asynchronous call. */
function makeSigner() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return loadEcSigner(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })));
}

/** One segment over and over in the same memory, by one thread. */
async function inMemory(): Promise<void> {
  const { engine } = await chooseAead();
  const rounds = 512;
  const slot = new SharedArrayBuffer(MIB + 32);
  const keyOf = () => new SharedArrayBuffer(32);
  const plan = { head: new Uint8Array(4), aad: new Uint8Array(9), nonce: random.bytes(12), plainBytes: MIB };
  const whole = createHash("sha256");
  const leafHash = hasLeafHash("blake3") ? "blake3" : "sha256";
  const seal = () =>
    runRecords({ kind: "seal", key: keyOf(), slot, stride: 0, records: [plan], leafHashes: [leafHash] }, engine);
  const sealing = await best(`seal: SHA-256 of the file, ${leafHash} of the segment, encrypt`, () => {
    for (let round = 0; round < rounds; round++) {
      whole.update(new Uint8Array(slot, 16, MIB));
      seal();
    }
  });
  new Uint8Array(slot).fill(0);
  const made = seal();
  const leaves = "leaves" in made ? made.leaves : new Uint8Array(32);
  const sealed = Buffer.from(new Uint8Array(slot));
  const copying = await best("the copy in the next row", () => {
    for (let round = 0; round < rounds; round++) new Uint8Array(slot).set(sealed);
  });
  const opening = await best(`open: decrypt, ${leafHash} of the segment`, () => {
    for (let round = 0; round < rounds; round++) {
      new Uint8Array(slot).set(sealed);
      const result = runRecords(
        { kind: "open", key: keyOf(), slot, stride: 0, records: [plan], leafHash, leaves },
        engine,
      );
      if ("failed" in result) throw new Error(`refused: ${result.failed.why}`);
    }
  });
  const less = (one?: number, other?: number) => (one ?? 0) - (other ?? 0);
  const [seconds, cpuSeconds] = [less(opening.seconds, copying.seconds), less(opening.cpuSeconds, copying.cpuSeconds)];
  for (const row of [sealing, { ...opening, seconds, cpuSeconds }])
    say({ ...row, what: `in memory, ${row.what}`, cores: 1, bytes: rounds * MIB });
}

async function prepare(model: string, keys: string, signer = makeSigner()) {
  const trust = trustKeys([signer.publicKeyPem]);
  const uri = pathToFileURL(join(keys, "models.kek")).href;
  await createKeyFile(uri, random);
  const wrapper = await openKeyWrapper(uri, { random });
  const { bundle } = await signModel({ root: model, signer, threads: 1 });
  const manifest = verifyBundle(bundle, trust);
  return { trust, wrapper, base: { root: model, bundle, manifest, signer, wrappers: [wrapper], prefix: "", random } };
}

/** Opens once on two cores what `files` sealed: a process of its own, without what other rounds left to the collector. */
async function memoryOfOpening(): Promise<void> {
  const wrapper = await openKeyWrapper(pathToFileURL(join(root, "models.kek")).href, { random });
  const trust = trustKeys([readFileSync(join(root, "signer.pub"), "utf8")]);
  const store = await openBlobStore(pathToFileURL(join(root, "sealed")).href);
  await openIntoFolder({ store, prefix: "", trust, wrappers: [wrapper], random, threads: 2 }, join(root, "once"));
  rmSync(join(root, "once"), { recursive: true, force: true });
  say({ what: "modelkeep open, once", cores: 2, bytes: 0, peakMib: peakMib() });
}

function openedOnce(folder: string): void {
  const out = execFileSync(process.execPath, [import.meta.filename, "once", folder], { encoding: "utf8" });
  process.stdout.write(out);
}

async function files(): Promise<void> {
  const folder = mkdtempSync(join(place, "own-"));
  const { trust, wrapper, base } = await prepare(root, folder);
  const shards = (await prepare(sharded, folder, base.signer)).base;
  const [sealed, output] = [join(folder, "sealed"), join(folder, "opened")];
  const store = await openBlobStore(pathToFileURL(sealed).href);
  const remove = (path: string) => () => rmSync(path, { recursive: true, force: true });
  for (const [what, model] of Object.entries({ "modelkeep seal": base, "modelkeep seal, four files": shards }))
    for (const threads of [1, 2])
      say({
        ...(await best(what, () => sealModel({ ...model, store, threads }), remove(sealed))),
        cores: threads,
      });
  await sealModel({ ...base, store });
  for (const threads of [1, 2]) {
    const open = () => openIntoFolder({ store, prefix: "", trust, wrappers: [wrapper], random, threads }, output);
    say({ ...(await best("modelkeep open, every segment verified", open, remove(output))), cores: threads });
  }
  writeFileSync(join(folder, "signer.pub"), base.signer.publicKeyPem);
  openedOnce(folder);
  const rewrap = await best("modelkeep rewrap", () => rewrapSealed(store, "", [wrapper], [wrapper]));
  say({ what: rewrap.what, ...(rewrap.seconds === undefined ? {} : { seconds: rewrap.seconds }), bytes: 0 });
  rmSync(folder, { recursive: true, force: true });
}

/** Keeps small blobs and forgets large ones: what is shown is memory, and 64 GiB fit on few disks. */
async function discarding(folder: string): Promise<BlobStore> {
  const inner = await openBlobStore(pathToFileURL(folder).href);
  return new Proxy(inner, {
    get(target, name) {
      if (name === "writeLocal") return undefined;
      if (name === "write") return (blob: string, chunks: AsyncIterable<Uint8Array>) => discard(target, blob, chunks);
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function discard(store: BlobStore, name: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
  if (!name.endsWith(".floe")) return store.write(name, chunks);
  let bytes = 0;
  for await (const chunk of chunks) bytes += chunk.length;
  return { bytes, confirmed: false };
}

/** The seal at the end finds no blob in the store: until then every byte was hashed, encrypted and handed on. */
async function sparse(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-sparse-"));
  const model = join(folder, "model");
  mkdirSync(model);
  writeFileSync(join(model, "weights.bin"), "");
  const bytes = Number(process.env.MODELKEEP_BENCH_SPARSE_BYTES ?? SPARSE_BYTES);
  truncateSync(join(model, "weights.bin"), bytes);
  const { base } = await prepare(model, folder);
  const before = peakMib();
  const started = performance.now();
  const options: SealOptions = { ...base, store: await discarding(join(folder, "sealed")) };
  const code = await sealModel(options).then(
    () => "",
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );
  const seconds = (performance.now() - started) / 1000;
  rmSync(folder, { recursive: true, force: true });
  if (code !== "SEALED_TAMPERED") throw new Error(`the sparse model: ${code}`);
  say({
    what: `seal of a sparse ${bytes / 2 ** 30} GiB file, ${before} MiB before`,
    seconds,
    bytes,
    peakMib: peakMib(),
  });
}

await { memory: inMemory, files, once: memoryOfOpening, sparse }[job as "memory"]();
process.exit(0);
