/** The ends of threads, whatever they were doing. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { enableCompileCache, getCompileCacheDir } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { threadsHaveLoaded } from "../../src/host/index.ts";
import { startThread } from "../../src/host/thread.ts";

const child = fileURLToPath(new URL("./thread-child.mjs", import.meta.url));

test("threads that are ended while they load native packages do not take the process with them", {
  timeout: 120_000,
}, () => {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [child, "60"], { encoding: "utf8" });
  assert.deepEqual({ status, signal, stdout }, { status: 0, signal: null, stdout: "60 rounds" }, stderr);
});

test("who ends the process waits for threads that are in the middle of their start, and for no others", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-thread-"));
  t.after(() => rmSync(folder, { recursive: true }));
  process.env.LOADED_FILE = join(folder, "loaded");
  const program = new URL("./slow-thread.mjs", import.meta.url);
  const worker = startThread({ program, data: "", heapMib: 32, youngHeapMib: 4 });
  assert.ok(worker);
  assert.ok(!existsSync(process.env.LOADED_FILE));
  await threadsHaveLoaded();
  assert.ok(existsSync(process.env.LOADED_FILE), "it has not loaded yet");
  await threadsHaveLoaded();
  await worker.terminate();
  assert.ok(startThread({ program, data: "ends early", heapMib: 32, youngHeapMib: 4 }));
  await threadsHaveLoaded();
});

test("a thread finds the compiled code that its process keeps", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-thread-"));
  t.after(() => rmSync(folder, { recursive: true }));
  process.env.LOADED_FILE = join(folder, "loaded");
  enableCompileCache(join(folder, "code"));
  const program = new URL("./slow-thread.mjs", import.meta.url);
  const worker = startThread({ program, data: "", heapMib: 32, youngHeapMib: 4 });
  await threadsHaveLoaded();
  assert.equal(readFileSync(process.env.LOADED_FILE, "utf8"), getCompileCacheDir());
  assert.equal(process.env.NODE_COMPILE_CACHE, undefined, "programs that are started must not inherit it");
  await worker?.terminate();
});
