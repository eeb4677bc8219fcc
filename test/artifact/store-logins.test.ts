/** Where stores are asked, and with what: hosts and paths of buckets, signatures that a server verifies, shared access. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { type BlobPiece, openBlobStore, storeSettings } from "../../src/artifact/index.ts";
import type { AccessTokens } from "../../src/backends/index.ts";
import { parseOciUri } from "../../src/backends/oci/place.ts";
import { parseS3Uri } from "../../src/backends/s3/place.ts";
import { motoPython } from "../../tools/peers/places.ts";
import { NO_MOTO } from "../backends/peers.ts";
import { codeOf, random } from "../sealing/support.ts";
import { FaultyProxy } from "./faulty-proxy.ts";
import { QUICK, startAzurite, startFakeGcs } from "./store-peers.ts";

const [azurite, fakeGcs] = await Promise.all([startAzurite(), startFakeGcs()]);

test("a bucket is a host of its own, a path where its name has dots or an endpoint is named", () => {
  const at = (uri: string, env: Record<string, string>) => {
    const { origin, root, base, region } = parseS3Uri(uri, env);
    return [origin, root, base, region];
  };
  const eu = { AWS_REGION: "eu-west-1" };
  assert.deepEqual(at("s3://my-bucket/a/b", eu), [
    "https://my-bucket.s3.eu-west-1.amazonaws.com",
    "",
    "a/b/",
    "eu-west-1",
  ]);
  assert.deepEqual(at("s3://my.bucket", eu), ["https://s3.eu-west-1.amazonaws.com", "/my.bucket", "", "eu-west-1"]);
  assert.deepEqual(at("s3://my-bucket/", { AWS_DEFAULT_REGION: "cn-north-1" }), [
    "https://my-bucket.s3.cn-north-1.amazonaws.com.cn",
    "",
    "",
    "cn-north-1",
  ]);
  const own = { AWS_ENDPOINT_URL_S3: "https://s3.example:9000", AWS_ENDPOINT_URL: "https://other.example" };
  assert.deepEqual(at("s3://my-bucket/a", own), ["https://s3.example:9000", "/my-bucket", "a/", "us-east-1"]);
});

test("only a registry on this machine is asked without TLS", () => {
  const at = (uri: string) => {
    const { origin, repository, reference } = parseOciUri(uri);
    return [origin, repository, reference];
  };
  assert.deepEqual(at("oci://127.0.0.1:5000/a/b"), ["http://127.0.0.1:5000", "a/b", "latest"]);
  assert.deepEqual(at("oci://localhost/a:v1"), ["http://localhost", "a", "v1"]);
  assert.deepEqual(at("oci://registry.example/a__b/c-d:V.1"), ["https://registry.example", "a__b/c-d", "V.1"]);
  assert.deepEqual(at("oci://docker.io/acme/m:1"), ["https://registry-1.docker.io", "acme/m", "1"]);
  const digest = `sha256:${"0".repeat(64)}`;
  assert.deepEqual(at(`oci://ghcr.io/acme/m@${digest}`), ["https://ghcr.io", "acme/m", digest]);
});

const BOTOCORE = `
import json, sys
import botocore.auth, botocore.awsrequest, botocore.credentials
e = json.load(sys.stdin)
auth = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials("AKIDEXAMPLE", "theSecret"), "s3", "eu-west-1")
out = []
for r in e:
    request = botocore.awsrequest.AWSRequest(r["method"], r["url"], headers=r["headers"])
    request.context["timestamp"] = r["headers"]["x-amz-date"]
    text = auth.canonical_request(request)
    out.append(auth.signature(auth.string_to_sign(request, text), request))
print(json.dumps(out))
`;

test("S3: every kind of request is signed as botocore signs it, odd names and all", async (t) => {
  if (!existsSync(motoPython())) return t.skip(NO_MOTO);
  const proxy = await FaultyProxy.start("http://127.0.0.1:1");
  proxy.break(() => ({ status: 403 }));
  const keys = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "theSecret", AWS_SESSION_TOKEN: "session" };
  const env = { ...keys, AWS_REGION: "eu-west-1", AWS_ENDPOINT_URL_S3: proxy.origin };
  const store = await openBlobStore("s3://my-bucket/prefix of ä", { env, random, limits: QUICK });
  for (const name of ["a", "a b/c+d/100%41/ä~!*'()", "x=1&y=2?z#/;:@$,"]) {
    await codeOf(() => store.stat(name));
    await codeOf(() => store.write(name, [Buffer.from(name)], { absent: true }));
    await codeOf(() => store.write(name, [Buffer.alloc(20_000_000)]));
    await codeOf(async () => {
      for await (const _name of store.list(name));
    });
    await codeOf(() => store.discardUnfinished(name));
  }
  assert.equal(proxy.asked.length, 15);
  const requests = proxy.asked.map(({ method, path, headers }) => {
    const names = /SignedHeaders=([^,]+)/.exec(headers.authorization ?? "")?.[1]?.split(";") ?? [];
    return {
      method,
      url: proxy.origin + path,
      headers: Object.fromEntries(names.map((name) => [name, headers[name]])),
    };
  });
  const input = JSON.stringify(requests);
  const theirs = JSON.parse(execFileSync(motoPython(), ["-c", BOTOCORE], { input, encoding: "utf8" }));
  const ours = proxy.asked.map(({ headers }) => /Signature=([0-9a-f]{64})$/.exec(headers.authorization ?? "")?.[1]);
  assert.deepEqual(ours, theirs);
});

test("Azure: a shared access signature reads and does not write, a wrong key does neither", async (t) => {
  if (typeof azurite === "string") return t.skip(azurite);
  const { AZURE_STORAGE_KEY: key = "", ...rest } = azurite.env;
  await (await azurite.open("sas")).write("a", [Buffer.from("x")]);
  const sas = await openBlobStore(azurite.uri("sas"), {
    env: { ...rest, AZURE_STORAGE_SAS_TOKEN: sasToken(key, "rl") },
    random,
    limits: QUICK,
  });
  assert.equal(Buffer.from(await sas.readAll("a", 1)).toString(), "x");
  assert.equal(await codeOf(() => sas.write("b", [])), "STORE_DENIED");
  const wrong = Buffer.alloc(64, 1).toString("base64");
  const stranger = await openBlobStore(azurite.uri("sas"), {
    env: { ...rest, AZURE_STORAGE_KEY: wrong },
    random,
    limits: QUICK,
  });
  // Azure says that the signature is wrong, Azurite that it is not allowed.
  assert.match((await codeOf(() => stranger.write("a", []))) ?? "", /^STORE_(CREDENTIALS_REFUSED|DENIED)$/);
  const missing = await openBlobStore(azurite.uri("x").replace("/models/", "/no-such-container/"), {
    env: azurite.env,
    random,
    limits: QUICK,
  });
  assert.equal(await codeOf(() => missing.write("a", [])), "STORE_NOT_FOUND");
});

test("a token of the login goes with every request, and is wiped after it", async (t) => {
  if (typeof azurite === "string") return t.skip(azurite);
  const proxy = await FaultyProxy.start(azurite.origin);
  proxy.break(() => ({ status: 404, headers: { "x-ms-error-code": "BlobNotFound" } }));
  const given: Uint8Array[] = [];
  const scopes: string[] = [];
  const tokens: AccessTokens = {
    token: async (scope) => {
      scopes.push(scope);
      given.push(Buffer.from("the-token"));
      return given.at(-1) ?? new Uint8Array(0);
    },
  };
  const env = { AZURE_STORAGE_SERVICE_ENDPOINT: `${proxy.origin}/modelkeep` };
  const store = await openBlobStore("az://modelkeep/models", { env, random, tokens, limits: QUICK });
  assert.equal(await store.stat("a"), undefined);
  assert.equal(proxy.asked[0]?.headers.authorization, "Bearer the-token");
  assert.deepEqual(scopes, ["https://storage.azure.com/.default"]);
  assert.ok(given.every((token) => token.every((byte) => byte === 0)));
});

test("Google: a part whose answer is lost is asked for, and a session elsewhere is refused", async (t) => {
  if (typeof fakeGcs === "string") return t.skip(fakeGcs);
  const proxy = await FaultyProxy.start(fakeGcs.origin);
  const open = () => {
    const env = { STORAGE_EMULATOR_HOST: proxy.origin };
    return openBlobStore(fakeGcs.uri("g"), { env, random, limits: { ...QUICK, partBytes: 256 * 1024 } });
  };
  proxy.break(({ method, path }) =>
    method === "POST" && path.includes("resumable")
      ? { headers: { location: "https://evil.example/upload" } }
      : undefined,
  );
  assert.equal(await codeOf(async () => (await open()).write("a", [Buffer.alloc(2_000_000)])), "STORE_REDIRECTED");
  // Asked how far it came, this server ends the upload; Google says so, with the last byte that it has.
  const state = { status: 308, headers: { range: "bytes=0-524287" } };
  let puts = 0;
  proxy.break(({ method, headers }) => {
    if (headers["content-range"]?.startsWith("bytes */")) return state;
    return method === "PUT" && ++puts === 2 ? { status: 503 } : undefined;
  });
  const store = await open();
  const bytes = Buffer.alloc(1_300_000, 7);
  await store.write("a", [bytes]);
  proxy.break(() => undefined);
  assert.ok(bytes.equals(await store.readAll("a", bytes.length)));
});

