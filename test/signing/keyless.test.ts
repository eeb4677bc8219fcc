/** Keyless signatures: the Sigstore conformance cases by name, and true bundles changed so that something is unproven. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { parseJson } from "../../src/base/index.ts";
import { type Trust, trustIdentities, verifyBundle } from "../../src/signing/index.ts";
import { SigstoreVerifier } from "../../src/signing/methods/sigstore.ts";
import { codeOf, modelkeep, temporaryFolder } from "../sealing/support.ts";
import { ABSENT, identity, json, vectors } from "./oms-support.ts";

const CASES = "sigstore-conformance";
const BEACON =
  "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ACTIONS = "https://token.actions.githubusercontent.com";
const [NAME, ISSUER] = ["stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2"] as const;

/** Codes of what is not proven; anything else would be a case that fails for a wrong reason. */
const REFUSALS = new Set([
  "BUNDLE_INVALID",
  "CERTIFICATE_NOT_TRUSTED",
  "LOG_NOT_PROVEN",
  "SIGNATURE_INVALID",
  "SIGNER_NOT_TRUSTED",
]);

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** What the statement in an envelope is about. */
function subjectOf(envelope: unknown): string | undefined {
  const { payload } = envelope as { payload: string };
  const statement = JSON.parse(Buffer.from(payload, "base64").toString());
  return (statement as { subject: { digest: { sha256?: string } }[] }).subject[0]?.digest.sha256;
}

/** The verdict of one case: the code of the refusal, or undefined. */
function judgeCase(name: string): Promise<string | undefined> {
  const folder = join(vectors, CASES, name);
  const read = (file: string) => (existsSync(join(folder, file)) ? readFileSync(join(folder, file)) : undefined);
  const artifact = read("artifact") ?? readFileSync(join(vectors, CASES, "a.txt"));
  return codeOf(async () => {
    const verifier = SigstoreVerifier.with(read("trusted_root.json"));
    const bundle = parseJson(readFileSync(join(folder, "bundle.sigstore.json"))) as object;
    const key = read("key.pub");
    if (key) return verifier.checkFileByKey(bundle, artifact, key.toString());
    const proof = "dsseEnvelope" in bundle ? verifier.prove(bundle) : verifier.proveFile(bundle, artifact);
    if ("dsseEnvelope" in bundle) assert.equal(subjectOf(bundle.dsseEnvelope), sha256(artifact), name);
    assert.equal(proof.identity, read("identity")?.toString().trim() ?? BEACON, name);
    assert.equal(proof.issuer, read("issuer")?.toString().trim() ?? ACTIONS, name);
  });
}

test("the Sigstore conformance cases", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const names = globSync("*/bundle.sigstore.json", { cwd: join(vectors, CASES) }).map(
    (path) => path.split("/")[0] ?? "",
  );
  const counts = { accepted: 0, refused: 0 };
  for (const name of names.sort()) {
    const code = await judgeCase(name);
    t.diagnostic(`${name}: ${code ?? "verified"}`);
    if (name.endsWith("_fail")) assert.ok(code !== undefined && REFUSALS.has(code), `${name}: ${code}`);
    else assert.equal(code, undefined, name);
    counts[code === undefined ? "accepted" : "refused"]++;
  }
  assert.deepEqual(counts, { accepted: 10, refused: 25 });
});

interface LogEntry {
  logIndex: string;
  integratedTime?: string;
  inclusionPromise?: { signedEntryTimestamp: string };
  inclusionProof: { hashes: string[]; checkpoint: { envelope: string } };
  canonicalizedBody: string;
}

interface KeylessBundle {
  verificationMaterial: {
    certificate: { rawBytes: string };
    tlogEntries: LogEntry[];
    timestampVerificationData?: { rfc3161Timestamps?: { signedTimestamp: string }[] } | null;
  };
  dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string }[] };
}

const historical = (version: string) => json<KeylessBundle>(`historical/v${version}-sigstore/model.sig`);
const judge = (bundle: unknown, trust: Trust) => codeOf(() => verifyBundle(JSON.stringify(bundle), trust).keyId);
const entryOf = (bundle: KeylessBundle): LogEntry => bundle.verificationMaterial.tlogEntries[0] ?? assert.fail();

test("the time of a log counts only with its promise, and one proven time is enough", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const trust = await identity(NAME, ISSUER);
  const without = (version: string, promise: boolean, timestamps: boolean) => {
    const bundle = historical(version);
    if (!promise) delete entryOf(bundle).inclusionPromise;
    if (!timestamps) bundle.verificationMaterial.timestampVerificationData = null;
    return judge(bundle, trust);
  };
  assert.equal(await without("1.0.1", true, false), undefined);
  assert.equal(await without("1.0.1", false, true), "LOG_NOT_PROVEN");
  assert.equal(await without("1.1.0", false, true), undefined);
  assert.equal(await without("1.1.0", true, false), undefined);
  assert.equal(await without("1.1.0", false, false), "LOG_NOT_PROVEN");
});

