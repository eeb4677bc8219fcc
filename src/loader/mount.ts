/** Mounts the memory file system of the model, and closes it for writing. */
import { loaderError } from "./errors.ts";
import { runTool } from "./tools.ts";

const FLAGS = "nosuid,nodev,noexec";

/** The best first: a kernel below 6.4 and every user namespace refuse `noswap`, some kernels know no huge pages here. */
const EXTRAS = [
  { noSwap: true, options: "noswap,huge=within_size" },
  { noSwap: true, options: "noswap" },
  { noSwap: false, options: "huge=within_size" },
  { noSwap: false, options: "" },
];

export interface Mount {
  /** The kernel keeps its pages out of swap. */
  readonly noSwap: boolean;
  /** From now on nothing in it can be changed. */
  close(): Promise<void>;
}

/** Only inside a private mount namespace. Fails with MEMORY_MOUNT_FAILED and what the system said. */
export async function mountMemory(tool: string, folder: string, bytes: number): Promise<Mount> {
  let said = "";
  for (const { noSwap, options } of EXTRAS) {
    const words = [`size=${bytes}`, "mode=0700", FLAGS, ...(options === "" ? [] : [options])].join(",");
    const { code, stderr } = await runTool(tool, ["-t", "tmpfs", "-o", words, "modelkeep", folder]);
    if (code === 0) return { noSwap, close: () => remountReadOnly(tool, folder) };
    said = stderr;
  }
  throw loaderError("MEMORY_MOUNT_FAILED", { detail: said });
}

async function remountReadOnly(tool: string, folder: string): Promise<void> {
  const { code, stderr } = await runTool(tool, ["-o", `remount,ro,${FLAGS}`, folder]);
  if (code !== 0) throw loaderError("MEMORY_MOUNT_FAILED", { detail: stderr });
}
