/** Recipients of an envelope: several kinds of key, added and removed; what a load and a rewrap ask of a KMS. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { type KeyWrapper, openKeyWrapper } from "../../src/backends/index.ts";
import { utf8 } from "../../src/base/index.ts";
import { addRecipients, inspectSealed, removeRecipients, rewrapSealed, SEALED_NAMES } from "../../src/sealing/index.ts";
import { startAzureKeys, startAzureLogins } from "../backends/counterparts/azure.ts";
import { startGoogleKms, startGoogleLogins } from "../backends/counterparts/google.ts";
import { askMoto, NO_MOTO, startMoto, startVault, VAULTS } from "../backends/peers.ts";
import { codeOf, type Made, makeKms, makeSealed, openMade, random, temporaryFolder } from "./support.ts";

const model = { "config.json": "{}", a: randomBytes(3_000_000), b: randomBytes(1_500_000), c: "c", d: "d" };

async function opens(made: Made, wrapper: KeyWrapper): Promise<void> {
  assert.deepEqual((await openMade({ ...made, wrapper })).content("a"), model.a);
}

const passphrase = (words: string) =>
  openKeyWrapper("passphrase:?memory-mib=19&passes=2", { random, passphrase: async () => utf8(words) });

async function google(name: string): Promise<KeyWrapper> {
  const logins = await startGoogleLogins();
  const kms = await startGoogleKms(logins.tokens);
  const env = { CLOUDSDK_CONFIG: temporaryFolder(), GCE_METADATA_HOST: logins.host };
  const ports = { random, env: { ...env, CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: kms.origin } };
  return openKeyWrapper(`gcpkms://${kms.make(name)}`, ports);
}

async function azure(kind: "RSA" | "oct-HSM"): Promise<KeyWrapper> {
  const logins = await startAzureLogins();
  const vault = await startAzureKeys(logins.tokens);
  vault.make("kek", kind);
  const env = { AZURE_POD_IDENTITY_AUTHORITY_HOST: logins.origin };
  return openKeyWrapper(`azurekms://${vault.host}/kek?insecure-http=1`, { random, env });
}

test("a model moves through every kind of key, each opens it alone, and the payload stays as it was", async () => {
  const made = await makeSealed(model);
  const payload = join(made.folder, "files", "1.floe");
  const before = statSync(payload);
  const chain = [
    made.wrapper,
    await passphrase("one"),
    await google("kek"),
    await azure("RSA"),
    await azure("oct-HSM"),
    await passphrase("two"),
    (await makeKms()).wrapper,
  ];
  for (const [index, to] of chain.entries()) {
    const from = chain[index - 1];
    if (!from) continue;
    await rewrapSealed(made.store, "", [from], [to]);
    assert.equal((await inspectSealed(made.store, "")).recipients.length, 1);
    await opens(made, to);
    assert.ok(await codeOf(() => openMade({ ...made, wrapper: from })), "the one before opens it no more");
  }
  const after = statSync(payload);
  assert.deepEqual([after.ino, after.mtimeMs, after.ctimeMs], [before.ino, before.mtimeMs, before.ctimeMs]);
});

test("recipients are added and removed one by one; the last one stays", async () => {
  const made = await makeSealed(model);
  const [words, others] = [await passphrase("one"), await passphrase("two")];
  const cloud = await google("kek");
  await addRecipients(made.store, "", [made.wrapper], [words, cloud]);
  await addRecipients(made.store, "", [cloud], [others]);
  const listed = async () => (await inspectSealed(made.store, "")).recipients;
  assert.deepEqual(
    (await listed()).map(({ kms }) => kms),
    [made.wrapper.uri, "passphrase:", cloud.uri, "passphrase:"],
  );
  for (const wrapper of [made.wrapper, words, cloud, others]) await opens(made, wrapper);
  await removeRecipients(made.store, "", [others], [cloud.uri, (await listed())[1]?.keyId ?? ""]);
  await opens(made, others);
  assert.equal(await codeOf(() => openMade({ ...made, wrapper: cloud })), "NO_KEY_SERVICE");
  assert.equal(await codeOf(() => openMade({ ...made, wrapper: words })), "UNWRAP_FAILED");
  const envelope = readFileSync(join(made.folder, SEALED_NAMES.envelope));
  const remove = (from: KeyWrapper, names: string[]) => codeOf(() => removeRecipients(made.store, "", [from], names));
  assert.equal(await remove(others, [cloud.uri]), "RECIPIENT_UNKNOWN");
  assert.equal(await remove(others, [made.wrapper.uri, "passphrase:"]), "RECIPIENTS_INVALID");
  assert.equal(await remove(cloud, [made.wrapper.uri]), "NO_KEY_SERVICE");
  assert.deepEqual(readFileSync(join(made.folder, SEALED_NAMES.envelope)), envelope, "what failed changed nothing");
  await removeRecipients(made.store, "", [made.wrapper], [made.wrapper.uri]);
  await opens(made, others);
});

test("a key that is added again has one wrap, and seventeen keys are too many", async () => {
  const made = await makeSealed(model);
  await addRecipients(made.store, "", [made.wrapper], [made.wrapper]);
  assert.equal((await inspectSealed(made.store, "")).recipients.length, 1);
  const more = await Promise.all(Array.from({ length: 16 }, async () => (await makeKms()).wrapper));
  assert.equal(await codeOf(() => addRecipients(made.store, "", [made.wrapper], more)), "RECIPIENTS_INVALID");
  await addRecipients(made.store, "", [made.wrapper], more.slice(1));
  assert.equal((await inspectSealed(made.store, "")).recipients.length, 16);
  await opens(made, more.at(-1) as KeyWrapper);
});

test("a recipient that somebody takes out, doubles or swaps by hand is found", async () => {
  const made = await makeSealed(model);
  await addRecipients(made.store, "", [made.wrapper], [(await makeKms()).wrapper]);
  const path = join(made.folder, SEALED_NAMES.envelope);
  const envelope = JSON.parse(readFileSync(path, "utf8"));
  const [one, two] = envelope.recipients;
  for (const recipients of [[one], [two, one], [one, two, two], [{ ...one, kms: two.kms }, two]]) {
    writeFileSync(path, JSON.stringify({ ...envelope, recipients }));
    assert.equal(await codeOf(() => openMade(made)), "ENVELOPE_INVALID");
    assert.equal(await codeOf(() => addRecipients(made.store, "", [made.wrapper], [])), "ENVELOPE_INVALID");
  }
});

/** Passes on to a peer what it is asked, but for one operation, and keeps the operation of each request. */
async function counting(peer: string, refused?: string): Promise<{ origin: string; seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method, url = "/", headers } = incoming;
    seen.push(String(headers["x-amz-target"] ?? url).replace(/^TrentService\./, ""));
    if (seen.at(-1) === refused) {
      incoming.resume();
      outgoing.writeHead(400).end(JSON.stringify({ __type: "AccessDeniedException", message: "not yours" }));
      return;
    }
    const onward = httpRequest(`${peer}${url}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const closing: (() => void)[] = [];
after(() => {
  for (const close of closing) close();
});

for (const { kind, missing } of VAULTS)
  test(`${kind}: a load is one call of the KMS, however many files there are, and a rewrap is two`, async (t) => {
    const peer = await startVault(kind);
    if (!peer) return t.skip(missing);
    for (const name of ["one", "two"]) assert.equal((await peer.ask("POST", `transit/keys/${name}`, {})).status, 200);
    const { origin, seen } = await counting(peer.origin);
    const open = (name: string) =>
      openKeyWrapper(`vault://${new URL(origin).host}/transit/${name}?insecure-http=1`, {
        random,
        env: { VAULT_TOKEN: peer.rootToken },
      });
    const [one, two] = [await open("one"), await open("two")];
    const made = await makeSealed(model, { wrapper: one });
    await opens(made, one);
    seen.length = 0;
    await opens(made, one);
    assert.deepEqual(seen, ["/v1/transit/decrypt/one"]);
    seen.length = 0;
    await rewrapSealed(made.store, "", [one], [two]);
    assert.deepEqual(seen, ["/v1/transit/decrypt/one", "/v1/transit/encrypt/two"]);
    await opens(made, two);
  });

