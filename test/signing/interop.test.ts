/** Beside the Python reference: it verifies what we sign, we verify what it signs, and both see the same changes. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { OID, toPem } from "../../src/codec/index.ts";
import {
  loadEcSigner,
  type SignOptions,
  signModel,
  type Trust,
  trustAuthorities,
  trustKeys,
  trustTimestamps,
  verifyBundle,
  verifyModel,
  withCertificates,
} from "../../src/signing/index.ts";
import { makePair, temporaryFolder, writeModel } from "../sealing/support.ts";
import { commonName, makeAuthority, makeCertificate, type Party } from "../support/der-writer.ts";
import { StampingAuthority } from "../support/tsa.ts";
import { REFERENCE_ABSENT, type Reference, type Request, startReference } from "./reference.ts";

const reference: Reference | undefined = REFERENCE_ABSENT ? undefined : startReference();
after(() => reference?.stop());

const ODD: Readonly<Record<string, string>> = {
  "config.json": "{}",
  "with space": "1",
  "a:0:10": "colons",
  "-rf": "leading dash",
  "ünï/çödé \u{1f600}": "2",
  "zwölf/\uff61": "3",
  ".hidden/.file": "hidden",
  ".cache/huggingface/x": "4",
  "sub/.git/config": "not at the top",
  "sub/.gitignore": "not at the top",
  empty: "",
  "empty folder/empty": "",
  "back\\slash": "5",
  "new\nline": "6",
  "quote\"'": "7",
  "\u0061\u0301": "decomposed",
  "\u00e1": "composed",
  "percent%20": "8",
  weights: "w".repeat(100_000),
};
/** Left out by both, at the top. */
const GIT = { ".git/HEAD": "x", ".gitignore": "x", ".gitattributes": "x", ".github/workflows/x": "x" };

const AT = Date.UTC(2026, 5, 1);
const folder = temporaryFolder();
const root = makeAuthority({ subject: "Root" });
const middle = makeAuthority({ subject: "Middle", issuer: root, pathLength: 0 });
const leaf = makeCertificate({
  subject: commonName("Signer"),
  issuer: middle,
  ca: false,
  keyUsage: ["digitalSignature"],
  extendedKeyUsage: [OID.codeSigning],
});
const pair = makePair();
const pemOf = (party: Party) => toPem("CERTIFICATE", party.der);
const write = (name: string, text: string) => {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
  return join(folder, name);
};
const leafKey = leaf.privateKey.export({ type: "pkcs8", format: "pem" }).toString();

interface Method {
  readonly signer: SignOptions["signer"];
  readonly trust: Trust;
  readonly theirSigner: Pick<Request, "key" | "certificate" | "chain">;
  readonly theirTrust: Pick<Request, "public_key" | "ca">;
}

const METHODS: Readonly<Record<string, Method>> = {
  key: {
    signer: pair.signer,
    trust: trustKeys([pair.publicPem]),
    theirSigner: { key: write("key.pem", pair.privatePem) },
    theirTrust: { public_key: write("key.pub", pair.publicPem) },
  },
  certificate: {
    signer: withCertificates(
      loadEcSigner(Buffer.from(leafKey)),
      { certificate: Buffer.from(pemOf(leaf)), chain: Buffer.from(pemOf(middle)) },
      AT,
    ),
    trust: trustAuthorities([{ pem: pemOf(root), subject: "CN=Signer" }], AT),
    theirSigner: {
      key: write("leaf.key", leafKey),
      certificate: write("leaf.crt", pemOf(leaf)),
      chain: [write("middle.crt", pemOf(middle))],
    },
    theirTrust: { ca: [write("root.crt", pemOf(root))] },
  },
};

async function ours(model: string, signature: string, { trust }: Method, more: object = {}): Promise<string> {
  const bundle = readFileSync(signature);
  const { verdict, findings } = await verifyModel({ root: model, bundle, trust, ignore: ["model.sig"], ...more });
  return [verdict, ...findings.map(({ rule, path }) => `${rule} ${path}`)].join(", ");
}

async function theirs(request: Request): Promise<void> {
  const answer = await (reference ?? assert.fail()).ask(request);
  assert.equal(answer.error, undefined);
}

/** Signs by one side into the model itself. */
async function signBy(side: string, model: string, method: Method, more: Partial<SignOptions> = {}): Promise<string> {
  const signature = join(model, "model.sig");
  if (side === "ours") {
    const { bundle } = await signModel({ root: model, signer: method.signer, ignore: ["model.sig"], ...more });
    writeFileSync(signature, bundle);
    return signature;
  }
  const { hashType = "sha256", shardBytes, allowSymlinks = false, ignore = [] } = more;
  await theirs({
    op: "sign",
    model,
    signature,
    ...method.theirSigner,
    hash: hashType === "blake2b" ? "blake2" : hashType,
    ...(shardBytes === undefined ? {} : { shard_size: shardBytes }),
    allow_symlinks: allowSymlinks,
    ignore: [signature, ...ignore.map((path) => join(model, path))],
  });
  return signature;
}

