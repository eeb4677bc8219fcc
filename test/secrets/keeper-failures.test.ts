/** What the drivers make of keepers that are slow, overloaded, broken, or not who they should be; and what errors show. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import { openDrivers, type SecretDriver } from "../../src/secrets/index.ts";
import { CLIENT, startAzureLogins, TENANT } from "../backends/counterparts/azure.ts";
import { startGoogleLogins } from "../backends/counterparts/google.ts";
import { codeOf, temporaryFolder } from "../sealing/support.ts";
import { lonely } from "./support.ts";

const CREDENTIAL = "hvs.Secret-Credential-0123456789";
const VALUE = "sk-value-of-the-secret";
const limits = {
  connectMilliseconds: 300,
  answerMilliseconds: 300,
  callMilliseconds: 2_000,
  attempts: 2,
  backoffMilliseconds: 5,
};

const closing: (() => void)[] = [];
after(() => {
  for (const close of closing) close();
});

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

type Fault = (response: ServerResponse) => void;

const says =
  (status: number, body: unknown, headers: Record<string, string> = {}): Fault =>
  (response) =>
    response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body));

/** What comes before the value is asked for. */
const MOUNT = { data: { path: "kv/", type: "kv", options: { version: "1" } } };
const LOOKUP = { data: { id: CREDENTIAL, ttl: 0, renewable: false } };

function faulty(fault: Fault): RequestListener {
  return (request, response) => {
    const { url = "" } = request;
    request.resume().on("end", () => {
      if (url.includes("/ui/mounts/")) says(200, MOUNT)(response);
      else if (url.includes("lookup-self")) says(200, LOOKUP)(response);
      else fault(response);
    });
  };
}

interface Opened {
  readonly uri: string;
  readonly env: Record<string, string>;
  readonly reference: string;
}

const insecure = (scheme: string) => (scheme === "http" ? "?insecure-http=1" : "");

const KEEPERS: Readonly<Record<string, (scheme: string, host: string) => Promise<Opened>>> = {
  vault: async (scheme, host) => ({
    uri: `vault://${host}${insecure(scheme)}`,
    env: { VAULT_TOKEN: CREDENTIAL },
    reference: "kv/app#key",
  }),
  aws: async (scheme, host) => ({
    uri: "awssm://eu-central-1",
    env: {
      AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
      AWS_SECRET_ACCESS_KEY: CREDENTIAL,
      AWS_ENDPOINT_URL: `${scheme}://${host}`,
    },
    reference: "app",
  }),
  sts: async (scheme, host) => ({
    uri: "awssts://eu-central-1",
    env: {
      AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
      AWS_SECRET_ACCESS_KEY: CREDENTIAL,
      AWS_ENDPOINT_URL: `${scheme}://${host}`,
    },
    reference: "arn:aws:iam::123456789012:role/app",
  }),
  google: async (scheme, host) => ({
    uri: "gcpsm://projects/project",
    env: {
      GOOGLE_APPLICATION_CREDENTIALS: (await startGoogleLogins()).serviceAccount,
      CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER: `${scheme}://${host}/`,
    },
    reference: "app",
  }),
  azure: async (scheme, host) => {
    const logins = await startAzureLogins();
    const client = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_CLIENT_SECRET: logins.secret };
    const env = { ...client, AZURE_AUTHORITY_HOST: `${logins.origin}/` };
    return { uri: `azurekv://${host}${insecure(scheme)}`, env, reference: "app" };
  },
};

async function open({ uri, env }: Opened): Promise<SecretDriver> {
  const [driver] = await openDrivers([`k=${uri}`], { ...lonely, limits, env });
  assert.ok(driver);
  return driver;
}

/** The code, after a look at everything that an error could show. */
function failing(driver: SecretDriver, reference: string): Promise<string | undefined> {
  return codeOf(async () => {
    try {
      (await driver.read(reference, { ttlSeconds: 60 })).key.wipe();
    } catch (error) {
      const shown = inspect(error, { depth: 20, showHidden: true });
      assert.ok(![CREDENTIAL, VALUE].some((secret) => shown.includes(secret)), "an error shows a secret");
      throw error;
    }
  });
}

