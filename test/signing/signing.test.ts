/** Signing and verifying attacked: files that are not what was signed, statements that are signed and wrong, keys that must not be used. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { toBase64 } from "../../src/base/index.ts";
import {
  loadEcSigner,
  loadTrustedKey,
  makeBundle,
  readSigningKey,
  SIGNING_LIMITS,
  signModel,
  signStatement,
  trustKeys,
  verifyBundle,
  verifyModel,
  verifyStatement,
} from "../../src/signing/index.ts";
import { codeOf, makePair, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";

const pair = makePair();
const trust = trustKeys([pair.publicPem]);
const sha256 = (text: string | Uint8Array, hash = "sha256") => createHash(hash).update(text).digest("hex");

interface RawResource {
  readonly name: string;
  readonly digest: string;
  readonly algorithm: string;
}

const CONTENT: Readonly<Record<string, string>> = { "config.json": "{}", "weights.bin": "0123456789", empty: "" };
const files = (): RawResource[] =>
  Object.entries(CONTENT).map(([name, text]) => ({ name, digest: sha256(text), algorithm: "sha256" }));

function statementOf(resources: readonly RawResource[], change: Record<string, unknown> = {}) {
  const root = createHash("sha256");
  for (const { digest } of resources) root.update(Buffer.from(digest, "hex"));
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: "model", digest: { sha256: root.digest("hex") } }],
    predicateType: "https://model_signing/signature/v1.0",
    predicate: { resources, serialization: { method: "files", hash_type: "sha256", allow_symlinks: false } },
    ...change,
  };
}

/** Our key's true signature over a statement of our making. */
const signed = (statement: unknown) => makeBundle(Buffer.from(JSON.stringify(statement)), pair.signer);

async function judge(statement: unknown, root = writeModel(CONTENT)): Promise<string | undefined> {
  const bundle = await signed(statement);
  let verdict: string | undefined;
  return (await codeOf(async () => (verdict = (await verifyModel({ root, bundle, trust })).verdict))) ?? verdict;
}

test("a model that is signed verifies, on every curve", async () => {
  for (const curve of ["P-256", "P-384", "P-521"]) {
    const { signer, publicPem } = makePair(curve);
    const root = writeModel(CONTENT);
    const { bundle } = await signModel({ root, signer });
    const report = await verifyModel({ root, bundle, trust: trustKeys([publicPem]) });
    assert.equal(report.verdict, "verified", curve);
    assert.equal(report.manifest.keyId, sha256(publicPem), "the key's name is the digest of its PEM");
  }
});

test("changed, missing, extra and linked files are all told at once", async () => {
  const root = writeModel({ ...CONTENT, "sub/gone": "x", "sub/linked": "y", renamed: "z", long: "0123" });
  const { bundle } = await signModel({ root, signer: pair.signer });
  writeFileSync(join(root, "weights.bin"), "0123456780");
  rmSync(join(root, "sub/gone"));
  writeFileSync(join(root, "extra"), "");
  rmSync(join(root, "sub/linked"));
  symlinkSync("../config.json", join(root, "sub/linked"));
  renameSync(join(root, "renamed"), join(root, "Renamed"));
  truncateSync(join(root, "long"), 3);
  const { verdict, findings, findingsTotal } = await verifyModel({ root, bundle, trust });
  assert.equal(verdict, "failed");
  assert.equal(findingsTotal, 7);
  assert.deepEqual(findings.map(({ rule, path }) => `${rule} ${path}`).sort(), [
    "mismatch long",
    "mismatch weights.bin",
    "missing renamed",
    "missing sub/gone",
    "refused sub/linked",
    "unsigned Renamed",
    "unsigned extra",
  ]);
});

test("unsigned files are forgiven only when asked, signed ones never", async () => {
  const root = writeModel(CONTENT);
  const { bundle } = await signModel({ root, signer: pair.signer });
  writeFileSync(join(root, "extra"), "x");
  symlinkSync("extra", join(root, "link"));
  assert.equal((await verifyModel({ root, bundle, trust, ignoreUnsigned: true })).verdict, "verified");
  assert.equal((await verifyModel({ root, bundle, trust })).findingsTotal, 2);
  rmSync(join(root, "config.json"));
  assert.equal((await verifyModel({ root, bundle, trust, ignoreUnsigned: true })).verdict, "failed");
});

