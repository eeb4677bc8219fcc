/** OMS signatures of other implementations, by name: what an EC key signed has its verdict, every other way is "not yet". */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, globSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { ModelkeepError } from "../../src/base/index.ts";
import { loadEcSigner, makeBundle, signModel, trustKeys, verifyBundle, verifyModel } from "../../src/signing/index.ts";
import { makePair, temporaryFolder, writeModel } from "../sealing/support.ts";

const vectors = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../shared/vectors"), "oms");
const ABSENT = "no vectors: set MODELKEEP_VECTORS to the folder with oms/";
const json = <T>(path: string) => JSON.parse(readFileSync(path, "utf8")) as T;

interface Verdict {
  readonly exit: number;
  readonly code: string;
  readonly signed: readonly string[];
}

/** `verified`, `failed`, or the code of the error. */
async function judge(
  root: string,
  bundle: string,
  keys: readonly string[],
  ignore: string[],
  ignoreUnsigned = false,
): Promise<Verdict> {
  try {
    const trust = trustKeys(keys.map((path) => readFileSync(path, "utf8")));
    const report = await verifyModel({ root, bundle: readFileSync(bundle), trust, ignore, ignoreUnsigned });
    const signed = report.manifest.resources.map(({ name }) => name);
    return { exit: report.verdict === "verified" ? 0 : 4, code: report.verdict, signed };
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, String(error));
    return { exit: error.exit, code: error.code, signed: [] };
  }
}

interface HistoricalCase {
  readonly dir: string;
  readonly method: string;
  readonly verdict: string;
  readonly ignore: string[];
  readonly key: string | null;
  readonly model: string;
}

test("every historical signature of an EC key verifies; certificates and keyless are not supported yet", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  const { historical } = json<{ historical: HistoricalCase[] }>(join(vectors, "cases.json"));
  const counts: Record<string, number> = {};
  for (const { dir, method, verdict, ignore, key, model } of historical) {
    const anyKey = join(vectors, "historical/keys-certificate/signing-key-pub.pem");
    const bundle = join(vectors, dir, "model.sig");
    const keys = [key === null ? anyKey : join(vectors, key)];
    const { code, exit } = await judge(join(vectors, dir, model), bundle, keys, [...ignore, "model.sig"]);
    const expected = method === "key" ? ["verified", 0] : ["SIGNING_METHOD_UNSUPPORTED", 1];
    assert.deepEqual([code, exit], expected, dir);
    assert.equal(method === "key" ? verdict : "pass", "pass", dir);
    counts[method] = (counts[method] ?? 0) + 1;
    t.diagnostic(`${dir}: ${code}`);
  }
  assert.deepEqual(counts, { certificate: 3, key: 2, sigstore: 2 });
});

interface ConformanceCase {
  readonly method: "key" | "certificate" | "sigstore";
  readonly model: string;
  readonly model_relative_to?: string;
  readonly expect?: string;
  readonly expected_signed_files?: string[];
  readonly sig_inside_model?: boolean;
  readonly sign?: { readonly private_key?: string; readonly ignore_paths?: string[] };
  readonly model_modifications?: {
    readonly inject?: Record<string, string>;
    readonly tamper?: Record<string, string>;
    readonly delete?: string[];
    readonly symlinks?: Record<string, string>;
  };
  readonly verify: {
    readonly public_key?: string;
    readonly ignore_paths?: string[];
    readonly ignore_unsigned_files?: boolean;
  };
}

function unpack(): string {
  const folder = temporaryFolder();
  execFileSync("python3", ["-m", "zipfile", "-e", join(vectors, "conformance/assets.zip"), folder]);
  return folder;
}

/** A copy of the case's model, changed as the case asks. */
function prepare(assets: string, folder: string, config: ConformanceCase): string {
  const from = config.model_relative_to === "test_dir" ? folder : assets;
  const root = join(temporaryFolder(), "model");
  cpSync(join(from, config.model), root, { recursive: true });
  const { inject = {}, tamper = {}, symlinks = {}, delete: gone = [] } = config.model_modifications ?? {};
  for (const [path, text] of Object.entries({ ...inject, ...tamper })) writeFileSync(join(root, path), text);
  for (const [path, target] of Object.entries(symlinks)) symlinkSync(target, join(root, path));
  for (const path of gone) rmSync(join(root, path), { recursive: true });
  return root;
}

