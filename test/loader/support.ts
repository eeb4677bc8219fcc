/** A small sealed model with a known plaintext block, and the loader as a process of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { readEnvelope, type SealedPackage, sealModel, unwrapPackageKey } from "../../src/sealing/index.ts";
import { loadEcSigner, signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";

export interface SealedFixture {
  readonly folder: string;
  readonly storeFolder: string;
  readonly storeUri: string;
  readonly prefix: string;
  readonly kekUri: string;
  readonly publicKey: string;
  readonly privateKey: Buffer;
  readonly bundle: Uint8Array;
  readonly sealed: SealedPackage;
  /** Plaintext of `weights.bin`; its first 64 bytes are the block that is searched for. */
  readonly weights: Buffer;
}

export const CHILD = fileURLToPath(new URL("run-child.ts", import.meta.url));

/** Everybody may read it, so that a run as another user can. */
export function scratchFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-loader-test-"));
  chmodSync(folder, 0o755);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function ecKey(): { privatePem: Buffer; publicPem: string } {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const publicPem = createPublicKey(createPrivateKey(pem)).export({ type: "spki", format: "pem" }).toString();
  return { privatePem: Buffer.from(pem), publicPem };
}

/** `weights.bin` of some segments, and `sub/config.json`. */
export async function sealFixture(t: TestContext, weightBytes = 2 * 1024 * 1024 + 777): Promise<SealedFixture> {
  const folder = scratchFolder(t);
  const root = join(folder, "plain");
  const weights = randomBytes(weightBytes);
  mkdirSync(join(root, "sub"), { recursive: true });
  writeFileSync(join(root, "weights.bin"), weights);
  writeFileSync(join(root, "sub", "config.json"), '{"layers":2}\n');
  const fixture = await sealFolder(folder, root);
  rmSync(root, { recursive: true });
  return { ...fixture, weights };
}

export async function sealFolder(folder: string, root: string): Promise<Omit<SealedFixture, "weights">> {
  const storeFolder = join(folder, "store");
  const storeUri = pathToFileURL(storeFolder).href;
  const kekUri = pathToFileURL(join(folder, "kek")).href;
  await createKeyFile(kekUri, systemRandom);
  const { privatePem, publicPem } = ecKey();
  const signer = loadEcSigner(privatePem);
  const { bundle } = await signModel({ root, signer });
  const sealed = await sealModel({
    root,
    bundle,
    signer,
    manifest: verifyBundle(bundle, trustKeys([publicPem])),
    wrappers: [await openKeyWrapper(kekUri, { random: systemRandom })],
    store: await openBlobStore(storeUri),
    prefix: "tiny",
    random: systemRandom,
  });
  return {
    folder,
    storeFolder,
    storeUri,
    prefix: "tiny",
    kekUri,
    publicKey: publicPem,
    privateKey: privatePem,
    bundle,
    sealed,
  };
}

export async function packageKeyOf(fixture: Omit<SealedFixture, "weights">) {
  const envelope = await readEnvelope(await openBlobStore(fixture.storeUri), fixture.prefix);
  return unwrapPackageKey(envelope, [await openKeyWrapper(fixture.kekUri, { random: systemRandom })]);
}

export interface ChildOptions {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly publicKeys?: readonly string[];
  readonly rootDigest?: string;
  readonly filesDigest?: string;
  readonly wrongKey?: boolean;
  readonly allowSwap?: boolean;
  /** Words before node: strace, setpriv. */
  readonly before?: readonly string[];
  readonly cwd?: string;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The code of the error that the loader threw. */
  readonly error: string | undefined;
}

export interface RunningLoader {
  readonly child: ChildProcess;
  readonly done: Promise<Finished>;
  stdout(): string;
  /** Resolves when stdout holds the text. */
  said(text: string): Promise<void>;
}

export function startLoader(fixture: Omit<SealedFixture, "weights">, options: ChildOptions): RunningLoader {
  const job = {
    storeUri: fixture.storeUri,
    prefix: fixture.prefix,
    kekUri: fixture.kekUri,
    publicKeys: options.publicKeys ?? [fixture.publicKey],
    rootDigest: options.rootDigest,
    filesDigest: options.filesDigest,
    wrongKey: options.wrongKey === true,
    allowSwap: options.allowSwap === true,
    command: options.command,
  };
  const words = [...(options.before ?? []), process.execPath, "--disable-warning=ExperimentalWarning", CHILD];
  const child = spawn(words[0] ?? "", [...words.slice(1), JSON.stringify(job)], {
    cwd: options.cwd ?? fixture.folder,
    env: { PATH: process.env.PATH, HOME: fixture.folder, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  const done = once(child, "close").then(([code, signal]) => {
    const error = /^error ([A-Z_]+)/m.exec(stderr)?.[1];
    return { code: code as number | null, signal: signal as string | null, stdout, stderr, error };
  });
  const said = async (text: string) => {
    const end = Date.now() + 20_000;
    while (!stdout.includes(text)) {
      if (Date.now() > end || child.exitCode !== null) throw new Error(`never said ${text}: ${stdout}${stderr}`);
      await pause(20);
    }
  };
  return { child, done, stdout: () => stdout, said };
}

export function runLoader(fixture: Omit<SealedFixture, "weights">, options: ChildOptions): Promise<Finished> {
  return startLoader(fixture, options).done;
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Whether this machine gives the namespace at all; the words say how to have it. */
export function canMount(): boolean {
  try {
    execFileSync("unshare", ["--user", "--map-current-user", "--keep-caps", "--mount", "/bin/true"], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return process.getuid?.() === 0;
  }
}

/** Ids of the processes below one, itself included. */
export function treeOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const stat = readOrEmpty(`/proc/${name}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    if (parent > 0) parents.set(Number(name), parent);
  }
  const tree = [pid];
  for (const at of tree) for (const [child, parent] of parents) if (parent === at) tree.push(child);
  return tree;
}

export function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

export function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readOrEmpty(`/proc/${pid}/status`));
}