const FAULTS: readonly (readonly [string, Fault, string])[] = [
  ["too many requests", says(429, {}, { "retry-after": "0" }), "KEEPER_THROTTLED"],
  ["away", says(503, `<html>${VALUE}`), "KEEPER_UNREACHABLE"],
  ["broken", says(500, { errors: [VALUE], error: { message: VALUE } }), "KEEPER_UNREACHABLE"],
  ["silent", () => undefined, "KEEPER_UNREACHABLE"],
  ["hangs up", (response) => response.destroy(), "KEEPER_UNREACHABLE"],
  [
    "stops halfway",
    (response) => {
      response.writeHead(200, { "content-length": "1000" }).write(`{"data":{"key":"${VALUE}"`);
      setTimeout(() => response.destroy(), 20);
    },
    "KEEPER_UNREACHABLE",
  ],
  ["half a document", says(200, `{"data":{"key":"${VALUE}","SecretString":"${VALUE}`), "KEEPER_ANSWER_INVALID"],
  ["no end", says(200, "x".repeat(300_000)), "KEEPER_ANSWER_INVALID"],
  ["elsewhere", says(307, VALUE, { location: "http://127.0.0.1:1/" }), "KEEPER_UNREACHABLE"],
  ["denied, in a proxy's words", says(403, `${VALUE} <html>`), "KEEPER_DENIED"],
];

for (const [name, opened] of Object.entries(KEEPERS)) {
  test(`${name}: each way to fail has its code, and no error shows a secret`, async () => {
    for (const [what, fault, code] of FAULTS) {
      const port = await listen(createServer(faulty(fault)));
      const keeper = await opened("http", `127.0.0.1:${port}`);
      assert.equal(await failing(await open(keeper), keeper.reference), code, what);
    }
    const keeper = await opened("http", "127.0.0.1:1");
    assert.equal(await failing(await open(keeper), keeper.reference), "KEEPER_UNREACHABLE");
  });

  test(`${name}: a certificate that nobody vouches for ends it`, async () => {
    const [key, cert] = ["key.pem", "cert.pem"].map((file) => join(temporaryFolder(), file)) as [string, string];
    const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    execFileSync("openssl", [...words, "-keyout", key, "-out", cert], { stdio: "pipe" });
    const options = { key: readFileSync(key), cert: readFileSync(cert) };
    const port = await listen(createTlsServer(options, faulty(says(200, {}))));
    const keeper = await opened("https", `127.0.0.1:${port}`);
    assert.equal(await failing(await open(keeper), keeper.reference), "KEEPER_TLS_REFUSED");
  });

  test(`${name}: without a login it says how to have one`, async () => {
    const { uri, reference } = await opened("http", "127.0.0.1:1");
    const env = {
      GCE_METADATA_HOST: "127.0.0.1:1",
      AZURE_POD_IDENTITY_AUTHORITY_HOST: "http://127.0.0.1:1",
      HOME: temporaryFolder(),
      AWS_SHARED_CREDENTIALS_FILE: "/nowhere",
      AWS_EC2_METADATA_DISABLED: "true",
      CLOUDSDK_CONFIG: temporaryFolder(),
    };
    const found = await codeOf(async () => (await open({ uri, env, reference })).read(reference, { ttlSeconds: 60 }));
    assert.equal(found, "KEEPER_LOGIN_MISSING");
  });
}

test("what is no keeper, a name that is taken, and a place that is none of a keeper's", async () => {
  const ports = { ...lonely, limits, env: { VAULT_TOKEN: "x" } };
  for (const entries of [
    ["vault://h"],
    ["a=file:///x"],
    ["a=ftp://h"],
    ["A=vault://h"],
    ["embedded=vault://h"],
    ["a=vault://h", "a=vault://h"],
    ["a=vault:"],
    ["a=awssm://nowhere"],
    ["a=gcpsm://x"],
    ["a=azurekv://evil.example"],
    ["a=vault://127.0.0.1/path"],
    ["a=vault://h?insecure-http=1"],
    Array.from({ length: 33 }, (_, at) => `k${at}=vault://h`),
  ])
    assert.equal(await codeOf(() => openDrivers(entries, ports)), "KEEPER_UNKNOWN", entries[0]);
});
