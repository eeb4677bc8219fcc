/** What stores do when the service or the network misbehaves: real servers behind a proxy that breaks things. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as createTlsServer } from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type BlobStore, openBlobStore } from "../../src/artifact/index.ts";
import { STORE_LIMITS, type StoreLimits } from "../../src/backends/index.ts";
import { readXml } from "../../src/backends/objects/answer.ts";
import { codeOf, MIB, random, temporaryFolder } from "../sealing/support.ts";
import { FaultyProxy } from "./faulty-proxy.ts";
import { listAll } from "./store-contract.ts";
import { peerOf, QUICK, S3_ENV, type StorePeer, startMotoS3, startRegistry } from "./store-peers.ts";

const [moto, registry] = await Promise.all([startMotoS3(), startRegistry()]);
const skipS3 = typeof moto === "string" ? { skip: moto } : {};
const skipOci = typeof registry === "string" ? { skip: registry } : {};
const BUCKET = "modelkeep-models";
let places = 0;

interface Scene {
  readonly proxy: FaultyProxy;
  readonly store: BlobStore;
}

/** A store that asks through a proxy. */
async function throughProxy(
  peer: StorePeer | string,
  kind: "s3" | "oci",
  limits: Partial<StoreLimits> = {},
): Promise<Scene> {
  assert.ok(typeof peer !== "string");
  const proxy = await FaultyProxy.start(peer.origin);
  const place = `f${++places}-${randomBytes(4).toString("hex")}`;
  const uri = kind === "s3" ? `s3://${BUCKET}/${place}` : `oci://${new URL(proxy.origin).host}/models/${place}:v1`;
  const env = kind === "s3" ? { ...S3_ENV, AWS_ENDPOINT_URL_S3: proxy.origin } : {};
  const store = await peerOf(proxy.origin, () => uri, env).open(place, { idleMilliseconds: 400, ...limits });
  return { proxy, store };
}

const xmlError = (code: string, more = "") => ({
  body: `<?xml version="1.0"?><Error><Code>${code}</Code>${more}</Error>`,
});

test("refusals have codes of their own, and what says later is asked again", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3");
  const cases: [number, string, string][] = [
    [403, "AccessDenied", "STORE_DENIED"],
    [403, "InvalidAccessKeyId", "STORE_CREDENTIALS_REFUSED"],
    [403, "SignatureDoesNotMatch", "STORE_CREDENTIALS_REFUSED"],
    [403, "RequestTimeTooSkewed", "STORE_CREDENTIALS_REFUSED"],
    [404, "NoSuchBucket", "STORE_NOT_FOUND"],
    [400, "BadDigest", "BLOB_DAMAGED"],
    [400, "InvalidArgument", "STORE_REFUSED"],
    [412, "PreconditionFailed", "BLOB_EXISTS"],
    [503, "SlowDown", "STORE_THROTTLED"],
    [429, "TooManyRequests", "STORE_THROTTLED"],
    [500, "InternalError", "BLOBS_UNREACHABLE"],
    [307, "TemporaryRedirect", "STORE_REDIRECTED"],
  ];
  for (const [status, code, expected] of cases) {
    proxy.break(() => ({ status, ...xmlError(code) }));
    assert.equal(await codeOf(() => store.write("a", [Buffer.from("x")])), expected, code);
    const isLater = status === 429 || status >= 500;
    assert.equal(proxy.asked.length, isLater ? STORE_LIMITS.attempts : 1, code);
  }
  proxy.break((_, count) =>
    count <= 3 ? { status: 503, headers: { "retry-after": "0" }, ...xmlError("SlowDown") } : undefined,
  );
  await store.write("a", [Buffer.from("x")]);
  assert.equal(Buffer.from(await store.readAll("a", 1)).toString(), "x");
  proxy.break(() => ({ status: 404, ...xmlError("NoSuchBucket") }));
  assert.equal(await codeOf(() => listAll(store)), "STORE_NOT_FOUND");
});

test("Retry-After is waited for, as far as it is not absurd", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3", { backoffMaxMilliseconds: 300 });
  for (const [asked, least, most] of [
    ["1", 250, 5_000],
    ["86400", 250, 5_000],
  ] as const) {
    proxy.break((_, count) => (count === 1 ? { status: 503, headers: { "retry-after": asked } } : undefined));
    const start = performance.now();
    await store.write("a", [Buffer.from("x")]);
    const took = performance.now() - start;
    assert.ok(took >= least && took <= most, `${asked}: ${took}`);
  }
});

