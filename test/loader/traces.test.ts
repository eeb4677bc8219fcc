/** Looks for plaintext where none may be: in every write of the process tree, in files, in core dumps; and for the key in memory. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  canMount,
  isAlive,
  packageKeyOf,
  readOrEmpty,
  runLoader,
  type SealedFixture,
  sealFixture,
  startLoader,
  treeOf,
} from "./support.ts";

const LONG = { timeout: 180_000 };
const NEED = "needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000";
const usable = process.platform === "linux" && canMount();
const NEEDLE_BYTES = 16;
const NEEDLE_EVERY_BYTES = 64 * 1024;
/** Larger files of others are not read through. */
const SCANNED_FILE_BYTES = 64 * 1024 * 1024;

function has(tool: string): boolean {
  try {
    execFileSync("which", [tool], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Short blocks from all over the plaintext. */
function needlesOf(fixture: SealedFixture): Buffer[] {
  const needles: Buffer[] = [];
  for (let at = 0; at + NEEDLE_BYTES <= fixture.weights.length; at += NEEDLE_EVERY_BYTES)
    needles.push(fixture.weights.subarray(at, at + NEEDLE_BYTES));
  return needles;
}

const asTrace = (bytes: Buffer) => [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");

test("no call of the whole process tree writes plaintext anywhere but into the memory mount", LONG, async (t) => {
  if (!usable) return t.skip(NEED);
  if (!has("strace")) return t.skip("needs strace: apt-get install strace");
  const fixture = await sealFixture(t);
  const trace = join(fixture.folder, "trace");
  const calls = "trace=/write|/send|/splice|/tee|copy_file_range|/mmap|io_uring_setup|memfd_create|ptrace";
  const strace = ["strace", "-f", "-qq", "-y", "-xx", "-s", "1200000", "-e", calls, "-e", "signal=none", "-o", trace];
  const { code, stderr } = await runLoader(fixture, {
    command: ["sh", "-c", "cksum {model}/weights.bin"],
    before: [...strace, "--"],
  });
  if (/ptrace|Operation not permitted/.test(stderr)) return t.skip("strace may not trace here: run as root");
  assert.equal(code, 0, stderr);
  const needles = needlesOf(fixture).map(asTrace);
  const [good, bad] = [new Set<string>(), [] as string[]];
  for (const line of fs.readFileSync(trace, "latin1").split("\n")) {
    const found = needles.filter((needle) => line.includes(needle));
    if (found.length === 0) continue;
    if (
      /^\d+ +(?:write|pwrite64)\(\d+<(?:\\x[0-9a-f]{2}|[^>])+>/.test(line) &&
      pathOf(line).endsWith("/modelkeep/model/weights.bin")
    )
      for (const needle of found) good.add(needle);
    else bad.push(line.slice(0, 200));
  }
  assert.deepEqual(bad, []);
  assert.equal(good.size, needles.length, "the trace does not show the writes it should");
  const all = fs.readFileSync(trace, "latin1");
  assert.ok(!all.includes("IORING_SETUP_SQPOLL"), "files are written through a ring, which a trace does not show");
  const shared = all.split("\n").filter((line) => /PROT_WRITE.*MAP_SHARED[,|].*, \d+</.test(line));
  assert.deepEqual(shared, []);
});

/** The path that -y shows; with -xx it is hex too. */
function pathOf(line: string): string {
  const shown = /\(\d+<((?:\\x[0-9a-f]{2})+|[^>]*)>/.exec(line)?.[1] ?? "";
  return shown.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function* recentFiles(folder: string, since: number): Generator<string> {
  const entries = (() => {
    try {
      return fs.readdirSync(folder, { withFileTypes: true });
    } catch {
      return [];
    }
  })();
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* recentFiles(path, since);
    else if (entry.isFile()) {
      const stat = fs.statSync(path, { throwIfNoEntry: false });
      if (stat && stat.mtimeMs >= since && stat.size <= SCANNED_FILE_BYTES) yield path;
    }
  }
}

function filesWith(needles: readonly Buffer[], folders: readonly string[], since: number): string[] {
  const hits: string[] = [];
  for (const folder of folders)
    for (const path of recentFiles(folder, since)) {
      const bytes = readOrEmptyBytes(path);
      if (needles.some((needle) => bytes.includes(needle))) hits.push(path);
    }
  return hits;
}

function readOrEmptyBytes(path: string): Buffer {
  try {
    return fs.readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}

test("no file holds a block of it while a program runs, after it crashed, and no core is dumped", LONG, async (t) => {
  if (!usable) return t.skip(NEED);
  const since = Date.now() - 1_000;
  const fixture = await sealFixture(t);
  const needles = needlesOf(fixture).filter((_, index) => index % 8 === 0);
  const folders = [tmpdir(), fixture.folder, "/var/tmp", "/dev/shm"];
  const unlimited = ["prlimit", "--core=unlimited:unlimited", "--"];
  const crash = 'copy=$(base64 -w0 {model}/weights.bin); echo "${#copy} up"; read -r _ < ready; kill -SEGV $$';
  execFileSync("mkfifo", [join(fixture.folder, "ready")]);
  const loader = startLoader(fixture, {
    command: ["bash", "-c", crash],
    before: process.getuid?.() === 0 ? unlimited : [],
  });
  await loader.said("up\n");
  assert.deepEqual(filesWith(needles, folders, since), []);
  fs.writeFileSync(join(fixture.folder, "ready"), "\n");
  assert.equal((await loader.done).code, 128 + 11);
  assert.deepEqual(filesWith(needles, folders, since), []);
  assert.deepEqual(
    fs.readdirSync(fixture.folder).filter((name) => name.startsWith("core")),
    [],
  );
  fs.writeFileSync(join(fixture.folder, "control"), fixture.weights);
  assert.deepEqual(filesWith(needles, [fixture.folder], since), [join(fixture.folder, "control")]);
});

/** Reads every readable page through /proc/PID/mem, as root would, and tells where a needle is. */
function searchMemory(pid: number, needles: ReadonlyMap<string, Buffer>): string[] {
  const block = Buffer.alloc(4 * 1024 * 1024);
  const hits: string[] = [];
  const mem = fs.openSync(`/proc/${pid}/mem`, "r");
  for (const line of fs.readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
    if (from === undefined || to === undefined || /\[v(var|syscall)/.test(line)) continue;
    for (let at = BigInt(`0x${from}`); at < BigInt(`0x${to}`); at += BigInt(block.length)) {
      const left = Number(BigInt(`0x${to}`) - at);
      let read = 0;
      try {
        read = fs.readSync(mem, block, 0, Math.min(left, block.length), at);
      } catch {
        continue;
      }
      for (const [form, needle] of needles)
        if (block.subarray(0, read).includes(needle))
          hits.push(`${form} in ${readOrEmpty(`/proc/${pid}/comm`).trim()} ${line}`);
    }
  }
  fs.closeSync(mem);
  return hits;
}

function formsOf(key: Uint8Array): Map<string, Buffer> {
  const bytes = Buffer.from(key);
  return new Map([
    ["first half", bytes.subarray(0, 16)],
    ["second half", bytes.subarray(16)],
    ["hex", Buffer.from(bytes.toString("hex"))],
    ["base64", Buffer.from(bytes.toString("base64").slice(0, 40))],
  ]);
}

test(
  "while the program runs, no process of the tree holds the key, in memory, environment or words",
  LONG,
  async (t) => {
    if (!usable) return t.skip(NEED);
    if (process.getuid?.() !== 0) return t.skip("needs the right to read /proc/PID/mem: run as root");
    const fixture = await sealFixture(t, 8 * 1024 * 1024);
    const key = await packageKeyOf(fixture);
    const plainKey = key.use((bytes) => Buffer.from(bytes));
    const forms = formsOf(plainKey);
    const seen = new Set<string>();
    const told: string[] = [];
    const loader = startLoader(fixture, { command: ["sh", "-c", "echo up; sleep 60"] });
    while (!loader.stdout().includes("up\n") && loader.child.exitCode === null) {
      for (const pid of treeOf(loader.child.pid ?? 0))
        for (const name of ["environ", "cmdline"]) {
          const text = Buffer.from(readOrEmpty(`/proc/${pid}/${name}`), "latin1");
          if (text.includes("inside.ts")) seen.add("inner half");
          for (const [form, needle] of forms) if (text.includes(needle)) told.push(`${form} in ${name}`);
        }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.deepEqual(told, []);
    assert.ok(seen.has("inner half"), "the search never saw the inner half at work");
    const tree = treeOf(loader.child.pid ?? 0).filter(isAlive);
    assert.ok(tree.length >= 4);
    assert.ok(
      !tree.slice(1).some((pid) => readOrEmpty(`/proc/${pid}/comm`).startsWith("node")),
      "the inner half is still there",
    );
    const plain = new Map([["plaintext", fixture.weights.subarray(1_048_576, 1_048_576 + 32)]]);
    const hits = tree.flatMap((pid) => searchMemory(pid, new Map([...forms, ...plain])));
    loader.child.kill("SIGTERM");
    await loader.done;
    assert.deepEqual(hits, []);
    assert.ok(searchMemory(process.pid, forms).length > 0, "the search cannot find");
    plainKey.fill(0);
  },
);
