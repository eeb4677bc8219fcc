/** sign, verify, seal, rewrap and open on the command line, with keys that never leave a device or a service. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { KeyWrapper } from "../../src/backends/index.ts";
import { equalBytes } from "../../src/base/index.ts";
import { GuardedBytes } from "../../src/host/index.ts";
import { makeEnvelope, unwrapPackageKey } from "../../src/sealing/envelope.ts";
import { makeKms, makePair, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";
import { askMoto, makeToken, NO_MOTO, NO_SOFTHSM, startMoto } from "./peers.ts";

const content = { "config.json": "{}", "weights.bin": randomBytes(100_000) };

/** A public key in a file, and a model to sign. */
function place(publicPem: string): { root: string; publicKey: string; sealed: string; opened: string } {
  const folder = temporaryFolder();
  const publicKey = join(folder, "signer.pub");
  writeFileSync(publicKey, publicPem);
  return { root: writeModel(content), publicKey, sealed: join(folder, "sealed"), opened: join(folder, "opened") };
}

async function runs(words: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { exit, stdout, stderr } = await modelkeep(words, undefined, env);
  assert.equal(exit, 0, stderr);
  return stdout;
}

test("SoftHSM2: a model is signed, verified, sealed and opened with keys of a token", async (t) => {
  const token = makeToken("cli");
  if (!token) return t.skip(NO_SOFTHSM);
  const { root, publicKey, sealed, opened } = place(token.importKey("signer", "01", "P-256"));
  token.importAes("kek", "02", randomBytes(32));
  const uri = (name: string) =>
    `pkcs11:token=cli;object=${name}?module-path=${token.module}&pin-source=file:${token.pinFile}`;
  await runs(["sign", root, "--key", uri("signer")]);
  const signature = ["--signature", join(root, "model.sig")];
  await runs(["verify", root, ...signature, "--public-key", publicKey]);
  writeFileSync(publicKey.replace(".pub", ".other"), makePair().publicPem);
  const stranger = await modelkeep(["verify", root, ...signature, "--public-key", publicKey.replace(".pub", ".other")]);
  assert.equal(stranger.exit, 4);
  await runs(["seal", root, "--key", uri("signer"), "--kms", uri("kek"), "--output", sealed]);
  const listed = await runs(["inspect", sealed, "--json"]);
  assert.ok(!listed.includes("pin-source") && !listed.includes("module-path"), listed);
  await runs(["open", sealed, "--kms", uri("kek"), "--trust", publicKey, "--output", opened]);
  assert.deepEqual(readFileSync(join(opened, "weights.bin")), content["weights.bin"]);
});

test("moto: a sealed model moves from a key file to AWS KMS, and the file opens it no longer", async (t) => {
  const endpoint = await startMoto();
  if (!endpoint) return t.skip(NO_MOTO);
  const env = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL_KMS: endpoint };
  const create = async (KeySpec: string, KeyUsage: string) => {
    const { KeyMetadata } = await askMoto(endpoint, "CreateKey", { KeySpec, KeyUsage });
    return `awskms://eu-central-1/${KeyMetadata.KeyId}`;
  };
  const signer = await create("ECC_NIST_P384", "SIGN_VERIFY");
  const kek = await create("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
  const { PublicKey } = await askMoto(endpoint, "GetPublicKey", { KeyId: signer.split("/").at(-1) });
  const lines = (PublicKey as string).match(/.{1,64}/g) ?? [];
  const pem = `-----BEGIN PUBLIC KEY-----\n${lines.join("\n")}\n-----END PUBLIC KEY-----\n`;
  const { root, publicKey, sealed, opened } = place(pem);
  const { uri } = await makeKms();
  await runs(["seal", root, "--key", signer, "--kms", uri, "--output", sealed], env);
  await runs(["rewrap", sealed, "--from-kms", uri, "--kms", kek], env);
  const open = (kms: string) => ["open", sealed, "--kms", kms, "--trust", publicKey, "--output", opened];
  assert.equal((await modelkeep(open(uri), undefined, env)).exit === 0, false);
  assert.equal(existsSync(opened), false);
  await runs(open(kek), env);
  assert.deepEqual(readFileSync(join(opened, "weights.bin")), content["weights.bin"]);
});