test("a bucket of another region is named with what to set", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3");
  proxy.break(() => ({
    status: 301,
    headers: { "x-amz-bucket-region": "eu-west-3", location: "https://evil.example/" },
  }));
  await assert.rejects(store.stat("a"), { code: "STORE_REDIRECTED", hint: "export AWS_REGION=eu-west-3" });
  assert.equal(proxy.asked.length, 1);
});

for (const [kind, peer, skip] of [
  ["s3", moto, skipS3],
  ["oci", registry, skipOci],
] as const) {
  test(`${kind}: a download that is cut goes on where it broke, and gives up after so many times`, skip, async () => {
    const { proxy, store } = await throughProxy(peer, kind, { resumes: 6 });
    const bytes = randomBytes(3 * MIB);
    await store.write("a", [bytes]);
    const isBlob = ({ method, headers }: { method: string; headers: object }) => method === "GET" && "range" in headers;
    proxy.break((asked) => (isBlob(asked) ? { cutAfter: 700_000 } : undefined));
    assert.ok(bytes.equals(await store.readAll("a", bytes.length)));
    const ranges = proxy.asked.filter(isBlob).map(({ headers }) => String(headers.range));
    assert.ok(ranges.length > 3 && new Set(ranges).size === ranges.length, ranges.join(" "));
    proxy.break((asked) => (isBlob(asked) ? { cutAfter: 0 } : undefined));
    assert.equal(await codeOf(() => store.readAll("a", bytes.length)), "BLOBS_UNREACHABLE");
    assert.equal(proxy.asked.filter(isBlob).length, 7);
  });

  test(`${kind}: a server that says nothing is given up`, skip, async () => {
    const { proxy, store } = await throughProxy(peer, kind, { attempts: 2, resumes: 1 });
    await store.write("a", [Buffer.from("x")]);
    proxy.break(() => ({ silent: true }));
    const start = performance.now();
    assert.equal(await codeOf(() => store.write("b", [Buffer.from("x")])), "BLOBS_UNREACHABLE");
    assert.ok(performance.now() - start < 10_000);
  });

  test(`${kind}: answers that are too large, not what was asked, or no answers at all`, skip, async () => {
    const { proxy, store } = await throughProxy(peer, kind);
    proxy.break(() => ({ status: 200, body: Buffer.alloc(STORE_LIMITS.manifestBytes + 1, 0x20) }));
    assert.equal(await codeOf(() => listAll(store)), "STORE_ANSWER_INVALID");
    proxy.break(() => ({ status: 200, body: "<html>a captive portal</html>" }));
    assert.equal(await codeOf(() => listAll(store)), "STORE_ANSWER_INVALID");
    proxy.break(() => ({ status: 200, headers: { "x-large": "x".repeat(15_000), "x-larger": "y".repeat(20_000) } }));
    assert.equal(await codeOf(() => store.stat("a")), "STORE_ANSWER_INVALID");
  });
}

test("s3: a blob that changes between two ranges is an error and never a mix", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3");
  const other = await throughProxy(moto, "s3");
  await store.write("a", [Buffer.alloc(2 * MIB, 1)]);
  const blob = await store.open("a");
  assert.equal((await blob.read(0, 10))[0], 1);
  await store.write("a", [Buffer.alloc(2 * MIB, 2)]);
  assert.equal(await codeOf(() => blob.read(10, 20)), "BLOB_CHANGED");
  // The server ignores If-Match: the ETag of the answer tells it.
  const pinned = await store.open("a");
  proxy.break(() => ({ headers: { etag: '"another"' } }));
  assert.equal(await codeOf(() => pinned.read(0, 10)), "BLOB_CHANGED");
  proxy.break(() => ({ headers: { "content-range": "bytes 5-14/2097152" } }));
  assert.equal(await codeOf(() => pinned.read(0, 10)), "STORE_ANSWER_INVALID");
  assert.notEqual(other.proxy.origin, proxy.origin);
});

test("s3: a checksum that is not ours is noticed, of a blob and of a part", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3", { partBytes: 5 * MIB });
  const wrong = { headers: { "x-amz-checksum-sha256": createHash("sha256").update("other").digest("base64") } };
  proxy.break(({ method }) => (method === "PUT" ? wrong : undefined));
  assert.equal(await codeOf(() => store.write("a", [Buffer.from("x")])), "BLOB_DAMAGED");
  assert.equal(await codeOf(() => store.write("b", [Buffer.alloc(11 * MIB)])), "BLOB_DAMAGED");
  proxy.break(() => undefined);
  assert.equal(await store.stat("b"), undefined);
});