for (const [name, method] of Object.entries(METHODS)) {
  test(`odd names, empty files and hidden folders, signed with a ${name} by either side`, async (t) => {
    if (REFERENCE_ABSENT) return t.skip(REFERENCE_ABSENT);
    for (const side of ["ours", "theirs"]) {
      const model = writeModel({ ...ODD, ...GIT });
      const signature = await signBy(side, model, method);
      const request: Request = { op: "verify", model, signature, ...method.theirTrust, guess: true };
      assert.equal(await ours(model, signature, method), "verified", side);
      await theirs(request);
      writeFileSync(join(model, ".hidden/.file"), "changed");
      writeFileSync(join(model, ".gitignore"), "left out by both");
      assert.equal(await ours(model, signature, method), "failed, mismatch .hidden/.file", side);
      assert.equal((await reference?.ask(request))?.ok, false, side);
    }
  });
}

const { key: byKey } = METHODS as { readonly key: Method };
const asked = (model: string, more: Partial<Request> = {}): Request => ({
  op: "verify",
  model,
  signature: join(model, "model.sig"),
  ...byKey.theirTrust,
  guess: true,
  ...more,
});

test("the reference takes what we stamped, and we take it with and without a look at the stamps", async (t) => {
  if (REFERENCE_ABSENT) return t.skip(REFERENCE_ABSENT);
  const authority = new StampingAuthority();
  const stamp = async (bytes: Uint8Array) => [authority.stamp({ bytes, at: AT })];
  for (const method of Object.values(METHODS)) {
    const model = writeModel(ODD);
    const signature = await signBy("ours", model, { ...method, signer: { ...method.signer, stamp } });
    await theirs({ op: "verify", model, signature, ...method.theirTrust, ignore: [signature] });
    assert.equal(await ours(model, signature, method), "verified");
    const trust = trustTimestamps(method.trust, [pemOf(authority.root)], AT);
    assert.equal(await ours(model, signature, { ...method, trust }), "verified");
    assert.equal(verifyBundle(readFileSync(signature), trust).seenAt?.atMs, AT);
  }
});

test("its hashes and shards are ours, and ours are its", async (t) => {
  if (REFERENCE_ABSENT) return t.skip(REFERENCE_ABSENT);
  const { "a:0:10": _, ...noColons } = ODD;
  for (const hashType of ["sha256", "blake2b", "blake3"] as const) {
    for (const shardBytes of [undefined, 1_000, 100_000]) {
      if (hashType === "blake3" && shardBytes !== undefined) continue;
      const more = shardBytes === undefined ? { hashType } : { hashType, shardBytes };
      const hash = hashType === "blake2b" ? ("blake2" as const) : hashType;
      const explicit = { guess: false, hash, ...(shardBytes === undefined ? {} : { shard_size: shardBytes }) };
      for (const side of ["ours", "theirs"]) {
        const model = writeModel(shardBytes === undefined ? ODD : noColons);
        const signature = await signBy(side, model, byKey, more);
        const what = `${hashType} ${shardBytes} by ${side}`;
        assert.equal(await ours(model, signature, byKey), "verified", what);
        const answer = await reference?.ask(asked(model, { ...explicit, ignore: [signature] }));
        assert.deepEqual([answer?.ok, answer?.error], [true, undefined], what);
      }
    }
  }
});

test("ignored paths, unsigned files and a single file, by either side", async (t) => {
  if (REFERENCE_ABSENT) return t.skip(REFERENCE_ABSENT);
  for (const side of ["ours", "theirs"]) {
    const model = writeModel({ a: "1", "cache/x": "2", "cache/y/z": "3", cached: "4" });
    const ignore = side === "ours" ? ["model.sig", "cache"] : ["cache"];
    const signature = await signBy(side, model, byKey, { ignore });
    rmSync(join(model, "cache/x"));
    writeFileSync(join(model, "cache/new"), "5");
    assert.equal(await ours(model, signature, byKey), "verified", side);
    await theirs(asked(model));
    writeFileSync(join(model, "more"), "6");
    assert.equal(await ours(model, signature, byKey), "failed, unsigned more", side);
    assert.equal((await reference?.ask(asked(model)))?.ok, false, side);
    assert.equal(await ours(model, signature, byKey, { ignoreUnsigned: true }), "verified", side);
    const single = join(model, "cached");
    const beside = join(folder, `${side}.sig`);
    if (side === "ours") writeFileSync(beside, (await signModel({ root: single, signer: pair.signer })).bundle);
    else await theirs({ op: "sign", model: single, signature: beside, ...byKey.theirSigner });
    assert.equal(await ours(single, beside, byKey), "verified", side);
    await theirs(asked(single, { signature: beside }));
  }
});

test("links are refused by both unasked, and followed by both when asked", async (t) => {
  if (REFERENCE_ABSENT) return t.skip(REFERENCE_ABSENT);
  for (const side of ["ours", "theirs"]) {
    const model = writeModel({ "real/file": "1" });
    symlinkSync("real/file", join(model, "link"));
    await assert.rejects(signBy(side, model, byKey), side);
    const signature = await signBy(side, model, byKey, { allowSymlinks: true });
    assert.equal(await ours(model, signature, byKey, { allowSymlinks: true }), "verified", side);
    await theirs(asked(model, { guess: false, allow_symlinks: true, ignore: [signature] }));
  }
});
