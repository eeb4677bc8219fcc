/** What the clients of Vault and AWS KMS make of services that are slow, overloaded, broken, or not who they should be. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import { type BackendPorts, type KeyWrapper, openKeyWrapper } from "../../src/backends/index.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";

const TOKEN = "hvs.Secret-Token-0123456789";
const AWS_SECRET = "aws/Secret+Key0123456789";
const KEY = new Uint8Array(32).fill(0x5a);
const ARN = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000001";
const context = { package_id: "p", root_digest: "r" };
const limits = { connectMilliseconds: 300, answerMilliseconds: 300, callMilliseconds: 3_000, backoffMilliseconds: 5 };

const closing: (() => void)[] = [];
after(() => {
  for (const close of closing) close();
});

/** Answers in turn; the last one stays. */
type Answer = (res: ServerResponse, req: IncomingMessage) => void;

interface Counterpart {
  readonly origin: string;
  readonly host: string;
  readonly seen: string[];
}

function listen(server: ReturnType<typeof createServer>, scheme: string): Promise<string> {
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`));
  });
}

async function counterpart(...answers: Answer[]): Promise<Counterpart> {
  const seen: string[] = [];
  const server = createServer(answering(seen, answers));
  const origin = await listen(server, "http");
  return { origin, host: new URL(origin).host, seen };
}

function answering(seen: string[], answers: readonly Answer[]): RequestListener {
  return (req, res) => {
    seen.push(`${req.method} ${req.url} ${req.headers["x-vault-token"] ?? ""}`);
    req.resume().on("end", () => answers[Math.min(seen.length, answers.length) - 1]?.(res, req));
  };
}

const says =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (res) =>
    res.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));

const encrypted = says(200, { data: { ciphertext: "vault:v1:AAECAw==" } });
const awsEncrypted = says(200, { CiphertextBlob: "AAECAw==", KeyId: ARN });

/** A wrapper that never asked for anything before: the token is in a file, and the key may not be read. */
async function vaultAt(peer: Counterpart, env: Record<string, string> = {}): Promise<KeyWrapper> {
  const file = join(temporaryFolder(), "token");
  writeFileSync(file, `${TOKEN}\n`, { mode: 0o600 });
  const ports: BackendPorts = { random, limits, env: { VAULT_TOKEN_FILE: file, ...env } };
  return openKeyWrapper(`vault://${peer.host}/transit/kek?insecure-http=1`, ports);
}

function awsAt(peer: Counterpart, env: Record<string, string> = {}): Promise<KeyWrapper> {
  const credentials = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: AWS_SECRET };
  const all = { ...credentials, AWS_ENDPOINT_URL: peer.origin, ...env };
  return openKeyWrapper(`awskms://eu-central-1/${ARN}`, { random, limits, env: all });
}

/** The code, after a look at everything that an error could show. */
async function failure(work: () => Promise<unknown>): Promise<string | undefined> {
  return codeOf(async () => {
    try {
      await work();
    } catch (error) {
      const text = inspect(error, { depth: 20, showHidden: true });
      const secrets = [TOKEN, AWS_SECRET, Buffer.from(KEY).toString("base64"), "AKIDEXAMPLE"];
      assert.ok(!secrets.some((secret) => text.includes(secret)), "an error shows a secret");
      throw error;
    }
  });
}

const mayNotLook = says(403, { errors: ["1 error occurred: permission denied"] });

test("vault: too many requests and a bad gateway are waited out", async () => {
  const later = says(429, { errors: [] }, { "retry-after": "0" });
  const peer = await counterpart(mayNotLook, mayNotLook, later, says(502, "<html>"), encrypted);
  const wrapped = await (await vaultAt(peer)).wrap(KEY, context);
  assert.equal(wrapped.keyVersion, "1");
  assert.equal(peer.seen.length, 5);
});

