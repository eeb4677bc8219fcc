/** A model that is large enough for threads, loaded in the private namespace. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { SEAL_THREAD_LIMITS } from "../../src/host/index.ts";
import { canMount, runLoader, sealFixture } from "./support.ts";

const NEED = "needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000";

test("threads of the inner half load a large model as it was signed", { timeout: 180_000 }, async (t) => {
  if (process.platform !== "linux" || !canMount()) return t.skip(NEED);
  const fixture = await sealFixture(t, SEAL_THREAD_LIMITS.threadedBytes + 3_000_001);
  const { code, stdout, stderr } = await runLoader(fixture, { command: ["sha256sum", "{model}/weights.bin"] });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.slice(0, 64), createHash("sha256").update(fixture.weights).digest("hex"));
});
