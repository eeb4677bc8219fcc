/** What every key service over the network is like when it is slow, overloaded, broken or somebody else: one table for all. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type BackendPorts, type KeyWrapper, openKeyWrapper } from "../../src/backends/index.ts";
import { codeOf, random, temporaryFolder } from "../sealing/support.ts";
import { type AzureLogins, startAzureLogins } from "./counterparts/azure.ts";
import { type GoogleLogins, startGoogleLogins } from "./counterparts/google.ts";

const limits = { connectMilliseconds: 200, answerMilliseconds: 200, callMilliseconds: 3_000, backoffMilliseconds: 5 };
const ARN = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000001";
const KEY = randomBytes(32);
const context = { package_id: "p", root_digest: "r" };

type Answer = (response: ServerResponse) => void;

interface Script {
  readonly origin: string;
  readonly host: string;
  /** What is answered from now on. */
  answer: Answer;
  asked: number;
  readonly certPath?: string;
}

interface Service {
  readonly name: string;
  /** Answered when the wrapper is opened: its key may not be looked at. */
  readonly opening: Answer;
  readonly unavailable: string;
  open(script: Script, more?: Record<string, string>): Promise<KeyWrapper>;
  /** The setting that names an authority. */
  readonly authority: string;
}

const says =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));

const closing: (() => void)[] = [];
after(() => {
  for (const close of closing) close();
});

let google: GoogleLogins;
let azure: AzureLogins;
before(async () => {
  google = await startGoogleLogins();
  azure = await startAzureLogins();
});

const portsOf = (env: Record<string, string>): BackendPorts => ({ random, limits, env });
const insecure = (script: Script) => (script.certPath ? "" : "?insecure-http=1");

const services: readonly Service[] = [
  {
    name: "vault",
    opening: says(403, { errors: ["1 error occurred:\n\t* permission denied\n\n"] }),
    unavailable: "KMS_SEALED",
    authority: "VAULT_CACERT",
    open: (script, more) =>
      openKeyWrapper(
        `vault://${script.host}/transit/kek${insecure(script)}`,
        portsOf({ VAULT_TOKEN: "hvs.x", ...more }),
      ),
  },
  {
    name: "awskms",
    opening: says(500, ""),
    unavailable: "KMS_UNREACHABLE",
    authority: "AWS_CA_BUNDLE",
    open: (script, more) => {
      const env = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL: script.origin };
      return openKeyWrapper(`awskms://eu-central-1/${ARN}`, portsOf({ ...env, ...more }));
    },
  },
  {
    name: "gcpkms",
    opening: says(403, { error: { code: 403, status: "PERMISSION_DENIED" } }),
    unavailable: "KMS_UNREACHABLE",
    authority: "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    open: (script, more) => {
      const login = { CLOUDSDK_CONFIG: temporaryFolder(), GCE_METADATA_HOST: google.host };
      const env = { ...login, CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS: script.origin };
      const key = "projects/project/locations/global/keyRings/r/cryptoKeys/k";
      return openKeyWrapper(`gcpkms://${key}`, portsOf({ ...env, ...more }));
    },
  },
  {
    name: "azurekms",
    opening: says(403, { error: { code: "Forbidden", message: "", innererror: { code: "AccessDenied" } } }),
    unavailable: "KMS_UNREACHABLE",
    authority: "SSL_CERT_FILE",
    open: (script, more) =>
      openKeyWrapper(
        `azurekms://${script.host}/kek${insecure(script)}`,
        portsOf({ AZURE_POD_IDENTITY_AUTHORITY_HOST: azure.origin, ...more }),
      ),
  },
];

