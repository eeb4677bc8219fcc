/** The museum: signatures of every version, by each method and hash, verified by this one. */
import assert from "node:assert/strict";
import { cpSync, globSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import {
  type Trust,
  trustAuthorities,
  trustIdentities,
  trustKeys,
  trustTimestamps,
  verifyBundle,
  verifyModel,
  verifyStatement,
} from "../../src/signing/index.ts";
import { temporaryFolder } from "../sealing/support.ts";

const museum = import.meta.dirname;
const pieces = globSync("signatures-v*", { cwd: museum }).sort();
const PIECE_BYTES = 100_000;
const AT = Date.UTC(2026, 0, 1);
/** When every certificate of the museum has expired. */
const LATE = Date.UTC(2050, 0, 1);
const SIGNER = { identity: "signer@example.com", issuer: "https://id.example.com" };

async function trustOf(folder: string, signature: string): Promise<Trust> {
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  const under = (atMs: number) => trustAuthorities([{ pem: read("authority.crt"), subject: "CN=Museum signer" }], atMs);
  const stamped = (trust: Trust) => trustTimestamps(trust, [read("stamp-root.crt")], LATE);
  if (signature === "certificate-stamped.sig") return stamped(under(LATE));
  if (signature === "key-stamped.sig") return stamped(trustKeys([read("stamped.pub")]));
  if (signature.startsWith("keyless"))
    return trustIdentities([SIGNER], readFileSync(join(folder, "trusted-root.json")));
  if (signature.startsWith("certificate")) return under(AT);
  return trustKeys([read(`${signature.split("-").slice(1, 3).join("-").replace(".sig", "")}.pub`)]);
}

test("every signature of the museum still verifies, and still tells a changed file", async (t) => {
  assert.ok(pieces.length >= 2 && pieces[0] === "signatures-v1");
  for (const piece of pieces) {
    const folder = join(temporaryFolder(), piece);
    cpSync(join(museum, piece), folder, { recursive: true });
    const root = join(folder, "model");
    const signatures = globSync("*.sig", { cwd: folder }).sort();
    assert.ok(signatures.length >= 10);
    for (const signature of signatures) {
      const options = { root, bundle: readFileSync(join(folder, signature)), trust: await trustOf(folder, signature) };
      assert.deepEqual((await verifyModel(options)).findings, [], `${piece} ${signature}`);
      t.diagnostic(`${piece} ${basename(signature, ".sig")}`);
    }
    writeFileSync(join(root, ".hidden/file"), "changed");
    for (const signature of signatures) {
      const options = { root, bundle: readFileSync(join(folder, signature)), trust: await trustOf(folder, signature) };
      assert.equal((await verifyModel(options)).verdict, "failed", `${piece} ${signature}`);
    }
  }
});

test("a sibling statement of the museum still verifies", async () => {
  for (const piece of pieces) {
    const folder = join(museum, piece);
    const trust = await trustOf(folder, "key-P-256.sig");
    const bundle = JSON.parse(readFileSync(join(folder, "key-P-256.sig"), "utf8"));
    const manifest = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, "base64").toString());
    const rootDigest = manifest.subject[0].digest.sha256;
    const expected = { trust, predicateType: "urn:modelkeep:museum:v1", rootDigest };
    assert.deepEqual(verifyStatement(readFileSync(join(folder, "statement.json")), expected).predicate, { kept: true });
  }
});

test("every way of signing has a piece, and a stamped one tells when", async () => {
  const newest = join(museum, pieces.at(-1) ?? "");
  const signatures = globSync("*.sig", { cwd: newest });
  for (const kind of ["key-P-256", "key-P-384", "key-P-521", "certificate", "keyless-log-1", "keyless-log-2"])
    assert.ok(signatures.includes(`${kind}.sig`), kind);
  for (const kind of ["key-stamped", "certificate-stamped"]) {
    const bundle = readFileSync(join(newest, `${kind}.sig`));
    assert.equal(verifyBundle(bundle, await trustOf(newest, `${kind}.sig`)).seenAt?.atMs, AT, kind);
  }
});

test("a piece is small", () => {
  for (const piece of pieces) {
    const paths = globSync(`${piece}/**/*`, { cwd: museum }).map((path) => statSync(join(museum, path)));
    const bytes = paths.filter((stat) => stat.isFile()).reduce((sum, { size }) => sum + size, 0);
    assert.ok(bytes < PIECE_BYTES, `${piece} has ${bytes} bytes`);
  }
});