test("two services whose keys have the same name are both tried", async () => {
  const { wrapper: mine } = await makeKms();
  const { wrapper: other } = await makeKms();
  const named = (wrapper: KeyWrapper): KeyWrapper => ({
    uri: wrapper.uri,
    recognises: () => true,
    wrap: (key, context) => wrapper.wrap(key, context),
    unwrap: (wrapped, context) => wrapper.unwrap(wrapped, context),
  });
  using key = GuardedBytes.take(randomBytes(32));
  const envelope = await makeEnvelope(key, "0".repeat(32), "1".repeat(64), [mine]);
  using opened = await unwrapPackageKey(envelope, [named(other), named(mine)]);
  assert.ok(opened.use((bytes) => key.use((wanted) => equalBytes(bytes, wanted))));
});

test("a service that cannot be reached is exit 6, credentials that are missing are 1, a URI of nobody is 2", async () => {
  const root = writeModel(content);
  const sign = (key: string, env: Record<string, string> = {}) =>
    modelkeep(["sign", root, "--key", key], undefined, env);
  const gone = { VAULT_TOKEN: "t" };
  assert.equal((await sign("vault://127.0.0.1:9/transit/k?insecure-http=1", gone)).exit, 6);
  assert.equal((await sign("vault://127.0.0.1:9/transit/k?insecure-http=1")).exit, 1);
  assert.equal((await sign("vault://127.0.0.1:9/transit")).exit, 2);
  assert.equal((await sign("pkcs11:object=x?pin-value=1")).exit, 2);
});

/** The program on a terminal of its own: each answer is typed when its question is there. */
function onTerminal(
  words: readonly string[],
  answers: readonly [string, string][],
): Promise<{ exit: number; text: string }> {
  const main = join(import.meta.dirname, "..", "..", "bin", "modelkeep.mjs");
  const line = [process.execPath, main, ...words].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qec", line, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
  let text = "";
  let next = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    const [question, answer] = answers[next] ?? ["\0", ""];
    if (!text.endsWith(question)) return;
    next++;
    child.stdin.write(`${answer}\r`);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => resolve({ exit: code ?? -1, text }));
  });
}

test("on a terminal a new passphrase is asked for twice, the old one once, and neither is shown", async () => {
  const pair = makePair();
  const { root, publicKey, sealed, opened } = place(pair.publicPem);
  const signer = publicKey.replace(".pub", ".pem");
  writeFileSync(signer, pair.privatePem, { mode: 0o600 });
  const { uri } = await makeKms();
  await runs(["seal", root, "--key", signer, "--kms", uri, "--output", sealed]);
  const add = ["recipients", "add", sealed, "--from-kms", uri, "--kms", "passphrase:?memory-mib=19&passes=2"];
  const [asks, again] = ["New passphrase (not shown): ", "Once more: "];
  const differ = await onTerminal(add, [
    [asks, "Zuerst so"],
    [again, "Dann anders"],
  ]);
  assert.equal(differ.exit, 2, differ.text);
  const same = await onTerminal(add, [
    [asks, "Zuerst so"],
    [again, "Zuerst so"],
  ]);
  assert.equal(same.exit, 0, same.text);
  const open = ["open", sealed, "--kms", "passphrase:", "--trust", publicKey, "--output", opened];
  const asksOld = "Passphrase (not shown): ";
  const wrong = await onTerminal(open, [[asksOld, "Dann anders"]]);
  assert.equal(wrong.exit, 4, wrong.text);
  const right = await onTerminal(open, [[asksOld, "Zuerst so"]]);
  assert.equal(right.exit, 0, right.text);
  assert.deepEqual(readFileSync(join(opened, "weights.bin")), content["weights.bin"]);
  for (const { text } of [differ, same, wrong, right]) assert.ok(!/Zuerst|anders/.test(text), text);
});