function hasPython(): boolean {
  try {
    execFileSync("python3", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Codes by which each negative case of a key must be refused; every other one would be refused for a wrong reason. */
const REFUSED: Readonly<Record<string, string>> = {
  "key-simple-extra-file_fail": "failed",
  "key-simple-tampered-content_fail": "failed",
  "key-simple-truncated-bundle_fail": "INVALID_JSON",
  "key-simple-wrong-key_fail": "SIGNER_NOT_TRUSTED",
  "key-simple-wrong-mediatype_fail": "BUNDLE_INVALID",
  "malformed-empty-resources_fail": "SIGNATURE_INVALID",
  "malformed-missing-envelope_fail": "BUNDLE_INVALID",
  "malformed-wrong-predicate_fail": "SIGNATURE_INVALID",
};

test("the conformance cases to verify", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  if (!hasPython()) return t.skip("no python3 to unpack assets.zip: apt-get install python3");
  const assets = unpack();
  const configs = globSync("conformance/cases/verify/*/*/config.json", { cwd: vectors }).sort();
  assert.equal(configs.length, 16);
  for (const path of configs) {
    const folder = dirname(join(vectors, path));
    const name = folder.split("/").at(-1) ?? "";
    const config = json<ConformanceCase>(join(vectors, path));
    const root = prepare(assets, folder, config);
    const bundle = globSync("{*.sig,*bundle*.json}", { cwd: folder })[0] ?? assert.fail(name);
    const keys = [join(assets, config.verify.public_key ?? "keys/certificate/signing-key-pub.pem")];
    const ignore = [...(config.verify.ignore_paths ?? []), "model.sig"];
    const got = await judge(root, join(folder, bundle), keys, ignore, config.verify.ignore_unsigned_files);
    t.diagnostic(`${name}: ${got.code}`);
    if (config.method !== "key") assert.equal(got.code, "SIGNING_METHOD_UNSUPPORTED", name);
    else if (config.expect === "fail") assert.equal(got.code, REFUSED[name], name);
    else assert.equal(got.code, "verified", name);
    if (got.code === "verified" && config.expected_signed_files)
      assert.deepEqual([...got.signed].sort(), [...config.expected_signed_files].sort(), name);
  }
});

test("the conformance cases to sign and verify again", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  if (!hasPython()) return t.skip("no python3 to unpack assets.zip: apt-get install python3");
  const assets = unpack();
  const configs = globSync("conformance/cases/roundtrip/key-*/config.json", { cwd: vectors }).sort();
  assert.equal(configs.length, 12);
  for (const path of configs) {
    const folder = dirname(join(vectors, path));
    const name = folder.split("/").at(-1) ?? "";
    const config = json<ConformanceCase>(join(vectors, path));
    const root = prepare(assets, folder, config);
    const signer = loadEcSigner(readFileSync(join(assets, config.sign?.private_key ?? "")));
    const ignore = [...(config.verify.ignore_paths ?? []), "model.sig"];
    const signed = await signModel({ root, signer, ignore }).catch((error: unknown) => error);
    if (config.expect === "fail") {
      assert.ok(signed instanceof ModelkeepError, `${name} was signed`);
      t.diagnostic(`${name}: ${signed.code}`);
      continue;
    }
    if (signed instanceof Error) throw signed;
    const { bundle, files } = signed as Awaited<ReturnType<typeof signModel>>;
    assert.deepEqual(files.map((file) => file.path).sort(), [...(config.expected_signed_files ?? [])].sort(), name);
    const place = config.sig_inside_model ? join(root, "model.sig") : join(temporaryFolder(), "model.sig");
    writeFileSync(place, bundle);
    const got = await judge(root, place, [join(assets, config.verify.public_key ?? "")], ["model.sig"]);
    assert.equal(got.code, "verified", name);
    t.diagnostic(`${name}: ${got.code}`);
  }
});

test("the two keys of the vectors that no case uses sign as well", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  if (!hasPython()) return t.skip("no python3 to unpack assets.zip: apt-get install python3");
  const assets = unpack();
  for (const name of ["p384", "p521"]) {
    const signer = loadEcSigner(readFileSync(join(assets, `keys/${name}/signing-key.pem`)));
    const { bundle } = await signModel({ root: join(assets, "models/multi-file"), signer });
    const trust = trustKeys([readFileSync(join(assets, `keys/${name}/signing-key-pub.pem`), "utf8")]);
    assert.equal(verifyBundle(bundle, trust).keyId, signer.keyId, name);
  }
});

