/** OMS signatures of other implementations: every case of the vectors by name, with the verdict that it must have. */
import assert from "node:assert/strict";
import { cpSync, globSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { ModelkeepError } from "../../src/base/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import {
  loadEcSigner,
  makeBundle,
  openKeylessSigner,
  signModel,
  type Trust,
  trustIdentities,
  trustKeys,
  verifyBundle,
  withCertificates,
} from "../../src/signing/index.ts";
import { makePair, temporaryFolder, writeModel } from "../sealing/support.ts";
import { KeylessCounterpart, makeToken } from "./keyless-sign-counterpart.ts";
import { ABSENT, AT, authorityIn, identity, json, judge, keysIn, unpack, vectors } from "./oms-support.ts";

const SIGNER_OF_VECTORS = "e8450dec4eb99dae995da9af1bc2cc9f76ed669ee2e744f57abba763df3e3f8e";
const IBM = ["stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2"] as const;

interface HistoricalCase {
  readonly dir: string;
  readonly method: "key" | "certificate" | "sigstore";
  readonly verdict: string;
  readonly ignore: string[];
  readonly key: string | null;
  readonly anchor: string | null;
  readonly model: string;
}

function trustOf({ method, key, anchor }: HistoricalCase): Trust | Promise<Trust> {
  if (method === "key") return keysIn(join(vectors, key ?? ""));
  if (method === "certificate") return authorityIn(join(vectors, anchor ?? ""), "CN=intermediate-ca");
  return identity(...IBM);
}

test("every historical signature verifies, by each method; that of 0.2.0 is told apart", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const { historical } = json<{ historical: HistoricalCase[] }>("cases.json");
  const counts: Record<string, number> = {};
  for (const one of historical) {
    const [root, bundle] = [join(vectors, one.dir, one.model), join(vectors, one.dir, "model.sig")];
    const got = await judge({ root, bundle, trust: await trustOf(one), ignore: [...one.ignore, "model.sig"] });
    const expected = one.verdict === "pass" ? ["verified", 0] : ["BUNDLE_LEGACY", 1];
    assert.deepEqual([got.code, got.exit], expected, one.dir);
    counts[one.method] = (counts[one.method] ?? 0) + 1;
    t.diagnostic(`${one.dir} (${one.method}): ${got.code}`);
  }
  assert.deepEqual(counts, { certificate: 3, key: 2, sigstore: 2 });
});

test("no historical signature verifies by trust of another method", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const { historical } = json<{ historical: HistoricalCase[] }>("cases.json");
  const keys = join(vectors, "historical/keys-certificate");
  const trusts = {
    key: keysIn(join(keys, "signing-key-pub.pem")),
    certificate: authorityIn(join(keys, "ca-cert.pem")),
    sigstore: await identity(...IBM),
  };
  for (const { dir, method, model } of historical) {
    for (const [other, trust] of Object.entries(trusts)) {
      if (other === method) continue;
      const got = await judge({ root: join(vectors, dir, model), bundle: join(vectors, dir, "model.sig"), trust });
      assert.deepEqual([got.code, got.exit], ["SIGNER_NOT_TRUSTED", 4], `${dir} by ${other}`);
    }
  }
});

