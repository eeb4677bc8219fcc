/** Every strict addition to OMS and every trap of other implementations has a test of its name here; the deeper ones are beside it. */
import assert from "node:assert/strict";
import { createHash, createPublicKey, sign } from "node:crypto";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import { dssePae, dsseToJson, OID, toPem } from "../../src/codec/index.ts";
import {
  loadEcSigner,
  type ModelSigner,
  makeBundle,
  signModel,
  type Trust,
  trustAuthorities,
  trustIdentities,
  trustKeys,
  verifyBundle,
  verifyModel,
} from "../../src/signing/index.ts";
import { SIGNING_LIMITS } from "../../src/signing/limits.ts";
import { makePair, temporaryFolder, writeModel } from "../sealing/support.ts";
import { makeAuthority, makeCertificate, type Party } from "../support/der-writer.ts";
import { SigstoreInstance } from "./sigstore-instance.ts";

const AT = Date.UTC(2026, 5, 1);
const { signer, publicPem, privatePem } = makePair();
const trust = trustKeys([publicPem]);
const FILES = { "a/b": "one", "a-b": "two", "c.bin": "0123456789" };
const root = writeModel(FILES);
const sha256 = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");

interface Resource {
  readonly name: string;
  readonly digest: string;
  readonly algorithm: string;
}

const resource = (name: string, content: string, algorithm = "sha256"): Resource => ({
  name,
  digest: sha256(content),
  algorithm,
});
const listed = Object.entries(FILES).map(([name, content]) => resource(name, content));
const FORM: Readonly<Record<string, unknown>> = { method: "files", hash_type: "sha256", allow_symlinks: false };
const SHARDS = { ...FORM, method: "shards", shard_size: 8 };

function statementOf(resources: readonly Resource[], form = FORM, more: Readonly<Record<string, unknown>> = {}) {
  const hash = createHash("sha256");
  for (const { digest } of resources) hash.update(digest, "hex");
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: "model", digest: { sha256: hash.digest("hex") } }],
    predicateType: "https://model_signing/signature/v1.0",
    predicate: { serialization: form, resources },
    ...more,
  };
}

const sealed = (statement: object | string, by: ModelSigner = signer) =>
  makeBundle(utf8(typeof statement === "string" ? statement : JSON.stringify(statement)), by);

interface Judged {
  readonly code: string;
  readonly exit?: number;
  readonly findings?: readonly string[];
  readonly rootDigest?: string;
}

async function judge(bundle: Uint8Array, model = root, by: Trust = trust): Promise<Judged> {
  try {
    const { verdict, findings, manifest } = await verifyModel({ root: model, bundle, trust: by });
    const told = findings.map(({ rule, path }) => `${rule} ${path}`);
    return { code: verdict, findings: told, rootDigest: manifest.rootDigest };
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, String(error));
    return { code: error.code, exit: error.exit };
  }
}

const codeOf = async (...asked: Parameters<typeof judge>) => (await judge(...asked)).code;

test("strict addition: a resource that is named twice is refused", async () => {
  assert.equal(await codeOf(await sealed(statementOf([...listed, listed[0] ?? assert.fail()]))), "MODEL_NOT_AS_SIGNED");
});

test("strict addition: shards that overlap, leave a hole, end early or go on too long are refused", async () => {
  const model = writeModel({ "c.bin": "0123456789" });
  const shard = (start: number, end: number) =>
    resource(`c.bin:${start}:${end}`, "0123456789".slice(start, end), "sha256-sharded-8");
  const of = async (...shards: Resource[]) => codeOf(await sealed(statementOf(shards, SHARDS)), model);
  assert.equal(await of(shard(0, 8), shard(8, 10)), "verified");
  assert.equal(await of(shard(0, 8), shard(7, 10)), "MODEL_NOT_AS_SIGNED", "overlap");
  assert.equal(await of(shard(0, 7), shard(8, 10)), "MODEL_NOT_AS_SIGNED", "hole");
  assert.equal(await of(shard(8, 10)), "MODEL_NOT_AS_SIGNED", "no beginning");
  assert.equal(await of(shard(0, 8)), "failed", "no end");
  assert.equal(await of(shard(0, 8), shard(8, 10), shard(10, 18)), "failed", "beyond the end");
});

