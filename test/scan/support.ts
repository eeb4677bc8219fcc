/** Builders of hostile and harmless files for the scanner's tests; nothing here is ever loaded by Python. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateRawSync } from "node:zlib";
import { silentLog } from "../../src/base/index.ts";
import type { Command } from "../../src/cli/command.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { type FileReport, scanFile } from "../../src/scan/index.ts";

export const vectors = join(
  process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../shared/vectors"),
  "model-scan",
);
export const ABSENT = "no vectors: set MODELKEEP_VECTORS to the folder with model-scan/";

export const fuzzMs = 1000 * Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 2);

export function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-scan-test-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function scanBytes(bytes: Uint8Array | string, name = "file"): Promise<FileReport> {
  return inFolder(async (folder) => {
    writeFileSync(join(folder, name), bytes);
    return scanFile(join(folder, name), name);
  });
}

export function rulesOf(report: FileReport): string[] {
  return report.findings.map(({ rule }) => rule);
}

/** os.system("id") as protocol 0 writes it. */
export const evilPickle = latin1("cos\nsystem\n(S'id'\ntR.");
export const safePickle = latin1("\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.");

export interface ZipEntry {
  readonly name: string;
  readonly data: Uint8Array;
  readonly localName?: string;
  readonly deflate?: boolean;
  readonly flags?: number;
  readonly crc?: number;
  readonly bytes?: number;
  readonly mode?: number;
  /** Points the directory at the local header of an earlier entry. */
  readonly headerOf?: number;
}

export function zip(entries: readonly ZipEntry[]): Buffer {
  const locals: Uint8Array[] = [];
  const central: Buffer[] = [];
  const starts: number[] = [];
  let offset = 0;
  for (const entry of entries) {
    const packed = entry.deflate ? deflateRawSync(entry.data) : entry.data;
    const local = zipHeader(entry, packed.length, 0x04034b50, entry.localName ?? entry.name, 0);
    const start = entry.headerOf === undefined ? offset : (starts[entry.headerOf] ?? 0);
    starts.push(start);
    central.push(zipHeader(entry, packed.length, 0x02014b50, entry.name, start));
    if (entry.headerOf !== undefined) continue;
    locals.push(local, packed);
    offset += local.length + packed.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

function zipHeader(entry: ZipEntry, packedBytes: number, magic: number, name: string, start: number): Buffer {
  const isCentral = magic === 0x02014b50;
  const head = Buffer.alloc(isCentral ? 46 : 30);
  const shift = isCentral ? 2 : 0;
  head.writeUInt32LE(magic, 0);
  head.writeUInt16LE(entry.flags ?? 0, 6 + shift);
  head.writeUInt16LE(entry.deflate ? 8 : 0, 8 + shift);
  head.writeUInt32LE(entry.crc ?? crc32(entry.data), 14 + shift);
  head.writeUInt32LE(packedBytes, 18 + shift);
  head.writeUInt32LE(entry.bytes ?? entry.data.length, 22 + shift);
  head.writeUInt16LE(Buffer.byteLength(name), 26 + shift);
  if (isCentral) {
    head.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 38);
    head.writeUInt32LE(start, 42);
  }
  return Buffer.concat([head, Buffer.from(name)]);
}

export function tar(entries: readonly { name: string; data?: Uint8Array; type?: string; target?: string }[]): Buffer {
  const blocks = entries.flatMap(({ name, data = Buffer.alloc(0), type = "0", target = "" }) => {
    const head = Buffer.alloc(512);
    head.write(name, 0, 100);
    head.write(`${data.length.toString(8).padStart(11, "0")}\0`, 124);
    head.write(type, 156);
    head.write(target, 157, 100);
    head.write("ustar\0", 257);
    return [head, Buffer.from(data), Buffer.alloc((512 - (data.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

export function safetensors(header: string, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return Buffer.concat([length, Buffer.from(header), data]);
}

function ggufText(text: string): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
  return Buffer.concat([length, Buffer.from(text)]);
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

export function u64(value: number | bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}

export interface GgufParts {
  readonly version?: number;
  readonly texts?: Readonly<Record<string, string>>;
  /** Name, type, shape, offset. */
  readonly tensors?: readonly (readonly [string, number, readonly number[], number])[];
  readonly data?: number;
  readonly tensorCount?: bigint;
  readonly pairCount?: bigint;
}

export function gguf(parts: GgufParts): Buffer {
  const pairs = Object.entries(parts.texts ?? {});
  const tensors = parts.tensors ?? [];
  const head = Buffer.concat([
    latin1("GGUF"),
    u32(parts.version ?? 3),
    u64(parts.tensorCount ?? tensors.length),
    u64(parts.pairCount ?? pairs.length),
    ...pairs.flatMap(([key, value]) => [ggufText(key), u32(8), ggufText(value)]),
    ...tensors.flatMap(([name, type, shape, offset]) => [
      ggufText(name),
      u32(shape.length),
      ...shape.map((size) => u64(size)),
      u32(type),
      u64(offset),
    ]),
  ]);
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), Buffer.alloc(parts.data ?? 0)]);
}

/** Runs one command line without a process; what it wrote, and its exit code. */
export async function runCommand(
  commands: readonly Command[],
  cwd: string,
  env: Readonly<Record<string, string>>,
  words: readonly string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const written = { stdout: "", stderr: "" };
  const stream = (name: "stdout" | "stderr") => ({
    write: (text: string) => {
      written[name] += text;
    },
  });
  const code = await runCommandLine(words, {
    commands,
    version: "0",
    stdin: (async function* () {})(),
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    env,
    cwd,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    signal: new AbortController().signal,
    connect: () => Promise.reject(new Error("no server")),
  });
  return { code, ...written };
}