test("another identity or issuer is another signer, however alike", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const bundle = historical("1.1.0");
  const others = [
    ["Stefanb@us.ibm.com", ISSUER],
    ["stefanb@us.ibm.co", ISSUER],
    ["stefanb@us.ibm.com ", ISSUER],
    ["stefanb@us.ibm.com\0", ISSUER],
    ["stefanb@us\\.ibm\\.com", ISSUER],
    ["stefanb@us.ibm.c\u043em", ISSUER],
    [".*", ISSUER],
    ["", ISSUER],
    [NAME, `${ISSUER}/`],
    [NAME, "https://sigstore.verify.ibm.com"],
    [NAME, ".*"],
    [NAME, ""],
  ] as const;
  for (const [name, issuer] of others)
    assert.equal(await judge(bundle, await identity(name, issuer)), "SIGNER_NOT_TRUSTED", `${name} by ${issuer}`);
  const members = [...others.map(([name, issuer]) => ({ identity: name, issuer })), { identity: NAME, issuer: ISSUER }];
  assert.equal(await judge(bundle, await trustIdentities(members)), undefined);
  const crossed = [
    { identity: NAME, issuer: "https://accounts.google.com" },
    { identity: "somebody@else.example", issuer: ISSUER },
  ];
  assert.equal(await judge(bundle, await trustIdentities(crossed)), "SIGNER_NOT_TRUSTED");
});

/** Every byte string of a bundle that something vouches for, as a getter and a setter of its base64. */
const FIELDS: Readonly<Record<string, (bundle: KeylessBundle) => [string, (text: string) => void]>> = {
  certificate: ({ verificationMaterial: { certificate } }) => [
    certificate.rawBytes,
    (text) => (certificate.rawBytes = text),
  ],
  payload: ({ dsseEnvelope }) => [dsseEnvelope.payload, (text) => (dsseEnvelope.payload = text)],
  signature: ({ dsseEnvelope: { signatures } }) => [
    signatures[0]?.sig ?? "",
    (text) => (signatures[0] = { sig: text }),
  ],
  promise: (bundle) => [
    entryOf(bundle).inclusionPromise?.signedEntryTimestamp ?? "",
    (text) => (entryOf(bundle).inclusionPromise = { signedEntryTimestamp: text }),
  ],
  body: (bundle) => [entryOf(bundle).canonicalizedBody, (text) => (entryOf(bundle).canonicalizedBody = text)],
  hash: (bundle) => [
    entryOf(bundle).inclusionProof.hashes[3] ?? "",
    (text) => (entryOf(bundle).inclusionProof.hashes[3] = text),
  ],
};

test("no byte of a keyless bundle can change", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const trust = await identity(NAME, ISSUER);
  const flips = fc.tuple(fc.constantFrom(...Object.keys(FIELDS)), fc.nat(), fc.integer({ min: 0, max: 7 }));
  await fc.assert(
    fc.asyncProperty(flips, async ([field, position, bit]) => {
      const bundle = historical("1.0.1");
      const [text, set] = FIELDS[field]?.(bundle) ?? assert.fail(field);
      const bytes = Buffer.from(text, "base64");
      bytes[position % bytes.length] = (bytes[position % bytes.length] ?? 0) ^ (1 << bit);
      set(bytes.toString("base64"));
      const code = await judge(bundle, trust);
      assert.ok(code !== undefined && REFUSALS.has(code), `${field} ${position % bytes.length}.${bit}: ${code}`);
    }),
    { numRuns: 300 },
  );
});

