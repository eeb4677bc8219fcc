/** The ends of threads, whatever they were doing. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const child = fileURLToPath(new URL("./thread-child.mjs", import.meta.url));

test("threads that are ended while they load native packages do not take the process with them", {
  timeout: 120_000,
}, () => {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [child, "60"], { encoding: "utf8" });
  assert.deepEqual({ status, signal, stdout }, { status: 0, signal: null, stdout: "60 rounds" }, stderr);
});
