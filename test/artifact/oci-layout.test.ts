/** What a sealed model looks like in a registry to who knows nothing of us, and how registries let us in. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey, randomBytes, sign } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";
import { openBlobStore } from "../../src/artifact/index.ts";
import { copySealed, rewrapSealed, shredSealed } from "../../src/sealing/index.ts";
import { codeOf, type Made, MIB, makeKms, makeSealed, openMade, temporaryFolder } from "../sealing/support.ts";
import { listAll } from "./store-contract.ts";
import { type StorePeer, startReferrersRegistry, startRegistry } from "./store-peers.ts";

const auth = await startTokenServer();
const [registry, referring, keeper, guarded] = await Promise.all([
  startRegistry(),
  startReferrersRegistry(),
  startRegistry("", false),
  startRegistry(auth.configuration),
]);
const skip = typeof registry === "string" ? { skip: registry } : {};

async function pushed(
  peer: StorePeer | string,
  contents = { "weights.bin": randomBytes(2 * MIB), "config.json": "{}" },
) {
  assert.ok(typeof peer !== "string");
  const made = await makeSealed(contents);
  const uri = peer.uri(`m${randomBytes(6).toString("hex")}`);
  const store = await openBlobStore(uri, { env: {} });
  await copySealed({ from: { store: made.store, prefix: "" }, to: { store, prefix: "" } });
  return { made, uri, peer, ...clientOf(uri) };
}

/** What any client asks. */
function clientOf(uri: string) {
  const [, host = "", repository = "", tag = ""] = /^oci:\/\/([^/]+)\/(.+):(.+)$/.exec(uri) ?? [];
  const get = async (path: string) => fetch(`http://${host}/v2/${repository}/${path}`, { headers: { accept: ACCEPT } });
  const manifest = async (reference: string) => {
    const answer = await get(`manifests/${reference}`);
    const text = await answer.text();
    const digest = `sha256:${createHash("sha256").update(text).digest("hex")}`;
    return { status: answer.status, digest, type: answer.headers.get("content-type"), json: JSON.parse(text || "{}") };
  };
  return { host, repository, tag, get, manifest };
}

const ACCEPT = ["manifest", "index"].map((kind) => `application/vnd.oci.image.${kind}.v1+json`).join(", ");
const TITLE = "org.opencontainers.image.title";
const titles = (manifest: { layers: { annotations: Record<string, string> }[] }) =>
  manifest.layers.map(({ annotations }) => annotations[TITLE]);

test(
  "a layer for each blob, raw and under its name; the rest refers to the model under the fallback tag",
  skip,
  async () => {
    const { made, manifest, tag, get } = await pushed(registry);
    const model = await manifest(tag);
    assert.equal(model.type, "application/vnd.oci.image.manifest.v1+json");
    assert.equal(model.json.artifactType, "application/vnd.modelkeep.sealed-model.v1");
    assert.deepEqual(titles(model.json), [
      "files/0.floe",
      "files/0.leaves",
      "files/1.floe",
      "files/1.leaves",
      "seal.json",
    ]);
    assert.equal(model.json.layers[0].mediaType, "application/vnd.modelkeep.sealed-model.file.v1+sealed");
    assert.equal(model.json.layers[0].annotations["org.cncf.model.filepath"], "config.json");
    for (const { digest, size, annotations } of model.json.layers) {
      const blob = Buffer.from(await (await get(`blobs/${digest}`)).arrayBuffer());
      assert.equal(blob.length, size);
      assert.ok(blob.equals(readFileSync(join(made.folder, annotations[TITLE]))), annotations[TITLE]);
    }
    const index = await manifest(model.digest.replace(":", "-"));
    assert.equal(index.type, "application/vnd.oci.image.index.v1+json");
    const types = index.json.manifests.map((one: { artifactType: string }) => one.artifactType);
    assert.deepEqual(types.toSorted(), [
      "application/vnd.dev.sigstore.bundle.v0.3+json",
      "application/vnd.modelkeep.key-envelope.v1+json",
    ]);
    for (const { digest, size, artifactType } of index.json.manifests) {
      const referrer = await manifest(digest);
      assert.equal(referrer.digest, digest);
      assert.equal(referrer.json.subject.digest, model.digest);
      assert.equal(referrer.json.artifactType, artifactType);
      assert.ok(size > 0 && referrer.json.layers.length === 1);
    }
  },
);

test("nothing of the plaintext is in the registry", skip, async () => {
  const marker = randomBytes(64).toString("hex");
  const { peer, uri } = await pushed(registry, {
    "weights.bin": Buffer.from(marker.repeat(2_000)),
    "config.json": marker,
  });
  const store = await openBlobStore(uri, { env: {} });
  for (const name of await listAll(store))
    assert.equal(Buffer.from(await store.readAll(name, 10 * MIB)).includes(marker), false, `${name} of ${peer.origin}`);
});

