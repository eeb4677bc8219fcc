/** The token endpoint as HTTP: forms only, bounded, RFC 6749 errors, no cache; and the routes about tokens. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Hono } from "hono";
import { type Authorizer, silentLog } from "../../src/base/index.ts";
import { createApiClient, issueEnrolment, listTokens, revokeToken, whoAmI } from "../../src/contract/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { createSecretService } from "../../src/secrets/index.ts";
import { createApp } from "../../src/server/app.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { oauthApp } from "../../src/server/routes/oauth.ts";
import { tokenRoutes } from "../../src/server/routes/tokens.ts";
import { createTokenSession, ProofKey, requestToken, TOKEN_LIMITS } from "../../src/tokens/index.ts";
import { MemoryStore } from "../secrets/support.ts";
import { codeForm, SERVER, startTokens, TOKEN_URL } from "./support.ts";

/** Only the group admins may do anything. */
const adminsOnly: Authorizer = {
  decide: ({ groups }) => ({ allowed: groups.includes("admins"), policies: [], errors: [] }),
};

async function startApp(t: TestContext) {
  const { tokens, recorder } = await startTokens(t, { clock: systemClock });
  const ports = { clock: systemClock, random: systemRandom };
  const secrets = await createSecretService({ ...ports, store: new MemoryStore(), recorder, log: silentLog });
  t.after(() => secrets.close());
  const urlOf = (url: string, host: string) => `http://${host}${new URL(url).pathname}`;
  const app = createApp({
    implementations: tokenRoutes({ tokens, secrets, authorizer: () => adminsOnly, recorder }),
    oauth: new Hono().route("/", oauthApp({ tokens, urlOf })),
    authenticate: (request) => tokens.authenticate(request),
    async ready() {},
    origins: () => new Set([SERVER]),
    scheme: "http",
    metrics: new Metrics(),
    clock: systemClock,
    log: silentLog,
    version: "0",
  });
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    request.headers.set("host", new URL(request.url).host);
    return app.request(request);
  };
  const session = { ...ports, fetch };
  const enrol = async (code: string) => {
    const { key } = await ProofKey.generate();
    const first = await requestToken({ ...session, serverUrl: SERVER, key, code });
    const tokens = createTokenSession({ ...session, serverUrl: SERVER, key, first });
    const prove = (method: string, url: string) => tokens.prove(method, url);
    return createApiClient({ serverUrl: SERVER, fetch: tokens.sendProven, prove });
  };
  return { tokens, fetch, enrol, recorder };
}

const post = (body: string, headers: Record<string, string> = {}) => ({
  method: "POST",
  body,
  headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
});

test("an exchange answers as RFC 6749 and RFC 9449 say", async (t) => {
  const { tokens, fetch } = await startApp(t);
  const bootstrap = await tokens.bootstrap();
  const { key } = await ProofKey.generate();
  const dpop = await key.prove({ method: "POST", url: TOKEN_URL }, { clock: systemClock, random: systemRandom });
  const response = await fetch(TOKEN_URL, post(codeForm(bootstrap?.code ?? "").toString(), { dpop }));
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("cache-control"), "no-store");
  const body = (await response.json()) as Record<string, unknown>;
  assert.equal(body.token_type, "DPoP");
  assert.equal(body.issued_token_type, "urn:ietf:params:oauth:token-type:access_token");
  assert.equal(body.expires_in, TOKEN_LIMITS.tokenTtlSeconds);
  assert.equal(body.principal, 'Admin::"admin"');
});

test("refusals say the code of the standard and nothing else", async (t) => {
  const { fetch } = await startApp(t);
  const said = async (init: RequestInit) => {
    const response = await fetch(TOKEN_URL, init);
    return [response.status, await response.json()];
  };
  assert.deepEqual(await said(post("")), [400, { error: "unsupported_grant_type" }]);
  assert.deepEqual(await said(post(codeForm("x").toString())), [400, { error: "invalid_dpop_proof" }]);
  assert.deepEqual(await said(post("%%%=%")), [400, { error: "unsupported_grant_type" }]);
  assert.deepEqual(await said(post("{}", { "content-type": "application/json" })), [415, { error: "invalid_request" }]);
  const long = post(`grant_type=${"x".repeat(TOKEN_LIMITS.formBytes)}`);
  assert.deepEqual(await said(long), [413, { error: "invalid_request" }]);
  assert.equal((await fetch(TOKEN_URL)).status, 404);
  const misdirected = await fetch("http://evil.example/oauth/token", post(codeForm("x").toString()));
  assert.equal(misdirected.status, 421);
});

test("the metadata names the endpoint by the origin that was asked", async (t) => {
  const { fetch } = await startApp(t);
  const response = await fetch(`${SERVER}/.well-known/oauth-authorization-server`);
  const metadata = (await response.json()) as Record<string, unknown>;
  assert.equal(metadata.issuer, SERVER);
  assert.equal(metadata.token_endpoint, TOKEN_URL);
  assert.deepEqual(metadata.dpop_signing_alg_values_supported, ["ES256"]);
});

test("an administrator enrols, lists and revokes; a workload only ends itself", async (t) => {
  const { tokens, enrol } = await startApp(t);
  const admin = await enrol((await tokens.bootstrap())?.code ?? "");
  const { code, workload } = await admin.call(issueEnrolment, { body: { workload: "demo", groups: ["team"] } });
  assert.equal(workload, "demo");
  const demo = await enrol(code);
  const me = await demo.call(whoAmI, {});
  assert.deepEqual([me.principal, me.groups], [{ type: "Workload", id: "demo" }, ["team"]]);
  const forbidden = { code: "FORBIDDEN" };
  await assert.rejects(demo.call(issueEnrolment, { body: { workload: "x", admin: true } }), forbidden);
  await assert.rejects(demo.call(listTokens, {}), forbidden);
  const { tokens: live } = await admin.call(listTokens, {});
  assert.equal(live.length, 2);
  const [other] = live.filter((token) => token.id !== me.token);
  await assert.rejects(demo.call(revokeToken, { body: { token: other?.id ?? "" } }), forbidden);
  await assert.rejects(demo.call(revokeToken, { body: { principal: me.principal as never } }), forbidden);
  await demo.call(revokeToken, { body: { token: me.token } });
  await assert.rejects(demo.call(whoAmI, {}), { code: "TOKEN_REFUSED", status: 401 });
  await assert.rejects(admin.call(revokeToken, { body: { token: me.token } }), { code: "TOKEN_NOT_FOUND" });
});

test("an administrator's code makes an administrator", async (t) => {
  const { tokens, enrol } = await startApp(t);
  const admin = await enrol((await tokens.bootstrap())?.code ?? "");
  const { code } = await admin.call(issueEnrolment, { body: { workload: "grace", admin: true, ttl_seconds: 60 } });
  const grace = await (await enrol(code)).call(whoAmI, {});
  assert.deepEqual([grace.principal, grace.groups], [{ type: "Admin", id: "grace" }, ["admins"]]);
});