interface ConformanceCase {
  readonly method: "key" | "certificate" | "sigstore";
  readonly model: string;
  readonly model_relative_to?: string;
  readonly expect?: string;
  readonly expected_signed_files?: string[];
  readonly sig_inside_model?: boolean;
  readonly sign?: {
    readonly private_key?: string;
    readonly signing_cert?: string;
    readonly cert_chain?: string[];
  };
  readonly model_modifications?: {
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

function trustFor(assets: string, { method, verify }: ConformanceCase): Trust | Promise<Trust> {
  if (method === "key") return keysIn(join(assets, verify.public_key ?? ""));
  if (method === "certificate") return authorityIn(join(assets, verify.cert_chain?.[0] ?? ""));
  return identity(verify.identity ?? "", verify.identity_provider ?? "");
}

/** Codes by which each negative case must be refused; every other one would be refused for a wrong reason. */
const REFUSED: Readonly<Record<string, string>> = {
  "certificate-expired_fail": "CERTIFICATE_NOT_TRUSTED",
  "certificate-simple-wrong-ca_fail": "CERTIFICATE_NOT_TRUSTED",
  "key-simple-extra-file_fail": "failed",
  "key-simple-tampered-content_fail": "failed",
  "key-simple-truncated-bundle_fail": "INVALID_JSON",
  "key-simple-wrong-key_fail": "SIGNER_NOT_TRUSTED",
  "key-simple-wrong-mediatype_fail": "BUNDLE_INVALID",
  "malformed-empty-resources_fail": "SIGNATURE_INVALID",
  "malformed-missing-envelope_fail": "BUNDLE_INVALID",
  "malformed-wrong-predicate_fail": "SIGNATURE_INVALID",
  "sigstore-tampered-content_fail": "failed",
  "sigstore-wrong-identity_fail": "SIGNER_NOT_TRUSTED",
};

test("the conformance cases to verify", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const assets = unpack("conformance/assets.zip");
  const configs = globSync("conformance/cases/verify/*/*/config.json", { cwd: vectors }).sort();
  assert.equal(configs.length, 16);
  for (const path of configs) {
    const folder = dirname(join(vectors, path));
    const name = folder.split("/").at(-1) ?? "";
    const config = json<ConformanceCase>(path);
    const got = await judge({
      root: prepare(assets, folder, config),
      bundle: join(folder, "bundle.sig"),
      trust: await trustFor(assets, config),
      ignore: [...(config.verify.ignore_paths ?? []), "model.sig"],
      ignoreUnsigned: config.verify.ignore_unsigned_files,
    });
    t.diagnostic(`${name}: ${got.code}`);
    assert.equal(got.code, config.expect === "fail" ? REFUSED[name] : "verified", name);
    if (got.code === "verified" && config.expected_signed_files)
      assert.deepEqual([...got.signed].sort(), [...config.expected_signed_files].sort(), name);
  }
});

function signerOf(assets: string, { sign = {} }: ConformanceCase) {
  const signer = loadEcSigner(readFileSync(join(assets, sign.private_key ?? "")));
  if (!sign.signing_cert) return signer;
  const certificate = readFileSync(join(assets, sign.signing_cert));
  const chain = Buffer.concat((sign.cert_chain ?? []).map((path) => readFileSync(join(assets, path))));
  return withCertificates(signer, { certificate, chain }, AT);
}

test("the conformance cases to sign and verify again", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const assets = unpack("conformance/assets.zip");
  const configs = globSync("conformance/cases/roundtrip/*/config.json", { cwd: vectors }).sort();
  assert.equal(configs.length, 14);
  for (const path of configs) {
    const folder = dirname(join(vectors, path));
    const name = folder.split("/").at(-1) ?? "";
    const config = json<ConformanceCase>(path);
    const root = prepare(assets, folder, config);
    const ignore = [...(config.verify.ignore_paths ?? []), "model.sig"];
    const signer = config.method === "sigstore" ? await keylessSigner() : signerOf(assets, config);
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
    const own = config.method === "sigstore" && trustIdentities([PRIVATE], instance.trustedRoot());
    const trust = await (own || trustFor(assets, config));
    const got = await judge({ root, bundle: place, trust, ignore: ["model.sig"] });
    assert.equal(got.code, "verified", name);
    t.diagnostic(`${name}: ${got.code}${own ? ", of a private instance" : ""}`);
  }
});

/** The suite takes the identity from whoever runs it. */
const PRIVATE = { identity: "signer@example.com", issuer: "https://id.example.com" };
const instance = await KeylessCounterpart.start();

function keylessSigner() {
  return openKeylessSigner({
    ...{ fetch: globalThis.fetch, clock: systemClock, random: systemRandom },
    token: { env: { SIGSTORE_ID_TOKEN: makeToken() } },
    endpoints: instance.endpoints(2),
    trustedRoot: instance.trustedRoot(),
  });
}

test("the two keys of the vectors that no case uses sign as well", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const assets = unpack("conformance/assets.zip");
  for (const name of ["p384", "p521"]) {
    const signer = loadEcSigner(readFileSync(join(assets, `keys/${name}/signing-key.pem`)));
    const { bundle } = await signModel({ root: join(assets, "models/multi-file"), signer });
    const trust = keysIn(join(assets, `keys/${name}/signing-key-pub.pem`));
    assert.equal(verifyBundle(bundle, trust).keyId, signer.keyId, name);
  }
});