test("a folder in the place of a file, a file in the place of a folder, and an emptied model fail", async () => {
  const root = writeModel({ a: "1", "b/c": "2" });
  const { bundle } = await signModel({ root, signer: pair.signer });
  rmSync(join(root, "a"));
  mkdirSync(join(root, "a"));
  rmSync(join(root, "b"), { recursive: true });
  writeFileSync(join(root, "b"), "2");
  const changed = await verifyModel({ root, bundle, trust });
  assert.deepEqual(changed.findings.map(({ rule, path }) => `${rule} ${path}`).sort(), [
    "missing a",
    "missing b/c",
    "unsigned b",
  ]);
  rmSync(root, { recursive: true });
  mkdirSync(root);
  assert.equal((await verifyModel({ root, bundle, trust })).findingsTotal, 2);
});

test("a listed file is checked though another implementation leaves it out", async () => {
  const root = writeModel({ ...CONTENT, ".gitmodules": "x", ".gitignore": "left out", "sub/.gitignore": "signed" });
  const { bundle, files: listed } = await signModel({ root, signer: pair.signer });
  assert.deepEqual(
    listed.map(({ path }) => path),
    [".gitmodules", "config.json", "empty", "sub/.gitignore", "weights.bin"],
  );
  writeFileSync(join(root, ".gitmodules"), "y");
  assert.equal((await verifyModel({ root, bundle, trust })).verdict, "failed");
  const without = writeModel(CONTENT);
  const other = await signModel({ root: without, signer: pair.signer });
  writeFileSync(join(without, ".gitmodules"), "unlisted");
  assert.equal((await verifyModel({ root: without, bundle: other.bundle, trust })).verdict, "verified");
});

test("a name that only looks the same is another name: composed or not, upper or lower case", async () => {
  const composed = "caf\u00e9.bin";
  for (const twin of [composed.normalize("NFD"), composed.toUpperCase(), `${composed}\u200b`]) {
    const { signer, publicPem } = makePair();
    const { bundle } = await signModel({ root: writeModel({ [composed]: "0" }), signer });
    const other = await verifyModel({ root: writeModel({ [twin]: "0" }), bundle, trust: trustKeys([publicPem]) });
    assert.deepEqual(other.findings.map(({ rule }) => rule).sort(), ["missing", "unsigned"], JSON.stringify(twin));
    const both = writeModel({ [composed]: "0", [twin]: "0" });
    const beside = await verifyModel({ root: both, bundle, trust: trustKeys([publicPem]) });
    assert.deepEqual(
      beside.findings.map(({ rule, path }) => [rule, path]),
      [["unsigned", twin]],
    );
  }
});

test("names are signed in code-point order", async () => {
  const names = ["\u{1f600}", "\uff61", "Z", "a-b", "a/b", "ä"];
  const root = writeModel(Object.fromEntries(names.map((name) => [name, name])));
  const { files: listed } = await signModel({ root, signer: pair.signer });
  assert.deepEqual(
    listed.map(({ path }) => path),
    ["Z", "a-b", "a/b", "ä", "\uff61", "\u{1f600}"],
  );
});

