/** PKCS#11 with a real device: what is not a module is not loaded, a wrong PIN is tried once, and URIs are read strictly. */
import assert from "node:assert/strict";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { chmodSync, copyFileSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { ecdsaDer, ecSpki } from "../../src/backends/ec-encoding.ts";
import { openKeyWrapper, openSigningKey } from "../../src/backends/index.ts";
import { Pkcs11Module } from "../../src/backends/pkcs11/module.ts";
import { parsePkcs11Uri } from "../../src/backends/pkcs11/uri.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";
import { makeToken, NO_SOFTHSM } from "./peers.ts";

const context = { package_id: "p", root_digest: "r" };
const env = {};
/** SoftHSM2 sees the tokens that are there when it is loaded, and no later ones. */
const tokens = {
  apart: makeToken("apart"),
  pins: makeToken("pins"),
  once: makeToken("once"),
  more: makeToken("more"),
  kept: makeToken("kept"),
  lost: makeToken("lost"),
};

test("a URI gives its parts, decoded (RFC 7512)", () => {
  const parsed = parsePkcs11Uri(
    "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;serial=1;model=1.0;object=my-certificate;type=private;id=%69%95%3E%00%FF?pin-source=file:/etc/token_pin&module-path=/usr/lib/libp11.so",
  );
  assert.equal(parsed.token, "The Software PKCS#11 Softtoken");
  assert.equal(parsed.manufacturer, "Snake Oil, Inc.");
  assert.deepEqual(parsed.id, Uint8Array.of(0x69, 0x95, 0x3e, 0, 0xff));
  assert.equal(parsed.pinSource, "file:/etc/token_pin");
  assert.ok(!parsed.uri.includes("pin"), parsed.uri);
});

test("a URI that is damaged, ambiguous, or holds a PIN is refused", async () => {
  for (const uri of [
    "pkcs11:",
    "pkcs11:token=x",
    "pkcs11:object=",
    "pkcs11:object=x;object=y",
    "pkcs11:object=x;colour=red",
    "pkcs11:object=x;type=cert",
    "pkcs11:object=%zz",
    "pkcs11:object=%ff",
    "pkcs11:object=%00",
    "pkcs11:object=a b",
    "pkcs11:object=x;slot-id=0x1",
    "pkcs11:object=x?pin-value=1234",
    "pkcs11:object=x;pin-value=1234",
    "pkcs11:object=x?module-name=softhsm2",
    "pkcs11:object=x?pin-source=a?pin-source=b",
    "pkcs11:object=x;;token=y",
    `pkcs11:object=${"x".repeat(3_000)}`,
  ])
    assert.equal(await codeOf(async () => parsePkcs11Uri(uri)), "KMS_URI_UNKNOWN", uri);
  const error = await openSigningKey("pkcs11:object=x?pin-value=98761234", { random, env }).catch((thrown) => thrown);
  assert.ok(!JSON.stringify([error.message, error.hint, error.stack]).includes("98761234"));
});

test("any text is a URI or KMS_URI_UNKNOWN, and any label survives", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parsePkcs11Uri(`pkcs11:${text}`);
      } catch (error) {
        assert.ok(error instanceof ModelkeepError && error.code === "KMS_URI_UNKNOWN");
      }
    }),
  );
  const label = fc.string({ unit: fc.constantFrom(..."aZ0 ;?&=%/#ä€😀"), minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(label, fc.uint8Array({ minLength: 1, maxLength: 40 }), (object, id) => {
      const hex = [...id].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
      const bytes = [...Buffer.from(object)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
      const parsed = parsePkcs11Uri(`pkcs11:object=${bytes};id=${hex}`);
      assert.equal(parsed.object, object);
      assert.deepEqual(parsed.id, Uint8Array.from(id));
    }),
  );
});

test("r and s become the DER that OpenSSL reads, whatever their first bits are", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 66 }),
      fc.uint8Array({ minLength: 66, maxLength: 66 }),
      (r, s) => {
        const half = Buffer.concat([Buffer.alloc(66 - r.length), r]);
        const der = ecdsaDer(Buffer.concat([half, s]));
        assert.ok(der);
        const text = integersOf(der);
        assert.deepEqual(text, [BigInt(`0x${half.toString("hex")}`), BigInt(`0x${Buffer.from(s).toString("hex")}`)]);
      },
    ),
  );
  for (const length of [0, 1, 63]) assert.equal(ecdsaDer(new Uint8Array(length)), undefined);
});

/** The two INTEGERs of a DER SEQUENCE, read by the rules of X.690. */
function integersOf(der: Uint8Array): bigint[] {
  const content = der[1] === 0x81 ? der.subarray(3) : der.subarray(2);
  assert.equal(der[0], 0x30);
  assert.equal(der[1] === 0x81 ? der[2] : der[1], content.length);
  const out: bigint[] = [];
  for (let at = 0; at < content.length; ) {
    const length = content[at + 1] ?? 0;
    const value = content.subarray(at + 2, at + 2 + length);
    assert.equal(content[at], 2);
    assert.ok((value[0] ?? 0) < 0x80, "negative");
    assert.ok(!(value[0] === 0 && value.length > 1 && (value[1] ?? 0) < 0x80), "not minimal");
    out.push(BigInt(`0x${Buffer.from(value).toString("hex")}`));
    at += 2 + length;
  }
  return out;
}