test("what stands around the proofs counts as well", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const trust = await identity(NAME, ISSUER);
  const changes: Readonly<Record<string, [(bundle: KeylessBundle) => void, string]>> = {
    "another time": [(bundle) => (entryOf(bundle).integratedTime = "1759851229"), "LOG_NOT_PROVEN"],
    "another place in the log": [(bundle) => (entryOf(bundle).logIndex = "1"), "LOG_NOT_PROVEN"],
    "another checkpoint": [
      ({ verificationMaterial }) => {
        const [entry] = verificationMaterial.tlogEntries;
        const checkpoint = entry?.inclusionProof.checkpoint ?? assert.fail();
        checkpoint.envelope = checkpoint.envelope.replace("rekor", "Rekor");
      },
      "LOG_NOT_PROVEN",
    ],
    "an entry twice": [
      ({ verificationMaterial }) => verificationMaterial.tlogEntries.push(...verificationMaterial.tlogEntries),
      "LOG_NOT_PROVEN",
    ],
    "no entry": [({ verificationMaterial }) => (verificationMaterial.tlogEntries = []), "BUNDLE_INVALID"],
    "another payload type": [({ dsseEnvelope }) => (dsseEnvelope.payloadType = "text/plain"), "BUNDLE_INVALID"],
    "a signature twice": [
      ({ dsseEnvelope }) => dsseEnvelope.signatures.push(...dsseEnvelope.signatures),
      "BUNDLE_INVALID",
    ],
    "a second kind of material": [
      ({ verificationMaterial }) => Object.assign(verificationMaterial, { publicKey: { hint: "" } }),
      "BUNDLE_INVALID",
    ],
    "a chain in place of the certificate": [
      ({ verificationMaterial: material }) =>
        Object.assign(material, { certificate: null, x509CertificateChain: { certificates: [material.certificate] } }),
      "BUNDLE_INVALID",
    ],
    "a time stamp of somebody": [
      ({ verificationMaterial }) =>
        (verificationMaterial.timestampVerificationData = { rfc3161Timestamps: [{ signedTimestamp: "MAA=" }] }),
      "BUNDLE_INVALID",
    ],
  };
  for (const [name, [change, expected]] of Object.entries(changes)) {
    const bundle = historical("1.0.1");
    change(bundle);
    assert.equal(await judge(bundle, trust), expected, name);
  }
});

test("a trusted root that is none is an error, another one proves nothing", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const root = json<{ tlogs: { publicKey: { validFor: object } }[] }>("public-good-trusted_root.json");
  const members = [{ identity: NAME, issuer: ISSUER }];
  const trusting = (value: unknown) => trustIdentities(members, Buffer.from(JSON.stringify(value)));
  assert.equal(await judge(historical("1.1.0"), await trusting(root)), undefined);
  const [log] = root.tlogs;
  const unlimited = { ...root, tlogs: [{ ...log, publicKey: { ...log?.publicKey, validFor: {} } }] };
  const notOnes = [{}, [], null, "root", unlimited, { ...root, mediaType: "application/json" }, { ...root, tlogs: {} }];
  for (const value of notOnes)
    assert.equal(await codeOf(() => trusting(value)), "TRUSTED_ROOT_INVALID", JSON.stringify(value).slice(0, 60));
  assert.equal(await codeOf(() => trustIdentities(members, Buffer.from("{"))), "TRUSTED_ROOT_INVALID");
  const empty = { ...root, tlogs: [], certificateAuthorities: [], ctlogs: [], timestampAuthorities: [] };
  assert.equal(
    await judge(historical("1.1.0"), await trusting({ ...root, certificateAuthorities: [] })),
    "CERTIFICATE_NOT_TRUSTED",
  );
  assert.equal(await judge(historical("1.0.1"), await trusting({ ...root, ctlogs: [] })), "CERTIFICATE_NOT_TRUSTED");
  assert.equal(await judge(historical("1.0.1"), await trusting({ ...root, tlogs: [] })), "LOG_NOT_PROVEN");
  assert.equal(
    await judge(historical("1.1.0"), await trusting({ ...root, timestampAuthorities: [] })),
    "LOG_NOT_PROVEN",
  );
  assert.notEqual(await judge(historical("1.1.0"), await trusting(empty)), undefined);
});

test("the command line verifies a keyless signature and says whose it is", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const folder = join(vectors, "historical/v1.1.0-sigstore");
  const verify = (...words: string[]) =>
    modelkeep(["verify", folder, "--signature", join(folder, "model.sig"), "--ignore", "ignore-me", ...words]);
  const good = await verify("--identity", NAME, "--issuer", ISSUER, "--json");
  assert.equal(good.exit, 0, good.stderr);
  assert.deepEqual(JSON.parse(good.stdout).signer, { method: "keyless", identity: NAME, issuer: ISSUER });
  assert.equal((await verify("--identity", "me@example.com", "--issuer", ISSUER)).exit, 4);
  assert.equal((await verify("--identity", NAME)).exit, 2);
  assert.equal((await verify("--issuer", ISSUER)).exit, 2);
  assert.equal((await verify()).exit, 2);
  const key = join(vectors, "historical/keys-certificate/signing-key-pub.pem");
  assert.equal((await verify("--identity", NAME, "--issuer", ISSUER, "--public-key", key)).exit, 2);
  assert.equal((await verify("--public-key", key, "--issuer", ISSUER)).exit, 2);
  const root = join(temporaryFolder(), "root.json");
  writeFileSync(root, "{}");
  assert.equal((await verify("--identity", NAME, "--issuer", ISSUER, "--trusted-root", root)).exit, 1);
  const given = join(vectors, "public-good-trusted_root.json");
  assert.equal((await verify("--identity", NAME, "--issuer", ISSUER, "--trusted-root", given)).exit, 0);
  assert.equal((await modelkeep(["sign", folder, "--keyless"])).exit, 1);
});