test("Google: a join goes on when the answer of a composition is lost", async (t) => {
  if (typeof fakeGcs === "string") return t.skip(fakeGcs);
  const proxy = await FaultyProxy.start(fakeGcs.origin);
  const env = { STORAGE_EMULATOR_HOST: proxy.origin };
  const limits = { ...QUICK, composedObjects: 2 };
  const store = await openBlobStore(fakeGcs.uri("lost-join"), { env, random, limits });
  const pieces: BlobPiece[] = [];
  for (const name of ["p/0", "p/1", "p/2"]) {
    await store.write(name, [Buffer.from(name)]);
    pieces.push({ name, tag: (await store.stat(name))?.tag ?? "", bytes: name.length });
  }
  // This server does not hold a composition to its condition; Google does, and finds what the first try made.
  const seen = new Set<string>();
  proxy.break(({ method, path }) => {
    if (method !== "POST" || !path.includes("/compose")) return undefined;
    if (!seen.has(path)) return { loseAnswer: seen.add(path).size > 0 };
    return path.includes("ifGenerationMatch=0") ? { status: 412 } : undefined;
  });
  await store.join?.("whole", pieces, { scratch: "scratch/" });
  proxy.break(() => undefined);
  assert.equal(Buffer.from(await store.readAll("whole", 100)).toString(), "p/0p/1p/2");
  assert.equal(seen.size, 3);
});

