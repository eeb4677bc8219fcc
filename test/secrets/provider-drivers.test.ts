/** Keys that providers make for a lease, and tokens for a token that the server signs: against counterparts of their references. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { silentLog, utf8 } from "../../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../../src/host/index.ts";
import { createSecretService, type SecretDriver, withOwnSecret } from "../../src/secrets/index.ts";
import { createServerIdentity } from "../../src/server/identity.ts";
import { startFederation } from "../backends/counterparts/federation.ts";
import { type KeyProvider, startOpenAi, startOpenRouter } from "../backends/counterparts/provider-keys.ts";
import { codeOf } from "../sealing/support.ts";
import { testDriver } from "./driver-contract.ts";
import { KeptEvents, MemoryStore, openDriver } from "./support.ts";

const ADMIN = "sk-admin-canary-0123456789";
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8");
const by = { type: "Admin", id: "ada" };

/** Opens the administrator's key as the server does; the name must be right. */
const withSecret = async <T>(name: string, work: (key: GuardedBytes) => Promise<T>): Promise<T> => {
  assert.equal(name, "admin");
  using key = GuardedBytes.take(utf8(ADMIN));
  return await work(key);
};

const failing = (driver: SecretDriver, reference: string) => codeOf(() => driver.read(reference, { ttlSeconds: 60 }));
const openOpenAi = (peer: KeyProvider) => openDriver(`openai:?admin=admin&at=${peer.origin}`, {}, { withSecret });
const openOpenRouter = (peer: KeyProvider) =>
  openDriver(`openrouter:?admin=admin&at=${peer.origin}`, {}, { withSecret });
const idsOf = (peer: KeyProvider, prefix: string) => async () =>
  [...peer.keys.keys()].map((path) => path.replace(prefix, ""));

testDriver("OpenAI, an account for each key", async () => {
  const peer = await startOpenAi(ADMIN);
  const openLeases = idsOf(peer, "/v1/organization/projects/");
  return {
    driver: await openOpenAi(peer),
    reference: "proj_a",
    absent: "proj_absent",
    invalid: "proj_a/b/c",
    openLeases,
  };
});

testDriver("OpenRouter", async () => {
  const peer = await startOpenRouter(ADMIN);
  return {
    driver: await openOpenRouter(peer),
    reference: "app?limit=2.50",
    invalid: "a/b",
    openLeases: idsOf(peer, "/api/v1/keys/"),
  };
});

test("a key of OpenAI has the scopes and the end that were asked for, one of OpenRouter a limit", async () => {
  const peer = await startOpenAi(ADMIN);
  const driver = await openOpenAi(peer);
  const { key, lease } = await driver.read("proj_a/svc_acct_b?scopes=model.request,api.model.read", { ttlSeconds: 60 });
  const [[path, made] = []] = [...peer.keys];
  assert.equal(key.use(text), made?.value);
  assert.deepEqual(made?.scopes, ["model.request", "api.model.read"]);
  assert.ok(
    made && Math.abs(made.expiresAt - Date.now() / 1000 - 120) < 5,
    "twice the lease, so that the next can share it",
  );
  assert.equal(lease?.ttlSeconds, 120);
  assert.match(path ?? "", /^\/v1\/organization\/projects\/proj_a\/api_keys\/key_/);
  await driver.revoke?.(lease.id);
  assert.equal(peer.keys.size, 0);
  const long = await driver.read("proj_a", { ttlSeconds: 3_600 });
  assert.equal(long.lease?.ttlSeconds, 3_600);
  const router = await startOpenRouter(ADMIN);
  await (await openOpenRouter(router)).read("app?limit=2.50", { ttlSeconds: 60 });
  assert.equal([...router.keys.values()][0]?.limit, 2.5);
  for (const odd of ["app?limit=-1", "app?limit=1e9", "app#x", "app?x=1"])
    assert.throws(() => void driver.check?.(odd), { code: "SECRET_REFERENCE_INVALID" });
});

test("a provider that refuses, is away or answers half: a code, one request, and no key in an error", async () => {
  for (const start of [startOpenAi, startOpenRouter]) {
    const peer = await start(ADMIN);
    const driver = await (start === startOpenAi ? openOpenAi(peer) : openOpenRouter(peer));
    for (const [status, body, code] of [
      [401, { error: ADMIN }, "KEEPER_LOGIN_REFUSED"],
      [403, ADMIN, "KEEPER_DENIED"],
      [429, {}, "KEEPER_THROTTLED"],
      [500, ADMIN, "KEEPER_UNREACHABLE"],
      [400, {}, "KEEPER_REFUSED"],
      [200, { id: "key_1", data: { hash: "h" } }, "KEEPER_ANSWER_INVALID"],
      [200, '{"value":"sk-half","key":"sk-half', "KEEPER_ANSWER_INVALID"],
    ] as const) {
      peer.instead = { status, body };
      const before = peer.seen.length;
      const found = await codeOf(async () => {
        try {
          await driver.read("proj_a", { ttlSeconds: 60 });
        } catch (error) {
          assert.ok(!/sk-admin-canary|sk-half/.test(inspect(error, { depth: 20, showHidden: true })));
          throw error;
        }
      });
      assert.equal(found, code, String(status));
      assert.equal(peer.seen.length - before, 1, "nobody knows whether a key was made: it is not asked for again");
    }
  }
  for (const uri of ["openai:", "openai:?admin=", "openai:?admin=a&x=1", "openai:?admin=a&at=http://evil.example"])
    assert.equal(await codeOf(() => openDriver(uri, {}, { withSecret })), "KEEPER_UNKNOWN", uri);
});