test("strict addition: a hash type that nobody knows is refused", async () => {
  for (const hash_type of ["md5", "sha1", "sha512", "SHA256", "", null, 1])
    assert.equal(await codeOf(await sealed(statementOf(listed, { ...FORM, hash_type }))), "BUNDLE_INVALID");
});

test("strict addition: a name that leaves the root is refused, in files and in shards", async () => {
  const outside = ["/etc/passwd", "../c.bin", "a/../../c.bin", "a//b", "./a", "a/.", "a/", "c.bin\0"];
  for (const name of outside) {
    assert.equal(await codeOf(await sealed(statementOf([resource(name, "one")]))), "MODEL_NOT_AS_SIGNED", name);
    const shard = await sealed(statementOf([resource(`${name}:0:3`, "one", "sha256-sharded-8")], SHARDS));
    assert.equal(await codeOf(shard), "MODEL_NOT_AS_SIGNED", name);
  }
});

test("strict addition: more resources than the limit are refused before one is looked at", async () => {
  const one = `{"name":"x","digest":"${"0".repeat(64)}","algorithm":"sha256"}`;
  const list = `${`${one},`.repeat(SIGNING_LIMITS.resources)}${one}`;
  const before = JSON.stringify(statementOf([])).replace('"resources":[]', () => `"resources":[${list}]`);
  const code = await codeOf(await sealed(before));
  assert.ok(["BUNDLE_INVALID", "LIMIT_EXCEEDED"].includes(code), code);
});

test("strict addition: the algorithm of a resource is the declared hash type", async () => {
  for (const algorithm of ["blake3", "sha512", "sha256x", "sha256-sharded-9", "SHA256", ""]) {
    const changed = listed.map((one) => ({ ...one, algorithm }));
    assert.equal(await codeOf(await sealed(statementOf(changed, SHARDS))), "BUNDLE_INVALID", algorithm);
    assert.equal(await codeOf(await sealed(statementOf(changed))), "BUNDLE_INVALID", algorithm);
  }
});

test("strict addition: every mismatch is told, not the first", async () => {
  const other = writeModel({ "a/b": "xxx", "c.bin": "012345678X", more: "" });
  const { code, findings = [] } = await judge(await sealed(statementOf(listed)), other);
  const all = ["mismatch a/b", "mismatch c.bin", "missing a-b", "unsigned more"];
  assert.deepEqual([code, [...findings].sort()], ["failed", all]);
});

test("strict addition: the root digest comes back, over the digests in listed order", async () => {
  const { code, rootDigest } = await judge(await sealed(statementOf(listed)));
  const wanted = statementOf(listed).subject[0]?.digest.sha256;
  assert.deepEqual([code, rootDigest], ["verified", wanted]);
  const reversed = await judge(await sealed(statementOf([...listed].reverse())));
  assert.equal(reversed.code, "verified");
  assert.notEqual(reversed.rootDigest, wanted);
});

test("strict addition: what failed and what could not be judged are different answers", async () => {
  const { code, exit } = await judge(await sealed(statementOf(listed), makePair().signer));
  const unread = await judge(utf8("{}"));
  assert.deepEqual([code, unread.code], ["SIGNER_NOT_TRUSTED", "BUNDLE_INVALID"]);
  assert.notEqual(exit, unread.exit);
});

test("trap: the hint is the hash of the PEM text, with its last newline, and of nothing else", async () => {
  const bundle = JSON.parse(Buffer.from(await sealed(statementOf(listed))).toString());
  const der = createPublicKey(publicPem).export({ type: "spki", format: "der" });
  const withHint = (hint: string) => {
    bundle.verificationMaterial.publicKey.hint = hint;
    return codeOf(utf8(JSON.stringify(bundle)));
  };
  assert.equal(bundle.verificationMaterial.publicKey.hint, sha256(publicPem));
  for (const wrong of [sha256(der), sha256(publicPem.trim()), sha256(publicPem).toUpperCase(), ""])
    assert.equal(await withHint(wrong), "SIGNER_NOT_TRUSTED", wrong);
  assert.equal(await withHint(sha256(publicPem)), "verified");
});