test("bundles that the schema calls invalid are not understood, valid ones get as far as their method", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  const { spec } = json<{ spec: { file: string; schema_valid: boolean }[] }>(join(vectors, "cases.json"));
  const trust = trustKeys([readFileSync(join(vectors, "historical/keys-certificate/signing-key-pub.pem"), "utf8")]);
  const codes = spec.map(({ file }) => {
    try {
      return [file, verifyBundle(readFileSync(join(vectors, file)), trust).keyId];
    } catch (error) {
      assert.ok(error instanceof ModelkeepError);
      return [file, error.code];
    }
  });
  assert.deepEqual(Object.fromEntries(codes), {
    "spec-vectors/valid/key.bundle.json": "e8450dec4eb99dae995da9af1bc2cc9f76ed669ee2e744f57abba763df3e3f8e",
    "spec-vectors/valid/sigstore.bundle.json": "SIGNING_METHOD_UNSUPPORTED",
    "spec-vectors/invalid/missing-envelope.bundle.json": "BUNDLE_INVALID",
    "spec-vectors/invalid/missing-tlog-entries.bundle.json": "SIGNING_METHOD_UNSUPPORTED",
  });
});

test("directories really signed by a certificate are answered with the same code, never a verdict", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  if (!hasPython()) return t.skip("no python3 to unpack the archive: apt-get install python3");
  const folder = temporaryFolder();
  execFileSync("python3", ["-m", "zipfile", "-e", join(vectors, "nvidia-skills.zip"), folder]);
  const key = join(vectors, "historical/keys-certificate/signing-key-pub.pem");
  const bundles = globSync("**/*.oms.sig", { cwd: folder });
  assert.equal(bundles.length, 12);
  for (const bundle of bundles) {
    const { code, exit } = await judge(dirname(join(folder, bundle)), join(folder, bundle), [key], []);
    assert.deepEqual([code, exit], ["SIGNING_METHOD_UNSUPPORTED", 1], bundle);
  }
});

interface GoldenTree {
  readonly root: string;
  readonly isFile?: boolean;
  readonly content?: string;
  readonly files?: Record<string, string>;
}

test("the manifests that the reference builds for fixed trees are accepted, files and shards", async (t) => {
  if (!existsSync(vectors)) return t.skip(ABSENT);
  const trees = json<Record<string, GoldenTree>>(join(vectors, "payload-golden/models.json"));
  const { signer, publicPem } = makePair();
  const outcome: Record<string, string> = {};
  for (const file of globSync("*_*.json", { cwd: join(vectors, "payload-golden") }).sort()) {
    const name = file.replace(".json", "");
    const tree = trees[name.replace("_small_shards", "")];
    if (!tree || (!tree.files && !tree.isFile)) {
      outcome[name] = "has a link outside of the model";
      continue;
    }
    const parent = temporaryFolder();
    const root = tree.isFile
      ? join(writeModel({ [tree.root]: tree.content ?? "" }, parent), tree.root)
      : writeModel(tree.files ?? {}, join(parent, tree.root));
    const payload = readFileSync(join(vectors, "payload-golden", file));
    const place = join(temporaryFolder(), "model.sig");
    writeFileSync(place, await makeBundle(payload, signer));
    const pem = join(temporaryFolder(), "key.pub");
    writeFileSync(pem, publicPem);
    outcome[name] = (await judge(root, place, [pem], [])).code;
  }
  t.diagnostic(JSON.stringify(outcome));
  assert.deepEqual(outcome, {
    deep_model_folder: "verified",
    deep_model_folder_small_shards: "verified",
    empty_model_file: "verified",
    sample_model_file: "verified",
    sample_model_file_small_shards: "verified",
    sample_model_folder: "verified",
    sample_model_folder_small_shards: "verified",
    symlink_model_folder: "has a link outside of the model",
    model_folder_with_empty_file_small_shards: "BUNDLE_INVALID",
  });
});
