/** Work on a thread of its own: what it tells and answers, and every way in which it does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runThreadTask } from "../../src/host/index.ts";

const program = new URL("./thread-program.ts", import.meta.url);
const run = (data: string, more: { told?: (message: unknown) => void; signal?: AbortSignal } = {}) =>
  runThreadTask({ program, data, heapMib: 32, youngHeapMib: 2, ...more });

test("an answer comes after what was told", async () => {
  const told: unknown[] = [];
  assert.deepEqual(await run("count", { told: (message) => told.push(message) }), { answer: { what: "count" } });
  assert.deepEqual(told, [1, 2, 3]);
});

test("an error keeps its code, its exit and its hint; an unknown one is unknown", async () => {
  await assert.rejects(run("known"), { code: "INVALID_INPUT", exit: 2, status: 400, detail: "seven", hint: "eight" });
  await assert.rejects(run("unknown"), (error: Error) => !("code" in error) && error.message === "no such thing");
  await assert.rejects(run("end"), { code: "THREAD_LOST" });
  const tellsBadly = () => {
    throw new RangeError("who listens");
  };
  await assert.rejects(run("count", { told: tellsBadly }), RangeError);
});

test("a heap that is too small is an error, and the process goes on", async () => {
  const told: unknown[] = [];
  const filling = run("fill", { told: (message) => told.push(message) });
  await assert.rejects(filling, { code: "THREAD_OVER_MEMORY" });
  assert.deepEqual(told, ["filling"], "what was told before is not lost");
  assert.deepEqual(await run("again"), { answer: { what: "again" } });
});

test("an abort ends it, before and in the middle", async () => {
  await assert.rejects(run("wait", { signal: AbortSignal.abort(new Error("before")) }), { message: "before" });
  await assert.rejects(run("wait", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
});