test("trap: the hash goes with the curve", async () => {
  for (const [curve, right] of [
    ["P-256", "sha256"],
    ["P-384", "sha384"],
    ["P-521", "sha512"],
  ] as const) {
    const pair = makePair(curve);
    for (const hash of ["sha256", "sha384", "sha512"]) {
      const by = {
        ...pair.signer,
        sign: async (bytes: Uint8Array) => new Uint8Array(sign(hash, bytes, pair.privatePem)),
      };
      const code = await codeOf(await sealed(statementOf(listed), by), root, trustKeys([pair.publicPem]));
      assert.equal(code, hash === right ? "verified" : "SIGNATURE_INVALID", `${curve} ${hash}`);
    }
  }
});

test("trap: the payload is what came, never what was written anew", async () => {
  const pretty = JSON.stringify(statementOf(listed), null, 2).replace(/":/g, '" :  ');
  const bundle = await sealed(pretty);
  assert.equal(await codeOf(bundle), "verified");
  const copy = JSON.parse(Buffer.from(bundle).toString());
  copy.dsseEnvelope.payload = Buffer.from(JSON.stringify(JSON.parse(pretty))).toString("base64");
  assert.equal(await codeOf(utf8(JSON.stringify(copy))), "SIGNATURE_INVALID");
});

test("trap: resources are signed in the order of code points and verified in any", async () => {
  const names = ["a-b", "a/b", "\u{1f600}", "\uffee", "z"];
  const model = writeModel(Object.fromEntries(names.map((name) => [name, name])));
  const { bundle } = await signModel({ root: model, signer });
  const { resources } = verifyBundle(bundle, trust);
  assert.deepEqual(
    resources.map(({ name }) => name),
    ["a-b", "a/b", "z", "\uffee", "\u{1f600}"],
  );
  const byParts = ["a/b", "a-b", "z", "\u{1f600}", "\uffee"].map((name) => resource(name, name));
  assert.equal(await codeOf(await sealed(statementOf(byParts)), model), "verified");
});

test("trap: a single file is a dot for the reference and its own name in the specification", async () => {
  const file = join(writeModel({ "one.bin": "one" }), "one.bin");
  for (const name of [".", "one.bin"])
    assert.equal(await codeOf(await sealed(statementOf([resource(name, "one")])), file), "verified", name);
  assert.equal(await codeOf(await sealed(statementOf([resource("two.bin", "one")])), file), "failed");
});

test("trap: shards in numeric order, the size as a fraction, the algorithm with the size, colons in names", async () => {
  const text = "0123456789".repeat(3);
  const model = writeModel({ "a:1:2": text });
  const shards = [0, 8, 16, 24].map((start) => {
    const end = Math.min(30, start + 8);
    return resource(`a:1:2:${start}:${end}`, text.slice(start, end), "sha256-sharded-8");
  });
  const numeric = JSON.stringify(statementOf(shards, SHARDS)).replace('"shard_size":8', '"shard_size":8.0');
  assert.equal(await codeOf(await sealed(numeric), model), "verified");
  const byName = [...shards].sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.notDeepEqual(byName, shards);
  assert.equal(await codeOf(await sealed(statementOf(byName, SHARDS)), model), "verified");
  for (const shard_size of [0, -8, 8.5, 1e300, "8"])
    assert.equal(await codeOf(await sealed(statementOf(shards, { ...SHARDS, shard_size })), model), "BUNDLE_INVALID");
});

test("trap: blake2 is a word of the reference's command line, the format says blake2b", async () => {
  const hashed = (algorithm: string) =>
    Object.entries(FILES).map(([name, content]) => ({
      name,
      digest: createHash("blake2b512").update(content).digest("hex"),
      algorithm,
    }));
  assert.equal(
    await codeOf(await sealed(statementOf(hashed("blake2b"), { ...FORM, hash_type: "blake2b" }))),
    "verified",
  );
  const word = await sealed(statementOf(hashed("blake2"), { ...FORM, hash_type: "blake2" }));
  assert.equal(await codeOf(word), "BUNDLE_INVALID");
});

test("trap: ignored paths that mean a place of the signer's machine leave nothing out here", async () => {
  const ignore_paths = ["../../home/me/model/c.bin", "/c.bin", "./c.bin", "c.*", "**", ".", "", "/", "c.bin/"];
  const bundle = await sealed(statementOf(listed, { ...FORM, ignore_paths }));
  assert.equal(await codeOf(bundle), "verified");
  const more = await judge(bundle, writeModel({ ...FILES, "c.py": "", "d/e": "" }));
  assert.deepEqual([more.code, [...(more.findings ?? [])].sort()], ["failed", ["unsigned c.py", "unsigned d/e"]]);
});

test("trap: a listed file is verified though the signature also says that it is ignored", async () => {
  const bundle = await sealed(statementOf(listed, { ...FORM, ignore_paths: ["c.bin"] }));
  const { code, findings } = await judge(bundle, writeModel({ ...FILES, "c.bin": "evil" }));
  assert.equal(code, "failed");
  assert.match(findings?.join() ?? "", /c\.bin/);
});

const authority = makeAuthority({ subject: "signer-ca", notAfter: Date.UTC(9999, 11, 31, 23, 59, 59) });
const pemOf = ({ der }: Pick<Party, "der">) => toPem("CERTIFICATE", der);
const pkcs8 = ({ privateKey }: Party) => Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }).toString());

