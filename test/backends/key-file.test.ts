/** The key file: made once, opened only when it is private and whole, and each wrap bound to what it was made for. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { BACKEND_LIMITS, createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";

const context = { package_id: "p", root_digest: "r" };
const key = Uint8Array.from({ length: 32 }, (_, index) => index);

function place(): { path: string; uri: string } {
  const path = join(temporaryFolder(), "sub", "models.kek");
  return { path, uri: pathToFileURL(path).href };
}

const open = (uri: string) => openKeyWrapper(uri, { random });

test("what is wrapped unwraps for the same context only", async () => {
  const { uri } = place();
  await createKeyFile(uri, random);
  const wrapper = await open(uri);
  const wrapped = await wrapper.wrap(key, context);
  assert.deepEqual(await wrapper.unwrap(wrapped, context), key);
  assert.deepEqual(await (await open(uri)).unwrap(wrapped, context), key);
  assert.deepEqual(await wrapper.unwrap(wrapped, { root_digest: "r", package_id: "p" }), key, "the order says nothing");
  const contexts = [{}, { package_id: "p" }, { ...context, root_digest: "x" }, { ...context, more: "" }];
  for (const other of contexts) assert.equal(await codeOf(() => wrapper.unwrap(wrapped, other)), "UNWRAP_FAILED");
  const second = await wrapper.wrap(key, context);
  assert.notDeepEqual(second.ciphertext, wrapped.ciphertext);
});

test("a wrap that was changed anywhere does not unwrap", async () => {
  const { uri } = place();
  await createKeyFile(uri, random);
  const wrapper = await open(uri);
  const wrapped = await wrapper.wrap(key, context);
  for (let bit = 0; bit < wrapped.ciphertext.length * 8; bit++) {
    const ciphertext = Uint8Array.from(wrapped.ciphertext);
    ciphertext[bit >> 3] = (ciphertext[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.equal(await codeOf(() => wrapper.unwrap({ ...wrapped, ciphertext }, context)), "UNWRAP_FAILED");
  }
  const { ciphertext } = wrapped;
  for (const cut of [ciphertext.subarray(1), ciphertext.subarray(0, -1), ciphertext.subarray(0, 28), new Uint8Array(0)])
    assert.equal(await codeOf(() => wrapper.unwrap({ ...wrapped, ciphertext: cut }, context)), "UNWRAP_FAILED");
  const long = new Uint8Array(BACKEND_LIMITS.wrappedKeyBytes + 29);
  assert.equal(await codeOf(() => wrapper.unwrap({ ...wrapped, ciphertext: long }, context)), "UNWRAP_FAILED");
  for (const change of [{ keyId: "0".repeat(32) }, { keyVersion: "2" }, { keyVersion: "__proto__" }]) {
    assert.equal(wrapper.recognises({ ...wrapped, ...change }), false);
    assert.equal(await codeOf(() => wrapper.unwrap({ ...wrapped, ...change }, context)), "UNWRAP_FAILED");
  }
});

test("the key of another file does not unwrap, even under the same address", async () => {
  const { path, uri } = place();
  await createKeyFile(uri, random);
  const wrapper = await open(uri);
  const wrapped = await wrapper.wrap(key, context);
  rmSync(path);
  await createKeyFile(uri, random);
  const other = await open(uri);
  assert.equal(other.recognises(wrapped), false);
  assert.equal(await codeOf(() => other.unwrap(wrapped, context)), "UNWRAP_FAILED");
});

test("any secret of the allowed length comes back", async () => {
  const { uri } = place();
  await createKeyFile(uri, random);
  const wrapper = await open(uri);
  const secret = fc.uint8Array({ minLength: 1, maxLength: BACKEND_LIMITS.wrappedKeyBytes });
  await fc.assert(
    fc.asyncProperty(
      secret,
      fc.dictionary(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })),
      async (bytes, about) => {
        const wrapped = await wrapper.wrap(bytes, about);
        assert.deepEqual(await wrapper.unwrap(wrapped, about), bytes);
      },
    ),
    { numRuns: 100 },
  );
  for (const length of [0, BACKEND_LIMITS.wrappedKeyBytes + 1])
    await assert.rejects(wrapper.wrap(new Uint8Array(length), context), RangeError);
});

test("two that make the file at once make one key", async () => {
  const { path, uri } = place();
  const made = await Promise.all(Array.from({ length: 8 }, () => createKeyFile(uri, random)));
  assert.equal(made.filter(Boolean).length, 1);
  assert.deepEqual(readdirSync(join(path, "..")), ["models.kek"], "nothing is left beside it");
  const before = readFileSync(path);
  assert.equal(await createKeyFile(uri, random), false);
  assert.deepEqual(readFileSync(path), before);
});

test("a key file that others may read, of another owner or that is no file is refused", async (t) => {
  const { path, uri } = place();
  await createKeyFile(uri, random);
  for (const mode of [0o640, 0o604, 0o610, 0o666]) {
    chmodSync(path, mode);
    assert.equal(await codeOf(() => open(uri)), "KMS_KEY_INVALID", mode.toString(8));
  }
  chmodSync(path, 0o400);
  await open(uri);
  const link = join(temporaryFolder(), "link");
  symlinkSync(path, link);
  await open(pathToFileURL(link).href);
  assert.equal(await codeOf(() => open(pathToFileURL(temporaryFolder()).href)), "KMS_KEY_INVALID");
  const pipe = join(temporaryFolder(), "pipe");
  execFileSync("mkfifo", ["-m", "600", pipe]);
  assert.equal(await codeOf(() => open(pathToFileURL(pipe).href)), "KMS_KEY_INVALID", "a pipe does not hold us up");
  if (process.getuid?.() !== 0) return t.diagnostic("another owner was not tried: run the tests as root");
  chownSync(path, 12_345, 12_345);
  assert.equal(await codeOf(() => open(uri)), "KMS_KEY_INVALID");
});

test("a file that is not exactly a key file is refused", async () => {
  const { path, uri } = place();
  await createKeyFile(uri, random);
  const [header = "", line = ""] = readFileSync(path, "utf8").split("\n");
  const texts: Record<string, string> = {
    empty: "",
    "no key": `${header}\n`,
    "another format": `modelkeep-kek-v2 ${header.slice(17)}\n${line}\n`,
    "no id": `modelkeep-kek-v1\n${line}\n`,
    "a key cut": `${header}\n${line.slice(0, -1)}\n`,
    "a key too long": `${header}\n${line}0\n`,
    "not hex": `${header}\n${line.slice(0, -1)}g\n`,
    capitals: `${header}\n1 ${"A".repeat(64)}\n`,
    "a version twice": `${header}\n${line}\n${line}\n`,
    "version zero": `${header}\n0${line.slice(1)}\n`,
    "an empty line": `${header}\n\n${line}\n`,
    "Windows lines": `${header}\r\n${line}\r\n`,
    "more at the end": `${header}\n${line}\nx`,
    JSON: JSON.stringify({ format: "modelkeep-kek-v1" }),
    "too many": `${header}\n${Array.from({ length: BACKEND_LIMITS.keyFileVersions + 1 }, (_, i) => `${i + 1} ${"0".repeat(64)}\n`).join("")}`,
    "too long": "x".repeat(BACKEND_LIMITS.keyFileBytes + 1),
  };
  for (const [what, text] of Object.entries(texts)) {
    writeFileSync(path, text, { mode: 0o600 });
    assert.equal(await codeOf(() => open(uri)), "KMS_KEY_INVALID", what);
  }
  await fc.assert(
    fc.asyncProperty(fc.string(), async (text) => {
      writeFileSync(path, `${header}\n${text}`);
      assert.equal(await codeOf(() => open(uri)), "KMS_KEY_INVALID");
    }),
    { numRuns: 50 },
  );
});

test("every version in the file unwraps, the last one wraps", async () => {
  const { path, uri } = place();
  await createKeyFile(uri, random);
  const old = await (await open(uri)).wrap(key, context);
  writeFileSync(path, `${readFileSync(path, "utf8")}2 ${"5a".repeat(32)}\n`, { mode: 0o600 });
  const wrapper = await open(uri);
  assert.deepEqual(await wrapper.unwrap(old, context), key);
  assert.equal((await wrapper.wrap(key, context)).keyVersion, "2");
});

test("addresses that name no key file, and files that are not there", async () => {
  for (const uri of ["", "vault://x", "file://host/path", "file:relative", "/etc/x", "file:///a%2Fb", "file:///a%00b"])
    assert.equal(await codeOf(() => open(uri)), "KMS_URI_UNKNOWN", uri);
  const { path, uri } = place();
  assert.equal(await codeOf(() => open(uri)), "KMS_KEY_MISSING");
  assert.equal(existsSync(path), false, "opening never makes a key");
  writeFileSync(join(path, "../../file"), "");
  const under = pathToFileURL(join(path, "../../file/x/models.kek")).href;
  assert.equal(await codeOf(() => createKeyFile(under, random)), "KMS_KEY_UNWRITABLE");
});
