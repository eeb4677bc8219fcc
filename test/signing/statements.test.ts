/** Statements beside a signature attacked: of another signer, about another model, of another kind, twice, or hollow. */
import assert from "node:assert/strict";
import { copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { toBase64, utf8 } from "../../src/base/index.ts";
import {
  ATTACHABLE_TYPES,
  checkStatements,
  loadTrustedKey,
  makeStatement,
  STATEMENT_KINDS,
  type StatementType,
  signStatement,
} from "../../src/signing/index.ts";
import { codeOf, makePair, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";

const ROOT = "ab".repeat(32);
const [signer, stranger] = [makePair(), makePair()] as const;
const at = "2026-01-31T12:00:00Z";

const PREDICATES: Readonly<Record<StatementType, Record<string, unknown>>> = {
  bom: { bomFormat: "CycloneDX", specVersion: "1.6" },
  slsa: {
    buildDefinition: { buildType: "urn:x", externalParameters: {}, resolvedDependencies: [] },
    runDetails: { builder: { id: "urn:b" } },
  },
  vulns: {
    scanner: {
      uri: "pkg:x/y",
      db: { lastUpdate: at },
      result: [{ id: "CVE-1", severity: [{ method: "nvd", score: "1" }] }],
    },
    metadata: { scanStartedOn: at, scanFinishedOn: at },
  },
  "test-result": { result: "PASSED", configuration: [] },
  vsa: {
    verifier: { id: "v" },
    timeVerified: at,
    resourceUri: "r",
    policy: { uri: "p" },
    verificationResult: "PASSED",
  },
  vex: { "@context": "https://openvex.dev/ns/v0.2.0", statements: [] },
  spdx: { spdxVersion: "SPDX-2.3" },
  seal: {},
  findings: {},
};

const say = (type: StatementType, by = signer, rootDigest = ROOT) =>
  makeStatement(type, { predicate: PREDICATES[type], rootDigest, name: "m", signer: by.signer });

function rulesOf(
  statements: readonly (readonly [string, string | Uint8Array])[],
  required: readonly StatementType[] = [],
  keys = [signer.publicPem],
): string[] {
  const named = statements.map(([name, bytes]) => ({ name, bytes }));
  const report = checkStatements(named, { rootDigest: ROOT, keys: keys.map(loadTrustedKey), required });
  return report.findings.map(({ rule }) => rule);
}

test("every type can be made, holds, and is refused without what it must have", async () => {
  for (const type of Object.keys(PREDICATES) as StatementType[]) {
    assert.deepEqual(rulesOf([[`${type}.json`, await say(type)]], [type]), [], type);
    const { predicateType } = STATEMENT_KINDS[type];
    for (const field of Object.keys(PREDICATES[type])) {
      if (type === "spdx") continue;
      const predicate = { ...PREDICATES[type], [field]: undefined };
      const input = { predicate, rootDigest: ROOT, name: "m", signer: signer.signer };
      assert.equal(await codeOf(() => makeStatement(type, input)), "PREDICATE_INVALID", `${type} without ${field}`);
      const hollow = await signStatement({ ...input, predicateType });
      assert.deepEqual(rulesOf([[`${type}.json`, hollow]], [type]), ["statement-content", "statement-missing"], type);
    }
  }
});

test("of another signer, about another model, of another kind, twice, or not at all", async () => {
  const bom = await say("bom");
  assert.deepEqual(rulesOf([["bom.json", await say("bom", stranger)]]), ["statement-signer"]);
  assert.deepEqual(rulesOf([["bom.json", await say("bom", stranger)]], [], [signer.publicPem, stranger.publicPem]), []);
  assert.deepEqual(rulesOf([["bom.json", await say("bom", signer, "cd".repeat(32))]]), ["statement-root"]);
  assert.deepEqual(rulesOf([["slsa.json", bom]], ["slsa"]), ["statement-type", "statement-missing"]);
  assert.deepEqual(
    rulesOf([
      ["one", bom],
      ["two", await say("bom")],
    ]),
    ["statement-twice"],
  );
  assert.deepEqual(rulesOf([], ["bom", "slsa"]), ["statement-missing", "statement-missing"]);
  const unknown = await signStatement({
    predicateType: "urn:x",
    predicate: {},
    rootDigest: ROOT,
    name: "m",
    signer: signer.signer,
  });
  assert.deepEqual(rulesOf([["x.json", unknown]]), ["statement-type"]);
  for (const text of ["", "{}", "[".repeat(1000), "null", utf8('"x"')])
    assert.deepEqual(rulesOf([["bom.json", text]]), ["statement-invalid"]);
  const envelope = JSON.parse(bom) as { payload: string };
  const changed = Buffer.from(envelope.payload, "base64").toString().replace("1.6", "1.5");
  const forged = JSON.stringify({ ...envelope, payload: toBase64(utf8(changed)) });
  assert.deepEqual(rulesOf([["bom.json", forged]]), ["statement-signer"]);
});

test("on the command line: attached, required, and refused when it is of another version or another signer", async () => {
  const folder = temporaryFolder();
  writeModel({ a: "1" }, join(folder, "m"));
  writeModel({ a: "2" }, join(folder, "n"));
  for (const [name, pair] of Object.entries({ signer, stranger })) {
    writeFileSync(join(folder, `${name}.pem`), pair.privatePem, { mode: 0o600 });
    writeFileSync(join(folder, `${name}.pub`), pair.publicPem);
  }
  for (const type of ATTACHABLE_TYPES) writeFileSync(join(folder, `${type}.json`), JSON.stringify(PREDICATES[type]));
  const run = (...words: string[]) => modelkeep(words, folder);
  const attach = (...types: string[]) => types.flatMap((type) => ["--attach", `${type}=${type}.json`]);
  const require = (model: string, types: string) =>
    run("verify", model, "--public-key", "signer.pub", "--require", types);
  const place = (model: string, file: string) => join(folder, model, "model.sig.d", file);
  assert.equal((await run("sign", "m", "--key", "signer.pem", ...attach(...ATTACHABLE_TYPES))).exit, 0);
  assert.equal((await run("sign", "n", "--key", "signer.pem", ...attach("slsa"))).exit, 0);
  assert.equal((await require("m", ATTACHABLE_TYPES.join(","))).exit, 0);
  assert.equal((await require("n", "slsa,bom")).exit, 4);
  assert.equal((await run("verify", "n", "--public-key", "signer.pub")).exit, 0);
  copyFileSync(place("m", "bom.json"), place("n", "bom.json"));
  assert.match((await require("n", "slsa,bom")).stdout, /^statement-root: model\.sig\.d\/bom\.json/m);
  rmSync(place("n", "bom.json"));
  renameSync(place("n", "slsa.json"), place("n", "bom.json"));
  assert.match((await require("n", "bom")).stdout, /^statement-type: /m);
  writeFileSync(place("n", "bom.json"), await signedFor(folder, "n", stranger));
  assert.match((await require("n", "bom")).stdout, /^statement-signer: /m);
  writeFileSync(place("n", "bom.json"), await signedFor(folder, "n", signer));
  assert.equal((await require("n", "bom")).exit, 0);
  for (const words of [["bom"], ["x=bom.json"], ["seal=bom.json"], ["bom=bom.json", "bom=bom.json"]])
    assert.equal((await run("sign", "m", "--key", "signer.pem", ...words.flatMap((w) => ["--attach", w]))).exit, 2);
  const before = readFileSync(join(folder, "m/model.sig"));
  assert.equal((await run("sign", "m", "--key", "signer.pem", "--attach", "bom=vex.json")).exit, 1);
  assert.deepEqual(readFileSync(join(folder, "m/model.sig")), before);
  assert.equal((await require("m", "sbom")).exit, 2);
});

async function signedFor(folder: string, model: string, by: typeof signer): Promise<string> {
  const told = await modelkeep(["verify", model, "--public-key", "signer.pub", "--json"], folder);
  return say("bom", by, (JSON.parse(told.stdout) as { root_digest: string }).root_digest);
}
