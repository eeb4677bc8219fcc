/** The server as an identity provider: what it signs under both algorithms, read by jose; rotation, replicas, damage. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from "jose";
import { utf8 } from "../../src/base/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { createServerIdentity, type ServerIdentity } from "../../src/server/identity.ts";
import { SERVER_LIMITS } from "../../src/server/limits.ts";
import { codeOf } from "../sealing/support.ts";
import { FakeClock, MemoryShared, MemoryStore } from "../secrets/support.ts";

const ISSUER = "https://keep.example";
const ALGORITHMS = ["ES256", "RS256"] as const;

function open(shared = new MemoryShared(), clock: { now(): number; monotonic(): number } = systemClock) {
  const store = new MemoryStore(shared);
  return { store, identity: createServerIdentity({ store, clock, random: systemRandom, publicUrl: `${ISSUER}/` }) };
}

async function tokenOf({ issue }: ServerIdentity, algorithm: (typeof ALGORITHMS)[number]): Promise<string> {
  assert.ok(issue);
  return Buffer.from(await issue({ audience: "them", subject: "modelkeep:me", algorithm })).toString();
}

async function believed(token: string, { keys }: ServerIdentity, algorithm: string) {
  const set = createLocalJWKSet({ keys: [...(await keys.published())] } as JSONWebKeySet);
  return jwtVerify(token, set, { issuer: ISSUER, audience: "them", algorithms: [algorithm] });
}

for (const algorithm of ALGORITHMS)
  test(`${algorithm}: jose believes the token by the published keys, of every replica, and after a rotation`, async () => {
    const shared = new MemoryShared();
    const [one, two] = [open(shared).identity, open(shared).identity];
    const tokens = await Promise.all([one, two, one].map((identity) => tokenOf(identity, algorithm)));
    const ids = new Set(tokens.map((token) => decodeProtectedHeader(token).kid));
    assert.equal(ids.size, 1, "replicas that make a key at once end with one");
    for (const token of tokens) {
      const { payload, protectedHeader } = await believed(token, two, algorithm);
      assert.deepEqual([payload.sub, (payload.exp ?? 0) - (payload.iat ?? 0)], ["modelkeep:me", 600]);
      assert.equal(protectedHeader.alg, algorithm);
      const other = ALGORITHMS.find((name) => name !== algorithm) ?? "";
      await assert.rejects(believed(token, two, other), { code: "ERR_JOSE_ALG_NOT_ALLOWED" });
    }
    await two.keys.rotate();
    const fresh = await tokenOf(one, algorithm);
    assert.ok(!ids.has(decodeProtectedHeader(fresh).kid));
    for (const token of [...tokens, fresh]) await believed(token, one, algorithm);
  });

test("private halves of ended keys are gone at once, public ones after a day; keys that others wrote are refused", async () => {
  const clock = new FakeClock();
  const shared = new MemoryShared();
  const { identity, store } = open(shared, clock);
  await identity.keys.published();
  await identity.keys.rotate();
  const rows = (table: string) => shared.tables.get(table)?.size;
  assert.deepEqual([rows("identity-rsa-private-keys"), rows("identity-rsa-keys")], [1, 2]);
  assert.equal((await identity.keys.published()).length, 4);
  clock.at += SERVER_LIMITS.identityKeyKeptSeconds * 1000 + 1;
  assert.deepEqual(
    (await identity.keys.published()).map(({ alg }) => alg),
    ["ES256", "RS256"],
  );
  await identity.keys.rotate();
  assert.equal(rows("identity-rsa-keys"), 2);
  const [, rsa] = (await identity.keys.published()).filter(({ alg }) => alg === "RS256");
  const record = await store.get("identity-rsa-keys", rsa?.kid ?? "");
  assert.ok(record);
  await store.put("identity-rsa-keys", "another-name", record.value);
  assert.equal(await codeOf(() => identity.keys.published()), "IDENTITY_KEY_DAMAGED");
  await store.put("identity-rsa-keys", "another-name", utf8("{}"));
  assert.equal(await codeOf(() => tokenOf(identity, "RS256")), "IDENTITY_KEY_DAMAGED");
});

test("a rotation that one of the two algorithms refuses changes neither", async () => {
  const clock = new FakeClock();
  const { identity, store } = open(new MemoryShared(), clock);
  await identity.keys.published();
  const retired = clock.now();
  for (let count = 1; count < SERVER_LIMITS.identityKeys; count++) {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
    const { e, kty, n } = publicKey.export({ format: "jwk" });
    const kid = createHash("sha256").update(JSON.stringify({ e, kty, n })).digest("base64url");
    const pem = publicKey.export({ type: "spki", format: "pem" });
    const about = { public_key: pem, created_at: retired, retired_at: retired };
    await store.put("identity-rsa-keys", kid, utf8(JSON.stringify(about)));
  }
  const before = await identity.keys.published();
  assert.equal(await codeOf(() => identity.keys.rotate()), "IDENTITY_KEYS_LIMIT");
  assert.deepEqual(await identity.keys.published(), before);
});
