/** Says in plain words what this host can promise about the plaintext of a model, by trying it. */
import { join } from "node:path";
import { ModelkeepError } from "../base/index.ts";
import { files, guardedMemoryLevel, processInfo, tempDirectory } from "../host/index.ts";
import type { HostPromise } from "./loader.ts";
import { findNamespace, type Namespace } from "./namespace.ts";
import { readProc, swapDevices } from "./swap.ts";
import { findTool, runTool } from "./tools.ts";

/** Guest devices of the TEEs; that one is there is not yet evidence. */
const TEE_DEVICES = { "/dev/sev-guest": "AMD SEV-SNP", "/dev/tdx_guest": "Intel TDX", "/dev/sgx_enclave": "Intel SGX" };

export async function hostPromises(): Promise<readonly HostPromise[]> {
  const namespace = await findNamespace().catch((error: unknown) => error);
  const found = isNamespace(namespace) ? namespace : undefined;
  const noSwap = found ? await acceptsNoSwap(found) : false;
  const swap = await swapDevices();
  const tee = await teeDevices();
  return [
    namespacePromise(found, namespace),
    processesPromise(found),
    swapPromise(swap, noSwap),
    await corePromise(),
    await lockPromise(),
    {
      id: "tee",
      holds: tee.length > 0,
      about: tee.length > 0 ? `a TEE is there: ${tee.join(", ")}` : "no TEE: evidence of this host proves nothing",
    },
    {
      id: "root",
      holds: false,
      about: `root of this host${processInfo().uid === 0 ? "" : " and other processes of this user"} can read the weights while they are used`,
    },
  ];
}

function isNamespace(value: unknown): value is Namespace {
  return typeof value === "object" && value !== null && "prefix" in value;
}

function namespacePromise(found: Namespace | undefined, error: unknown): HostPromise {
  if (!found) {
    const why = error instanceof ModelkeepError ? error.message : "unknown";
    return { id: "namespace", holds: false, about: `no private mount namespace: ${why}` };
  }
  const how = found.kind === "root" ? "as root" : "in a user namespace";
  return { id: "namespace", holds: true, about: `the model is mounted in a private namespace (${how}), in memory` };
}

function processesPromise(found: Namespace | undefined): HostPromise {
  const holds = found?.contained === true;
  return {
    id: "processes",
    holds,
    about: holds
      ? "when the program or its loader ends, however it ends, all its processes and the model are gone"
      : "this host gives no process namespace: a process that the program leaves behind keeps the model in memory",
  };
}

function swapPromise(swap: readonly string[], noSwap: boolean): HostPromise {
  if (swap.length === 0) return { id: "swap", holds: true, about: "swap is off" };
  const devices = swap.join(", ");
  return noSwap
    ? {
        id: "swap",
        holds: false,
        about: `the model's files are never swapped, copies in the memory of loader and program may be (${devices})`,
      }
    : { id: "swap", holds: false, about: `swap is on (${devices}) and this kernel does not keep the model out of it` };
}

async function corePromise(): Promise<HostPromise> {
  const there = await findTool("prlimit").then(
    () => true,
    () => false,
  );
  return {
    id: "core-dumps",
    holds: there,
    about: there
      ? "core dumps of loader and program are off"
      : "core dumps cannot be switched off, so nothing is loaded: prlimit is missing",
  };
}

async function lockPromise(): Promise<HostPromise> {
  const line = (await readProc("/proc/self/limits")).split("\n").find((text) => text.startsWith("Max locked memory"));
  const soft = line?.split(/\s{2,}/)[1] ?? "unknown";
  return { id: "memory-lock", holds: true, about: `keys: ${guardedMemoryLevel().about}; lockable bytes: ${soft}` };
}

async function acceptsNoSwap(namespace: Namespace): Promise<boolean> {
  const [unshare, ...words] = namespace.prefix;
  const mount = await findTool("mount").catch(() => undefined);
  if (unshare === undefined || mount === undefined) return false;
  const folder = await files.mkdtemp(join(tempDirectory(), "modelkeep-probe-"));
  try {
    const { code } = await runTool(unshare, [...words, mount, "-t", "tmpfs", "-o", "size=64k,noswap", "none", folder]);
    return code === 0;
  } finally {
    await files.rm(folder, { recursive: true, force: true });
  }
}

async function teeDevices(): Promise<readonly string[]> {
  const names: string[] = [];
  for (const [device, name] of Object.entries(TEE_DEVICES)) {
    if (await files.stat(device).catch(() => undefined)) names.push(name);
  }
  return names;
}
