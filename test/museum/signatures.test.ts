/** The museum: signatures of every version, by each method and hash, verified by this one. */
import assert from "node:assert/strict";
import { cpSync, globSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { type Trust, trustAuthorities, trustKeys, verifyModel, verifyStatement } from "../../src/signing/index.ts";
import { temporaryFolder } from "../sealing/support.ts";

const museum = import.meta.dirname;
const pieces = globSync("signatures-v*", { cwd: museum }).sort();
const PIECE_BYTES = 100_000;
const AT = Date.UTC(2026, 0, 1);

function trustOf(folder: string, signature: string): Trust {
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  if (signature.startsWith("certificate"))
    return trustAuthorities([{ pem: read("authority.crt"), subject: "CN=Museum signer" }], AT);
  return trustKeys([read(`${signature.split("-").slice(1, 3).join("-").replace(".sig", "")}.pub`)]);
}

test("every signature of the museum still verifies, and still tells a changed file", async (t) => {
  assert.ok(pieces.includes("signatures-v1"));
  for (const piece of pieces) {
    const folder = join(temporaryFolder(), piece);
    cpSync(join(museum, piece), folder, { recursive: true });
    const root = join(folder, "model");
    const signatures = globSync("*.sig", { cwd: folder }).sort();
    assert.ok(signatures.length >= 10);
    for (const signature of signatures) {
      const options = { root, bundle: readFileSync(join(folder, signature)), trust: trustOf(folder, signature) };
      assert.deepEqual((await verifyModel(options)).findings, [], `${piece} ${signature}`);
      t.diagnostic(`${piece} ${basename(signature, ".sig")}`);
    }
    writeFileSync(join(root, ".hidden/file"), "changed");
    for (const signature of signatures) {
      const options = { root, bundle: readFileSync(join(folder, signature)), trust: trustOf(folder, signature) };
      assert.equal((await verifyModel(options)).verdict, "failed", `${piece} ${signature}`);
    }
  }
});

test("a sibling statement of the museum still verifies", () => {
  for (const piece of pieces) {
    const folder = join(museum, piece);
    const trust = trustOf(folder, "key-P-256.sig");
    const bundle = JSON.parse(readFileSync(join(folder, "key-P-256.sig"), "utf8"));
    const manifest = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, "base64").toString());
    const rootDigest = manifest.subject[0].digest.sha256;
    const expected = { trust, predicateType: "urn:modelkeep:museum:v1", rootDigest };
    assert.deepEqual(verifyStatement(readFileSync(join(folder, "statement.json")), expected).predicate, { kept: true });
  }
});

test("a piece is small", () => {
  for (const piece of pieces) {
    const paths = globSync(`${piece}/**/*`, { cwd: museum }).map((path) => statSync(join(museum, path)));
    const bytes = paths.filter((stat) => stat.isFile()).reduce((sum, { size }) => sum + size, 0);
    assert.ok(bytes < PIECE_BYTES, `${piece} has ${bytes} bytes`);
  }
});
