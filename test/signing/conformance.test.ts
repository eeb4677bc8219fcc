/** The conformance suite's cases by the flags of its adapter protocol, through the command line; the exit code is the answer. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, globSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { silentLog } from "../../src/base/index.ts";
import * as conformance from "../../src/cli/commands/conformance.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { makePair, temporaryFolder, writeModel } from "../sealing/support.ts";
import { ABSENT, AT, json, unpack, vectors } from "./oms-support.ts";

interface Case {
  readonly method: string;
  readonly model: string;
  readonly model_relative_to?: string;
  readonly expect?: string;
  readonly sig_inside_model?: boolean;
  readonly sign?: { readonly private_key?: string; readonly signing_cert?: string; readonly cert_chain?: string[] };
  readonly model_modifications?: Readonly<Record<string, never>> & {
    readonly inject?: Record<string, string>;
    readonly tamper?: Record<string, string>;
    readonly delete?: string[];
    readonly symlinks?: Record<string, string>;
  };
  readonly verify: {
    readonly public_key?: string;
    readonly cert_chain?: string[];
    readonly identity?: string;
    readonly identity_provider?: string;
    readonly ignore_paths?: string[];
    readonly ignore_unsigned_files?: boolean;
  };
}

interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** On the day when the certificates of the cases are valid. */
async function adapter(...words: string[]): Promise<Outcome> {
  const [stdout, stderr]: [string[], string[]] = [[], []];
  const exit = await runCommandLine(["conformance", ...words], {
    commands: Object.values(conformance),
    version: "1.2.3",
    stdin: (async function* () {})(),
    stdout: { write: (text: string) => stdout.push(text) },
    stderr: { write: (text: string) => stderr.push(text) },
    env: {},
    cwd: temporaryFolder(),
    clock: { now: () => AT, monotonic: systemClock.monotonic },
    random: systemRandom,
    log: silentLog,
    signal: new AbortController().signal,
    connect: () => Promise.reject(new Error("no server here")),
  });
  return { exit, stdout: stdout.join(""), stderr: stderr.join("") };
}

function prepare(assets: string, folder: string, config: Case): string {
  const root = join(temporaryFolder(), "model");
  cpSync(join(config.model_relative_to === "test_dir" ? folder : assets, config.model), root, { recursive: true });
  const { inject = {}, tamper = {}, symlinks = {}, delete: gone = [] } = config.model_modifications ?? {};
  for (const [path, text] of Object.entries({ ...inject, ...tamper })) writeFileSync(join(root, path), text);
  for (const [path, target] of Object.entries(symlinks)) symlinkSync(target, join(root, path));
  for (const path of gone) rmSync(join(root, path), { recursive: true });
  return root;
}

const flags = (flag: string, values: readonly (string | undefined)[] = []) =>
  values.flatMap((value) => (value === undefined ? [] : [flag, value]));

function verifyWords(assets: string, root: string, bundle: string, { method, verify }: Case): string[] {
  const asset = (path: string | undefined) => (path === undefined ? undefined : join(assets, path));
  return [
    ...["verify-model", "--method", method, "--model-path", root, "--bundle", bundle],
    ...flags("--public-key", [asset(verify.public_key)]),
    ...flags(
      "--cert-chain",
      verify.cert_chain?.map((path) => join(assets, path)),
    ),
    ...flags("--identity", [verify.identity]),
    ...flags("--identity-provider", [verify.identity_provider]),
    ...flags(
      "--ignore-paths",
      verify.ignore_paths?.map((path) => join(root, path)),
    ),
    ...(verify.ignore_unsigned_files ? ["--ignore-unsigned-files"] : []),
  ];
}

test("verify-model answers every case as the suite expects", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const assets = unpack("conformance/assets.zip");
  const paths = globSync("conformance/cases/verify/*/*/config.json", { cwd: vectors }).sort();
  assert.equal(paths.length, 16);
  for (const path of paths) {
    const folder = dirname(join(vectors, path));
    const config = json<Case>(path);
    const words = verifyWords(assets, prepare(assets, folder, config), join(folder, "bundle.sig"), config);
    const { exit, stderr } = await adapter(...words);
    t.diagnostic(`${path.split("/").at(-2)}: exit ${exit}`);
    assert.equal(exit === 0, config.expect !== "fail", `${path} ${stderr}`);
    assert.notEqual(exit, 2, `${path} ${stderr}`);
  }
});