function certified(party: Party, ...chain: Party[]): ModelSigner {
  return { ...loadEcSigner(pkcs8(party)), certificates: [party, ...chain].map(({ der }) => der) };
}

const certify = (more: Partial<Parameters<typeof makeCertificate>[0]> = {}) =>
  makeCertificate({
    ...{ subject: "Signer", issuer: authority, keyUsage: ["digitalSignature"] as const },
    extendedKeyUsage: [OID.codeSigning],
    ...more,
  });
const under = (subject: string) => trustAuthorities([{ pem: pemOf(authority), subject }], AT);

test("trap: a leaf that is called as its issuer is not its own issuer; an authority may last to the year 9999", async () => {
  const alike = await sealed(statementOf(listed), certified(certify({ subject: "signer-ca" })));
  assert.equal(await codeOf(alike, root, under("CN=signer-ca")), "verified");
  const alone = makeCertificate({
    subject: "signer-ca",
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.codeSigning],
  });
  const own = await sealed(statementOf(listed), certified(alone));
  assert.equal(await codeOf(own, root, under("CN=signer-ca")), "CERTIFICATE_NOT_TRUSTED");
});

test("trap: without a named authority no certificate counts, and a server's certificate signs no model", async () => {
  const bundle = await sealed(statementOf(listed), certified(certify()));
  assert.equal(await codeOf(bundle), "SIGNER_NOT_TRUSTED");
  assert.equal(
    await codeOf(bundle, root, { publicKeys: [], authorities: { members: [], atMs: AT } }),
    "SIGNER_NOT_TRUSTED",
  );
  const web = certify({ extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] });
  const signedByWeb = await sealed(statementOf(listed), certified(web));
  assert.equal(await codeOf(signedByWeb, root, under("CN=Signer")), "CERTIFICATE_NOT_TRUSTED");
});

test("trap: certificates of a bundle are a stranger's word, its own root too", async () => {
  const evil = makeAuthority({ subject: "signer-ca" });
  const leaf = certify({ issuer: evil });
  const bundle = await sealed(statementOf(listed), certified(leaf, evil));
  assert.equal(await codeOf(bundle, root, under("CN=Signer")), "CERTIFICATE_NOT_TRUSTED");
});

test("trap: an identity is a text and never a pattern", async () => {
  const instance = new SigstoreInstance();
  const bundle = utf8(instance.bundle(utf8(JSON.stringify(statementOf(listed)))));
  const as = (identity: string, issuer = "https://id.example.com") =>
    trustIdentities([{ identity, issuer }], instance.trustedRoot()).then((by) => codeOf(bundle, root, by));
  assert.equal(await as("signer@example.com"), "verified");
  for (const pattern of [".*", "signer@example.co.", "signer@example", "igner@example.com", "^signer@example.com$"])
    assert.equal(await as(pattern), "SIGNER_NOT_TRUSTED", pattern);
  assert.equal(await as("signer@example.com", "https://id.example.com.*"), "SIGNER_NOT_TRUSTED");
});

