/** Runs a program on a sealed model: verifies without a key, opens a namespace, hands job and key to the inner half, waits. */
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { openBlobStore, storeSettings } from "../artifact/index.ts";
import type { ModelkeepError } from "../base/index.ts";
import { type GuardedBytes, LockedScratch, os, signalGroup, spawnProcess, systemErrorCode } from "../host/index.ts";
import { sealingError, type VerifiedSeal, verifySealed } from "../sealing/index.ts";
import { filesDigestOf, pinKeys } from "../signing/index.ts";
import { loaderError } from "./errors.ts";
import { encodeJob, type Job, type ReadyStatus, type Status, statusReader, toError } from "./job.ts";
import { launchWords } from "./launch.ts";
import { LOADER_LIMITS } from "./limits.ts";
import { sizeOf } from "./load.ts";
import type { RunReady, RunResult, RunSealedOptions } from "./loader.ts";
import { findNamespace } from "./namespace.ts";
import { findMountFolder } from "./place.ts";
import { checkRoom, mountBytes } from "./room.ts";
import { findProgram, findTool } from "./tools.ts";

interface Plan {
  readonly job: Job;
  readonly words: readonly string[];
  readonly contained: boolean;
}

/**
 * Resolves when the program has ended. Fails before it starts with the code of what was wrong: SEALED_TAMPERED,
 * SIGNER_NOT_TRUSTED, PROGRAM_NOT_FOUND, NAMESPACE_UNAVAILABLE, SWAP_IN_USE, MEMORY_TOO_SMALL, LOAD_FAILED.
 */
export async function runSealedModel(options: RunSealedOptions): Promise<RunResult> {
  try {
    return await start(options, await prepare(options));
  } finally {
    options.packageKey.wipe();
  }
}

async function prepare(options: RunSealedOptions): Promise<Plan> {
  const [word = "", ...rest] = options.command;
  if (rest.length >= LOADER_LIMITS.commandWords)
    throw loaderError("PROGRAM_NOT_FOUND", { detail: `over ${LOADER_LIMITS.commandWords} words` });
  const program = await findProgram(word, options.env.PATH, options.cwd);
  const seal = await verifyStored(options);
  const size = sizeOf(seal);
  await checkRoom(size);
  const namespace = await findNamespace();
  const folder = await findMountFolder();
  const model = modelPath(folder, seal);
  const job = {
    store_uri: options.storeUri,
    prefix: options.prefix,
    public_keys: [...options.trust.publicKeys],
    root_digest: seal.manifest.rootDigest,
    files_digest: filesDigestOf(seal.manifest),
    package_id: seal.packageId,
    mount_bytes: mountBytes(size),
    folder,
    allow_swap: options.insecureAllowSwap === true,
    mount_tool: await findTool("mount"),
    store_settings: storeSettings(options.storeUri, options.env),
  };
  const words = [program, ...rest.map((text) => text.replaceAll("{model}", () => model))];
  return { job, words: await launchWords(namespace, words), contained: namespace.contained };
}

/** Needs no key: a model that is not the published one is refused before anything else happens. */
async function verifyStored(options: RunSealedOptions): Promise<VerifiedSeal> {
  const { storeUri, prefix, rootDigest, filesDigest, packageId } = options;
  const { env, signal } = options;
  const store = await openBlobStore(storeUri, { env, ...(signal ? { signal } : {}) });
  const seal = await verifySealed({ store, prefix, trust: pinKeys(options.trust.publicKeys) });
  const same =
    (rootDigest === undefined || rootDigest === seal.manifest.rootDigest) &&
    (filesDigest === undefined || filesDigest === filesDigestOf(seal.manifest)) &&
    (packageId === undefined || packageId === seal.packageId);
  if (same) return seal;
  throw sealingError("SEALED_TAMPERED", { detail: "the store holds another model than the one that was asked for" });
}

/** A model of one file is that file, any other the folder. */
function modelPath(folder: string, seal: VerifiedSeal): string {
  return seal.files.length === 1 && seal.files[0]?.path === "." ? join(folder, "model") : folder;
}

/** In a session of its own: a Ctrl-C on the terminal comes to the program once, through the signal. */
function start(options: RunSealedOptions, plan: Plan): Promise<RunResult> {
  if (options.signal?.aborted) throw loaderError("LOAD_FAILED", { detail: endedBy(options.signal) });
  const [tool = "", ...words] = plan.words;
  const child = spawnProcess(tool, words, {
    cwd: options.cwd,
    env: { ...options.env },
    detached: true,
    stdio: ["inherit", "inherit", "inherit", "pipe", "pipe"],
  });
  const listener = listen(options, plan);
  (child.stdio[4] as Readable).on("data", statusReader(listener.onStatus)).on("error", () => undefined);
  hand(child.stdio[3] as Writable, plan.job, options.packageKey);
  const pass = () => void signalGroup(child.pid ?? 0, listener.ready ? nameOf(options.signal?.reason) : "SIGKILL");
  options.signal?.addEventListener("abort", pass);
  return new Promise<RunResult>((resolve, reject) => {
    child.on("error", (error) =>
      reject(loaderError("LOAD_FAILED", { detail: systemErrorCode(error) ?? "unknown", cause: error })),
    );
    child.on("close", (code, signal) => {
      if (listener.ready) resolve({ exitCode: exitCodeOf(code, signal), ready: listener.ready });
      else reject(listener.error ?? loaderError("LOAD_FAILED", { detail: endedBy(options.signal) }));
    });
  }).finally(() => options.signal?.removeEventListener("abort", pass));
}

function endedBy(signal: AbortSignal | undefined): string {
  return signal?.aborted ? "interrupted" : "it was ended from outside, for example for lack of memory";
}

interface Listener {
  ready?: RunReady;
  error?: ModelkeepError;
  onStatus(status: Status): void;
}

function listen(options: RunSealedOptions, plan: Plan): Listener {
  const listener: Listener = {
    onStatus(status) {
      if ("error" in status) listener.error = toError(status);
      else if ("progress" in status) options.progress?.({ step: "load", ...status.progress, unit: "bytes" });
      else {
        listener.ready = toReady(status.ready, plan.contained);
        options.onReady?.(listener.ready);
      }
    },
  };
  return listener;
}

function toReady(status: ReadyStatus, contained: boolean): RunReady {
  const { files, bytes, root_digest: rootDigest, key_id: keyId, no_swap: noSwap } = status;
  return { files, bytes, rootDigest, keyId, noSwap, contained };
}

/** Straight from locked memory; the write's callback comes also when the other side is gone, which its exit tells. */
function hand(pipe: Writable, job: Job, packageKey: GuardedBytes): void {
  const scratch = LockedScratch.allocate(packageKey.length);
  packageKey.use((bytes) => scratch.bytes.set(bytes));
  packageKey.wipe();
  pipe.on("error", () => undefined);
  pipe.write(encodeJob(job));
  pipe.end(scratch.bytes, () => scratch.free());
}

function nameOf(reason: unknown): "SIGINT" | "SIGTERM" {
  return reason === "SIGINT" ? "SIGINT" : "SIGTERM";
}

function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : os.constants.signals[signal]);
}