test("sign-model makes what verify-model accepts, and nothing where the suite expects a refusal", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const assets = unpack("conformance/assets.zip");
  const paths = globSync("conformance/cases/roundtrip/*/config.json", { cwd: vectors }).sort();
  assert.equal(paths.length, 14);
  for (const path of paths) {
    const config = json<Case>(path);
    const name = path.split("/").at(-2);
    if (config.method === "sigstore") {
      t.diagnostic(`${name}: skipped, the protocol gives no identity to sign with`);
      continue;
    }
    const root = prepare(assets, dirname(join(vectors, path)), config);
    const bundle = join(config.sig_inside_model ? root : temporaryFolder(), "model.sig");
    const { private_key = "", signing_cert, cert_chain } = config.sign ?? {};
    const signed = await adapter(
      ...["sign-model", "--method", config.method, "--model-path", root, "--output-bundle", bundle],
      ...["--private-key", join(assets, private_key)],
      ...flags("--signing-cert", signing_cert === undefined ? [] : [join(assets, signing_cert)]),
      ...flags(
        "--cert-chain",
        cert_chain?.map((one) => join(assets, one)),
      ),
      ...flags(
        "--ignore-paths",
        config.verify.ignore_paths?.map((one) => join(root, one)),
      ),
    );
    t.diagnostic(`${name}: exit ${signed.exit}`);
    assert.equal(signed.exit === 0, config.expect !== "fail", `${name} ${signed.stderr}`);
    assert.equal(existsSync(bundle), signed.exit === 0, name);
    if (signed.exit !== 0) continue;
    const verified = await adapter(...verifyWords(assets, root, bundle, config));
    assert.equal(verified.exit, 0, `${name} ${verified.stderr}`);
  }
});

test("capabilities and benchmark-model print what the protocol says, and nothing else", async () => {
  const capabilities = await adapter("capabilities");
  assert.equal(capabilities.exit, 0);
  const { flags: more, ...rest } = JSON.parse(capabilities.stdout);
  assert.deepEqual(rest, {
    hash_algorithms: ["sha256", "blake2b", "blake3"],
    benchmark_model: true,
    client_version: "1.2.3",
  });
  assert.deepEqual(more, ["--hash-algorithm", "--shard-size", "--max-workers"]);
  const folder = temporaryFolder();
  const pair = makePair();
  writeFileSync(join(folder, "key.pem"), pair.privatePem);
  writeFileSync(join(folder, "key.pub"), pair.publicPem);
  const root = writeModel({ a: "1", b: "2" });
  const bundle = join(folder, "model.sig");
  const shared = ["--method", "key", "--model-path", root];
  const key = ["--private-key", join(folder, "key.pem")];
  const hashing = ["--hash-algorithm", "blake2b", "--shard-size", "1", "--max-workers", "2"];
  const timing = ["--operation", "sign", ...shared, ...key, "--chunk-size", "4096"];
  const timed = await adapter("benchmark-model", ...timing, "--repeat", "3", ...hashing);
  assert.equal(timed.exit, 0, timed.stderr);
  assert.equal(JSON.parse(timed.stdout).times_ms.length, 3);
  assert.equal((await adapter("sign-model", ...shared, ...key, "--output-bundle", bundle, ...hashing)).exit, 0);
  const verifying = ["--operation", "verify", ...shared, "--public-key", join(folder, "key.pub"), "--bundle", bundle];
  assert.equal((await adapter("benchmark-model", ...verifying)).exit, 0);
  writeFileSync(join(root, "a"), "changed");
  assert.notEqual((await adapter("benchmark-model", ...verifying)).exit, 0, "a refusal is not timed");
  for (const bad of [
    ["--repeat", "0"],
    ["--repeat", "1e3"],
    ["--max-workers", "1000"],
    ["--shard-size", "-1"],
  ])
    assert.equal((await adapter("benchmark-model", ...timing, ...bad)).exit, 2, bad.join(" "));
});

test("paths to ignore outside the model say nothing, and those inside are relative to it", async () => {
  const folder = temporaryFolder();
  const pair = makePair();
  writeFileSync(join(folder, "key.pem"), pair.privatePem);
  writeFileSync(join(folder, "key.pub"), pair.publicPem);
  const root = writeModel({ a: "1", "..odd": "2", "b/c": "3" });
  mkdirSync(`${root}-neighbour`);
  const bundle = join(root, "model.sig");
  const words = ["--method", "key", "--model-path", root];
  const ignore = flags("--ignore-paths", [join(root, "b"), `${root}-neighbour`, "/", root]);
  const key = ["--private-key", join(folder, "key.pem")];
  assert.equal((await adapter("sign-model", ...words, ...key, "--output-bundle", bundle, ...ignore)).exit, 0);
  const verify = ["verify-model", ...words, "--public-key", join(folder, "key.pub"), "--bundle", bundle];
  assert.equal((await adapter(...verify)).exit, 0);
  writeFileSync(join(root, "b/c"), "changed");
  assert.equal((await adapter(...verify)).exit, 0);
  writeFileSync(join(root, "..odd"), "changed");
  assert.equal((await adapter(...verify)).exit, 4);
});

test("the adapter is one program, as the suite starts it", () => {
  const program = join(import.meta.dirname, "../../bin/modelkeep-conformance.mjs");
  const out = execFileSync(process.execPath, [program, "capabilities"]).toString();
  assert.equal(JSON.parse(out).benchmark_model, true);
});