test("bundles that the schema calls invalid are not understood, valid ones are judged", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const { spec } = json<{ spec: { file: string; schema_valid: boolean }[] }>("cases.json");
  const trust = {
    ...keysIn(join(vectors, "historical/keys-certificate/signing-key-pub.pem")),
    identities: (await identity(...IBM)).identities ?? assert.fail(),
  };
  const codes = spec.map(({ file, schema_valid }) => {
    const verdict = verdictOf(() => verifyBundle(readFileSync(join(vectors, file)), trust).keyId);
    t.diagnostic(`${file}: ${verdict}`);
    assert.equal(verdict !== "BUNDLE_INVALID", schema_valid, file);
    return [file, verdict];
  });
  assert.equal(codes.length, 4);
  assert.equal(Object.fromEntries(codes)["spec-vectors/valid/key.bundle.json"], SIGNER_OF_VECTORS);
});

function verdictOf(work: () => string): string {
  try {
    return work();
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, String(error));
    return error.code;
  }
}

interface SkillCase {
  readonly dir: string;
  readonly verdict: "pass" | "fail";
  readonly reason: string;
}

test("directories really signed under an authority of NVIDIA", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const { nvidia_skills: cases } = json<{ nvidia_skills: SkillCase[] }>("cases.json");
  const folder = unpack("nvidia-skills.zip");
  const subject = "CN=NVIDIA Agent Skills Signing 001,O=NVIDIA Corporation,C=US";
  const root = join(folder, "nv-agent-root-cert.pem");
  for (const { dir, verdict, reason } of cases) {
    const model = join(folder, dir);
    const options = { root: model, bundle: join(model, "skill.oms.sig"), ignore: ["skill.oms.sig"] };
    const got = await judge({ ...options, trust: authorityIn(root, subject) });
    t.diagnostic(`${dir}: ${got.code}${got.findings.length > 0 ? ` (${got.findings.join(", ")})` : ""}`);
    if (verdict === "pass") assert.deepEqual([got.code, got.exit], ["verified", 0], dir);
    else if (reason.startsWith("chain")) assert.deepEqual([got.code, got.exit], ["CERTIFICATE_NOT_TRUSTED", 4], dir);
    else assert.equal(got.findings.join(", "), reason.replace("content drift: ", ""), dir);
    const stranger = await judge({ ...options, trust: authorityIn(root, subject.toLowerCase()) });
    assert.equal(stranger.exit, 4, `${dir} by another subject`);
  }
  assert.deepEqual([cases.length, cases.filter(({ verdict }) => verdict === "pass").length], [12, 9]);
});

interface GoldenTree {
  readonly root: string;
  readonly isFile?: boolean;
  readonly content?: string;
  readonly files?: Record<string, string>;
  readonly symlinks?: Record<string, string>;
}

function plant(tree: GoldenTree): string {
  const parent = temporaryFolder();
  if (tree.isFile) return join(writeModel({ [tree.root]: tree.content ?? "" }, parent), tree.root);
  const root = join(parent, tree.root);
  for (const path of Object.keys(tree.symlinks ?? {})) {
    writeModel({ outside: "This is a simple model", [`${tree.root}/.git`]: "" }, parent);
    symlinkSync("../outside", join(root, path));
  }
  return writeModel(tree.files ?? {}, root);
}

test("the manifests that the reference builds for fixed trees are accepted, files and shards", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const { payload_golden: cases } = json<{ payload_golden: { file: string; model: string }[] }>("cases.json");
  const trees = json<Record<string, GoldenTree>>("payload-golden/models.json");
  const { signer, publicPem } = makePair();
  const outcome: Record<string, string> = {};
  for (const { file, model } of cases) {
    const root = plant(trees[model] ?? assert.fail(model));
    const bundle = join(temporaryFolder(), "model.sig");
    writeFileSync(bundle, await makeBundle(readFileSync(join(vectors, file)), signer));
    const { code, findings } = await judge({ root, bundle, trust: trustKeys([publicPem]) });
    outcome[file.replace(/.*\/|\.json/g, "")] = [code, ...findings].join(" ");
    t.diagnostic(`${file}: ${code}`);
  }
  assert.deepEqual(outcome, {
    deep_model_folder: "verified",
    deep_model_folder_small_shards: "verified",
    empty_model_file: "verified",
    sample_model_file: "verified",
    sample_model_file_small_shards: "verified",
    sample_model_folder: "verified",
    sample_model_folder_small_shards: "verified",
    symlink_model_folder: "failed refused symlink_file",
    model_folder_with_empty_file_small_shards: "BUNDLE_INVALID",
  });
});