test("s3: a part whose answer is lost is sent again; so is the end of an upload", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3", { partBytes: 5 * MIB });
  const bytes = randomBytes(11 * MIB);
  const lost = new Set<string>();
  proxy.break(({ method, path }) => {
    const isUpload = path.includes("uploadId") && (method === "PUT" || method === "POST");
    if (!isUpload || lost.has(path)) return undefined;
    lost.add(path);
    return { loseAnswer: true };
  });
  await store.write("a", [bytes], { bytes: bytes.length });
  assert.equal(lost.size, 4);
  proxy.break(() => undefined);
  assert.ok(bytes.equals(await store.readAll("a", bytes.length)));
});

test("s3: a failure in the body of a 200 is a failure", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3", { partBytes: 5 * MIB });
  proxy.break(({ method, path }) =>
    method === "POST" && path.includes("uploadId") ? { status: 200, ...xmlError("InternalError") } : undefined,
  );
  assert.equal(await codeOf(() => store.write("a", [Buffer.alloc(11 * MIB)])), "BLOBS_UNREACHABLE");
});

test("s3: what an ended writer left is given back, and only below the prefix", skipS3, async () => {
  const { proxy, store } = await throughProxy(moto, "s3", { partBytes: 5 * MIB });
  const uploads = async () => {
    assert.ok(typeof moto !== "string");
    const answer = await fetch(`${moto.origin}/${BUCKET}?uploads`);
    return [...(await answer.text()).matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) =>
      key?.split("/").slice(1).join("/"),
    );
  };
  for (const name of ["files/1", "other/1"]) {
    proxy.break(({ method }) => (method === "DELETE" || method === "POST" ? undefined : { status: 403 }));
    proxy.fault = ({ method, path }) =>
      method === "PUT" || (method === "DELETE" && path.includes("uploadId")) ? { status: 403 } : undefined;
    assert.equal(await codeOf(() => store.write(name, [Buffer.alloc(11 * MIB)])), "STORE_DENIED");
  }
  proxy.break(() => undefined);
  assert.deepEqual((await uploads()).filter((key) => key === "files/1" || key === "other/1").length, 2);
  await store.discardUnfinished("files/");
  assert.deepEqual(
    (await uploads()).filter((key) => key === "files/1" || key === "other/1"),
    ["other/1"],
  );
  assert.deepEqual(await listAll(store), []);
});

test("oci: an upload that breaks goes on, and what is not its digest is refused", skipOci, async () => {
  const { proxy, store } = await throughProxy(registry, "oci", { partBytes: MIB });
  const bytes = randomBytes(3 * MIB + 5);
  const second = (fault: object) => {
    let patches = 0;
    proxy.break(({ method }) => (method === "PATCH" && ++patches === 2 ? fault : undefined));
  };
  second({ status: 503 });
  await store.write("a", [bytes], { bytes: bytes.length });
  // This registry forgets an upload whose answer was lost.
  second({ loseAnswer: true });
  assert.equal(await codeOf(() => store.write("b", [bytes], { bytes: bytes.length })), "BLOBS_UNREACHABLE");
  assert.ok(bytes.equals(await store.readAll("a", bytes.length)));
  const isBlob = ({ method, path }: { method: string; path: string }) => method === "GET" && path.includes("/blobs/");
  proxy.break((asked) => (isBlob(asked) ? { alter: (body) => Buffer.from(body.map((byte) => byte ^ 1)) } : undefined));
  assert.equal(await codeOf(() => store.readAll("a", bytes.length)), "BLOB_DAMAGED");
  const fresh = await throughProxy(registry, "oci");
  await fresh.store.write("a", [Buffer.from("x")]);
  fresh.proxy.break(({ path }) =>
    path.includes("/manifests/") ? { alter: (body) => Buffer.concat([body, Buffer.from(" ")]) } : undefined,
  );
  assert.equal(await codeOf(() => fresh.store.write("b", [Buffer.from("y")])), "BLOB_DAMAGED");
});

test(
  "oci: an upload or a token elsewhere gets nothing of ours; a blob elsewhere is read without credentials",
  skipOci,
  async () => {
    const { proxy, store } = await throughProxy(registry, "oci");
    proxy.break(({ method, path }) =>
      method === "POST" && path.includes("/uploads/")
        ? { status: 202, headers: { location: "http://localhost:1/steal" } }
        : undefined,
    );
    assert.equal(await codeOf(() => store.write("a", [Buffer.from("new bytes")])), "STORE_REDIRECTED");
    proxy.break(() => ({
      status: 401,
      headers: { "www-authenticate": 'Bearer realm="http://example.com/token",service="x"' },
    }));
    assert.equal(await codeOf(() => store.stat("a")), "STORE_DENIED");
    proxy.break(() => undefined);
    await store.write("b", [Buffer.from("0123456789")]);
    const elsewhere = await FaultyProxy.start(proxy.origin);
    proxy.break(({ method, path }) =>
      method === "GET" && path.includes("/blobs/") && !path.includes("there")
        ? { status: 307, headers: { location: `${elsewhere.origin}${path}?there=1` } }
        : undefined,
    );
    assert.equal(Buffer.from(await store.read("b", 2, 5)).toString(), "234");
    assert.deepEqual(
      elsewhere.asked.map(({ headers }) => [headers.authorization, headers.range]),
      [[undefined, "bytes=2-4"]],
    );
  },
);

