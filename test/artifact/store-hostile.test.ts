/** Stores whose owner is the attacker: answers that never end, that drip, that send elsewhere, and what two writers do to each other. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type BlobStore, openBlobStore } from "../../src/artifact/index.ts";
import { backendError } from "../../src/backends/errors.ts";
import { openAzureBlob, type StoreLimits } from "../../src/backends/index.ts";
import { findRegistryLogin } from "../../src/backends/oci/credentials.ts";
import { parseOciUri } from "../../src/backends/oci/place.ts";
import type { ModelkeepError } from "../../src/base/index.ts";
import { codeOf, MIB, random, temporaryFolder } from "../sealing/support.ts";
import { FaultyProxy } from "./faulty-proxy.ts";
import { listAll } from "./store-contract.ts";
import { QUICK, S3_ENV, startAzurite, startMotoS3, startRegistry } from "./store-peers.ts";

const [moto, azurite, registry] = await Promise.all([startMotoS3(), startAzurite(), startRegistry()]);
const BUCKET = "modelkeep-models";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

type Serve = (asked: IncomingMessage, answer: ServerResponse) => void;

interface Hostile {
  readonly origin: string;
  readonly asked: { method: string; path: string; headers: IncomingMessage["headers"] }[];
  s3(limits?: Partial<StoreLimits>): Promise<BlobStore>;
  oci(limits?: Partial<StoreLimits>): Promise<BlobStore>;
}

const servers: ReturnType<typeof createServer>[] = [];
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server that answers as the test says. */
async function hostile(serve: Serve): Promise<Hostile> {
  const asked: Hostile["asked"] = [];
  const server = createServer((request, answer) => {
    asked.push({ method: request.method ?? "", path: request.url ?? "", headers: request.headers });
    request.resume();
    request.on("end", () => serve(request, answer));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const origin = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  const open = (uri: string, env: Record<string, string>, limits: Partial<StoreLimits> = {}) =>
    openBlobStore(uri, { env, random, limits: { ...QUICK, ...limits } });
  return {
    origin,
    asked,
    s3: (limits) => open(`s3://${BUCKET}/x`, { ...S3_ENV, AWS_ENDPOINT_URL_S3: origin }, limits),
    oci: (limits) => open(`oci://${new URL(origin).host}/models/x:v1`, { DOCKER_CONFIG: "/nothing" }, limits),
  };
}

const digest = (bytes: Uint8Array | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** A manifest with those blobs, and what serves it with them. */
function model(blobs: Readonly<Record<string, Uint8Array>>, more: object = {}) {
  const layers = Object.entries(blobs).map(([name, bytes]) => ({
    mediaType: "application/octet-stream",
    digest: digest(bytes),
    size: bytes.length,
    annotations: { "org.opencontainers.image.title": name },
  }));
  const artifactType = "application/vnd.modelkeep.sealed-model.v1";
  return JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, artifactType, layers, ...more });
}

test("a list of empty pages that never ends is left", async () => {
  let page = 0;
  const s3 = await hostile((_, answer) => {
    page++;
    answer.end(
      `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t${page}</NextContinuationToken></ListBucketResult>`,
    );
  });
  assert.equal(await codeOf(async () => listAll(await s3.s3({ listPages: 20 }))), "LIMIT_EXCEEDED");
  assert.ok(page <= 21, String(page));
  page = 0;
  const gs = await hostile((_, answer) => void answer.end(JSON.stringify({ items: [], nextPageToken: `t${page++}` })));
  const env = { STORAGE_EMULATOR_HOST: gs.origin };
  const store = await openBlobStore(`gs://${BUCKET}`, { env, random, limits: { ...QUICK, listPages: 20 } });
  assert.equal(await codeOf(() => listAll(store)), "LIMIT_EXCEEDED");
  assert.ok(page <= 21, String(page));
});

test("a name that a list repeats is listed once", async () => {
  const entry = "<Contents><Key>x/a</Key></Contents>";
  const s3 = await hostile((_, answer) => void answer.end(`<ListBucketResult>${entry.repeat(3)}</ListBucketResult>`));
  assert.deepEqual(await listAll(await s3.s3()), ["a"]);
});

test("an answer that drips is given up, however small its pieces are", async () => {
  const dripping = new Set<NodeJS.Timeout>();
  const drip: Serve = (asked, answer) => {
    const from = /^bytes=(\d+)-/.exec(asked.headers.range ?? "")?.[1];
    const isBlob = asked.method === "GET" && from !== undefined;
    if (asked.method === "HEAD") return void answer.writeHead(200, { etag: '"a"', "content-length": "4194304" }).end();
    const range = isBlob ? { etag: '"a"', "content-range": `bytes ${from}-4194303/4194304` } : {};
    answer.writeHead(isBlob ? 206 : 200, range);
    const timer = setInterval(() => answer.write("x"), 20);
    dripping.add(timer);
    answer.on("close", () => clearInterval(timer));
  };
  try {
    const limits = { idleMilliseconds: 200, slowestBytesPerSecond: 16 * MIB, attempts: 2, resumes: 1 };
    const store = await (await hostile(drip)).s3(limits);
    const start = performance.now();
    assert.equal(await codeOf(() => listAll(store)), "BLOBS_UNREACHABLE");
    assert.equal(await codeOf(() => store.read("a", 0, 4 * MIB)), "BLOBS_UNREACHABLE");
    assert.ok(performance.now() - start < 10_000, String(performance.now() - start));
  } finally {
    for (const timer of dripping) clearInterval(timer);
  }
});

test("a head that drips is given up as well", async () => {
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 200 OK\r\nx-slow: ");
    const timer = setInterval(() => socket.write("x"), 20);
    socket.on("close", () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = server.address();
    const origin = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
    const env = { ...S3_ENV, AWS_ENDPOINT_URL_S3: origin };
    const limits = { ...QUICK, idleMilliseconds: 200, attempts: 2 };
    const store = await openBlobStore(`s3://${BUCKET}`, { env, random, limits });
    const start = performance.now();
    assert.equal(await codeOf(() => store.stat("a")), "BLOBS_UNREACHABLE");
    assert.ok(performance.now() - start < 10_000);
  } finally {
    server.close();
  }
});

test("a server that sends all that was asked for and does not end has sent it", async () => {
  const bytes = randomBytes(1_000);
  const server = await hostile((asked, answer) => {
    if (asked.method === "HEAD") return void answer.writeHead(200, { etag: '"a"', "content-length": "1000" }).end();
    const [, from = "0", to = "0"] = /^bytes=(\d+)-(\d+)$/.exec(asked.headers.range ?? "") ?? [];
    if (Number(from) > Number(to)) return void answer.writeHead(416).end();
    answer.writeHead(206, { etag: '"a"', "content-range": `bytes ${from}-${to}/1000` });
    answer.write(bytes.subarray(Number(from), Number(to) + 1));
  });
  const store = await server.s3({ idleMilliseconds: 300, resumes: 2 });
  assert.ok(bytes.equals(await store.read("a", 0, 1_000)));
});

test("two writers of one blob of Azure do not mix their parts", async (t) => {
  if (typeof azurite === "string") return t.skip(azurite);
  const { service, base } = await openAzureBlob(azurite.uri("two-writers"), { env: azurite.env, random });
  const name = `${base}a`;
  const [mine, other] = [await service.putParts(name, undefined), await service.putParts(name, undefined)];
  const [own, foreign] = [Buffer.alloc(5_000, 1), Buffer.alloc(5_000, 2)];
  await mine.send(1, own, false);
  await other.send(1, foreign, false);
  await mine.send(2, own, true);
  await mine.finish();
  const info = await service.stat(name);
  const into = new Uint8Array(10_000);
  assert.equal(await service.read(name, info?.tag ?? "", { start: 0, end: 10_000 }, into), 10_000);
  assert.ok(Buffer.concat([own, own]).equals(into));
  // What the other one had sent went with the commit: he hears that he was slower.
  await other.send(2, foreign, true);
  assert.equal(await codeOf(() => other.finish()), "BLOB_EXISTS");
});

for (const kind of ["s3", "oci"] as const) {
  test(`${kind}: a source is closed when its upload cannot begin`, async () => {
    const server = await hostile((asked, answer) => {
      const isList = asked.method === "GET" && asked.url?.includes("/manifests/");
      answer.writeHead(isList ? 404 : 403).end();
    });
    const store = await server[kind]({ partBytes: 1_000 });
    let open = 0;
    const chunks = async function* () {
      open++;
      try {
        for (let count = 0; count < 10; count++) yield new Uint8Array(1_000);
      } finally {
        open--;
      }
    };
    assert.equal(await codeOf(() => store.write("a", chunks())), "STORE_DENIED");
    assert.equal(open, 0);
  });
}

/** A registry of one blob whose downloads are sent away. */
async function redirecting(location: (path: string, count: number) => string, serve?: Serve) {
  const bytes = Buffer.from("0123456789");
  const body = model({ a: bytes });
  let count = 0;
  const server = await hostile((asked, answer) => {
    const path = asked.url ?? "";
    if (path.includes("/manifests/v1")) return void answer.writeHead(200, { "content-type": MANIFEST }).end(body);
    if (path.includes("/blobs/")) return void answer.writeHead(307, { location: location(path, ++count) }).end();
    if (serve) return void serve(asked, answer);
    answer.writeHead(404).end();
  });
  return { server, store: await server.oci({ attempts: 1, resumes: 0 }) };
}

test("a registry on this machine does not send us without TLS to another one", async () => {
  for (const location of ["http://169.254.169.254/latest/meta-data/", "http://example.com/x", "ftp://127.0.0.1/x"]) {
    const { store } = await redirecting(() => location);
    assert.equal(await codeOf(() => store.read("a", 2, 5)), "STORE_REDIRECTED", location);
  }
});

test("where a redirect leads on is read from where it was said", async () => {
  const second = await hostile((asked, answer) => {
    if (asked.url === "/first") return void answer.writeHead(302, { location: "/second" }).end();
    answer.writeHead(206, { "content-range": "bytes 2-4/10" }).end(asked.url === "/second" ? "234" : "xxx");
  });
  const { server, store } = await redirecting(() => `${second.origin}/first`);
  assert.equal(Buffer.from(await store.read("a", 2, 5)).toString(), "234");
  assert.deepEqual(
    second.asked.map(({ path }) => path),
    ["/first", "/second"],
  );
  assert.equal(server.asked.filter(({ path }) => path === "/second").length, 0);
});

test("a registry that always names another host holds no more connections than are allowed", async () => {
  const hosts = await Promise.all(
    Array.from({ length: 12 }, () =>
      hostile((_, answer) => void answer.writeHead(206, { "content-range": "bytes 2-4/10" }).end("234")),
    ),
  );
  const { store } = await redirecting((_, count) => `${hosts[count % hosts.length]?.origin}/x`);
  for (let count = 0; count < 3 * hosts.length; count++)
    assert.equal(Buffer.from(await store.read("a", 2, 5)).toString(), "234");
  const connections = () =>
    Promise.all(
      hosts.map(({ origin }) => {
        const server = servers.find((one) => {
          const address = one.address();
          return typeof address === "object" && address?.port === Number(new URL(origin).port);
        });
        return new Promise<number>((resolve) => server?.getConnections((_, number) => resolve(number)));
      }),
    );
  await new Promise((resolve) => setTimeout(resolve, 200));
  const held = (await connections()).filter((number) => number > 0).length;
  assert.ok(held <= 8, `${held} hosts`);
});

test("a registry asks for no more than what is being done", async () => {
  const scopes: string[] = [];
  const tokens = await hostile((asked, answer) => {
    scopes.push(new URL(asked.url ?? "", "http://x").searchParams.get("scope") ?? "");
    answer.end(JSON.stringify({ token: "t" }));
  });
  let scope = "";
  const server = await hostile((asked, answer) => {
    if (asked.headers.authorization === "Bearer t") return void answer.writeHead(404).end();
    const challenge = `Bearer realm="${tokens.origin}/token",service="s",scope="${scope}"`;
    answer.writeHead(401, { "www-authenticate": challenge }).end();
  });
  for (const [asked, expected] of [
    ["repository:models/x:pull", "repository:models/x:pull"],
    ["repository:models/x:pull,push,delete", "repository:models/x:pull"],
    ["repository:proxied/models/x:pull", "repository:proxied/models/x:pull"],
    ["repository:models/x:pull repository:other/secret:pull,push", "repository:models/x:pull"],
    ["registry:catalog:*", "repository:models/x:pull"],
  ] as const) {
    scope = asked;
    scopes.length = 0;
    assert.equal(await (await server.oci()).stat("a"), undefined);
    assert.deepEqual(scopes, [expected], asked);
  }
});

test("an upload without a place of its own is no upload", async () => {
  const server = await hostile((asked, answer) => {
    const isStart = asked.method === "POST";
    answer.writeHead(isStart ? 202 : 404).end();
  });
  const store = await server.oci();
  assert.equal(await codeOf(() => store.write("a", [Buffer.from("x")])), "STORE_ANSWER_INVALID");
  assert.ok(server.asked.every(({ path }) => path.startsWith("/v2/models/x/")));
});

test("a tag that names something else is neither read nor replaced", async (t) => {
  if (typeof registry === "string") return t.skip(registry);
  const uri = registry.uri(`foreign-${randomBytes(4).toString("hex")}`);
  const { origin, repository } = parseOciUri(uri);
  const store = await openBlobStore(uri, { env: {}, random, limits: QUICK });
  await store.write("weights.bin", [Buffer.from("somebody's own")]);
  const known = JSON.parse(await (await fetch(`${origin}/v2/${repository}/manifests/v1`, ACCEPT)).text());
  const foreign = JSON.stringify({ ...known, artifactType: "application/vnd.acme.dataset.v1" });
  const headers = { "content-type": MANIFEST };
  await fetch(`${origin}/v2/${repository}/manifests/v1`, { method: "PUT", headers, body: foreign });
  const later = await openBlobStore(uri, { env: {}, random, limits: QUICK });
  assert.equal(await codeOf(() => later.write("seal.json", [Buffer.from("{}")])), "STORE_ANSWER_INVALID");
  assert.equal(await codeOf(() => listAll(later)), "STORE_ANSWER_INVALID");
  assert.equal(await (await fetch(`${origin}/v2/${repository}/manifests/v1`, ACCEPT)).text(), foreign);
});

const ACCEPT = { headers: { accept: MANIFEST } };

test("a serial that cannot grow is an error, not a rewrap that nobody sees", async (t) => {
  if (typeof registry === "string") return t.skip(registry);
  const uri = registry.uri(`serial-${randomBytes(4).toString("hex")}`);
  const { origin, repository } = parseOciUri(uri);
  const store = await openBlobStore(uri, { env: {}, random, limits: QUICK });
  await store.write("envelope.json", [Buffer.from("the first")]);
  await store.write("seal.json", [Buffer.from("{}")]);
  const manifest = await (await fetch(`${origin}/v2/${repository}/manifests/v1`, ACCEPT)).text();
  const tag = `${origin}/v2/${repository}/manifests/${digest(manifest).replace(":", "-")}`;
  const indexType = "application/vnd.oci.image.index.v1+json";
  const index = JSON.parse(await (await fetch(tag, { headers: { accept: indexType } })).text());
  const first = `${origin}/v2/${repository}/manifests/${index.manifests[0].digest}`;
  const old = JSON.parse(await (await fetch(first, ACCEPT)).text());
  const last = JSON.stringify({
    ...old,
    annotations: { ...old.annotations, "vnd.modelkeep.serial": "999999999" },
  });
  const put = (place: string, type: string, body: string) =>
    fetch(place, { method: "PUT", headers: { "content-type": type }, body });
  await put(`${origin}/v2/${repository}/manifests/${digest(last)}`, MANIFEST, last);
  const listed = { mediaType: MANIFEST, digest: digest(last), size: last.length };
  await put(tag, indexType, JSON.stringify({ ...index, manifests: [listed] }));
  const owner = await openBlobStore(uri, { env: {}, random, limits: QUICK });
  assert.equal(await codeOf(() => owner.write("envelope.json", [Buffer.from("the second")])), "STORE_REFUSED");
});

test("a conditional write whose answer is lost has happened, and is not called another writer's", async (t) => {
  if (typeof moto === "string") return t.skip(moto);
  const proxy = await FaultyProxy.start(moto.origin);
  const env = { ...S3_ENV, AWS_ENDPOINT_URL_S3: proxy.origin };
  const place = `s3://${BUCKET}/lost-${randomBytes(4).toString("hex")}`;
  const store = await openBlobStore(place, { env, random, limits: QUICK });
  const losing = () => {
    let puts = 0;
    proxy.break(({ method }) => (method === "PUT" && ++puts === 1 ? { loseAnswer: true } : undefined));
  };
  losing();
  await store.write("a", [Buffer.from("one")], { absent: true });
  losing();
  const { tag = "" } = (await store.stat("a")) ?? {};
  await store.write("a", [Buffer.from("two")], { unchanged: tag });
  assert.equal(Buffer.from(await store.readAll("a", 3)).toString(), "two");
  // Somebody else's is still somebody else's, with an answer lost or not.
  losing();
  assert.equal(await codeOf(() => store.write("a", [Buffer.from("two!")], { unchanged: tag })), "BLOB_EXISTS");
  assert.equal(await codeOf(() => store.write("a", [Buffer.from("two")], { absent: true })), "BLOB_EXISTS");
});

test("a path of an endpoint is part of the address, or refused; never left out", async () => {
  const server = await hostile((_, answer) => void answer.writeHead(404).end());
  const env = { ...S3_ENV, AWS_ENDPOINT_URL_S3: `${server.origin}/storage/v1/` };
  const store = await openBlobStore(`s3://${BUCKET}/x`, { env, random, limits: QUICK });
  await store.stat("a");
  assert.equal(server.asked[0]?.path, `/storage/v1/${BUCKET}/x/a`);
  const google = { STORAGE_EMULATOR_HOST: `${server.origin}/tenant` };
  assert.equal(await codeOf(() => openBlobStore(`gs://${BUCKET}`, { env: google, random })), "STORE_URI_INVALID");
});

test("a place that no host can be is a usage error", async () => {
  const aws = { ...S3_ENV, AWS_REGION: "eu-central-1" };
  for (const uri of ["oci://../a", "oci://host:99999/a", "oci://999.1.1.1/a", "oci://[::1/a", "oci://[1::2::3]/a"])
    assert.equal(await codeOf(() => openBlobStore(uri, { env: {}, random })), "STORE_URI_INVALID", uri);
  assert.equal(await codeOf(() => openBlobStore("s3://bucket/\ud800", { env: aws, random })), "STORE_URI_INVALID");
});

test("referrers come in pages, of this registry alone, and not without end", async () => {
  const seal = Buffer.from("{}");
  const body = model({ "seal.json": seal });
  const refer = (text: string, serial: number) =>
    model(
      { "envelope.json": Buffer.from(text) },
      {
        artifactType: "application/vnd.modelkeep.key-envelope.v1+json",
        subject: { mediaType: MANIFEST, digest: digest(body), size: body.length },
        annotations: { "org.opencontainers.image.title": "envelope.json", "vnd.modelkeep.serial": String(serial) },
      },
    );
  const [old, newest] = [refer("old", 0), refer("newest", 1)];
  const known = new Map([body, old, newest].map((text) => [digest(text), text]));
  let next: (page: number) => string | undefined = () => undefined;
  const server = await hostile((asked, answer) => {
    const url = new URL(asked.url ?? "", "http://x");
    const reference = url.pathname.split("/").at(-1) ?? "";
    if (url.pathname.includes("/referrers/")) {
      const page = Number(url.searchParams.get("page") ?? 0);
      const of = page === 0 ? old : newest;
      const manifests = [{ mediaType: MANIFEST, digest: digest(of), size: of.length }];
      const link = next(page);
      answer.writeHead(200, {
        "content-type": "application/vnd.oci.image.index.v1+json",
        ...(link === undefined ? {} : { link: `<${link}>; rel="next"` }),
      });
      return void answer.end(JSON.stringify({ schemaVersion: 2, manifests }));
    }
    const found = reference === "v1" ? body : known.get(reference);
    answer.writeHead(found === undefined ? 404 : 200, { "content-type": MANIFEST }).end(found);
  });
  const path = `/v2/models/x/referrers/${digest(body)}`;
  next = (page) => (page === 0 ? `${path}?page=1` : undefined);
  assert.equal((await (await server.oci()).stat("envelope.json"))?.bytes, "newest".length);
  next = (page) => `${path}?page=${page + 1}`;
  assert.equal(await codeOf(async () => (await server.oci({ referrerPages: 5 })).stat("a")), "LIMIT_EXCEEDED");
  const other = await hostile((_, answer) => void answer.writeHead(404).end());
  for (const away of [`${other.origin}${path}?page=1`, "/v2/other/secret/manifests/latest", `${path}/../x`]) {
    next = () => away;
    assert.equal(await codeOf(async () => (await server.oci()).stat("a")), "STORE_ANSWER_INVALID", away);
  }
  assert.equal(other.asked.length, 0);
});

test("a server without ranges is not read from the start again and again", async () => {
  const server = await hostile((asked, answer) => {
    if (asked.method === "HEAD")
      return void answer.writeHead(200, { etag: '"a"', "content-length": String(2 ** 40) }).end();
    answer.writeHead(200, { etag: '"a"' });
    answer.end(Buffer.alloc(2_000, 7));
  });
  const store = await server.s3({ skippedBytes: 1_000 });
  assert.deepEqual([...(await store.read("a", 1_000, 1_002))], [7, 7]);
  assert.equal(await codeOf(() => store.read("a", 1_001, 1_002)), "STORE_ANSWER_INVALID");
});

test("a blob that says it is larger than any store takes is not gathered in memory", async () => {
  const server = await hostile((_, answer) => void answer.writeHead(500).end());
  let taken = 0;
  const endless = async function* () {
    for (; taken < 64; taken++) yield new Uint8Array(MIB);
  };
  const store = await server.s3({ attempts: 1 });
  assert.equal(await codeOf(() => store.write("a", endless(), { bytes: 2 ** 52 })), "LIMIT_EXCEEDED");
  assert.ok(taken <= 1, String(taken));
});

test("a login of a registry that is kept elsewhere says so", async () => {
  const server = await hostile(
    (_, answer) => void answer.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end(),
  );
  const { host } = new URL(server.origin);
  const folder = temporaryFolder();
  const open = (content: object, env: Record<string, string> = { DOCKER_CONFIG: folder }) => {
    writeFileSync(join(folder, "config.json"), JSON.stringify(content), { mode: 0o600 });
    return openBlobStore(`oci://${host}/models/x:v1`, { env, random, limits: QUICK });
  };
  for (const content of [{}, { credsStore: "desktop", auths: { [host]: {} } }]) {
    const store = await open(content);
    await assert.rejects(store.stat("a"), (error: ModelkeepError) => {
      assert.equal(error.code, "STORE_CREDENTIALS_MISSING");
      assert.match(error.hint ?? "", new RegExp(`MODELKEEP_REGISTRY_HOST=${host} `));
      return true;
    });
  }
  const auth = Buffer.from("00000000-0000-0000-0000-000000000000:").toString("base64");
  const token = await open({ auths: { [host]: { auth, identitytoken: "secret-token" } } });
  await assert.rejects(token.stat("a"), (error: ModelkeepError) => {
    assert.equal(error.code, "STORE_CREDENTIALS_MISSING");
    return !`${error.message}${error.detail}${error.hint}`.includes("secret-token");
  });
  const named = await open({}, { REGISTRY_AUTH_FILE: join(folder, "none.json") });
  assert.equal(await codeOf(() => named.stat("a")), "STORE_CREDENTIALS_MISSING");
});

test("what a login refuses or puts off has the store's names", async () => {
  const ports = (code: Parameters<typeof backendError>[0]) => ({
    env: { AZURE_STORAGE_SERVICE_ENDPOINT: "http://127.0.0.1:1/modelkeep" },
    random,
    limits: QUICK,
    tokens: { token: () => Promise.reject(backendError(code, { detail: "the login" })) },
  });
  for (const [code, expected] of [
    ["KMS_CREDENTIALS_REFUSED", "STORE_CREDENTIALS_REFUSED"],
    ["KMS_THROTTLED", "STORE_THROTTLED"],
    ["KMS_SEALED", "STORE_REDIRECTED"],
  ] as const) {
    const store = await openBlobStore("az://modelkeep/models", ports(code));
    assert.equal(await codeOf(() => store.stat("a")), expected, code);
  }
});

test("a deletion whose answer is lost was a deletion", async (t) => {
  if (typeof azurite === "string") return t.skip(azurite);
  const proxy = await FaultyProxy.start(azurite.origin);
  const env = { ...azurite.env, AZURE_STORAGE_SERVICE_ENDPOINT: `${proxy.origin}/modelkeep` };
  const store = await openBlobStore(azurite.uri("lost-deletion"), { env, random, limits: QUICK });
  await store.write("a", [Buffer.from("x")]);
  let deletions = 0;
  proxy.break(({ method }) => (method === "DELETE" && ++deletions === 1 ? { loseAnswer: true } : undefined));
  assert.equal(await store.delete("a"), true);
  assert.equal(deletions, 2);
  assert.equal(await store.delete("a"), false);
});

test("Docker Hub's login goes by either of its names, and by no other", async () => {
  const login = { MODELKEEP_REGISTRY_USER: "u", MODELKEEP_REGISTRY_PASSWORD: "p" };
  const found = async (name: string, host: string) =>
    (await findRegistryLogin(host, { ...login, MODELKEEP_REGISTRY_HOST: name, DOCKER_CONFIG: "/nothing" }))?.user;
  assert.equal(await found("docker.io", "registry-1.docker.io"), "u");
  assert.equal(await found("registry-1.docker.io", "registry-1.docker.io"), "u");
  assert.equal(await found("docker.io", "docker.io.evil.example"), undefined);
  assert.equal(await found("docker.io", "evil.example"), undefined);
});

test("a folder is not walked where no name can begin with the prefix", async () => {
  const folder = temporaryFolder();
  const store = await openBlobStore(pathToFileURL(folder).href);
  for (const name of ["a/1", "a/b/2", "ab/3", "c/4"]) await store.write(name, []);
  mkdirSync(join(folder, "c", ...Array.from({ length: 80 }, () => "d")), { recursive: true });
  const listed = async (prefix: string) => {
    const names: string[] = [];
    for await (const name of store.list(prefix)) names.push(name);
    return names;
  };
  assert.deepEqual(await listed("a"), ["a/1", "a/b/2", "ab/3"]);
  assert.deepEqual(await listed("a/"), ["a/1", "a/b/2"]);
  assert.deepEqual(await listed("a/b/2"), ["a/b/2"]);
  assert.equal(await codeOf(() => listed("c")), "LIMIT_EXCEEDED");
});

test("who interrupts does not wait for a store that says nothing, and the parts on their way are given back", async () => {
  const given: string[] = [];
  const server = await hostile((asked, answer) => {
    const path = asked.url ?? "";
    if (asked.method === "DELETE") {
      given.push(path);
      return void answer.writeHead(204).end();
    }
    if (asked.method === "POST" && path.includes("uploads="))
      return void answer.end("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>");
    if (path.includes("/later")) return void answer.writeHead(503, { "retry-after": "3600" }).end();
    if (!path.includes("/halted")) return;
    if (asked.method === "HEAD") return void answer.writeHead(200, { etag: '"a"', "content-length": "10" }).end();
    answer.writeHead(206, { etag: '"a"', "content-range": "bytes 0-9/10" });
    answer.write("1234");
  });
  const env = { ...S3_ENV, AWS_ENDPOINT_URL_S3: server.origin };
  const works: ((store: BlobStore) => Promise<unknown>)[] = [
    (store) => store.stat("silent"),
    (store) => store.stat("later"),
    (store) => listAll(store),
    (store) => store.read("halted", 0, 10),
    (store) => store.write("parts", [new Uint8Array(30_000)]),
    (store) => Promise.all(Array.from({ length: 50 }, () => store.stat("silent"))),
  ];
  for (const [index, work] of works.entries()) {
    const stop = new AbortController();
    const limits = { ...QUICK, backoffMaxMilliseconds: 60_000, partBytes: 10_000 };
    const store = await openBlobStore(`s3://${BUCKET}/x`, { env, random, limits, signal: stop.signal });
    setTimeout(() => stop.abort("stopped"), 100);
    const start = performance.now();
    await assert.rejects(
      () => work(store),
      (reason) => reason === "stopped",
      `of work ${index}`,
    );
    assert.ok(performance.now() - start < 2_000, `work ${index}: ${performance.now() - start}`);
  }
  assert.equal(given.length, 1);
});

test("an upload that is gone is ours only when its checksum is ours", async () => {
  let whole = "";
  let sums: string[] = [];
  let isThere = true;
  const server = await hostile((asked, answer) => {
    const path = asked.url ?? "";
    if (asked.method === "HEAD" && !isThere) return void answer.writeHead(404).end();
    if (asked.method === "POST" && path.includes("uploads="))
      return void answer.end("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>");
    if (asked.method === "PUT") {
      sums.push(String(asked.headers["x-amz-checksum-sha256"]));
      return void answer.writeHead(200, { etag: '"part"' }).end();
    }
    if (asked.method === "HEAD") {
      const sum = whole === "" ? {} : { "x-amz-checksum-sha256": whole };
      return void answer.writeHead(200, { etag: '"of-somebody-3"', "content-length": "2500", ...sum }).end();
    }
    answer.writeHead(404).end("<Error><Code>NoSuchUpload</Code></Error>");
  });
  const store = await server.s3({ partBytes: 1_000, partsAtOnce: 1 });
  const write = () => {
    sums = [];
    return store.write("a", [new Uint8Array(2_500)], { bytes: 2_500 });
  };
  whole = `${createHash("sha256").update("another").digest("base64")}-3`;
  assert.equal(await codeOf(write), "BLOB_EXISTS");
  assert.equal(sums.length, 3);
  const parts = Buffer.concat(sums.map((sum) => Buffer.from(sum, "base64")));
  whole = `${createHash("sha256").update(parts).digest("base64")}-3`;
  assert.deepEqual(await write(), { bytes: 2_500, confirmed: true });
  // A service without checksums: whoever wants to know reads it back.
  whole = "";
  assert.deepEqual(await write(), { bytes: 2_500, confirmed: false });
  isThere = false;
  assert.equal(await codeOf(write), "BLOBS_UNREACHABLE");
});
