/** Models, keys, stores and a command line for the tests of signing and sealing. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { pathToFileURL } from "node:url";
import { type BlobStore, openBlobStore } from "../../src/artifact/index.ts";
import { createKeyFile, type KeyWrapper, openKeyWrapper } from "../../src/backends/index.ts";
import { ModelkeepError, silentLog } from "../../src/base/index.ts";
import type { Command } from "../../src/cli/command.ts";
import * as recipientsCommands from "../../src/cli/commands/recipients.ts";
import * as sealingCommands from "../../src/cli/commands/sealing.ts";
import * as inspectCommands from "../../src/cli/commands/sealing-inspect.ts";
import * as signingCommands from "../../src/cli/commands/signing.ts";
import * as storeCommands from "../../src/cli/commands/stores.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { type ModelSink, openWithKms, type SealedPackage, sealModel } from "../../src/sealing/index.ts";
import { loadEcSigner, type ModelSigner, signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";

export const random = systemRandom;
export const KIB = 1024;
export const MIB = 1024 * KIB;

const made: string[] = [];
after(() => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

export function temporaryFolder(base = tmpdir()): string {
  const folder = mkdtempSync(join(base, "modelkeep-test-"));
  made.push(folder);
  return folder;
}

export type Files = Readonly<Record<string, string | Uint8Array>>;

export function writeModel(contents: Files, root = join(temporaryFolder(), "model")): string {
  for (const [path, content] of Object.entries(contents)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

export interface Pair {
  readonly signer: ModelSigner;
  readonly privatePem: string;
  readonly publicPem: string;
}

export function makePair(namedCurve = "P-256"): Pair {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve });
  const privatePem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const signer = loadEcSigner(Buffer.from(privatePem));
  return { signer, privatePem, publicPem: signer.publicKeyPem };
}

export async function makeKms(): Promise<{ uri: string; wrapper: KeyWrapper }> {
  const uri = pathToFileURL(join(temporaryFolder(), "models.kek")).href;
  assert.equal(await createKeyFile(uri, random), true);
  return { uri, wrapper: await openKeyWrapper(uri, { random }) };
}

export function makeStore(folder = temporaryFolder()): Promise<BlobStore> {
  return openBlobStore(pathToFileURL(folder).href);
}

export interface Made {
  readonly root: string;
  readonly folder: string;
  readonly store: BlobStore;
  readonly prefix: string;
  readonly pair: Pair;
  readonly wrapper: KeyWrapper;
  readonly sealed: SealedPackage;
}

export interface MakeOptions {
  readonly pair?: Pair;
  readonly wrapper?: KeyWrapper;
  readonly prefix?: string;
}

export async function makeSealed(contents: Files, options: MakeOptions = {}): Promise<Made> {
  const root = writeModel(contents);
  const pair = options.pair ?? makePair();
  const wrapper = options.wrapper ?? (await makeKms()).wrapper;
  const prefix = options.prefix ?? "";
  const folder = temporaryFolder();
  const store = await makeStore(folder);
  const { bundle } = await signModel({ root, signer: pair.signer });
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const { signer } = pair;
  const sealed = await sealModel({ root, manifest, bundle, signer, wrappers: [wrapper], store, prefix, random });
  return { root, folder, store, prefix, pair, wrapper, sealed };
}

/** Keeps what it is given, chunk by chunk. */
export class MemorySink implements ModelSink {
  readonly files = new Map<string, Buffer[]>();

  async open(path: string) {
    const chunks: Buffer[] = [];
    this.files.set(path, chunks);
    return { write: async (chunk: Uint8Array) => void chunks.push(Buffer.from(chunk)), close: async () => {} };
  }

  content(path: string): Buffer {
    return Buffer.concat(this.files.get(path) ?? []);
  }
}

export interface OpenOverrides {
  readonly store?: BlobStore;
  readonly rootDigest?: string;
  readonly trust?: readonly string[];
}

export async function openMade(made: Made, overrides: OpenOverrides = {}): Promise<MemorySink> {
  const into = new MemorySink();
  const trust = trustKeys(overrides.trust ?? [made.pair.publicPem]);
  const { prefix } = made;
  const store = overrides.store ?? made.store;
  const { rootDigest } = overrides;
  const expected = rootDigest === undefined ? {} : { rootDigest };
  await openWithKms({ store, prefix, trust, wrappers: [made.wrapper], into, random, ...expected });
  return into;
}

export async function codeOf(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, `not one of our errors: ${String(error)}`);
    return error.code;
  }
}

const commands: readonly Command[] = [
  signingCommands,
  sealingCommands,
  inspectCommands,
  recipientsCommands,
  storeCommands,
].flatMap((module) =>
  Object.values(module as Record<string, unknown>).filter(
    (value): value is Command => typeof value === "object" && value !== null && "run" in value,
  ),
);

export interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line without a process. */
export async function modelkeep(
  words: readonly string[],
  cwd = tmpdir(),
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const [stdout, stderr]: [string[], string[]] = [[], []];
  const exit = await runCommandLine(words, {
    commands,
    version: "0.0.0",
    stdin: (async function* () {})(),
    stdout: { write: (text: string) => stdout.push(text) },
    stderr: { write: (text: string) => stderr.push(text) },
    env,
    cwd,
    clock: systemClock,
    random,
    log: silentLog,
    signal: new AbortController().signal,
    connect: () => Promise.reject(new Error("no server here")),
  });
  return { exit, stdout: stdout.join(""), stderr: stderr.join("") };
}
