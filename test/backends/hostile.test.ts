/** Logins whose service or network wants harm: tokens that are dropped while others wait, metadata that says no, hints that help. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { AwsCredentialSource } from "../../src/backends/aws/credentials.ts";
import { openAzureTokens } from "../../src/backends/azure/login.ts";
import { backendError } from "../../src/backends/errors.ts";
import { openKeyWrapper, storeError } from "../../src/backends/index.ts";
import { Renewing } from "../../src/backends/renewing.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { codeOf } from "../sealing/support.ts";

const server = createServer((_, answer) => void answer.writeHead(403).end("forbidden"));
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
after(() => {
  server.closeAllConnections();
  server.close();
});
const address = server.address();
const origin = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
const around = { clock: systemClock, random: systemRandom };

test("a token that is dropped the moment it came is fetched again, and never read after it was wiped", async () => {
  for (let turns = 0; turns < 30; turns++) {
    let fetched = 0;
    const renewing = new Renewing({
      clock: systemClock,
      fetch: async () => ({ value: { number: ++fetched, wiped: false }, lifeSeconds: 3_600 }),
      wipe: (value) => {
        value.wiped = true;
      },
    });
    const reading = renewing.use(({ number, wiped }) => ({ number, wiped }));
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    renewing.drop();
    const { number, wiped } = await reading;
    assert.equal(wiped, false, `after ${turns} turns`);
    assert.ok(number <= 2);
  }
});

test("a token that is always dropped is given up and not fetched for ever", async () => {
  let fetched = 0;
  const renewing: Renewing<object> = new Renewing({
    clock: systemClock,
    fetch: async () => {
      fetched++;
      const dropping = (turns: number): void => {
        renewing.drop();
        if (turns > 0) queueMicrotask(() => dropping(turns - 1));
      };
      queueMicrotask(() => dropping(40));
      return { value: {}, lifeSeconds: 3_600 };
    },
    wipe: () => undefined,
  });
  assert.equal(await codeOf(() => renewing.use(() => "read")), "KMS_CREDENTIALS_REFUSED");
  assert.ok(fetched <= 4, String(fetched));
});

test("a machine's metadata that says no is no login: what to set is named", async () => {
  const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: origin, AWS_SHARED_CREDENTIALS_FILE: "/nothing" };
  const aws = new AwsCredentialSource({ ...around, env }, "eu-central-1");
  await assert.rejects(aws.get(), { code: "KMS_CREDENTIALS_MISSING", hint: /AWS_ACCESS_KEY_ID/ });
  const azure = openAzureTokens({ ...around, env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: origin } });
  await assert.rejects(azure.token("https://vault.azure.net/.default"), {
    code: "KMS_CREDENTIALS_MISSING",
    hint: /AZURE_CLIENT_ID/,
  });
});

test("who is refused by a key service or a store is not sent to Modelkeep's own server", () => {
  for (const error of [
    backendError("KMS_CREDENTIALS_MISSING"),
    backendError("KMS_CREDENTIALS_REFUSED"),
    backendError("KMS_DENIED"),
    backendError("KMS_UNREACHABLE"),
    backendError("KMS_TLS_REFUSED"),
    backendError("KMS_KEY_NOT_FOUND"),
    storeError("STORE_CREDENTIALS_REFUSED"),
    storeError("STORE_DENIED"),
    storeError("STORE_REFUSED"),
  ])
    assert.ok(error.hint !== undefined, error.code);
});

test("who interrupts does not wait for a key service that says nothing", async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const place = silent.address();
  const host = `127.0.0.1:${typeof place === "object" && place ? place.port : 0}`;
  const keys = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "theSecret" };
  const env = { ...keys, AWS_ENDPOINT_URL: `http://${host}`, AZURE_POD_IDENTITY_AUTHORITY_HOST: `http://${host}` };
  try {
    for (const uri of ["awskms://eu-central-1/alias/x", `azurekms://${host}/key?insecure-http=1`]) {
      const stop = new AbortController();
      const start = performance.now();
      setTimeout(() => stop.abort("stopped"), 100);
      await assert.rejects(
        () => openKeyWrapper(uri, { ...around, env, signal: stop.signal }),
        (reason) => reason === "stopped",
        uri,
      );
      assert.ok(performance.now() - start < 1_000, uri);
    }
  } finally {
    silent.closeAllConnections();
    silent.close();
  }
});
