/** The real peers of the key services' clients: Vault's and OpenBao's own cores, moto, SoftHSM2; each for one test file. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { Agent, type Dispatcher, request } from "undici";
import { motoPython, openBaoBinary, softHsmModule, vaultBinary } from "../../tools/peers/places.ts";
import { temporaryFolder } from "../sealing/support.ts";

export const NO_VAULT = "Vault is not built here: node tools/bootstrap.mjs peers vault";
export const NO_OPENBAO = "OpenBao is not built here: node tools/bootstrap.mjs peers openbao";
export const NO_MOTO = "moto is not installed here: node tools/bootstrap.mjs peers moto";
export const NO_SOFTHSM = "no SoftHSM2 here: apt-get install softhsm2";

const START_MILLISECONDS = 60_000;
const started: ChildProcess[] = [];
after(() => {
  for (const child of started) child.kill("SIGKILL");
});

function start(program: string, words: readonly string[], says: RegExp): Promise<string> {
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"] });
  started.push(child);
  return new Promise((resolve, reject) => {
    let text = "";
    const timer = setTimeout(
      () => reject(new Error(`${program} did not start: ${text.slice(-2000)}`)),
      START_MILLISECONDS,
    );
    const read = (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-100_000);
      const found = says.exec(text)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("exit", (code) => reject(new Error(`${program} ended with ${code}: ${text.slice(-2000)}`)));
  });
}

export type VaultKind = "vault" | "openbao";
export const VAULTS: readonly { kind: VaultKind; missing: string }[] = [
  { kind: "vault", missing: NO_VAULT },
  { kind: "openbao", missing: NO_OPENBAO },
];

export interface VaultPeer {
  readonly origin: string;
  readonly host: string;
  readonly rootToken: string;
  readonly unsealKey: string;
  /** A request in the name of a token, the root's when none is given. */
  ask(method: string, path: string, body?: unknown, token?: string): Promise<{ status: number; body: VaultBody }>;
}

// biome-ignore lint/suspicious/noExplicitAny: what the peer says is looked at by the tests only
export type VaultBody = any;

/**
 * Unsealed, with the transit engine at `transit` and AppRole; undefined where the binary was not built. With the files
 * of a certificate that signed itself and its key it speaks TLS.
 */
export async function startVault(
  kind: VaultKind = "vault",
  tls?: { cert: string; key: string },
): Promise<VaultPeer | undefined> {
  const binary = kind === "vault" ? vaultBinary() : openBaoBinary();
  if (!existsSync(binary)) return undefined;
  const words = ["127.0.0.1:0", ...(tls ? [tls.cert, tls.key] : [])];
  const origin = await start(binary, words, /^(https?:\/\/127\.0\.0\.1:\d+)$/m);
  const dispatcher = new Agent(tls ? { connect: { ca: readFileSync(tls.cert) } } : {});
  let rootToken = "";
  const ask: VaultPeer["ask"] = async (method, path, body, token = rootToken) => {
    const answer = await request(`${origin}/v1/${path}`, {
      method: method as Dispatcher.HttpMethod,
      headers: { "x-vault-token": token },
      body: body === undefined ? null : JSON.stringify(body),
      dispatcher,
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, body: text === "" ? undefined : JSON.parse(text) };
  };
  const init = await ask("PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 }, "none");
  assert.equal(init.status, 200, JSON.stringify(init.body));
  const unsealKey: string = init.body.keys[0];
  assert.equal((await ask("PUT", "sys/unseal", { key: unsealKey }, "none")).status, 200);
  rootToken = init.body.root_token;
  for (let tries = 0; (await ask("GET", "sys/health")).status !== 200; tries++) {
    assert.ok(tries < 200, "Vault does not become active");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal((await ask("POST", "sys/mounts/transit", { type: "transit" })).status, 204);
  assert.equal((await ask("POST", "sys/auth/approle", { type: "approle" })).status, 204);
  return { origin, host: new URL(origin).host, rootToken, unsealKey, ask };
}

/** Where moto listens; undefined where it is not installed. */
export async function startMoto(): Promise<string | undefined> {
  const python = motoPython();
  if (!existsSync(python)) return undefined;
  return start(
    python,
    [join(import.meta.dirname, "moto-server.py"), "-H", "127.0.0.1", "-p", "0"],
    /Running on (http:\/\/127\.0\.0\.1:\d+)/,
  );
}

/** One request to moto as an administrator would make it. */
export async function askMoto(
  endpoint: string,
  operation: string,
  body: unknown,
  region = "eu-central-1",
): Promise<VaultBody> {
  const answer = await fetch(endpoint, {
    method: "POST",
    headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": `TrentService.${operation}`,
      authorization: `AWS4-HMAC-SHA256 Credential=admin/20260101/${region}/kms/aws4_request, SignedHeaders=host, Signature=00`,
    },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return text === "" ? undefined : JSON.parse(text);
}

export interface SoftToken {
  readonly module: string;
  readonly label: string;
  readonly pin: string;
  readonly pinFile: string;
  importKey(label: string, id: string, curve: string): string;
  importAes(label: string, id: string, key: Uint8Array): void;
}

/** A fresh SoftHSM2 token; the module reads its place from the environment once per process. */
export function makeToken(label = "modelkeep"): SoftToken | undefined {
  const module = softHsmModule();
  if (module === undefined) return undefined;
  const folder = temporaryFolder();
  process.env.SOFTHSM2_CONF ??= configuration(folder);
  const pin = randomBytes(8).toString("hex");
  const pinFile = join(folder, "pin");
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  const util = (...words: string[]) => execFileSync("softhsm2-util", words, { stdio: "pipe" });
  util("--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", pin);
  const importing = (file: string, name: string, id: string, ...more: string[]) =>
    util("--import", file, "--token", label, "--label", name, "--id", id, "--pin", pin, ...more);
  return {
    module,
    label,
    pin,
    pinFile,
    importKey(name, id, curve) {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: curve });
      const file = join(folder, `${id}.pem`);
      writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
      importing(file, name, id);
      return publicKey.export({ type: "spki", format: "pem" }).toString();
    },
    importAes(name, id, key) {
      const file = join(folder, `${id}.aes`);
      // softhsm2-util reads a word of text: white space and zero bytes would end it early.
      writeFileSync(file, Buffer.concat([key.map((byte) => byte | 0x80), Buffer.alloc(1)]), { mode: 0o600 });
      importing(file, name, id, "--aes");
    },
  };
}

function configuration(folder: string): string {
  mkdirSync(join(folder, "tokens"));
  const path = join(folder, "softhsm2.conf");
  writeFileSync(
    path,
    `directories.tokendir = ${join(folder, "tokens")}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  return path;
}
