/** The Hugging Face hub's cache as the place a model comes from and goes to; its own library looks for the model there. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { walkModel } from "../../src/artifact/index.ts";
import { huggingFacePython } from "../../tools/peers/places.ts";
import { codeOf, makeKms, makePair, modelkeep, temporaryFolder } from "./support.ts";

const FILES: Readonly<Record<string, string>> = {
  "config.json": '{"model_type":"llama"}',
  "model.safetensors": "weights ".repeat(100_000),
  "onnx/model.onnx": "graph",
};

/** As `snapshot_download` lays it out. */
function hubSnapshot(cache: string, files = FILES): string {
  const model = join(cache, "models--acme--tiny");
  const snapshot = join(model, "snapshots", "0123456789abcdef0123456789abcdef01234567");
  mkdirSync(join(model, "blobs"), { recursive: true });
  for (const [index, [path, text]] of Object.entries(files).entries()) {
    const place = join(snapshot, path);
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(join(model, "blobs", `etag${index}`), text);
    symlinkSync(`${"../".repeat(path.split("/").length + 1)}blobs/etag${index}`, place);
  }
  return snapshot;
}

async function scene() {
  const cwd = temporaryFolder();
  const pair = makePair();
  writeFileSync(join(cwd, "signer.pem"), pair.privatePem, { mode: 0o600 });
  writeFileSync(join(cwd, "signer.pub"), pair.publicPem);
  const { uri } = await makeKms();
  const run = async (...words: string[]) => {
    const { exit, stdout, stderr } = await modelkeep([...words, "--json"], cwd);
    return { exit, data: JSON.parse(stdout || stderr) };
  };
  return { cwd, uri, run };
}

test("a snapshot of the hub's cache is signed and sealed as it is, and opened into another cache", async (t) => {
  const { cwd, uri, run } = await scene();
  const snapshot = hubSnapshot(join(cwd, "hub"));
  const sealed = await run("seal", snapshot, "--key", "signer.pem", "--kms", uri, "--output", "sealed");
  assert.equal(sealed.exit, 0, JSON.stringify(sealed));
  assert.equal(sealed.data.files, 3);
  const words = ["--kms", uri, "--trust", "signer.pub", "--hf-cache", "cache", "--hf-repo", "acme/private"];
  const opened = await run("open", "sealed", ...words);
  assert.equal(opened.exit, 0, JSON.stringify(opened));
  const model = join(cwd, "cache", "models--acme--private");
  const revision = readFileSync(join(model, "refs/main"), "utf8");
  assert.match(revision, /^[0-9a-f]{40}$/);
  assert.equal(opened.data.output, join(model, "snapshots", revision));
  for (const [path, text] of Object.entries(FILES)) {
    const place = join(opened.data.output, path);
    assert.ok(lstatSync(place).isSymbolicLink() && !readlinkSync(place).startsWith("/"));
    assert.equal(readFileSync(place, "utf8"), text);
  }
  assert.equal((await run("open", "sealed", ...words)).data.code, "OUTPUT_EXISTS");
  if (!existsSync(huggingFacePython())) return t.skip("huggingface_hub: node tools/bootstrap.mjs peers huggingface");
  const script = "import sys, huggingface_hub as h; print(h.snapshot_download(sys.argv[1], local_files_only=True))";
  const env = { PATH: "/usr/bin:/bin", HF_HUB_CACHE: join(cwd, "cache"), HF_HUB_OFFLINE: "1", HOME: cwd };
  const found = execFileSync(huggingFacePython(), ["-c", script, "acme/private"], { encoding: "utf8", env });
  assert.equal(found.trim(), opened.data.output);
});

test("only links to the cache's own blobs count as files", async () => {
  const { cwd } = await scene();
  writeFileSync(join(cwd, "secret"), "of somebody");
  for (const target of ["../../../../secret", "../../../../hub/other/blobs/x", "nowhere"]) {
    const snapshot = hubSnapshot(join(cwd, `hub-${target.length}`));
    symlinkSync(target, join(snapshot, "link"));
    assert.equal(await codeOf(() => walkModel(snapshot)), "MODEL_FILE_REFUSED", target);
  }
  const plain = join(cwd, "model");
  mkdirSync(join(plain, "blobs"), { recursive: true });
  writeFileSync(join(plain, "blobs/x"), "x");
  symlinkSync("blobs/x", join(plain, "x"));
  assert.equal(await codeOf(() => walkModel(plain)), "MODEL_FILE_REFUSED");
});

test("a name that leads out of the cache, or no place, is refused", async () => {
  const { cwd, uri, run } = await scene();
  mkdirSync(join(cwd, "model"));
  writeFileSync(join(cwd, "model/a"), "a");
  await run("seal", "model", "--key", "signer.pem", "--kms", uri, "--output", "sealed");
  const opening = ["open", "sealed", "--kms", uri, "--trust", "signer.pub"];
  for (const name of ["../x", "a/b/c", "/x", "a--b/c", "a/..", ""])
    assert.equal((await run(...opening, "--hf-cache", "cache", "--hf-repo", name)).exit === 0, false, name);
  assert.equal((await run(...opening)).data.code, "USAGE");
  assert.equal((await run(...opening, "--hf-cache", "cache")).data.code, "USAGE");
  assert.equal((await run(...opening, "--output", "x", "--hf-cache", "c", "--hf-repo", "a/b")).data.code, "USAGE");
  assert.equal(existsSync(join(cwd, "cache")), false);
});