test("statements that our key really signed and that are wrong are refused, each for its reason", async () => {
  const [config, weights, empty] = files() as [RawResource, RawResource, RawResource];
  const rest = [weights, empty];
  const predicate = (resources: unknown, serialization: Record<string, unknown> = {}) => ({
    predicate: { resources, serialization: { method: "files", hash_type: "sha256", ...serialization } },
  });
  const cases: Record<string, [unknown, string]> = {
    "as it should be": [statementOf(files()), "verified"],
    "unsorted, as the reference signs": [statementOf(files().reverse()), "verified"],
    "a name twice": [statementOf([config, config, ...rest]), "MODEL_NOT_AS_SIGNED"],
    "..": [statementOf([{ ...config, name: "../config.json" }, ...rest]), "MODEL_NOT_AS_SIGNED"],
    ".. inside": [statementOf([{ ...config, name: "a/../config.json" }, ...rest]), "MODEL_NOT_AS_SIGNED"],
    absolute: [statementOf([{ ...config, name: "/config.json" }, ...rest]), "MODEL_NOT_AS_SIGNED"],
    "double slash": [statementOf([{ ...config, name: "a//config.json" }, ...rest]), "MODEL_NOT_AS_SIGNED"],
    "dot slash": [statementOf([{ ...config, name: "./config.json" }, ...rest]), "MODEL_NOT_AS_SIGNED"],
    "NUL byte": [statementOf([{ ...config, name: "config.json\0" }, ...rest]), "MODEL_NOT_AS_SIGNED"],
    "no name": [statementOf([{ ...config, name: "" }, ...rest]), "BUNDLE_INVALID"],
    "single file that is a folder": [statementOf([{ ...config, name: "." }]), "failed"],
    "wrong root": [
      statementOf(files(), { subject: [{ name: "m", digest: { sha256: sha256("other") } }] }),
      "MODEL_NOT_AS_SIGNED",
    ],
    "two subjects": [
      statementOf(files(), { subject: [...statementOf(files()).subject, ...statementOf(files()).subject] }),
      "BUNDLE_INVALID",
    ],
    "no subject": [statementOf(files(), { subject: [] }), "BUNDLE_INVALID"],
    "no resources": [statementOf([]), "BUNDLE_INVALID"],
    "digest in capitals": [
      statementOf([{ ...config, digest: config.digest.toUpperCase() }, ...rest]),
      "BUNDLE_INVALID",
    ],
    "digest too short": [statementOf([{ ...config, digest: config.digest.slice(2) }, ...rest]), "BUNDLE_INVALID"],
    "another algorithm": [statementOf([{ ...config, algorithm: "blake3" }, ...rest]), "BUNDLE_INVALID"],
    "an algorithm that begins alike": [statementOf([{ ...config, algorithm: "sha256x" }, ...rest]), "BUNDLE_INVALID"],
    "unknown hash": [statementOf(files(), predicate(files(), { hash_type: "md5" })), "BUNDLE_INVALID"],
    "unknown method": [statementOf(files(), predicate(files(), { method: "trees" })), "BUNDLE_INVALID"],
    "a field of its own": [statementOf(files(), predicate(files(), { extra: 1 })), "BUNDLE_INVALID"],
    "another predicate": [statementOf(files(), { predicateType: "https://slsa.dev/provenance/v1" }), "BUNDLE_INVALID"],
    "0.2.0": [statementOf(files(), { predicateType: "https://model_signing/Digests/v0.1" }), "BUNDLE_INVALID"],
    "another statement": [statementOf(files(), { _type: "https://in-toto.io/Statement/v0.1" }), "BUNDLE_INVALID"],
    "a file that is not there": [statementOf([...files(), { ...config, name: "more" }]), "failed"],
    "a file too few": [statementOf([config, weights]), "failed"],
    "swapped digests": [
      statementOf([{ ...config, digest: weights.digest }, { ...weights, digest: config.digest }, empty]),
      "failed",
    ],
    "SHA-256 under the name of BLAKE3": [
      statementOf(
        files().map((file) => ({ ...file, algorithm: "blake3" })),
        predicate(
          files().map((file) => ({ ...file, algorithm: "blake3" })),
          { hash_type: "blake3" },
        ),
      ),
      "failed",
    ],
  };
  for (const [name, [statement, expected]] of Object.entries(cases))
    assert.equal(await judge(statement), expected, name);
});

test("BLAKE2b digests are checked, and their length is theirs", async () => {
  const blake = Object.entries(CONTENT).map(([name, text]) => ({
    name,
    digest: sha256(text, "blake2b512"),
    algorithm: "blake2b",
  }));
  const serialization = { method: "files", hash_type: "blake2b" };
  const statement = statementOf(blake, { predicate: { resources: blake, serialization } });
  assert.equal(await judge(statement), "verified");
  assert.equal(await judge(statement, writeModel({ ...CONTENT, "config.json": "{ }" })), "failed");
  const short = blake.map((file) => ({ ...file, digest: file.digest.slice(64) }));
  assert.equal(await judge(statementOf(short, { predicate: { resources: short, serialization } })), "BUNDLE_INVALID");
});