/** A new certificate of nobody for the name. */
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

test("a certificate of nobody or of another name is refused, and that of the named authority is not", async () => {
  for (const [name, names, expected] of [
    ["IP:127.0.0.1", false, "STORE_TLS_REFUSED"],
    ["DNS:other.example", true, "STORE_TLS_REFUSED"],
    ["IP:127.0.0.1", true, undefined],
  ] as const) {
    const { key, cert, certPath } = certificate(name);
    const server = createTlsServer({ key, cert }, (_, answer) => answer.writeHead(404).end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : 0;
      const endpoint = { AWS_ENDPOINT_URL_S3: `https://127.0.0.1:${port}` };
      const env = { ...S3_ENV, ...endpoint, ...(names ? { AWS_CA_BUNDLE: certPath } : {}) };
      const store = await openBlobStore(`s3://${BUCKET}`, { env, random, limits: QUICK });
      assert.equal(await codeOf(() => store.stat("a")), expected, name);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }
});

test("URIs and settings that cannot be right are usage errors", async () => {
  const aws = { ...S3_ENV, AWS_REGION: "eu-central-1" };
  const cases: [string, Record<string, string>, string][] = [
    ["s3://bucket", S3_ENV, "STORE_URI_INVALID"],
    ["s3://b", aws, "STORE_URI_INVALID"],
    ["s3://UPPER", aws, "STORE_URI_INVALID"],
    ["s3://bucket/a//b", aws, "STORE_URI_INVALID"],
    ["s3://bucket/../b", aws, "STORE_URI_INVALID"],
    ["s3://bucket", { ...aws, AWS_ENDPOINT_URL: "http://example.com" }, "STORE_URI_INVALID"],
    ["s3://bucket", { ...aws, AWS_ENDPOINT_URL: "https://user:pass@example.com" }, "STORE_URI_INVALID"],
    ["s3://bucket", { ...aws, AWS_REGION: "not a region" }, "STORE_URI_INVALID"],
    ["az://account", {}, "STORE_URI_INVALID"],
    ["az://ac/container", {}, "STORE_URI_INVALID"],
    ["gs://b", {}, "STORE_URI_INVALID"],
    ["gs://bucket", { STORAGE_EMULATOR_HOST: "http://example.com" }, "STORE_URI_INVALID"],
    ["oci://host", {}, "STORE_URI_INVALID"],
    ["oci://host/UPPER:tag", {}, "STORE_URI_INVALID"],
    ["oci://host/name@sha256:12", {}, "STORE_URI_INVALID"],
    ["oci://user:pass@host/name", {}, "STORE_URI_INVALID"],
    ["gopher://host/x", {}, "STORE_URI_UNKNOWN"],
  ];
  for (const [uri, env, code] of cases)
    assert.equal(await codeOf(() => openBlobStore(uri, { env, random })), code, uri);
  const store = await openBlobStore("s3://bucket", {
    env: { AWS_REGION: "x1", AWS_SHARED_CREDENTIALS_FILE: "/nothing", AWS_EC2_METADATA_DISABLED: "true" },
    random,
  });
  assert.equal(await codeOf(() => store.stat("a")), "STORE_CREDENTIALS_MISSING");
});

test("XML from a stranger is small and strict, or refused", () => {
  const bombs = [
    '<!DOCTYPE a [<!ENTITY b "bbbb">]><ListBucketResult>&b;</ListBucketResult>',
    '<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><ListBucketResult/>',
    `${"<a>".repeat(10_000)}`,
    "<ListBucketResult><![CDATA[x]]></ListBucketResult>",
    "<Other/>",
    "",
  ];
  for (const bomb of bombs)
    assert.throws(() => readXml(Buffer.from(bomb), "ListBucketResult", "x"), { code: "STORE_ANSWER_INVALID" });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.throws(() => readXml(bytes, "ListBucketResult", "x"), { code: "STORE_ANSWER_INVALID" });
    }),
  );
});