test("the settings of a store are those that it looks at itself, and none for a folder", () => {
  const env = {
    AWS_REGION: "x",
    AZURE_STORAGE_KEY: "y",
    GOOGLE_APPLICATION_CREDENTIALS: "g",
    CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE: "c",
    MODELKEEP_REGISTRY_PASSWORD: "p",
    MODELKEEP_TOKEN: "t",
    SSL_CERT_FILE: "s",
    HOME: "/root",
    OPENAI_API_KEY: "z",
    DOCKER_CONFIG: "/d",
    EMPTY: undefined,
  };
  assert.deepEqual(storeSettings("s3://b/c", env), { AWS_REGION: "x", SSL_CERT_FILE: "s" });
  assert.deepEqual(storeSettings("az://b/c", env), { AZURE_STORAGE_KEY: "y", SSL_CERT_FILE: "s" });
  assert.deepEqual(storeSettings("gs://b/c", env), {
    GOOGLE_APPLICATION_CREDENTIALS: "g",
    CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE: "c",
    SSL_CERT_FILE: "s",
  });
  assert.deepEqual(storeSettings("oci://b/c", env), {
    MODELKEEP_REGISTRY_PASSWORD: "p",
    SSL_CERT_FILE: "s",
    DOCKER_CONFIG: "/d",
  });
  assert.deepEqual(storeSettings("file:///x", env), {});
});

/** For the whole account, an hour long (version 2021-12-02). */
function sasToken(key: string, permissions: string): string {
  const expiry = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+Z/, "Z");
  const fields = ["modelkeep", permissions, "b", "sco", "", expiry, "", "https,http", "2021-12-02", "", ""];
  const signature = createHmac("sha256", Buffer.from(key, "base64")).update(fields.join("\n")).digest("base64");
  const query = {
    sv: "2021-12-02",
    ss: "b",
    srt: "sco",
    sp: permissions,
    se: expiry,
    spr: "https,http",
    sig: signature,
  };
  return new URLSearchParams(query).toString();
}