test("shards join without hole or overlap, to the end of the file and no further", async () => {
  const text = CONTENT["weights.bin"] ?? "";
  const shard = (start: number, end: number, name = "weights.bin") => ({
    name: `${name}:${start}:${end}`,
    digest: sha256(text.slice(start, end)),
    algorithm: "sha256-sharded-4",
  });
  const config = { name: "config.json:0:2", digest: sha256("{}"), algorithm: "sha256" };
  const sharded = (...list: RawResource[]) => {
    const resources = [config, ...list];
    const serialization = { method: "shards", hash_type: "sha256", shard_size: 4, allow_symlinks: "false" };
    return statementOf(resources, { predicate: { resources, serialization } });
  };
  const cases: [string, RawResource[], string][] = [
    ["as it should be", [shard(0, 4), shard(4, 8), shard(8, 10)], "verified"],
    ["in another order", [shard(8, 10), shard(0, 4), shard(4, 8)], "verified"],
    ["a hole", [shard(0, 4), shard(8, 10)], "MODEL_NOT_AS_SIGNED"],
    ["a hole at the start", [shard(4, 8), shard(8, 10)], "MODEL_NOT_AS_SIGNED"],
    ["an overlap", [shard(0, 4), shard(3, 8), shard(8, 10)], "MODEL_NOT_AS_SIGNED"],
    ["nothing in it", [shard(0, 0), shard(0, 10)], "MODEL_NOT_AS_SIGNED"],
    ["backwards", [shard(4, 0)], "MODEL_NOT_AS_SIGNED"],
    ["the end is missing", [shard(0, 4), shard(4, 8)], "failed"],
    ["more than there is", [shard(0, 4), shard(4, 8), { ...shard(8, 10), name: "weights.bin:8:12" }], "failed"],
    ["a shard changed", [shard(0, 4), { ...shard(4, 8), digest: sha256("x") }, shard(8, 10)], "failed"],
    ["no suffix", [{ ...shard(0, 10), name: "weights.bin" }], "BUNDLE_INVALID"],
    ["half a suffix", [{ ...shard(0, 10), name: "weights.bin:10" }], "BUNDLE_INVALID"],
    ["leaves the model", [shard(0, 10, "..")], "MODEL_NOT_AS_SIGNED"],
    ["numbers beyond reason", [{ ...shard(0, 10), name: `weights.bin:0:${"9".repeat(20)}` }], "BUNDLE_INVALID"],
  ];
  for (const [name, list, expected] of cases) assert.equal(await judge(sharded(...list)), expected, name);
  const colon = writeModel({ "config.json": "{}", "a:0:1": text });
  assert.equal(await judge(sharded(shard(0, 10, "a:0:1")), colon), "verified", "a name with colons");
});

test("a hundred thousand shards of one file take seconds, not hours", async () => {
  const resources = Array.from({ length: 100_000 }, (_, index) => ({
    name: `weights.bin:${index}:${index + 1}`,
    digest: sha256("a"),
    algorithm: "sha256",
  }));
  const serialization = { method: "shards", hash_type: "sha256", shard_size: 1 };
  const started = performance.now();
  const root = writeModel({ "weights.bin": "a".repeat(resources.length) });
  assert.equal(await judge(statementOf(resources, { predicate: { resources, serialization } }), root), "verified");
  assert.ok(performance.now() - started < 30_000);
});

test("a report stays short however much is wrong, and says how much that was", async () => {
  const root = writeModel({ a: "" });
  const { bundle } = await signModel({ root, signer: pair.signer });
  const more = SIGNING_LIMITS.findings + 5;
  for (let index = 0; index < more; index++) writeFileSync(join(root, `extra-${index}`), "");
  const report = await verifyModel({ root, bundle, trust });
  assert.deepEqual([report.findings.length, report.findingsTotal], [SIGNING_LIMITS.findings, more]);
});

