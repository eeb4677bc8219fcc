/** The inner half: opens a sealed model into a memory file system of the namespace it runs in. */
import { openBlobStore } from "../artifact/index.ts";
import type { Progress, Random } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import { openSealedPackage, sealingError, type VerifiedSeal } from "../sealing/index.ts";
import { filesDigestOf, pinKeys } from "../signing/index.ts";
import type { Job, ReadyStatus } from "./job.ts";
import { mountMemory } from "./mount.ts";
import { createFolderSink } from "./sink.ts";
import { checkSwap, swapDevices } from "./swap.ts";

interface LoadPorts {
  readonly random: Random;
  readonly progress: Progress;
}

/**
 * Mounts, then signature, seal statement, header tag and every segment before its bytes are written, then read-only.
 * When it fails, the caller ends, and the kernel takes namespace, mount and plaintext away. The caller wipes the key.
 */
export async function loadModel(job: Job, packageKey: GuardedBytes, ports: LoadPorts): Promise<ReadyStatus> {
  const mount = await mountMemory(job.mount_tool, job.folder, job.mount_bytes);
  checkSwap({ noSwap: mount.noSwap, devices: await swapDevices(), allowed: job.allow_swap });
  const into = createFolderSink(job.folder);
  const seal = await openSealedPackage({
    store: await openBlobStore(job.store_uri, { env: job.store_settings ?? {} }),
    prefix: job.prefix,
    trust: pinKeys(job.public_keys),
    packageKey,
    into,
    expected: { rootDigest: job.root_digest, packageId: job.package_id },
    ...ports,
  });
  if (filesDigestOf(seal.manifest) !== job.files_digest)
    throw sealingError("SEALED_TAMPERED", { detail: "the store holds other names of files than a moment ago" });
  await into.close();
  await mount.close();
  return { ...sizeOf(seal), root_digest: seal.manifest.rootDigest, key_id: seal.manifest.keyId, no_swap: mount.noSwap };
}

export function sizeOf(seal: VerifiedSeal): { readonly files: number; readonly bytes: number } {
  return { files: seal.files.length, bytes: seal.files.reduce((sum, file) => sum + file.bytes, 0) };
}