test("a digest opens as a tag does, and cannot be written", skip, async () => {
  const { made, uri, manifest, tag } = await pushed(registry);
  const { digest } = await manifest(tag);
  const byDigest = await openBlobStore(uri.replace(/:[^:/]+$/, `@${digest}`), { env: {} });
  assert.ok((await openMade(made, { store: byDigest })).content("weights.bin").length === 2 * MIB);
  assert.equal(await codeOf(() => byDigest.write("x", [])), "STORE_REFUSED");
});

test("rewrapping leaves the model's manifest as it is, and the old keys are gone", skip, async () => {
  const { made, uri, manifest, tag, get } = await pushed(registry);
  const before = await manifest(tag);
  const store = await openBlobStore(uri, { env: {} });
  const oldEnvelope = (await store.stat("envelope.json"))?.sha256;
  const { wrapper } = await makeKms();
  await rewrapSealed(store, "", [made.wrapper], [wrapper]);
  assert.equal((await manifest(tag)).digest, before.digest);
  const fresh = await openBlobStore(uri, { env: {} });
  await openMade({ ...made, wrapper }, { store: fresh });
  assert.equal(await codeOf(() => openMade(made, { store: fresh })), "NO_KEY_SERVICE");
  const index = await manifest(before.digest.replace(":", "-"));
  assert.equal(index.json.manifests.length, 2);
  assert.notEqual((await fresh.stat("envelope.json"))?.sha256, oldEnvelope);
  assert.equal((await get(`manifests/${before.digest}`)).status, 200);
});

test("where the registry lists referrers itself there is no fallback tag, and of two envelopes the newer counts", async (t) => {
  if (typeof referring === "string") return t.skip(referring);
  const { made, uri, manifest, tag, get } = await pushed(referring);
  const model = await manifest(tag);
  assert.equal((await get(`manifests/${model.digest.replace(":", "-")}`)).status, 404);
  const listed = async () => {
    const index = JSON.parse(await (await get(`referrers/${model.digest}`)).text());
    return index.manifests.length as number;
  };
  assert.equal(await listed(), 2);
  const store = await openBlobStore(uri, { env: {} });
  const { wrapper } = await makeKms();
  await rewrapSealed(store, "", [made.wrapper], [wrapper]);
  const fresh = await openBlobStore(uri, { env: {} });
  await openMade({ ...made, wrapper }, { store: fresh });
  assert.equal(await codeOf(() => openMade(made, { store: fresh })), "NO_KEY_SERVICE");
  assert.equal((await manifest(tag)).digest, model.digest);
});

test("shredding deletes the wrapped keys from the registry, or says that it keeps them", skip, async () => {
  const gone = await pushed(registry);
  const store = await openBlobStore(gone.uri, { env: {} });
  const digest = (await store.stat("envelope.json"))?.sha256;
  assert.equal(await shredSealed(store, ""), true);
  assert.equal((await gone.get(`blobs/sha256:${digest}`)).status, 404);
  assert.equal(await codeOf(() => openMade(gone.made, { store })), "BLOB_NOT_FOUND");
  const kept = await pushed(keeper);
  const stubborn = await openBlobStore(kept.uri, { env: {} });
  assert.equal(await codeOf(() => shredSealed(stubborn, "")), "STORE_DENIED");
  assert.equal(await codeOf(() => openMade(kept.made, { store: stubborn })), "BLOB_NOT_FOUND");
});

test("skopeo copies the model to a folder, blob by blob as it was sealed", skip, async (t) => {
  if (!existsSync("/usr/bin/skopeo")) return t.skip("no skopeo here: apt-get install skopeo");
  const { made, uri, manifest, tag } = await pushed(registry);
  const folder = join(temporaryFolder(), "copy");
  const from = uri.replace("oci://", "docker://");
  execFileSync("skopeo", ["copy", "--src-tls-verify=false", from, `dir:${folder}`], { stdio: "pipe" });
  const copied = readdirSync(folder);
  for (const { digest, annotations } of (await manifest(tag)).json.layers) {
    const hex = digest.slice("sha256:".length);
    assert.ok(copied.includes(hex));
    assert.ok(readFileSync(join(folder, hex)).equals(readFileSync(join(made.folder, annotations[TITLE]))));
  }
});