test("every character of a bundle that is changed leads to a code, and never to a verified model", async () => {
  const root = writeModel(CONTENT);
  const { bundle } = await signModel({ root, signer: pair.signer });
  const text = Buffer.from(bundle).toString();
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 2), fc.integer({ min: 1, max: 127 }), async (at, change) => {
      const damaged = Buffer.from(text);
      damaged[at] = ((damaged[at] ?? 0) ^ change) & 0x7f;
      let report: Awaited<ReturnType<typeof verifyModel>> | undefined;
      const code = await codeOf(async () => {
        report = await verifyModel({ root, bundle: damaged, trust });
      });
      if (code !== undefined) return;
      accepted++;
      const before = JSON.parse(text);
      const now = JSON.parse(damaged.toString());
      assert.deepEqual(now.dsseEnvelope.payload, before.dsseEnvelope.payload);
      assert.equal(report?.verdict, "verified");
    }),
    { numRuns: 2_000 },
  );
  assert.ok(accepted < 100, "white space and unsigned names are all that may change");
});

test("bundles that are not a bundle of one key are not judged by one", async () => {
  const bundle = JSON.parse(Buffer.from(await signed(statementOf(files()))).toString());
  const material = bundle.verificationMaterial;
  const judgeBundle = (change: object, keys = trust) =>
    codeOf(() => verifyBundle(Buffer.from(JSON.stringify({ ...bundle, ...change })), keys));
  const envelope = bundle.dsseEnvelope;
  const second = { dsseEnvelope: { ...envelope, signatures: [...envelope.signatures, ...envelope.signatures] } };
  const cases: [string, object, string | undefined][] = [
    ["as it should be", {}, undefined],
    ["another media type", { mediaType: "application/vnd.dev.sigstore.bundle.v0.2+json" }, "BUNDLE_INVALID"],
    ["a field of its own", { extra: 1 }, "BUNDLE_INVALID"],
    ["several signatures", second, "BUNDLE_INVALID"],
    ["no signature", { dsseEnvelope: { ...envelope, signatures: [] } }, "DSSE_INVALID"],
    ["another payload type", { dsseEnvelope: { ...envelope, payloadType: "text/plain" } }, "BUNDLE_INVALID"],
    ["no payload", { dsseEnvelope: { ...envelope, payload: "" } }, "SIGNATURE_INVALID"],
    ["a payload in base64url", { dsseEnvelope: { ...envelope, payload: `${envelope.payload}_` } }, "DSSE_INVALID"],
    ["no material", { verificationMaterial: {} }, "BUNDLE_INVALID"],
    ["two kinds", { verificationMaterial: { ...material, certificate: { rawBytes: "" } } }, "BUNDLE_INVALID"],
    ["a certificate", { verificationMaterial: { certificate: { rawBytes: "" } } }, "BUNDLE_INVALID"],
    ["a chain", { verificationMaterial: { x509CertificateChain: {} } }, "BUNDLE_INVALID"],
    ["a log entry", { verificationMaterial: { ...material, tlogEntries: [{}] } }, "BUNDLE_INVALID"],
    ["a stranger's hint", { verificationMaterial: { publicKey: { hint: "0".repeat(64) } } }, "SIGNER_NOT_TRUSTED"],
    ["no hint", { verificationMaterial: { publicKey: {} } }, undefined],
    [
      "the whole key",
      { verificationMaterial: { publicKey: { rawBytes: toBase64(Buffer.from(pair.publicPem)) } } },
      undefined,
    ],
  ];
  for (const [name, change, expected] of cases) assert.equal(await judgeBundle(change), expected, name);
  const stranger = makePair();
  const strangers = trustKeys([stranger.publicPem]);
  assert.equal(await judgeBundle({}, strangers), "SIGNER_NOT_TRUSTED");
  assert.equal(await judgeBundle({ verificationMaterial: { publicKey: {} } }, strangers), "SIGNATURE_INVALID");
  const claimed = { publicKey: { rawBytes: toBase64(Buffer.from(stranger.publicPem)) } };
  assert.equal(await judgeBundle({ verificationMaterial: claimed }, strangers), "SIGNATURE_INVALID");
  assert.equal(await codeOf(() => verifyBundle("x".repeat(10), trust)), "INVALID_JSON");
  assert.equal(await codeOf(() => verifyBundle(Buffer.alloc(SIGNING_LIMITS.bundleBytes + 1), trust)), "LIMIT_EXCEEDED");
});

