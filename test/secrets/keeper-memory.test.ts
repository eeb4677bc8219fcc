/** Root searches the memory of a process that read secrets from their keepers: what is held, what is left, the heap. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { needlesOf, scanMemory } from "../../src/cli/leak-test/scan.ts";
import { guardedMemoryLevel } from "../../src/host/index.ts";
import { CLIENT, startAzureLogins, TENANT } from "../backends/counterparts/azure.ts";
import { startAzureSecrets } from "../backends/counterparts/azure-secrets.ts";
import { startGoogleLogins } from "../backends/counterparts/google.ts";
import { startGoogleSecrets } from "../backends/counterparts/google-secrets.ts";
import { NO_MOTO, NO_OPENBAO, startMoto, startVault } from "../backends/peers.ts";
import { temporaryFolder } from "../sealing/support.ts";

interface Place {
  readonly uri: string;
  readonly reference: string;
  readonly env: Record<string, string>;
}

async function search(t: TestContext, key: string, { uri, reference, env }: Place): Promise<void> {
  const snapshot = join(temporaryFolder(), "heap.heapsnapshot");
  const all = { PATH: process.env.PATH, HOME: process.env.HOME, ...env };
  const child = fork(join(import.meta.dirname, "keeper-memory-child.ts"), [uri, reference, snapshot], { env: all });
  t.after(() => child.kill("SIGKILL"));
  const needles = needlesOf(key);
  const look = () => scanMemory(child.pid ?? 0, needles);
  await once(child, "message");
  const held = look();
  if (!held) return t.skip("only root may read the memory of another process: sudo npm test -- keeper-memory");
  child.send("go");
  await once(child, "message");
  const left = look();
  t.diagnostic(`held: ${held.copies} copies, after: ${left?.copies}, in ${(left?.bytes ?? 0) >> 20} MiB`);
  assert.ok((left?.bytes ?? 0) > 10_000_000, "the memory was read");
  assert.equal(left?.copies, 0);
  const inPage = guardedMemoryLevel().level === "secret" ? 0 : 1;
  assert.ok(held.copies <= inPage, `${held.copies} copies while one is held`);
  assert.ok(!needles.some((needle) => readFileSync(snapshot).includes(needle)), "the heap holds it");
}

const newKey = () => `sk-canary-${randomBytes(24).toString("hex")}`;

test("OpenBao: 51 readings leave no copy", async (t) => {
  const peer = await startVault("openbao");
  if (!peer) return t.skip(NO_OPENBAO);
  const key = newKey();
  await peer.ask("POST", "sys/mounts/kv", { type: "kv" });
  await peer.ask("POST", "kv/app", { key, other: "x" });
  const env = { VAULT_TOKEN: peer.rootToken };
  await search(t, key, { uri: `vault://${peer.host}?insecure-http=1`, reference: "kv/app#key", env });
});

test("AWS Secrets Manager: 51 readings of a field leave no copy", async (t) => {
  const moto = await startMoto();
  if (!moto) return t.skip(NO_MOTO);
  const key = newKey();
  const headers = {
    "content-type": "application/x-amz-json-1.1",
    "x-amz-target": "secretsmanager.CreateSecret",
    authorization: "AWS4-HMAC-SHA256 Credential=admin/20260101/eu-central-1/secretsmanager/aws4_request, Signature=00",
  };
  const body = JSON.stringify({ Name: "app", SecretString: JSON.stringify({ key }) });
  assert.equal((await fetch(moto, { method: "POST", headers, body })).status, 200);
  const env = { AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY: "x", AWS_ENDPOINT_URL: moto };
  await search(t, key, { uri: "awssm://eu-central-1", reference: "app#key", env });
});

test("Google Secret Manager: 51 readings leave no copy", async (t) => {
  const logins = await startGoogleLogins();
  const manager = await startGoogleSecrets(logins.tokens);
  const key = newKey();
  manager.add("app", Buffer.from(key));
  const env = {
    GOOGLE_APPLICATION_CREDENTIALS: logins.serviceAccount,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER: `${manager.origin}/`,
  };
  await search(t, key, { uri: "gcpsm://projects/project", reference: "app", env });
});

test("Azure Key Vault: 51 readings leave no copy", async (t) => {
  const logins = await startAzureLogins();
  const vault = await startAzureSecrets(logins.tokens);
  const key = newKey();
  vault.add("app", key);
  const client = { AZURE_TENANT_ID: TENANT, AZURE_CLIENT_ID: CLIENT, AZURE_CLIENT_SECRET: logins.secret };
  const env = { ...client, AZURE_AUTHORITY_HOST: `${logins.origin}/` };
  await search(t, key, { uri: `azurekv://${vault.host}?insecure-http=1`, reference: "app", env });
});