test("moto: a load is one Decrypt; from AWS to AWS a wrap moves by ReEncrypt, between regions by Encrypt", async (t) => {
  const endpoint = await startMoto();
  if (!endpoint) return t.skip(NO_MOTO);
  const { origin, seen } = await counting(endpoint);
  const env = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL: origin };
  const open = async (region: string) => {
    const { Arn } = (await askMoto(endpoint, "CreateKey", { KeyUsage: "ENCRYPT_DECRYPT" }, region)).KeyMetadata;
    return openKeyWrapper(`awskms://${region}/${Arn}`, { random, env });
  };
  const [one, two] = [await open("eu-central-1"), await open("eu-central-1")];
  const made = await makeSealed(model, { wrapper: one });
  seen.length = 0;
  await opens(made, one);
  assert.deepEqual(seen, ["Decrypt"]);
  seen.length = 0;
  await rewrapSealed(made.store, "", [one], [two]);
  assert.deepEqual(seen, ["Decrypt", "ReEncrypt"]);
  await opens(made, two);
  assert.equal(await codeOf(() => openMade({ ...made, wrapper: one })), "NO_KEY_SERVICE");
  const far = await open("us-east-1");
  seen.length = 0;
  await rewrapSealed(made.store, "", [two], [far, (await makeKms()).wrapper]);
  assert.deepEqual(seen, ["Decrypt", "Encrypt"]);
  await opens(made, far);
});