test("trap: a name is its bytes: composed or not, upper or lower case are other names", async () => {
  for (const [there, said] of [
    ["caf\u00e9", "cafe\u0301"],
    ["Weights", "weights"],
  ] as const) {
    const model = writeModel({ [there]: "one" });
    const { code, findings = [] } = await judge(await sealed(statementOf([resource(said, "one")])), model);
    assert.deepEqual([code, [...findings].sort()], ["failed", [`missing ${said}`, `unsigned ${there}`]]);
  }
});

test("trap: the links of a snapshot of the hub lead to its own blobs, and no further", async () => {
  const cache = join(temporaryFolder(), "models--org--name");
  const snapshot = join(cache, "snapshots", "0".repeat(40));
  mkdirSync(snapshot, { recursive: true });
  writeModel({ one: "one" }, join(cache, "blobs"));
  symlinkSync("../../blobs/one", join(snapshot, "a-b"));
  const bundle = await sealed(statementOf([resource("a-b", "one")]));
  assert.equal(await codeOf(bundle, snapshot), "verified");
  writeFileSync(join(cache, "outside"), "one");
  symlinkSync("../../outside", join(snapshot, "c"));
  const { code, findings } = await judge(bundle, snapshot);
  assert.deepEqual([code, findings], ["failed", ["refused c"]]);
});

test("trap: a field more is another format, on every level that the schema closes", async () => {
  const statement = statementOf(listed);
  const { predicate } = statement;
  const wider = [
    { ...statement, predicate: { ...predicate, sbom: {} } },
    { ...statement, predicate: { ...predicate, serialization: { ...FORM, more: 1 } } },
    { ...statement, predicate: { ...predicate, resources: listed.map((one) => ({ ...one, size: 3 })) } },
  ];
  for (const one of wider) assert.equal(await codeOf(await sealed(one)), "BUNDLE_INVALID");
  const bundle = JSON.parse(Buffer.from(await sealed(statement)).toString());
  for (const wide of [
    { ...bundle, messageSignature: {} },
    { ...bundle, verificationMaterial: { ...bundle.verificationMaterial, more: {} } },
  ])
    assert.equal(await codeOf(utf8(JSON.stringify(wide))), "BUNDLE_INVALID");
});

test("trap: one text that two readers read differently is refused", async () => {
  const text = JSON.stringify(statementOf(listed));
  const twice = text.replace('"predicateType"', '"predicateType":"https://slsa.dev/provenance/v1","predicateType"');
  const escaped = text.replace('"predicateType"', '"predicat\\u0065Type":"x","predicateType"');
  const inherited = text.replace('"predicateType"', '"__proto__":{},"predicateType"');
  for (const one of [twice, escaped, inherited]) assert.equal(await codeOf(await sealed(one)), "INVALID_JSON");
  const bundle = Buffer.from(await sealed(text)).toString();
  const other = bundle.replace('"dsseEnvelope"', '"dsseEnvelope":{},"dsseEnvelope"');
  assert.equal(await codeOf(utf8(other)), "INVALID_JSON");
});

test("trap: an envelope has one signature; a second one, good or bad, is not looked past", async () => {
  const payload = utf8(JSON.stringify(statementOf(listed)));
  const payloadType = "application/vnd.in-toto+json";
  const good = new Uint8Array(sign("sha256", dssePae(payloadType, payload), privatePem));
  const base = JSON.parse(Buffer.from(await sealed(statementOf(listed))).toString());
  const bundle = (count: number) => {
    const signatures = Array.from({ length: count }, () => ({ keyId: undefined, signature: good }));
    return utf8(JSON.stringify({ ...base, dsseEnvelope: dsseToJson({ payloadType, payload, signatures }) }));
  };
  assert.equal(await codeOf(bundle(1)), "verified");
  assert.equal(await codeOf(bundle(2)), "BUNDLE_INVALID");
  assert.equal(await codeOf(bundle(0)), "DSSE_INVALID");
});
