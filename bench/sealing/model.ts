/** The model that is sealed, the memory it lies in, and how a row is measured. */
import { execFileSync } from "node:child_process";
import { closeSync, fstatSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { systemRandom as random } from "../../src/host/index.ts";

export const MIB = 2 ** 20;
/** Fewer for the slow engine, so that the whole takes less than five minutes. */
const ROUNDS = process.env.MODELKEEP_ENGINE === "crypto" ? 2 : 3;
const SHARDS = 4;

export interface Row {
  readonly what: string;
  readonly engine?: string;
  readonly cores?: number;
  readonly pages?: string;
  readonly seconds?: number;
  /** User and system time of all threads. */
  readonly cpuSeconds?: number;
  /** Of the model, when it is another one than the benchmark's; 0 where the rate means nothing. */
  readonly bytes?: number;
  readonly xCp?: number | undefined;
  /** By CPU time: what other programs take from the machine meanwhile is not in it. */
  readonly xCpPerCore?: number | undefined;
  readonly peakMib?: number;
}

/** One file of random bytes. */
export function makeModel(root: string, mib: number): string {
  mkdirSync(root);
  const file = openSync(join(root, "weights.bin"), "w");
  for (let index = 0; index < mib; index += 16) writeSync(file, random.bytes(16 * MIB));
  closeSync(file);
  return root;
}

/** The same bytes in files of a quarter each, as the larger models come. */
export function makeSharded(root: string, sharded: string): string {
  mkdirSync(sharded);
  const whole = openSync(join(root, "weights.bin"), "r");
  const piece = Buffer.alloc(MIB);
  const share = fstatSync(whole).size / SHARDS;
  for (let shard = 0; shard < SHARDS; shard++) {
    const file = openSync(join(sharded, `weights-${shard}.bin`), "w");
    for (let at = 0; at < share; at += MIB)
      writeSync(file, piece, 0, readSync(whole, piece, 0, MIB, shard * share + at));
    closeSync(file);
  }
  closeSync(whole);
  return sharded;
}

/** A memory file system with the options that the loader mounts with; undefined where it cannot be mounted. */
export function hugeFolder(folder: string, mib: number): string | undefined {
  const place = join(folder, "huge");
  mkdirSync(place);
  try {
    const options = `size=${3 * mib + 64}m,mode=0700,huge=within_size`;
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "modelkeep-bench", place], { stdio: "ignore" });
    return place;
  } catch {
    return undefined;
  }
}

export function unmount(place: string): void {
  execFileSync("umount", [place], { stdio: "ignore" });
}

/** The best of some rounds: what disturbs a run only ever makes it slower. */
export async function best(what: string, work: () => unknown, clear: () => void = () => {}): Promise<Row> {
  let [seconds, cpuSeconds] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round++) {
    const [before, started] = [process.cpuUsage(), performance.now()];
    await work();
    seconds = Math.min(seconds, (performance.now() - started) / 1000);
    const { user, system } = process.cpuUsage(before);
    cpuSeconds = Math.min(cpuSeconds, (user + system) / 1e6);
    clear();
  }
  return { what, seconds, cpuSeconds };
}