test("vault: one that stays overloaded, sealed or broken is told after four tries", async () => {
  const cases = [
    [says(429, { errors: [] }), "KMS_THROTTLED", 4],
    [says(503, { errors: ["Vault is sealed"] }), "KMS_SEALED", 4],
    [says(502, "x"), "KMS_UNREACHABLE", 4],
    [says(500, { errors: ["internal"] }), "KMS_UNREACHABLE", 1],
    [says(473, ""), "KMS_SEALED", 1],
    [says(400, { errors: ["something new"] }), "KMS_REFUSED", 1],
    [says(404, { errors: ["no handler for route"] }), "KMS_KEY_NOT_FOUND", 1],
    [says(200, '{"data":{"ciphertext":"vault:v1:'), "KMS_ANSWER_INVALID", 1],
    [says(200, { data: { ciphertext: "vault:v0:AAAA" } }), "KMS_ANSWER_INVALID", 1],
    [says(200, { data: { ciphertext: "aws:v1:AAAA" } }), "KMS_ANSWER_INVALID", 1],
    [says(200, { data: {} }), "KMS_ANSWER_INVALID", 1],
    [says(200, "x".repeat(300_000)), "KMS_ANSWER_INVALID", 1],
    [says(200, "x", { padding: "x".repeat(20_000) }), "KMS_ANSWER_INVALID", 1],
    [says(307, "", { location: "http://127.0.0.1:1/" }), "KMS_SEALED", 1],
    [
      (res: ServerResponse) => res.writeHead(200, { "content-length": "100" }).write("{", () => res.destroy()),
      "KMS_UNREACHABLE",
      4,
    ],
    [(res: ServerResponse) => res.socket?.end("SSH-2.0-other\r\n\r\n"), "KMS_ANSWER_INVALID", 1],
    [() => undefined, "KMS_UNREACHABLE", 4],
    [(res: ServerResponse) => res.writeHead(200).write("{"), "KMS_UNREACHABLE", 4],
  ] as const;
  for (const [index, [answer, code, tries]] of cases.entries()) {
    const peer = await counterpart(mayNotLook, mayNotLook, answer as Answer);
    const wrapper = await vaultAt(peer);
    assert.equal(await failure(() => wrapper.wrap(KEY, context)), code, `case ${index}`);
    assert.equal(peer.seen.length - 2, tries, `case ${index}`);
  }
});

test("a call ends when its time is over, however long the service asks to wait", async () => {
  const peer = await counterpart(mayNotLook, mayNotLook, says(429, { errors: [] }, { "retry-after": "3600" }));
  const wrapper = await vaultAt(peer);
  const start = performance.now();
  assert.equal(await failure(() => wrapper.wrap(KEY, context)), "KMS_THROTTLED");
  assert.ok(performance.now() - start < 3_500);
});

test("vault: a refused token is not repeated, a token file is read anew, once", async () => {
  const invalid = says(403, { errors: ["permission denied", "invalid token"] });
  const given = await counterpart(invalid);
  const env = { VAULT_TOKEN_FILE: "", VAULT_TOKEN: TOKEN };
  const wrapper = await vaultAt(given, env);
  assert.equal(await failure(() => wrapper.wrap(KEY, context)), "KMS_CREDENTIALS_REFUSED");
  const file = join(temporaryFolder(), "token");
  writeFileSync(file, "hvs.old", { mode: 0o600 });
  const peer = await counterpart(mayNotLook, mayNotLook, invalid, encrypted);
  const renewed = await vaultAt(peer, { VAULT_TOKEN_FILE: file });
  writeFileSync(file, "hvs.new", { mode: 0o600 });
  await renewed.wrap(KEY, context);
  assert.deepEqual(
    peer.seen.map((line) => line.split(" ")[2]),
    ["hvs.old", "hvs.old", "hvs.old", "hvs.new"],
  );
});

test("vault: a login is done once, whatever comes back", async () => {
  const env = { VAULT_TOKEN_FILE: "", VAULT_ROLE_ID: "role", VAULT_SECRET_ID: "secret-id" };
  for (const [answer, code] of [
    [says(502, ""), "KMS_CREDENTIALS_REFUSED"],
    [says(400, { errors: ["invalid role or secret ID"] }), "KMS_CREDENTIALS_REFUSED"],
    [says(503, { errors: ["Vault is sealed"] }), "KMS_SEALED"],
    [says(200, { auth: { lease_duration: 60 } }), "KMS_ANSWER_INVALID"],
    [says(200, { auth: { client_token: "a", x: { client_token: "b" }, lease_duration: 60 } }), "KMS_ANSWER_INVALID"],
  ] as const) {
    const peer = await counterpart(answer);
    assert.equal(await failure(() => vaultAt(peer, env)), code);
    assert.deepEqual(peer.seen, ["POST /v1/auth/approle/login "]);
  }
});

