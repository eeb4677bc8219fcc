/** The real peers of the stores' clients, each started for one test file: moto, s3rver, Azurite, fake-gcs-server, docker-registry. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { type BlobStore, openBlobStore } from "../../src/artifact/index.ts";
import type { StoreLimits } from "../../src/backends/index.ts";
import {
  azuriteScript,
  dockerRegistryProgram,
  fakeGcsBinary,
  registryBinary,
  s3rverScript,
} from "../../tools/peers/places.ts";
import { NO_MOTO, startMoto } from "../backends/peers.ts";
import { random, temporaryFolder } from "../sealing/support.ts";
import { freePort } from "../support/ports.ts";

const START_MILLISECONDS = 60_000;
const started: ChildProcess[] = [];
after(() => {
  for (const child of started) child.kill("SIGKILL");
});

export interface StorePeer {
  readonly origin: string;
  /** The URI of a place of its own inside the peer. */
  uri(place: string): string;
  readonly env: Readonly<Record<string, string>>;
  open(place: string, limits?: Partial<StoreLimits>): Promise<BlobStore>;
  /** The process of the peer, where a test may end it. */
  readonly child?: ChildProcess;
}

/** Quick to give up, so that a test of a failure takes no minute. */
export const QUICK: Partial<StoreLimits> = { backoffMilliseconds: 5, backoffMaxMilliseconds: 20 };

export function peerOf(origin: string, uri: StorePeer["uri"], env: StorePeer["env"], child?: ChildProcess): StorePeer {
  const open = (place: string, limits: Partial<StoreLimits> = {}) =>
    openBlobStore(uri(place), { env, random, limits: { ...QUICK, ...limits } });
  return { origin, uri, env, open, ...(child ? { child } : {}) };
}

/** Starts a program and waits until its origin answers anything at all. */
async function startServer(
  program: string,
  words: readonly string[],
  origin: string,
  env: Record<string, string> = {},
) {
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  started.push(child);
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-4_000);
    });
  for (const end = performance.now() + START_MILLISECONDS; performance.now() < end; ) {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${text}`);
    if (
      await fetch(origin).then(
        (answer) => answer.body?.cancel().then(() => true) ?? true,
        () => false,
      )
    )
      return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${program} did not start: ${text}`);
}

export const S3_ENV = { AWS_ACCESS_KEY_ID: "S3RVER", AWS_SECRET_ACCESS_KEY: "S3RVER" };
const BUCKET = "modelkeep-models";

export async function startMotoS3(): Promise<StorePeer | string> {
  const origin = await startMoto();
  if (origin === undefined) return NO_MOTO;
  const authorization = `AWS4-HMAC-SHA256 Credential=S3RVER/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00`;
  await fetch(`${origin}/${BUCKET}`, { method: "PUT", headers: { authorization } });
  return peerOf(origin, (place) => `s3://${BUCKET}/${place}`, { ...S3_ENV, AWS_ENDPOINT_URL_S3: origin });
}

export async function startS3rver(): Promise<StorePeer | string> {
  const script = s3rverScript();
  if (!existsSync(script)) return "s3rver is not installed here: node tools/bootstrap.mjs peers s3rver";
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const words = [script, "-d", temporaryFolder(), "-a", "127.0.0.1", "-p", String(port), "--silent"];
  await startServer(process.execPath, ["--no-deprecation", ...words, "--configure-bucket", BUCKET], origin);
  return peerOf(origin, (place) => `s3://${BUCKET}/${place}`, { ...S3_ENV, AWS_ENDPOINT_URL_S3: origin });
}

export async function startAzurite(): Promise<StorePeer | string> {
  const script = azuriteScript();
  if (!existsSync(script)) return "Azurite is not installed here: node tools/bootstrap.mjs peers azurite";
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const key = randomBytes(64).toString("base64");
  const words = [script, "--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", temporaryFolder()];
  const quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"];
  await startServer(process.execPath, ["--no-deprecation", ...words, ...quiet], origin, {
    AZURITE_ACCOUNTS: `modelkeep:${key}`,
  });
  await makeContainer(`${origin}/modelkeep`, key);
  const env = { AZURE_STORAGE_KEY: key, AZURE_STORAGE_SERVICE_ENDPOINT: `${origin}/modelkeep` };
  return peerOf(origin, (place) => `az://modelkeep/models/${place}`, env);
}

export async function startFakeGcs(): Promise<StorePeer | string> {
  const binary = fakeGcsBinary();
  if (!existsSync(binary)) return "fake-gcs-server is not built here: node tools/bootstrap.mjs peers fake-gcs";
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const words = ["-scheme", "http", "-host", "127.0.0.1", "-port", String(port), "-backend", "memory"];
  const own = ["-external-url", origin, "-public-host", `127.0.0.1:${port}`, "-log-level", "error"];
  await startServer(binary, [...words, ...own], origin);
  const made = await fetch(`${origin}/storage/v1/b?project=test`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: BUCKET }),
  });
  await made.body?.cancel();
  return peerOf(origin, (place) => `gs://${BUCKET}/${place}`, { STORAGE_EMULATOR_HOST: origin });
}

/** A registry in memory that lists referrers itself; it starts on a port of its own choice. */
export async function startReferrersRegistry(): Promise<StorePeer | string> {
  const binary = registryBinary();
  if (!existsSync(binary)) return "go-containerregistry is not built here: node tools/bootstrap.mjs peers registry";
  const host = `127.0.0.1:${await freePort()}`;
  await startServer(binary, [host], `http://${host}/v2/`);
  return peerOf(`http://${host}`, (place) => `oci://${host}/models/${place}:v1`, {});
}

/** With the `delete` that a registry may or may not allow. */
export async function startRegistry(more = "", allowsDelete = true): Promise<StorePeer | string> {
  if (!existsSync(dockerRegistryProgram)) return "no docker-registry here: apt-get install docker-registry";
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const folder = temporaryFolder();
  mkdirSync(join(folder, "data"));
  const file = join(folder, "config.yml");
  const storage = `storage:\n  filesystem:\n    rootdirectory: ${join(folder, "data")}\n  delete:\n    enabled: ${allowsDelete}\n`;
  writeFileSync(file, `version: 0.1\nlog:\n  level: error\n${storage}http:\n  addr: ${host}\n${more}`);
  await startServer(dockerRegistryProgram, ["serve", file], `http://${host}/v2/`);
  return peerOf(`http://${host}`, (place) => `oci://${host}/models/${place}:v1`, {});
}

/** As the account's owner would: there is no command of ours that makes one. */
async function makeContainer(endpoint: string, key: string): Promise<void> {
  const date = new Date().toUTCString();
  const text = `PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:${date}\nx-ms-version:2021-12-02\n/modelkeep/modelkeep/models\nrestype:container`;
  const signature = createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
  const headers = {
    "x-ms-date": date,
    "x-ms-version": "2021-12-02",
    authorization: `SharedKey modelkeep:${signature}`,
  };
  const answer = await fetch(`${endpoint}/models?restype=container`, { method: "PUT", headers });
  if (answer.status !== 201) throw new Error(`Azurite: ${answer.status} ${await answer.text()}`);
}