async function listen(opening: Answer, tls?: { key: string; cert: string }): Promise<Script> {
  const script = { answer: opening, asked: 0 };
  const respond = (request: import("node:http").IncomingMessage, response: ServerResponse) => {
    script.asked++;
    request.resume().on("end", () => script.answer(response));
  };
  const server = tls
    ? createTlsServer({ key: readFileSync(tls.key), cert: readFileSync(tls.cert) }, respond)
    : createServer(respond);
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `${tls ? "https" : "http"}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(script, { origin, host: new URL(origin).host, ...(tls ? { certPath: tls.cert } : {}) });
}

function certificate(name: string): { key: string; cert: string } {
  const folder = temporaryFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=peer"];
  execFileSync(
    "openssl",
    ["req", "-x509", ...curve, "-addext", `subjectAltName=${name}`, "-keyout", key, "-out", cert],
    {
      stdio: "pipe",
    },
  );
  return { key, cert };
}

for (const service of services) {
  const outages: readonly [string, Answer, string, number][] = [
    ["too many requests", says(429, { errors: [] }, { "retry-after": "0" }), "KMS_THROTTLED", 4],
    ["a bad gateway", says(502, "<html>"), "KMS_UNREACHABLE", 4],
    ["not available", says(503, ""), service.unavailable, 4],
    ["a gateway's timeout", says(504, ""), "KMS_UNREACHABLE", 4],
    ["an error of its own", says(500, ""), "KMS_UNREACHABLE", 1],
    ["no answer", () => undefined, "KMS_UNREACHABLE", 4],
    ["half a head", (response) => response.socket?.end("HTTP/1.1 200 OK\r\ncontent-le"), "KMS_UNREACHABLE", 4],
    [
      "half a body",
      (response) => response.writeHead(200, { "content-length": "100" }).write("{", () => response.destroy()),
      "KMS_UNREACHABLE",
      4,
    ],
    ["a body without an end", (response) => response.writeHead(200).write("{"), "KMS_UNREACHABLE", 4],
    ["half a document", says(200, '{"a":'), "KMS_ANSWER_INVALID", 1],
    ["an empty document", says(200, {}), "KMS_ANSWER_INVALID", 1],
    ["a body that is too long", says(200, "x".repeat(300_000)), "KMS_ANSWER_INVALID", 1],
    ["a head that is too long", says(200, "{}", { padding: "x".repeat(20_000) }), "KMS_ANSWER_INVALID", 1],
    ["another protocol", (response) => response.socket?.end("SSH-2.0-other\r\n\r\n"), "KMS_ANSWER_INVALID", 1],
    ["a redirect", says(307, "", { location: "http://127.0.0.1:1/" }), "KMS_SEALED", 1],
    ["a refusal in other words", says(400, "<html>no</html>"), "KMS_REFUSED", 1],
  ];

  test(`${service.name}: what goes wrong on the way has a code, and is tried again only where that may help`, async () => {
    for (const [what, answer, code, tries] of outages) {
      const script = await listen(service.opening);
      const wrapper = await service.open(script);
      const wrapped = wrappedBy(wrapper);
      Object.assign(script, { answer, asked: 0 });
      // One that unwraps may take any refusal for a wrap that does not open; the rest is the same.
      const wanted = code === "KMS_REFUSED" ? ["KMS_REFUSED", "UNWRAP_FAILED"] : [code];
      assert.ok(wanted.includes((await codeOf(() => wrapper.unwrap(wrapped, context))) ?? ""), what);
      assert.equal(script.asked, tries, what);
      const wraps = service.name === "azurekms" ? undefined : await codeOf(() => wrapper.wrap(KEY, context));
      assert.ok(wraps === undefined || wraps === code, `${what}: ${wraps}`);
    }
  });

  test(`${service.name}: nobody there, and who shows another certificate, get nothing`, async () => {
    const gone = { origin: "http://127.0.0.1:9", host: "127.0.0.1:9", answer: says(200, {}), asked: 0 };
    const use = async (script: Script, more: Record<string, string> = {}) => {
      const wrapper = await service.open(script, more);
      return wrapper.unwrap(wrappedBy(wrapper), context);
    };
    assert.equal(await codeOf(() => use(gone)), "KMS_UNREACHABLE");
    const stranger = await listen(service.opening, certificate("IP:127.0.0.1"));
    const misnamed = await listen(service.opening, certificate("DNS:other.example"));
    assert.equal(await codeOf(() => use(stranger)), "KMS_TLS_REFUSED");
    const known = { [service.authority]: misnamed.certPath ?? "" };
    assert.equal(await codeOf(() => use(misnamed, known)), "KMS_TLS_REFUSED");
    assert.equal(await codeOf(() => use(stranger, known)), "KMS_TLS_REFUSED");
    assert.deepEqual([stranger.asked, misnamed.asked], [0, 0]);
    stranger.answer = service.opening;
    const trusted = await codeOf(() => use(stranger, { [service.authority]: stranger.certPath ?? "" }));
    assert.ok(stranger.asked > 0 && trusted !== "KMS_TLS_REFUSED", trusted);
  });
}

/** What the wrapper takes for its own, and nobody ever wrapped. */
function wrappedBy(wrapper: KeyWrapper) {
  const google = "projects/project/locations/global/keyRings/r/cryptoKeys/k";
  const host = /^azurekms:\/\/([^/]+)/.exec(wrapper.uri)?.[1];
  // An Azure blob of a key wrapped by RSA: algorithm, length, the key, and what it sealed.
  const ciphertext = Uint8Array.from([1, 0, 64, ...randomBytes(64), ...randomBytes(60)]);
  for (const [keyId, keyVersion] of [
    ["transit/kek", "1"],
    [ARN, "1"],
    [google, "1"],
    [`${host}/keys/kek`, "0".repeat(32)],
  ] as const) {
    const wrapped = { kms: wrapper.uri, keyId, keyVersion, ciphertext };
    if (wrapper.recognises(wrapped)) return wrapped;
  }
  throw new Error(`nothing for ${wrapper.uri}`);
}
