/** The seal between client and server: bound to direction, name and key. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../../src/base/index.ts";
import { createReceiver, openServerReceiver, sealValue } from "../../src/secrets/index.ts";
import { MemoryShared, MemoryStore } from "./support.ts";

const purpose = { direction: "put", name: "openai" } as const;

test("what is sealed to the server is opened by every replica, and by nobody else", async () => {
  const shared = new MemoryShared();
  const one = await openServerReceiver({ store: new MemoryStore(shared) });
  const two = await openServerReceiver({ store: new MemoryStore(shared) });
  const sealed = sealValue(utf8("sk-canary"), one.key, purpose);
  assert.equal(Buffer.from(await two.open(sealed, purpose)).toString(), "sk-canary");
  const stranger = createReceiver();
  await assert.rejects(stranger.open(sealed, purpose), { code: "TRANSPORT_KEY_UNKNOWN" });
  await assert.rejects(stranger.open({ ...sealed, keyId: stranger.key.keyId }, purpose), {
    code: "TRANSPORT_SEAL_INVALID",
  });
});

test("a seal does not open for another name or direction, nor with one bit changed", async () => {
  const receiver = createReceiver();
  const sealed = sealValue(utf8("sk-canary"), receiver.key, purpose);
  const invalid = { code: "TRANSPORT_SEAL_INVALID" };
  await assert.rejects(receiver.open(sealed, { ...purpose, name: "other" }), invalid);
  await assert.rejects(receiver.open(sealed, { ...purpose, direction: "checkout" }), invalid);
  for (const field of ["enc", "ciphertext"] as const) {
    const bytes = Buffer.from(sealed[field], "base64url");
    bytes.writeUInt8(bytes.readUInt8(5) ^ 1, 5);
    await assert.rejects(receiver.open({ ...sealed, [field]: bytes.toString("base64url") }, purpose), invalid);
    await assert.rejects(receiver.open({ ...sealed, [field]: "!" }, purpose), invalid);
  }
  assert.throws(() => sealValue(utf8("x"), { keyId: "0", publicKey: "AAAA" }, purpose), invalid);
  const offCurve = Buffer.alloc(65, 4).toString("base64url");
  assert.throws(() => sealValue(utf8("x"), { keyId: "0", publicKey: offCurve }, purpose), invalid);
});