test("the key of an administrator is one that the server itself keeps; its use is recorded, also while it stops", async () => {
  const peer = await startOpenAi(ADMIN);
  const [store, recorder] = [new MemoryStore(), new KeptEvents()];
  const ports = { store, clock: systemClock, random: systemRandom, recorder, log: silentLog };
  const more = { withSecret: (name: string, work: never) => withOwnSecret(ports, name, work) } as never;
  const driver = await openDriver(`openai:?admin=admin&at=${peer.origin}`, {}, more);
  const secrets = await createSecretService({ ...ports, drivers: [driver] });
  await secrets.link("made", { driver: "keeper", reference: "proj_a" }, { by });
  const holder = { type: "Workload", id: "w" };
  assert.equal(await codeOf(() => secrets.lease("made", { holder })), "KEEPER_LOGIN_MISSING");
  await secrets.link("admin", { driver: "keeper", reference: "proj_a" }, { by });
  assert.equal(await codeOf(() => secrets.lease("made", { holder })), "KEEPER_LOGIN_MISSING", "not by way of itself");
  await secrets.put("admin", utf8(ADMIN), { by });
  await secrets.lease("made", { holder });
  assert.equal(peer.keys.size, 1);
  assert.ok(recorder.events.some(({ action, resource }) => action === "secret.use" && resource === 'Secret::"admin"'));
  await secrets.close();
  assert.equal(peer.keys.size, 0, "a server that stops deletes what was made for it");
});

const ISSUER = "https://keeper.example";

function identity() {
  const ports = { store: new MemoryStore(), clock: systemClock, random: systemRandom };
  return createServerIdentity({ ...ports, publicUrl: `${ISSUER}/` });
}

const FEDERATED: readonly (readonly [string, string])[] = [
  ["federation:anthropic?organization=org-1&rule=fdrl_1", "svac_1?workspace=wrkspc_1"],
  ["federation:openai?provider=idp_1", "svc_acct_1"],
  ["federation:openrouter?", "policy-1"],
  [
    "federation:google?provider=//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
    "-",
  ],
  [
    "federation:google?provider=//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
    "caller@project.iam.gserviceaccount.com",
  ],
  ["federation:azure?tenant=tenant-1", "client-1"],
  ["federation:aws?region=eu-central-1", "arn:aws:iam::123456789012:role/caller"],
];

for (const [uri, reference] of FEDERATED) {
  const name = `${uri.split("?")[0]} as ${reference.split("?")[0]}`;
  const open = async () => {
    const { issue, keys } = identity();
    const published = async () => ({ keys: [...(await keys.published())] });
    const peer = await startFederation(ISSUER, "modelkeep:keeper", published);
    const at = `${uri}${uri.endsWith("?") ? "" : "&"}at=${peer.origin}`;
    return { peer, keys, driver: await openDriver(at, {}, { issueIdentity: issue }) };
  };
  const given: string[] = [];
  testDriver(name, async () => {
    given.length = 0;
    const { driver } = await open();
    const read: SecretDriver["read"] = async (...asked) => {
      const found = await driver.read(...asked);
      given.push(found.lease?.id ?? "");
      return found;
    };
    return {
      driver: { ...driver, read },
      reference,
      invalid: "a b",
      openLeases: async () => given,
      endsByItself: true,
    };
  });

  test(`${name}: our token is believed once and for its audience; after a rotation too; another's is not`, async () => {
    const { peer, keys, driver } = await open();
    const first = await driver.read(reference, { ttlSeconds: 60 });
    assert.ok(first.lease && first.lease.ttlSeconds > 800 && first.lease.ttlSeconds <= 3_600 && !first.lease.renewable);
    assert.equal(peer.claims.length, 1);
    const [claims] = peer.claims;
    assert.ok(claims && Number(claims.exp) - Number(claims.iat) === 600 && claims.sub === "modelkeep:keeper");
    await keys.rotate();
    await driver.read(reference, { ttlSeconds: 60 });
    const stranger = await openDriver(
      `${uri}${uri.endsWith("?") ? "" : "&"}at=${peer.origin}`,
      {},
      { issueIdentity: identity().issue },
    );
    assert.equal(await failing(stranger, reference), "KEEPER_LOGIN_REFUSED");
    const elsewhere = await openDriver(
      `${uri}${uri.endsWith("?") ? "" : "&"}aud=other&at=${peer.origin}`,
      {},
      { issueIdentity: identity().issue },
    );
    assert.equal(await failing(elsewhere, reference), "KEEPER_LOGIN_REFUSED");
    const alg = uri.includes("azure") ? "ES256" : "RS256";
    const at = `${uri}${uri.endsWith("?") ? "" : "&"}alg=${alg}&at=${peer.origin}`;
    const signedElsewise = await openDriver(at, {}, { issueIdentity: identity().issue });
    assert.equal(await failing(signedElsewise, reference), "KEEPER_LOGIN_REFUSED");
    assert.equal(await failing(driver, `${reference.split("?")[0]}-other`), "KEEPER_LOGIN_REFUSED");
  });
}

test("without a name that others can reach, or with a setting that lacks, there is no federation", async () => {
  const { issue } = identity();
  assert.equal(await codeOf(() => openDriver("federation:openai?provider=x", {})), "KEEPER_UNKNOWN");
  for (const uri of [
    "federation:openai",
    "federation:nobody",
    "federation:aws?region=x&at=http://evil.example",
    "federation:azure?tenant=x&alg=none",
  ])
    assert.equal(await codeOf(() => openDriver(uri, {}, { issueIdentity: issue })), "KEEPER_UNKNOWN", uri);
});