test("a bundle of a great many values is over a limit before it is read", async () => {
  const root = writeModel(CONTENT);
  const { bundle } = await signModel({ root, signer: pair.signer });
  const json = JSON.parse(Buffer.from(bundle).toString());
  const many = Array.from({ length: SIGNING_LIMITS.bundleValues }, () => []);
  json.verificationMaterial.tlogEntries = many;
  assert.equal(await codeOf(() => verifyBundle(JSON.stringify(json), trust)), "LIMIT_EXCEEDED");
});

test("a signature by a key of another curve does not verify with the same hint", async () => {
  const other = makePair("P-384");
  const forged = { ...other.signer, keyId: pair.signer.keyId };
  const bundle = await makeBundle(Buffer.from(JSON.stringify(statementOf(files()))), forged);
  assert.equal(await codeOf(() => verifyBundle(bundle, trust)), "SIGNATURE_INVALID");
});

test("a statement counts for its own predicate, its own model and its own signer only", async () => {
  const rootDigest = sha256("root");
  const input = { predicateType: "urn:a", predicate: { x: 1 }, rootDigest, name: "model", signer: pair.signer };
  const text = await signStatement(input);
  const expected = { trust, predicateType: "urn:a", rootDigest };
  assert.deepEqual(verifyStatement(text, expected).predicate, { x: 1 });
  const wrong: [object, string][] = [
    [{ predicateType: "urn:b" }, "SIGNATURE_INVALID"],
    [{ rootDigest: sha256("other") }, "SIGNATURE_INVALID"],
    [{ trust: trustKeys([makePair().publicPem]) }, "SIGNATURE_INVALID"],
    [{ trust: trustKeys([]) }, "SIGNER_NOT_TRUSTED"],
  ];
  for (const [change, code] of wrong)
    assert.equal(await codeOf(() => verifyStatement(text, { ...expected, ...change })), code);
  assert.equal(await codeOf(() => verifyStatement("[]", expected)), "DSSE_INVALID");
});

test("keys that cannot sign models are refused, each with the step that helps", async () => {
  const pem = (key: ReturnType<typeof generateKeyPairSync>["privateKey"], options: object = {}) =>
    Buffer.from((key as never as import("node:crypto").KeyObject).export({ type: "pkcs8", format: "pem", ...options }));
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const cases: [Buffer, string][] = [
    [pem(generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey as never), "SIGNING_KEY_INVALID"],
    [pem(generateKeyPairSync("ed25519").privateKey as never), "SIGNING_KEY_INVALID"],
    [pem(generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey as never), "SIGNING_KEY_INVALID"],
    [pem(ec.privateKey as never, { cipher: "aes-256-cbc", passphrase: "x" }), "SIGNING_KEY_ENCRYPTED"],
    [Buffer.from(ec.publicKey.export({ type: "spki", format: "pem" })), "SIGNING_KEY_INVALID"],
    [Buffer.from("nonsense"), "SIGNING_KEY_INVALID"],
    [Buffer.alloc(0), "SIGNING_KEY_INVALID"],
  ];
  for (const [key, code] of cases) assert.equal(await codeOf(() => loadEcSigner(key)), code);
  const publics: string[] = [
    pair.privatePem,
    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ type: "spki", format: "pem" }).toString(),
    generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString(),
    "",
  ];
  for (const key of publics) assert.equal(await codeOf(() => loadTrustedKey(key)), "PUBLIC_KEY_INVALID");
  assert.equal(await codeOf(() => loadTrustedKey(Uint8Array.of(0xff))), "PUBLIC_KEY_INVALID");
});