test("a point is taken with and without its OCTET STRING, and no other", () => {
  const oid = Uint8Array.of(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07);
  const point = Buffer.concat([Buffer.of(4), randomBytes(64)]);
  assert.deepEqual(ecSpki(oid, point), ecSpki(oid, Buffer.concat([Buffer.of(4, 65), point])));
  for (const bad of [Buffer.alloc(0), Buffer.of(4), point.subarray(1), Buffer.alloc(65), Buffer.concat([point, point])])
    assert.equal(ecSpki(oid, bad), undefined);
});

test("what is no PKCS#11 module, or could be changed by others, is not loaded", async () => {
  const folder = temporaryFolder();
  const file = (name: string, content: string | Uint8Array, mode = 0o644) => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode });
    chmodSync(path, mode);
    return path;
  };
  const elf = Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]), randomBytes(4_000)]);
  const shared = join(folder, "shared.so");
  copyFileSync(libc(), shared);
  chmodSync(shared, 0o666);
  const modules = [
    "relative.so",
    join(folder, "none.so"),
    folder,
    "/dev/null",
    file("text.so", "hello"),
    file("elf.so", elf),
  ];
  for (const path of [...modules, libc(), shared])
    assert.equal(
      await codeOf(() => openSigningKey(`pkcs11:object=x?module-path=${path}`, { random, env })),
      "PKCS11_MODULE_INVALID",
      path,
    );
  assert.equal(await codeOf(() => openSigningKey("pkcs11:object=x", { random, env })), "PKCS11_MODULE_INVALID");
});

function libc(): string {
  const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
  return sharedObjects.find((path) => /\/libc\.so\.6$/.test(path)) ?? process.execPath;
}

test("SoftHSM2: a token, a PIN and a key that are not there or are not alone are told apart", async (t) => {
  const token = tokens.apart;
  if (!token) return t.skip(NO_SOFTHSM);
  const place = `module-path=${token.module}`;
  const pin = `pin-source=${token.pinFile}`;
  token.importKey("twin", "01", "P-256");
  token.importKey("twin", "02", "P-256");
  token.importAes("kek", "03", randomBytes(32));
  const sign = (uri: string, more: Record<string, string> = {}) =>
    codeOf(async () => (await openSigningKey(uri, { random, env: more })).publicKeyPem());
  assert.equal(await sign(`pkcs11:token=none;object=twin?${place}&${pin}`), "PKCS11_TOKEN_MISSING");
  assert.equal(await sign(`pkcs11:token=apart;serial=0;object=twin?${place}&${pin}`), "PKCS11_TOKEN_MISSING");
  assert.equal(await sign(`pkcs11:token=apart;object=none?${place}&${pin}`), "KMS_KEY_NOT_FOUND");
  assert.equal(await sign(`pkcs11:token=apart;object=twin?${place}&${pin}`), "KMS_KEY_NOT_FOUND");
  assert.equal(await sign(`pkcs11:token=apart;object=kek?${place}&${pin}`), "KMS_KEY_NOT_FOUND");
  assert.equal(await sign(`pkcs11:token=apart;object=twin;id=%02?${place}&${pin}`), undefined);
  const wrapWith = (id: string) =>
    codeOf(() => openKeyWrapper(`pkcs11:token=apart;id=${id}?${place}&${pin}`, { random, env }));
  assert.equal(await wrapWith("%01"), "KMS_KEY_NOT_FOUND");
  assert.equal(await wrapWith("%03"), undefined);
  assert.equal(await sign(`pkcs11:token=apart;id=%02?${place}&pin-source=env:HERE`, { HERE: token.pin }), undefined);
  const byEnv = { MODELKEEP_PKCS11_PIN: token.pin, MODELKEEP_PKCS11_MODULE: token.module };
  assert.equal(await sign("pkcs11:token=apart;id=%02", byEnv), undefined);
});

/** In this order: once one session is logged in, the whole process is. */
test("SoftHSM2: a wrong PIN is refused, once, and a PIN file is private", async (t) => {
  const token = tokens.pins;
  if (!token) return t.skip(NO_SOFTHSM);
  token.importKey("signer", "01", "P-256");
  const folder = temporaryFolder();
  const pinFile = (name: string, text: string, mode: number) => {
    writeFileSync(join(folder, name), text, { mode });
    return join(folder, name);
  };
  const place = `pkcs11:token=pins;object=signer?module-path=${token.module}`;
  const cases = [
    [`${place}&pin-source=${pinFile("open", token.pin, 0o644)}`, "KMS_CREDENTIALS_MISSING"],
    [`${place}&pin-source=${pinFile("empty", "\n", 0o600)}`, "KMS_CREDENTIALS_MISSING"],
    [`${place}&pin-source=${pinFile("long", "1".repeat(300), 0o600)}`, "KMS_CREDENTIALS_MISSING"],
    [`${place}&pin-source=${folder}/none`, "KMS_CREDENTIALS_MISSING"],
    [`${place}&pin-source=env:NOT_THERE`, "KMS_CREDENTIALS_MISSING"],
    [place, "KMS_CREDENTIALS_MISSING"],
    [`${place}&pin-source=${pinFile("wrong", "0000", 0o600)}`, "KMS_CREDENTIALS_REFUSED"],
    [`${place}&pin-source=${token.pinFile}`, undefined],
  ] as const;
  for (const [uri, code] of cases)
    assert.equal(await codeOf(async () => (await openSigningKey(uri, { random, env })).publicKeyPem()), code, uri);
});