test("vault: credentials that are not there, open to others or odd are told", async () => {
  const peer = await counterpart(mayNotLook);
  const folder = temporaryFolder();
  const write = (name: string, text: string, mode: number) => {
    writeFileSync(join(folder, name), text, { mode });
    return join(folder, name);
  };
  const cases: Record<string, string>[] = [
    { VAULT_TOKEN_FILE: "" },
    { VAULT_TOKEN_FILE: join(folder, "none") },
    { VAULT_TOKEN_FILE: folder },
    { VAULT_TOKEN_FILE: write("open", TOKEN, 0o644) },
    { VAULT_TOKEN_FILE: write("empty", "\n", 0o600) },
    { VAULT_TOKEN_FILE: write("split", "a\r\nx-vault-namespace: b", 0o600) },
    { VAULT_TOKEN_FILE: write("large", "x".repeat(100_000), 0o600) },
    { VAULT_TOKEN_FILE: "", VAULT_ROLE_ID: "r" },
    { VAULT_CLIENT_CERT: join(folder, "none") },
    { VAULT_CLIENT_KEY: join(folder, "none") },
    { VAULT_TOKEN_FILE: "", VAULT_ROLE_ID: "r", VAULT_SECRET_ID: 'a","x":"' },
    { VAULT_TOKEN_FILE: "", VAULT_ROLE_ID: "r", VAULT_SECRET_ID: "s", VAULT_APPROLE_MOUNT: "../sys" },
  ];
  for (const env of cases)
    assert.equal(await failure(() => vaultAt(peer, env)), "KMS_CREDENTIALS_MISSING", inspect(env));
  assert.deepEqual(peer.seen, []);
});

test("vault: an answer that forgets the context, or gives another key's plaintext, does not open", async () => {
  const plaintext = Buffer.concat([Buffer.alloc(32, 1), KEY]).toString("base64");
  for (const body of [{ plaintext }, { plaintext: "" }, { plaintext: Buffer.from(KEY).toString("base64") }]) {
    const peer = await counterpart(mayNotLook, mayNotLook, says(200, { data: body }));
    const wrapper = await vaultAt(peer);
    const wrapped = { kms: "", keyId: "transit/kek", keyVersion: "1", ciphertext: new Uint8Array(40) };
    assert.equal(await failure(() => wrapper.unwrap(wrapped, context)), "UNWRAP_FAILED");
  }
});

test("aws: throttling says 400 and is waited out; refusals have codes and are not repeated", async () => {
  const refused = (type: string) => says(400, { __type: type, message: "words" });
  const patient = await counterpart(refused("ThrottlingException"), refused("KMSInternalException"), awsEncrypted);
  assert.equal((await (await awsAt(patient)).wrap(KEY, context)).keyId, ARN);
  const cases = [
    [refused("ThrottlingException"), "KMS_THROTTLED", 4],
    [refused("com.amazonaws.kms#DisabledException"), "KMS_KEY_DISABLED", 1],
    [refused("KMSInvalidStateException"), "KMS_KEY_DISABLED", 1],
    [refused("NotFoundException:http://internal/"), "KMS_KEY_NOT_FOUND", 1],
    [refused("AccessDeniedException"), "KMS_DENIED", 1],
    [refused("ExpiredTokenException"), "KMS_CREDENTIALS_REFUSED", 1],
    [refused("SomethingNew"), "KMS_REFUSED", 1],
    [says(403, "<html>"), "KMS_DENIED", 1],
    [says(500, ""), "KMS_UNREACHABLE", 1],
    [says(200, { CiphertextBlob: "AAECAw==", KeyId: ARN.replace("01", "02") }), "KMS_ANSWER_INVALID", 1],
    [says(200, { CiphertextBlob: "not base64", KeyId: ARN }), "KMS_ANSWER_INVALID", 1],
    [says(200, '{"CiphertextBlob"'), "KMS_ANSWER_INVALID", 1],
    [() => undefined, "KMS_UNREACHABLE", 4],
  ] as const;
  for (const [index, [answer, code, tries]] of cases.entries()) {
    const peer = await counterpart(answer as Answer);
    const wrapper = await awsAt(peer);
    assert.equal(await failure(() => wrapper.wrap(KEY, context)), code, `case ${index}`);
    assert.equal(peer.seen.length, tries, `case ${index}`);
  }
});