test("what is no model of ours is said to be none", skip, async () => {
  assert.ok(typeof registry !== "string");
  const { uri, host, repository } = await pushed(registry);
  const put = (body: object, type: string, reference: string) =>
    fetch(`http://${host}/v2/${repository}/manifests/${reference}`, {
      method: "PUT",
      headers: { "content-type": type },
      body: JSON.stringify({ schemaVersion: 2, mediaType: type, ...body }),
    });
  const index = "application/vnd.oci.image.index.v1+json";
  assert.equal((await put({ manifests: [] }, index, "an-index")).status, 201);
  const store = await openBlobStore(uri.replace(/:[^:/]+$/, ":an-index"), { env: {} });
  assert.equal(await codeOf(() => store.stat("seal.json")), "STORE_ANSWER_INVALID");
});

test("a registry that wants a token gets one: for a reader, for a writer, not for a stranger", skip, async () => {
  assert.ok(typeof guarded !== "string");
  const made: Made = await makeSealed({ "weights.bin": randomBytes(MIB) });
  const uri = guarded.uri("private");
  const host = new URL(guarded.origin).host;
  const login = { MODELKEEP_REGISTRY_HOST: host, MODELKEEP_REGISTRY_USER: "writer" };
  const writer = { ...login, MODELKEEP_REGISTRY_PASSWORD: "sesame" };
  const store = await openBlobStore(uri, { env: writer });
  await copySealed({ from: { store: made.store, prefix: "" }, to: { store, prefix: "" } });
  assert.ok(
    auth.scopes.some((scope) => scope.endsWith(":pull,push") || scope.endsWith(":push,pull")),
    auth.scopes.join(),
  );
  const folder = temporaryFolder();
  const entry = { auth: Buffer.from("reader:sesame").toString("base64") };
  writeFileSync(join(folder, "config.json"), JSON.stringify({ auths: { [host]: entry } }), { mode: 0o600 });
  const reader = await openBlobStore(uri, { env: { DOCKER_CONFIG: folder } });
  assert.equal((await openMade(made, { store: reader })).content("weights.bin").length, MIB);
  assert.equal(await codeOf(() => reader.write("x", [Buffer.from("x")])), "STORE_CREDENTIALS_REFUSED");
  const stranger = await openBlobStore(uri, { env: {}, limits: { attempts: 1 } });
  assert.equal(await codeOf(() => stranger.stat("seal.json")), "STORE_CREDENTIALS_MISSING");
  const wrong = await openBlobStore(uri, { env: { ...login, MODELKEEP_REGISTRY_PASSWORD: "wrong" } });
  assert.equal(await codeOf(() => wrong.stat("seal.json")), "STORE_CREDENTIALS_REFUSED");
  const elsewhere = await openBlobStore(uri, { env: { ...writer, MODELKEEP_REGISTRY_HOST: "other.example" } });
  assert.equal(await codeOf(() => elsewhere.stat("seal.json")), "STORE_CREDENTIALS_MISSING");
});

/** A token server as the registry's specification of tokens has it; the registry verifies what it signs. */
async function startTokenServer() {
  const folder = temporaryFolder();
  const [keyPath, certPath] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=tokens"];
  execFileSync("openssl", ["req", "-x509", ...curve, "-keyout", keyPath, "-out", certPath], { stdio: "pipe" });
  const key = createPrivateKey(readFileSync(keyPath));
  const x5c = [readFileSync(certPath, "utf8").replace(/-----[A-Z ]+-----|\s/g, "")];
  const scopes: string[] = [];
  const server = createServer((asked, answer) => {
    const url = new URL(asked.url ?? "", "http://x");
    const [user, password] = Buffer.from((asked.headers.authorization ?? "").slice(6), "base64")
      .toString()
      .split(":");
    if (password !== "sesame") return void answer.writeHead(401).end();
    const scope = url.searchParams.get("scope") ?? "";
    scopes.push(scope);
    const [type, name, actions = ""] = scope.split(":");
    const granted = actions.split(",").filter((action) => action === "pull" || user === "writer");
    const token = jwt({ access: [{ type, name, actions: granted }], sub: user });
    answer.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ token, expires_in: 300 }));
  });
  const jwt = (claims: object) => {
    const now = Math.floor(Date.now() / 1000);
    const times = { iat: now - 5, nbf: now - 5, exp: now + 300, jti: randomBytes(8).toString("hex") };
    const payload = { iss: "tokens", aud: "registry", ...times, ...claims };
    const text = [{ typ: "JWT", alg: "ES256", x5c }, payload]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");
    return `${text}.${sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => void server.close());
  const address = server.address();
  const realm = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/token?here=1`;
  const lines = [`realm: ${realm}`, "service: registry", "issuer: tokens", `rootcertbundle: ${certPath}`];
  return { scopes, configuration: `auth:\n  token:\n${lines.map((line) => `    ${line}\n`).join("")}` };
}
