/** Sealing and opening by engine and number of cores, beside cp, openssl, age and gocryptfs, as ratios of one run; memory at some GiB. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AEAD_NAMES, type AeadName } from "../src/host/index.ts";
import { newerNodeBinary } from "../tools/peers/places.ts";
import { hugeFolder, MIB, makeModel, makeSharded, type Row, unmount } from "./sealing/model.ts";
import { peers } from "./sealing/peers.ts";

/** Each row that is ours is a process of its own, so that engine, memory and heap are its own. */
const child = join(import.meta.dirname, "sealing", "child.ts");

function ours(engine: AeadName, words: readonly string[]): readonly Row[] {
  try {
    const env = { ...process.env, MODELKEEP_ENGINE: engine };
    const node = engine === "ffi" && existsSync(newerNodeBinary()) ? newerNodeBinary() : process.execPath;
    const out = execFileSync(node, [child, ...words], {
      env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
    return out
      .trim()
      .split("\n")
      .map((line) => ({ ...(JSON.parse(line) as Row), engine }));
  } catch (error) {
    const missing = String((error as { stderr?: unknown }).stderr).includes("ENGINE_MISSING");
    return [
      { what: missing ? "skipped, it is not on this machine" : `failed: ${String(error).slice(0, 200)}`, engine },
    ];
  }
}

export async function run(): Promise<readonly Record<string, unknown>[]> {
  const mib = Number(process.env.MODELKEEP_BENCH_MIB ?? 1024);
  const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const folder = mkdtempSync(join(base, "modelkeep-bench-"));
  const huge = hugeFolder(folder, mib);
  try {
    const root = makeModel(join(folder, "model"), mib);
    const sharded = makeSharded(root, join(folder, "sharded"));
    const places = [{ pages: "4 KiB", place: join(folder, "out") }, ...(huge ? [{ pages: "huge", place: huge }] : [])];
    const rows: Row[] = AEAD_NAMES.flatMap((engine) => ours(engine, ["memory"]));
    for (const { pages, place } of places) {
      mkdirSync(place, { recursive: true });
      const own = AEAD_NAMES.flatMap((engine) => ours(engine, ["files", root, place, sharded]));
      rows.push(...withRatios([...peers(join(root, "weights.bin"), place), ...own], pages));
    }
    rows.push(...ours("koffi", ["sparse"]));
    return rows.map(print(mib));
  } finally {
    if (huge) unmount(huge);
    rmSync(folder, { recursive: true, force: true });
  }
}

function withRatios(rows: readonly Row[], pages: string): Row[] {
  const cp = rows.find(({ what }) => what === "cp");
  const ratio = (of?: number, to?: number) => (of && to ? of / to : undefined);
  return rows.map((row) => ({
    ...row,
    pages,
    xCp: row.bytes === 0 ? undefined : ratio(cp?.seconds, row.seconds),
    xCpPerCore: ratio(cp?.cpuSeconds, row.cpuSeconds),
  }));
}

const print = (mib: number) => (row: Row) => {
  const bytes = row.bytes ?? mib * MIB;
  const rate = (seconds: number | undefined) => (seconds ? (bytes / seconds / 1e9).toFixed(2) : "");
  return {
    what: row.what,
    engine: row.engine ?? "",
    cores: row.cores ?? "",
    pages: row.pages ?? "",
    "GB/s": row.bytes === 0 ? "" : rate(row.seconds),
    "GB/s per core": rate(row.cpuSeconds),
    "x cp": row.xCp?.toFixed(2) ?? "",
    "x cp per core": row.xCpPerCore?.toFixed(2) ?? "",
    ms: row.seconds && row.bytes === 0 ? (row.seconds * 1e3).toFixed(1) : "",
    "peak MiB": row.peakMib ?? "",
  };
};