test("aws: a multi-region key is recognised from another region, another key is not", async () => {
  const arn = (region: string, id: string) => `arn:aws:kms:${region}:123456789012:key/${id}`;
  const open = (region: string, id: string) =>
    openKeyWrapper(`awskms://${region}/${arn(region, id)}`, { random, env: {} });
  const wrapped = { kms: "", keyVersion: "1", ciphertext: new Uint8Array(1) };
  const mrk = await open("eu-central-1", "mrk-1");
  assert.ok(mrk.recognises({ ...wrapped, keyId: arn("us-east-1", "mrk-1") }));
  assert.ok(!mrk.recognises({ ...wrapped, keyId: arn("us-east-1", "mrk-2") }));
  const single = await open("eu-central-1", "1");
  assert.ok(!single.recognises({ ...wrapped, keyId: arn("us-east-1", "1") }));
});

test("nobody who listens is unreachable, within the time of a call", async () => {
  const gone = { origin: "http://127.0.0.1:9", host: "127.0.0.1:9", seen: [] };
  assert.equal(await failure(() => vaultAt(gone)), "KMS_UNREACHABLE");
  const wrapper = await awsAt(gone);
  assert.equal(await failure(() => wrapper.wrap(KEY, context)), "KMS_UNREACHABLE");
});

function certificate(name: string): { key: Buffer; cert: Buffer; certPath: string } {
  const folder = temporaryFolder();
  const [keyPath, certPath] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const subject = ["-subj", "/CN=peer", "-addext", `subjectAltName=${name}`];
  execFileSync("openssl", ["req", "-x509", ...curve, ...subject, "-keyout", keyPath, "-out", certPath], {
    stdio: "pipe",
  });
  return { key: readFileSync(keyPath), cert: readFileSync(certPath), certPath };
}

async function tlsCounterpart(name: string, ...answers: Answer[]): Promise<Counterpart & { certPath: string }> {
  const { key, cert, certPath } = certificate(name);
  const seen: string[] = [];
  const server = createTlsServer({ key, cert }, answering(seen, answers));
  const origin = await listen(server as unknown as ReturnType<typeof createServer>, "https");
  return { origin, host: new URL(origin).host, seen, certPath };
}

test("a certificate of no known authority, or of another name, gets no token", async () => {
  const stranger = await tlsCounterpart("IP:127.0.0.1", mayNotLook);
  const misnamed = await tlsCounterpart("DNS:vault.example", mayNotLook);
  const env = { VAULT_TOKEN: TOKEN };
  const open = (peer: Counterpart, more: Record<string, string>) =>
    openKeyWrapper(`vault://${peer.host}/transit/kek`, { random, limits, env: { ...env, ...more } });
  assert.equal(await failure(() => open(stranger, {})), "KMS_TLS_REFUSED");
  assert.equal(await failure(() => open(misnamed, { VAULT_CACERT: misnamed.certPath })), "KMS_TLS_REFUSED");
  assert.equal(await failure(() => open(stranger, { VAULT_CACERT: misnamed.certPath })), "KMS_TLS_REFUSED");
  const aws = await awsAt(stranger);
  assert.equal(await failure(() => aws.wrap(KEY, context)), "KMS_TLS_REFUSED");
  assert.deepEqual([...stranger.seen, ...misnamed.seen], []);
});

test("a certificate of the named authority is accepted, by Vault and by AWS", async () => {
  const vault = await tlsCounterpart("IP:127.0.0.1", mayNotLook, mayNotLook, encrypted);
  const env = { VAULT_TOKEN: TOKEN, VAULT_CACERT: vault.certPath };
  const wrapper = await openKeyWrapper(`vault://${vault.host}/transit/kek`, { random, limits, env });
  await wrapper.wrap(KEY, context);
  const aws = await tlsCounterpart("IP:127.0.0.1", awsEncrypted);
  await (await awsAt(aws, { AWS_CA_BUNDLE: aws.certPath })).wrap(KEY, context);
});