test("SoftHSM2: a refused PIN is not tried again, though it has become right", async (t) => {
  const token = tokens.once;
  if (!token) return t.skip(NO_SOFTHSM);
  token.importKey("signer", "01", "P-256");
  const changing: Record<string, string> = { PIN: "0000" };
  const uri = `pkcs11:token=once;object=signer?module-path=${token.module}&pin-source=env:PIN`;
  const signer = await openSigningKey(uri, { random, env: changing });
  assert.equal(await codeOf(() => signer.publicKeyPem()), "KMS_CREDENTIALS_REFUSED");
  changing.PIN = token.pin;
  assert.equal(await codeOf(() => signer.publicKeyPem()), "KMS_CREDENTIALS_REFUSED");
  assert.equal(
    await codeOf(async () => (await openSigningKey(uri, { random, env: changing })).publicKeyPem()),
    undefined,
  );
});

test("SoftHSM2: sessions that the device has closed are opened again, with a login, and only then is it an error", async (t) => {
  const token = tokens.lost;
  if (!token) return t.skip(NO_SOFTHSM);
  const pem = token.importKey("signer", "01", "P-256");
  token.importAes("kek", "02", randomBytes(32));
  const query = `module-path=${token.module}&pin-source=env:PIN`;
  const changing: Record<string, string> = { PIN: token.pin };
  const signer = await openSigningKey(`pkcs11:token=lost;object=signer?${query}`, { random, env: changing });
  const wrapper = await openKeyWrapper(`pkcs11:token=lost;object=kek?${query}`, { random, env: changing });
  const wrapped = await wrapper.wrap(randomBytes(32), context);
  const digest = createHash("sha256").update("model").digest();
  const module = await Pkcs11Module.load(token.module);
  const closeAll = async () => {
    for (let handle = 1; handle < 2_000; handle++) await module.call("C_CloseSession", handle);
  };
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 12 }, () => signer.sign(digest, "sha256")));
    await closeAll();
    const signature = await signer.sign(digest, "sha256");
    assert.ok(verify("sha256", Buffer.from("model"), { key: createPublicKey(pem), dsaEncoding: "der" }, signature));
    await closeAll();
    assert.equal((await wrapper.unwrap(wrapped, context)).length, 32);
  }
  await closeAll();
  changing.PIN = "0000";
  assert.equal(await codeOf(() => signer.sign(digest, "sha256")), "KMS_CREDENTIALS_REFUSED");
});

test("SoftHSM2: the module stays loaded, whatever the collector takes away", { timeout: 60_000 }, async (t) => {
  const token = tokens.kept;
  if (!token) return t.skip(NO_SOFTHSM);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  token.importAes("kek", "01", randomBytes(32));
  const query = `module-path=${token.module}&pin-source=file:${token.pinFile}`;
  const wrapper = await openKeyWrapper(`pkcs11:token=kept;object=kek?${query}`, { random, env });
  for (let round = 0; round < 10; round++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 10));
    const key = randomBytes(32);
    assert.deepEqual(Buffer.from(await wrapper.unwrap(await wrapper.wrap(key, context), context)), key);
    assert.ok(readFileSync("/proc/self/maps", "latin1").includes(realpathSync(token.module)), `${round}: it is mapped`);
  }
});

test("SoftHSM2: a key that cannot wrap with GCM is unfit, and signatures are of the key that was told", async (t) => {
  const token = tokens.more;
  if (!token) return t.skip(NO_SOFTHSM);
  const pem = token.importKey("signer", "01", "P-384");
  token.importAes("odd", "02", randomBytes(7));
  const query = `module-path=${token.module}&pin-source=file:${token.pinFile}`;
  const signer = await openSigningKey(`pkcs11:token=more;type=private;object=signer?${query}`, { random, env });
  assert.equal(await signer.publicKeyPem(), pem);
  const digest = createHash("sha384").update("model").digest();
  const signatures = await Promise.all(Array.from({ length: 30 }, () => signer.sign(digest, "sha384")));
  const key = createPublicKey(pem);
  for (const signature of signatures)
    assert.ok(verify("sha384", Buffer.from("model"), { key, dsaEncoding: "der" }, signature));
  const odd = await openKeyWrapper(`pkcs11:token=more;object=odd?${query}`, { random, env });
  assert.equal(await codeOf(() => odd.wrap(randomBytes(32), context)), "KMS_KEY_UNFIT");
});
