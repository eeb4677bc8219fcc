/** The command line of sealed models: kms init, seal, inspect, open, rewrap, push, pull, shred, and how each refuses. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { SEALED_NAMES } from "../../src/sealing/index.ts";
import { MIB, makePair, modelkeep, temporaryFolder, writeModel } from "./support.ts";

interface Home {
  readonly folder: string;
  readonly kms: string;
  run(...words: string[]): Promise<{ exit: number; stderr: string; data: Record<string, unknown> }>;
}

const CONTENT = { "config.json": "{}", "weights.bin": Buffer.alloc(MIB + 10, 7), ".hidden/x": "" };

async function makeHome(): Promise<Home> {
  const folder = temporaryFolder();
  const { privatePem, publicPem } = makePair();
  writeModel(CONTENT, join(folder, "model"));
  writeFileSync(join(folder, "signer.pem"), privatePem, { mode: 0o600 });
  writeFileSync(join(folder, "signer.pub"), publicPem);
  const kms = pathToFileURL(join(folder, "keys/models.kek")).href;
  const home: Home = {
    folder,
    kms,
    async run(...words) {
      const { exit, stdout, stderr } = await modelkeep([...words, "--json"], folder);
      return { exit, stderr, data: JSON.parse(stdout || "{}") };
    },
  };
  assert.equal((await home.run("kms", "init", kms)).exit, 0);
  return home;
}

const sealing = (home: Home, ...more: string[]) =>
  home.run("seal", "model", "--key", "signer.pem", "--kms", home.kms, "--output", "sealed", ...more);
const opening = (home: Home, output: string, ...more: string[]) =>
  home.run("open", "sealed", "--kms", home.kms, "--trust", "signer.pub", "--output", output, ...more);

function treeOf(folder: string): Record<string, string> {
  const paths = globSync("**/*", { cwd: folder }).concat(globSync("**/.*/**", { cwd: folder }));
  const files = paths.filter((path) => statSync(join(folder, path)).isFile());
  return Object.fromEntries(
    files.map((path) => [
      path,
      createHash("sha256")
        .update(readFileSync(join(folder, path)))
        .digest("hex"),
    ]),
  );
}

test("seal, inspect and open: the same files come out, for nobody else to read", async () => {
  const home = await makeHome();
  const sealed = await sealing(home);
  assert.equal(sealed.exit, 0, sealed.stderr);
  assert.equal(sealed.data.files, 3);
  assert.equal(existsSync(join(home.folder, "model/model.sig")), false, "sealing leaves the model alone");
  const seen = await home.run("inspect", "sealed");
  assert.deepEqual([seen.exit, seen.data.verified, seen.data.package_id], [0, false, sealed.data.package_id]);
  assert.equal(JSON.stringify(seen.data.recipients).includes("ciphertext"), false);
  const opened = await opening(home, "out");
  assert.equal(opened.exit, 0, opened.stderr);
  assert.deepEqual([opened.data.verdict, opened.data.root_digest], ["verified", sealed.data.root_digest]);
  assert.deepEqual(treeOf(join(home.folder, "out")), treeOf(join(home.folder, "model")));
  assert.equal(statSync(join(home.folder, "out")).mode & 0o777, 0o700);
  assert.equal(statSync(join(home.folder, "out/weights.bin")).mode & 0o777, 0o600);
  assert.equal((await opening(home, "out")).data.code, "OUTPUT_EXISTS");
  const digest = String(sealed.data.root_digest);
  assert.equal((await opening(home, "out2", "--root-digest", digest.toUpperCase())).exit, 0);
  const other = await opening(home, "out3", "--root-digest", "0".repeat(64));
  assert.deepEqual([other.exit, other.data.code], [4, "SEALED_TAMPERED"]);
});

test("a signature that is there is used, and held against the files", async () => {
  const home = await makeHome();
  const signed = await home.run("sign", "model", "--key", "signer.pem");
  writeFileSync(join(home.folder, "model/extra"), "");
  assert.equal((await sealing(home)).data.code, "MODEL_NOT_AS_SIGNED");
  rmSync(join(home.folder, "model/extra"));
  writeFileSync(join(home.folder, "model/config.json"), "[]");
  const changed = await sealing(home);
  assert.deepEqual([changed.exit, changed.data.code], [4, "MODEL_NOT_AS_SIGNED"]);
  writeFileSync(join(home.folder, "model/config.json"), CONTENT["config.json"]);
  writeFileSync(join(home.folder, "other.pem"), makePair().privatePem, { mode: 0o600 });
  const other = await home.run("seal", "model", "--key", "other.pem", "--kms", home.kms, "--output", "sealed");
  assert.equal(other.data.code, "SEALER_NOT_SIGNER");
  const sealed = await sealing(home);
  assert.equal(sealed.data.root_digest, signed.data.root_digest, sealed.stderr);
  const bundle = (folder: string) => readFileSync(join(home.folder, folder, "model.sig"), "utf8");
  assert.equal(bundle("sealed"), bundle("model"));
});

test("a tampered model leaves nothing behind, neither output nor a folder on the way to it", async () => {
  const home = await makeHome();
  await sealing(home);
  const blob = join(home.folder, "sealed/files/2.floe");
  const bytes = readFileSync(blob);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  writeFileSync(blob, bytes);
  const before = readdirSync(home.folder);
  const refused = await opening(home, "out");
  assert.deepEqual([refused.exit, refused.data.code], [4, "SEALED_TAMPERED"]);
  assert.deepEqual(readdirSync(home.folder), before);
});

test("an output that cannot be written is said plainly", async () => {
  const home = await makeHome();
  await sealing(home);
  writeFileSync(join(home.folder, "file"), "");
  assert.equal((await opening(home, "file/out")).data.code, "OUTPUT_UNWRITABLE");
  assert.equal((await opening(home, "absent/out")).data.code, "OUTPUT_UNWRITABLE");
  symlinkSync("nowhere", join(home.folder, "link"));
  assert.equal((await opening(home, "link")).data.code, "OUTPUT_EXISTS");
});

test("a key file is made by kms init and by nothing else", async () => {
  const home = await makeHome();
  const path = join(home.folder, "keys/models.kek");
  const key = readFileSync(path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const again = await home.run("kms", "init", home.kms);
  assert.deepEqual([again.exit, again.data.created], [0, false]);
  assert.deepEqual(readFileSync(path), key, "a key is never replaced");
  rmSync(path);
  for (const result of [await sealing(home), await opening(home, "out")]) {
    assert.deepEqual([result.exit, result.data.code], [1, "KMS_KEY_MISSING"]);
    assert.match(String(result.data.hint), /^modelkeep kms init file:\/\/\//);
  }
  assert.equal(existsSync(path), false);
  writeFileSync(path, key, { mode: 0o600 });
  chmodSync(path, 0o640);
  assert.equal((await sealing(home)).data.code, "KMS_KEY_INVALID");
  assert.equal((await home.run("kms", "init", "vault://transit/models")).exit, 2);
  const unknown = await home.run("seal", "model", "--key", "signer.pem", "--kms", "awskms://x", "--output", "sealed");
  assert.deepEqual([unknown.exit, unknown.data.code], [2, "KMS_URI_UNKNOWN"]);
});

test("rewrap hands a model over, shred ends it", async () => {
  const home = await makeHome();
  await sealing(home);
  const next = pathToFileURL(join(home.folder, "keys/next.kek")).href;
  await home.run("kms", "init", next);
  const moved = await home.run("rewrap", "sealed", "--from-kms", home.kms, "--kms", next);
  assert.equal(moved.exit, 0, moved.stderr);
  assert.equal(JSON.stringify(moved.data).includes("ciphertext"), false);
  const refused = await opening(home, "out");
  assert.deepEqual([refused.exit, refused.data.code], [5, "NO_KEY_SERVICE"]);
  assert.equal((await opening({ ...home, kms: next }, "out")).exit, 0);
  const unsure = await home.run("shred", "sealed");
  assert.deepEqual([unsure.exit, existsSync(join(home.folder, "sealed", SEALED_NAMES.envelope))], [2, true]);
  const shredded = await home.run("shred", "sealed", "--yes");
  assert.deepEqual([shredded.exit, shredded.data.shredded], [0, true]);
  assert.notEqual((await opening({ ...home, kms: next }, "out2")).exit, 0);
  assert.deepEqual((await home.run("inspect", "sealed")).data.recipients, []);
});

test("push and pull carry a sealed model as it is, go on where they stopped, and mix nothing", async () => {
  const home = await makeHome();
  await sealing(home);
  const store = pathToFileURL(join(home.folder, "store")).href;
  const pushed = await home.run("push", "sealed", store, "--prefix", "models/keeper/1");
  assert.equal(pushed.exit, 0, pushed.stderr);
  assert.deepEqual([pushed.data.copied_blobs, pushed.data.kept_blobs], [6, 0]);
  const target = join(home.folder, "store/models/keeper/1");
  assert.deepEqual(treeOf(target), treeOf(join(home.folder, "sealed")));
  rmSync(join(target, SEALED_NAMES.seal));
  rmSync(join(target, "files/1.floe"));
  writeFileSync(join(target, "files/2.floe"), Buffer.alloc(statSync(join(target, "files/2.floe")).size));
  const resumed = await home.run("push", "sealed", store, "--prefix", "models/keeper/1");
  assert.deepEqual([resumed.exit, resumed.data.copied_blobs, resumed.data.kept_blobs], [0, 2, 4]);
  assert.deepEqual(treeOf(target), treeOf(join(home.folder, "sealed")));
  const pulled = await home.run("pull", store, "back", "--prefix", "models/keeper/1");
  assert.equal(pulled.exit, 0, pulled.stderr);
  const opened = await home.run("open", "back", "--kms", home.kms, "--trust", "signer.pub", "--output", "out");
  assert.equal(opened.exit, 0, opened.stderr);
  assert.deepEqual(treeOf(join(home.folder, "out")), treeOf(join(home.folder, "model")));
  writeFileSync(join(home.folder, "model/config.json"), "another");
  const second = await home.run("seal", "model", "--key", "signer.pem", "--kms", home.kms, "--output", "second");
  assert.equal(second.exit, 0, second.stderr);
  assert.equal((await home.run("push", "second", store, "--prefix", "models/keeper/1")).data.code, "SEALED_EXISTS");
  const damaged = join(home.folder, "second/files/1.leaves");
  writeFileSync(damaged, Buffer.alloc(statSync(damaged).size));
  assert.equal((await home.run("push", "second", store, "--prefix", "other")).data.code, "SEALED_TAMPERED");
  assert.equal(existsSync(join(home.folder, "store/other", SEALED_NAMES.seal)), false);
  assert.equal((await home.run("push", "model", store)).data.code, "NOT_SEALED");
  assert.equal((await home.run("pull", "gopher://bucket/x", "y")).data.code, "STORE_URI_UNKNOWN");
  assert.equal((await home.run("pull", store, "y", "--prefix", "../x")).data.code, "BLOB_NAME_INVALID");
});

test("sealing into a store under a prefix, twice side by side", async () => {
  const home = await makeHome();
  const store = pathToFileURL(join(home.folder, "store")).href;
  mkdirSync(join(home.folder, "store"));
  for (const prefix of ["m/1", "m/10"]) {
    const words = ["seal", "model", "--key", "signer.pem", "--kms", home.kms, "--output", store, "--prefix", prefix];
    assert.equal((await home.run(...words)).exit, 0);
  }
  const words = ["open", store, "--prefix", "m/1", "--kms", home.kms, "--trust", "signer.pub", "--output", "out"];
  assert.equal((await home.run(...words)).exit, 0);
});