test("a private key that others may read is refused with the command that mends it", async () => {
  const path = join(temporaryFolder(), "signer.pem");
  writeFileSync(path, pair.privatePem, { mode: 0o600 });
  assert.equal((await readSigningKey(path)).keyId, pair.signer.keyId);
  for (const mode of [0o640, 0o604, 0o620, 0o644, 0o601]) {
    chmodSync(path, mode);
    assert.equal(await codeOf(() => readSigningKey(path)), "SIGNING_KEY_EXPOSED", mode.toString(8));
  }
  assert.equal(await codeOf(() => readSigningKey(join(path, "x"))), "SIGNING_KEY_INVALID");
  assert.equal(await codeOf(() => readSigningKey(temporaryFolder())), "SIGNING_KEY_INVALID");
});

test("the command line: sign, verify, and the shapes and exits of a verdict", async () => {
  const folder = temporaryFolder();
  const root = writeModel(CONTENT, join(folder, "model"));
  writeFileSync(join(folder, "signer.pem"), pair.privatePem, { mode: 0o600 });
  writeFileSync(join(folder, "signer.pub"), pair.publicPem);
  writeFileSync(join(folder, "other.pub"), makePair().publicPem);
  mkdirSync(join(root, "cache"));
  writeFileSync(join(root, "cache/x"), "left out");
  const signing = await modelkeep(["sign", "model", "--key", "signer.pem", "--ignore", "./cache/", "--json"], folder);
  assert.equal(signing.exit, 0, signing.stderr);
  const made = JSON.parse(signing.stdout);
  assert.deepEqual([made.files, made.key_id], [3, pair.signer.keyId]);
  const words = (key: string) => ["verify", "model", "--signature", "model/model.sig", "--public-key", key, "--json"];
  const good = await modelkeep(words("signer.pub"), folder);
  assert.equal(good.exit, 0, good.stderr);
  assert.deepEqual(
    [JSON.parse(good.stdout).verdict, JSON.parse(good.stdout).findings, JSON.parse(good.stdout).root_digest],
    ["verified", [], made.root_digest],
  );
  const stranger = await modelkeep(words("other.pub"), folder);
  const { verdict, findings } = JSON.parse(stranger.stdout);
  assert.deepEqual([stranger.exit, verdict, findings[0].rule], [4, "failed", "signer-not-trusted"]);
  writeFileSync(join(root, "config.json"), "[]");
  writeFileSync(join(root, "new"), "");
  const bad = await modelkeep(words("signer.pub"), folder);
  assert.equal(bad.exit, 4);
  assert.deepEqual(
    JSON.parse(bad.stdout).findings.map(({ rule, path }: { rule: string; path: string }) => [rule, path]),
    [
      ["mismatch", "config.json"],
      ["unsigned", "new"],
    ],
  );
  writeFileSync(join(root, "model.sig"), "{");
  assert.equal((await modelkeep(words("signer.pub"), folder)).exit, 1, "could not verify is not a refusal");
  assert.equal((await modelkeep(["verify", "model"], folder)).exit, 2);
  for (const path of ["../x", "/etc", ".", "a//b"])
    assert.equal((await modelkeep(["sign", "model", "--key", "signer.pem", "--ignore", path], folder)).exit, 2, path);
});

test("the command line signs a single file beside it, and finds it again under its own name", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "keeper.gguf"), "weights");
  writeFileSync(join(folder, "signer.pem"), pair.privatePem, { mode: 0o600 });
  writeFileSync(join(folder, "signer.pub"), pair.publicPem);
  assert.equal((await modelkeep(["sign", "keeper.gguf", "--key", "signer.pem"], folder)).exit, 0);
  const bundle = readFileSync(join(folder, "keeper.gguf.sig"));
  const { resources, name } = verifyBundle(bundle, trust);
  assert.deepEqual([resources.map((resource) => resource.name), name], [["."], "keeper.gguf"]);
  const words = ["verify", "keeper.gguf", "--signature", "keeper.gguf.sig", "--public-key", "signer.pub"];
  assert.equal((await modelkeep(words, folder)).exit, 0);
  writeFileSync(join(folder, "keeper.gguf"), "Weights");
  assert.equal((await modelkeep(words, folder)).exit, 4);
});
