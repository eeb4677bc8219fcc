/** The parts of keyless signing: tokens, signing configurations, DER that OpenSSL reads, answers of any shape, the command line. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type Fetch, utf8 } from "../../src/base/index.ts";
import { encodeTimestampRequest, toPem } from "../../src/codec/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { openKeylessSigner, readSigningConfig } from "../../src/signing/index.ts";
import { encodeSigningRequest } from "../../src/signing/keyless-sign/der-write.ts";
import { checkEndpoints } from "../../src/signing/keyless-sign/endpoints.ts";
import type { KeylessPorts } from "../../src/signing/keyless-sign/http.ts";
import { requestEntry } from "../../src/signing/keyless-sign/log.ts";
import { requestTimestamp } from "../../src/signing/keyless-sign/timestamp.ts";
import { type TokenOptions, tokenSource } from "../../src/signing/keyless-sign/token.ts";
import { codeOf, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";
import { KeylessCounterpart, makeToken } from "./keyless-sign-counterpart.ts";

const ports: KeylessPorts = {
  fetch: globalThis.fetch,
  clock: systemClock,
  random: systemRandom,
  limits: { attempts: 1, backoffMilliseconds: 1 },
};
const counterpart = await KeylessCounterpart.start();

async function tokenCode(options: TokenOptions): Promise<string | undefined> {
  return codeOf(async () => (await tokenSource(options)(ports)).secret.wipe());
}

test("a token comes from a file, the environment or the CI platform, in that order", async () => {
  const file = join(temporaryFolder(), "token");
  const text = makeToken({ email: "file@example.com" });
  writeFileSync(file, `${text}\n`);
  const actions = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `${counterpart.url}/actions?api-version=2.0`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "request-secret",
  };
  const env = { ...actions, SIGSTORE_ID_TOKEN: makeToken({ email: "env@example.com" }) };
  const read = async (options: TokenOptions) => (await tokenSource(options)(ports)).claims.identities[0];
  assert.equal(await read({ file, env }), "file@example.com");
  assert.equal(await read({ env }), "env@example.com");
  assert.equal(await read({ env: actions }), "https://github.com/o/r/.github/workflows/sign.yml@refs/heads/main");
  assert.equal(await tokenCode({ env: {} }), "KEYLESS_TOKEN_MISSING");
  const { secret } = await tokenSource({ file, env: {} })(ports);
  assert.equal(
    secret.use((bytes) => Buffer.from(bytes).toString()),
    text,
  );
  secret.wipe();
  const elsewhere = { ...actions, ACTIONS_ID_TOKEN_REQUEST_URL: "http://example.com/" };
  assert.equal(await tokenCode({ env: elsewhere }), "KEYLESS_TOKEN_MISSING");
  await assert.rejects(tokenSource({ env: { ...actions, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "other" } })(ports));
});

test("a token of a pipeline and of a federated identity says what to expect", async () => {
  const claimsOf = async (claims: Record<string, unknown>) => {
    const { secret, claims: read } = await tokenSource({ env: { SIGSTORE_ID_TOKEN: makeToken(claims) } })(ports);
    secret.wipe();
    return read;
  };
  const pipeline = await claimsOf({
    email: undefined,
    ci_config_ref_uri: "gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main",
  });
  assert.deepEqual(pipeline.identities, ["https://gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main", "1"]);
  const federated = await claimsOf({ federated_claims: { connector_id: "https://accounts.example.com" } });
  assert.deepEqual(federated.issuers, ["https://id.example.com", "https://accounts.example.com"]);
  const stranger = await claimsOf({ email: undefined, job_workflow_ref: "o/r/w.yml@main" });
  assert.deepEqual(stranger.identities, ["1"]);
});

test("what is no token, is expired or for somebody else is refused before anybody is asked", async () => {
  const valid = makeToken();
  const bad: readonly string[] = [
    "secret",
    "a.b",
    "a.b.c",
    "a.b.c.d",
    `${valid}"`,
    `${valid}.x`,
    `${valid}\u00e9`,
    `x"}} ${valid}`,
    valid.replace(".", "\n"),
    "a".repeat(16 * 1024 + 1),
    makeToken({ exp: Math.floor(Date.now() / 1000) - 1 }),
    makeToken({ exp: "soon" }),
    makeToken({ aud: "somebody-else" }),
    makeToken({ aud: ["a", "b"] }),
    makeToken({ iss: undefined }),
    makeToken({ email: 7 }),
  ];
  for (const token of bad)
    assert.equal(await tokenCode({ env: { SIGSTORE_ID_TOKEN: token } }), "KEYLESS_TOKEN_INVALID", token.slice(0, 40));
  assert.equal(await tokenCode({ env: { SIGSTORE_ID_TOKEN: makeToken({ aud: ["a", "sigstore"] }) } }), undefined);
  const own = { env: { SIGSTORE_ID_TOKEN: makeToken({ aud: "own" }) }, audience: "own" };
  assert.equal(await tokenCode(own), undefined);
});

const START = "2026-01-01T00:00:00Z";
const NOW = Date.parse("2026-06-01T00:00:00Z");
const service = (url: string, majorApiVersion: number, more: object = {}) => ({
  url,
  majorApiVersion,
  validFor: { start: START },
  operator: "example",
  ...more,
});
const config = (change: object = {}) =>
  utf8(
    JSON.stringify({
      mediaType: "application/vnd.dev.sigstore.signingconfig.v0.2+json",
      caUrls: [service("https://ca.example", 1)],
      oidcUrls: [],
      rekorTlogUrls: [service("https://log2.example", 2), service("https://log1.example", 1)],
      tsaUrls: [service("https://tsa.example/api/v1/timestamp", 1)],
      rekorTlogConfig: { selector: "ANY" },
      tsaConfig: { selector: "ANY" },
      ...change,
    }),
  );

test("a signing configuration: the newest version in use, as many as it asks for, one of each operator", () => {
  const logsOf = (change: object) => readSigningConfig(config(change), NOW).logs.map(({ url }) => url);
  assert.deepEqual(readSigningConfig(config(), NOW), {
    authorityUrl: "https://ca.example",
    logs: [{ url: "https://log2.example", version: 2 }],
    timestampUrls: ["https://tsa.example/api/v1/timestamp"],
  });
  const ended = service("https://log2.example", 2, { validFor: { start: START, end: "2026-05-01T00:00:00Z" } });
  const coming = service("https://log3.example", 2, { validFor: { start: "2026-07-01T00:00:00Z" } });
  const unknown = service("https://log9.example", 9);
  const first = service("https://log1.example", 1);
  assert.deepEqual(logsOf({ rekorTlogUrls: [unknown, coming, ended, first] }), ["https://log1.example"]);
  const other = service("https://other.example", 2, { operator: "other" });
  const three = [service("https://a.example", 2), service("https://b.example", 2), other];
  assert.deepEqual(logsOf({ rekorTlogUrls: three, rekorTlogConfig: { selector: "ALL" } }), [
    "https://a.example",
    "https://other.example",
  ]);
  const exact = (count: number) => ({ rekorTlogUrls: three, rekorTlogConfig: { selector: "EXACT", count } });
  assert.deepEqual(logsOf(exact(1)), ["https://a.example"]);
  assert.equal(logsOf(exact(2)).length, 2);
  assert.throws(() => logsOf(exact(3)), { code: "KEYLESS_SETTINGS_INVALID" });
});

test("a signing configuration that names nothing usable is an error", async () => {
  const bad: readonly Uint8Array[] = [
    utf8("{"),
    utf8("{}"),
    config({ mediaType: "application/vnd.dev.sigstore.signingconfig.v0.1+json" }),
    config({ caUrls: [] }),
    config({ caUrls: [service("https://ca.example", 2)] }),
    config({ rekorTlogUrls: [] }),
    config({ rekorTlogConfig: { selector: "SOME" } }),
    config({ tsaUrls: [service("https://tsa.example", 2)] }),
  ];
  for (const bytes of bad)
    assert.equal(await codeOf(() => readSigningConfig(bytes, NOW)), "KEYLESS_SETTINGS_INVALID", String(bytes));
});

test("a service is asked over HTTPS, or on this machine", async () => {
  const urls = (url: string) => ({ authorityUrl: url, logs: [{ url, version: 1 as const }], timestampUrls: [] });
  for (const url of ["https://a.example", "https://a.example/fulcio/", "http://127.0.0.1:1", "http://localhost"])
    assert.equal(await codeOf(() => checkEndpoints(urls(url))), undefined, url);
  const bad = [
    "http://a.example",
    "ftp://a.example",
    "a.example",
    "",
    "https://u:p@a.example",
    "https://a.example/?x=1",
  ];
  for (const url of [...bad, "http://127.0.0.1.a.example", `https://${"a".repeat(3_000)}`])
    assert.equal(await codeOf(() => checkEndpoints(urls(url))), "KEYLESS_SETTINGS_INVALID", url.slice(0, 60));
  const untimed = { ...urls("https://a.example"), logs: [{ url: "https://a.example", version: 2 as const }] };
  assert.equal(await codeOf(() => checkEndpoints(untimed)), "KEYLESS_SETTINGS_INVALID");
  assert.deepEqual(checkEndpoints().logs, [{ url: "https://rekor.sigstore.dev", version: 1 }]);
});

const queryFor = (bytes: Uint8Array, nonce: Uint8Array) =>
  encodeTimestampRequest({ digest: new Uint8Array(createHash("sha256").update(bytes).digest()), nonce });

test("OpenSSL reads our requests, and we read its timestamps", async (t) => {
  const openssl = "/usr/bin/openssl";
  if (!existsSync(openssl)) return t.skip("no OpenSSL here: apt-get install openssl");
  const folder = temporaryFolder();
  const run = (...words: string[]) => execFileSync(openssl, words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(join(folder, "csr.pem"), toPem("CERTIFICATE REQUEST", encodeSigningRequest(publicKey, privateKey)));
  const shown = run("req", "-in", "csr.pem", "-noout", "-pubkey").toString();
  assert.ok(createPublicKey(shown).equals(publicKey));
  const saying = (file: string) =>
    spawnSync(openssl, ["req", "-in", file, "-verify", "-noout"], { cwd: folder }).stderr;
  assert.match(saying("csr.pem").toString(), /verify OK/);
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  writeFileSync(join(folder, "bad.pem"), toPem("CERTIFICATE REQUEST", encodeSigningRequest(publicKey, other)));
  assert.doesNotMatch(saying("bad.pem").toString(), /verify OK/);
  writeFileSync(join(folder, "data"), "signature");
  writeFileSync(join(folder, "query.tsq"), queryFor(utf8("signature"), Uint8Array.of(0x40, 1, 2)));
  assert.match(run("ts", "-query", "-in", "query.tsq", "-text").toString(), /Nonce: 0x400102[\s\S]*required: yes/);
  prepareAuthority(folder, run);
  const authority: Fetch = async (_, init) => {
    writeFileSync(join(folder, "asked.tsq"), init?.body as Uint8Array);
    return new Response(new Uint8Array(run("ts", "-reply", "-config", "ts.cnf", "-queryfile", "asked.tsq")));
  };
  const response = await requestTimestamp({ ...ports, fetch: authority }, "https://tsa.example", utf8("signature"));
  writeFileSync(join(folder, "reply.tsr"), response);
  run("ts", "-verify", "-data", "data", "-in", "reply.tsr", "-CAfile", "tsa.crt");
});

function prepareAuthority(folder: string, run: (...words: string[]) => Buffer): void {
  const request = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-subj",
    "/CN=TSA",
  ];
  const files = ["-keyout", "tsa.key", "-out", "tsa.crt", "-addext", "extendedKeyUsage=critical,timeStamping"];
  run(...request, ...files);
  writeFileSync(join(folder, "serial"), "01\n");
  const lines = [
    "[tsa]",
    "default_tsa = own",
    "[own]",
    `serial = ${join(folder, "serial")}`,
    `signer_cert = ${join(folder, "tsa.crt")}`,
    `signer_key = ${join(folder, "tsa.key")}`,
    "signer_digest = sha256",
    "default_policy = 1.2.3.4",
    "digests = sha256",
  ];
  writeFileSync(join(folder, "ts.cnf"), lines.join("\n"));
}

test("answers of any shape make one of our errors", async () => {
  const budgetMs = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 2) * 400;
  const fuzz = { numRuns: 100_000, interruptAfterTimeLimit: budgetMs };
  const answering = (body: Uint8Array): KeylessPorts => ({
    ...ports,
    fetch: async () => new Response(new Uint8Array(body), { status: 200 }),
  });
  const signatures = [{ keyId: undefined, signature: randomBytes(70) }];
  const envelope = { payloadType: "application/vnd.in-toto+json", payload: utf8("{}"), signatures };
  const refused = async (work: () => Promise<unknown>) => assert.notEqual(await codeOf(work), undefined);
  const values = fc.oneof(fc.json().map(utf8), fc.uint8Array({ maxLength: 300 }));
  for (const version of [1, 2] as const) {
    const log = { url: "https://log.example", version };
    const ask = (body: Uint8Array) => refused(() => requestEntry(answering(body), log, envelope, randomBytes(300)));
    await fc.assert(fc.asyncProperty(values, ask), fuzz);
  }
  const good = await fetch(`${counterpart.url}/tsa`, {
    method: "POST",
    body: new Uint8Array(queryFor(utf8("x"), Uint8Array.of(0x40))),
  });
  const response = new Uint8Array(await good.arrayBuffer());
  const flips = fc.tuple(fc.nat({ max: response.length - 1 }), fc.nat({ max: 255 })).map(([at, byte]) => {
    const copy = Uint8Array.from(response);
    copy[at] = byte;
    return copy;
  });
  const stamp = (body: Uint8Array) =>
    refused(() => requestTimestamp(answering(body), "https://tsa.example", utf8("x")));
  await fc.assert(fc.asyncProperty(fc.oneof(flips, values), stamp), fuzz);
});

test("an answer without end is not read to its end", async () => {
  let chunks = 0;
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    if (++chunks > 100) controller.close();
    else controller.enqueue(new Uint8Array(64 * 1024));
  };
  const endless = { ...ports, fetch: async () => new Response(new ReadableStream({ pull })) };
  const work = () => requestTimestamp(endless, "https://tsa.example", utf8("x"));
  assert.equal(await codeOf(work), "KEYLESS_ANSWER_INVALID");
  assert.ok(chunks < 20, String(chunks));
});

test("the command line signs without a key; the token is in no output, and a failure leaves nothing", async () => {
  const folder = temporaryFolder();
  const model = writeModel({ "weights.bin": "weights" }, join(folder, "model"));
  const trustedRoot = join(folder, "root.json");
  writeFileSync(trustedRoot, counterpart.trustedRoot());
  const token = makeToken();
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, token, { mode: 0o600 });
  const signingConfig = join(folder, "config.json");
  const local = (path: string, version: number) => service(`${counterpart.url}${path}`, version);
  const urls = { caUrls: [local("/fulcio", 1)], rekorTlogUrls: [local("/rekor", 2)], tsaUrls: [local("/tsa", 1)] };
  writeFileSync(signingConfig, config(urls));
  const services = ["--signing-config", signingConfig, "--trusted-root", trustedRoot];
  const sign = async (...words: string[]) => {
    const outcome = await modelkeep(["sign", model, ...words]);
    assert.ok(!`${outcome.stdout}${outcome.stderr}`.includes(token.split(".")[2] ?? ""));
    return outcome;
  };
  const keyless = ["--keyless", "--identity-token-file", tokenFile, ...services];
  counterpart.twists = { rekor2: () => ({ status: 500, body: token }) };
  assert.equal((await sign(...keyless)).exit, 1);
  counterpart.twists = {};
  assert.deepEqual(readdirSync(model), ["weights.bin"]);
  assert.equal((await sign(...keyless, "--identity", "other@example.com")).exit, 1);
  assert.equal((await sign("--keyless", ...services)).exit, 1);
  assert.deepEqual(readdirSync(model), ["weights.bin"]);
  const done = await sign(...keyless, "--json");
  assert.equal(done.exit, 0, done.stderr);
  const signer = { method: "keyless", identity: "signer@example.com", issuer: "https://id.example.com" };
  assert.deepEqual(JSON.parse(done.stdout).signer, signer);
  const verify = (...words: string[]) =>
    modelkeep(["verify", model, "--signature", join(model, "model.sig"), ...words, "--issuer", signer.issuer]);
  const identity = ["--identity", signer.identity];
  assert.equal((await verify(...identity, "--trusted-root", trustedRoot)).exit, 0);
  assert.equal((await verify(...identity)).exit, 4);
  assert.equal((await verify("--identity", "b@example.com", "--trusted-root", trustedRoot)).exit, 4);
  const instance = ["--fulcio", `${counterpart.url}/fulcio`, "--rekor", `${counterpart.url}/rekor`];
  const first = [...keyless.slice(0, 3), ...instance, "--rekor-version", "1", "--trusted-root", trustedRoot];
  assert.equal((await sign(...first)).exit, 0);
  assert.equal((await verify(...identity, "--trusted-root", trustedRoot)).exit, 0);
  for (const words of [
    [...keyless, "--key", "signer.pem"],
    ["--key", "signer.pem", "--identity-token-file", tokenFile],
    ["--key", "signer.pem", "--fulcio", "https://a.example"],
    [...keyless, "--fulcio", "https://a.example"],
    [...keyless.slice(0, 3), "--fulcio", "https://a.example"],
  ])
    assert.equal((await sign(...words)).exit, 2, words.join(" "));
});

test("a caller that gives up stops the request", async () => {
  const controller = new AbortController();
  const signer = await openKeylessSigner({
    ...ports,
    limits: {},
    signal: controller.signal,
    token: { env: { SIGSTORE_ID_TOKEN: makeToken() } },
    endpoints: counterpart.endpoints(2),
    trustedRoot: counterpart.trustedRoot(),
  });
  counterpart.twists = { fulcio: () => "silence" };
  setTimeout(() => controller.abort(), 50);
  assert.equal(await codeOf(() => signer.makeBundle(utf8("{}"))), "KEYLESS_UNREACHABLE");
  counterpart.twists = {};
});