test("moto: who may not ReEncrypt wraps instead", async (t) => {
  const endpoint = await startMoto();
  if (!endpoint) return t.skip(NO_MOTO);
  const { origin, seen } = await counting(endpoint, "ReEncrypt");
  const env = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL: origin };
  const open = async () => {
    const { Arn } = (await askMoto(endpoint, "CreateKey", { KeyUsage: "ENCRYPT_DECRYPT" })).KeyMetadata;
    return openKeyWrapper(`awskms://eu-central-1/${Arn}`, { random, env });
  };
  const [one, two] = [await open(), await open()];
  const made = await makeSealed(model, { wrapper: one });
  seen.length = 0;
  await rewrapSealed(made.store, "", [one], [two]);
  assert.deepEqual(seen, ["Decrypt", "ReEncrypt", "Encrypt"]);
  await opens(made, two);
});

test("moto: a wrap that moved is bound to its model as before", async (t) => {
  const endpoint = await startMoto();
  if (!endpoint) return t.skip(NO_MOTO);
  const env = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL: endpoint };
  const open = async () => {
    const { KeyId } = (await askMoto(endpoint, "CreateKey", { KeyUsage: "ENCRYPT_DECRYPT" })).KeyMetadata;
    return openKeyWrapper(`awskms://eu-central-1/${KeyId}`, { random, env });
  };
  const [one, two] = [await open(), await open()];
  const context = { package_id: "p", root_digest: "r" };
  const wrapped = await one.wrap(randomBytes(32), context);
  const moved = await one.moveTo?.(wrapped, context, two);
  assert.ok(moved && two.recognises(moved) && !one.recognises(moved));
  assert.deepEqual(await two.unwrap(moved, context), await one.unwrap(wrapped, context));
  const other = { ...context, package_id: "q" };
  assert.equal(await codeOf(() => two.unwrap(moved, other)), "UNWRAP_FAILED");
  assert.equal(
    await codeOf(() => one.moveTo?.(wrapped, other, two)),
    "UNWRAP_FAILED",
    "nor does it move under another",
  );
});

test("ten gibibytes are rewrapped in less than a second, and not one of them is read", async () => {
  const made = await makeSealed(model);
  const payload = join(made.folder, "files", "1.floe");
  truncateSync(payload, 10 * 1024 ** 3);
  const before = statSync(payload);
  const { wrapper } = await makeKms();
  const start = performance.now();
  await rewrapSealed(made.store, "", [made.wrapper], [wrapper]);
  const milliseconds = performance.now() - start;
  assert.ok(milliseconds < 1_000, `${milliseconds} ms`);
  const after = statSync(payload);
  assert.deepEqual([after.ino, after.size, after.ctimeMs], [before.ino, 10 * 1024 ** 3, before.ctimeMs]);
  assert.equal((await inspectSealed(made.store, "")).recipients[0]?.kms, wrapper.uri);
});

test("an older envelope that is put back opens for whom it was made, for nobody else, and not mixed with a newer one", async () => {
  const made = await makeSealed({ a: model.a });
  const [second, third] = await Promise.all([makeKms(), makeKms()]);
  const path = join(made.folder, SEALED_NAMES.envelope);
  const older = readFileSync(path, "utf8");
  await rewrapSealed(made.store, "", [made.wrapper], [second.wrapper, third.wrapper]);
  await removeRecipients(made.store, "", [second.wrapper], [third.uri]);
  const newer = readFileSync(path, "utf8");
  for (const gone of [made.wrapper, third.wrapper])
    assert.equal(await codeOf(() => openMade({ ...made, wrapper: gone })), "NO_KEY_SERVICE");
  writeFileSync(path, older);
  await opens(made, made.wrapper);
  assert.equal(await codeOf(() => openMade({ ...made, wrapper: second.wrapper })), "NO_KEY_SERVICE");
  const [old, now] = [JSON.parse(older), JSON.parse(newer)];
  for (const recipients of [old.recipients, [...now.recipients, ...old.recipients]])
    for (const mac of [old.mac, now.mac].slice(recipients === old.recipients ? 1 : 0)) {
      writeFileSync(path, JSON.stringify({ ...now, recipients, mac }));
      for (const wrapper of [made.wrapper, second.wrapper]) {
        const code = await codeOf(() => openMade({ ...made, wrapper }));
        assert.ok(code === "ENVELOPE_INVALID" || code === "NO_KEY_SERVICE", code);
      }
    }
  writeFileSync(path, newer);
  await opens(made, second.wrapper);
});
