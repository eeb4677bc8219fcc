/** The inner half, and what it is told, against hostile jobs, small mounts and junk. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { concatBytes, ModelkeepError, uint32be } from "../../src/base/index.ts";
import { loaderError } from "../../src/loader/errors.ts";
import { hostPromises } from "../../src/loader/index.ts";
import {
  decodeJob,
  encodeJob,
  encodeStatus,
  errorStatus,
  type Job,
  type Status,
  statusReader,
  toError,
} from "../../src/loader/job.ts";
import { LOADER_LIMITS } from "../../src/loader/limits.ts";
import { checkRoom } from "../../src/loader/room.ts";
import { createFolderSink } from "../../src/loader/sink.ts";
import { checkSwap, parseSwaps } from "../../src/loader/swap.ts";
import { filesDigestOf, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import { canMount, packageKeyOf, type SealedFixture, scratchFolder, sealFixture } from "./support.ts";

const INSIDE = fileURLToPath(new URL("../../src/loader/inside.ts", import.meta.url));
const NAMESPACE = process.getuid?.() === 0 ? ["--mount"] : ["--user", "--map-current-user", "--keep-caps", "--mount"];

/** Starts the inner half in a namespace of its own, sends the bytes, returns what it says. */
async function tellInside(bytes: Uint8Array): Promise<{ code: number | null; statuses: Status[] }> {
  const words = [...NAMESPACE, "--propagation", "private", "--", process.execPath, "--no-warnings", INSIDE];
  const child = spawn("unshare", words, { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
  const statuses: Status[] = [];
  (child.stdio[4] as Readable).on(
    "data",
    statusReader((status) => statuses.push(status)),
  );
  const pipe = child.stdio[3] as Writable;
  pipe.on("error", () => undefined);
  pipe.end(bytes);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, statuses };
}

function jobOf(fixture: SealedFixture, change: Partial<Job> = {}): Job {
  return {
    store_uri: fixture.storeUri,
    prefix: fixture.prefix,
    public_keys: [fixture.publicKey],
    root_digest: fixture.sealed.rootDigest,
    files_digest: filesDigestOf(verifyBundle(fixture.bundle, trustKeys([fixture.publicKey]))),
    package_id: fixture.sealed.packageId,
    mount_bytes: 64 * 1024 * 1024,
    folder: mkdtempSync(join(fixture.folder, "mount-")),
    allow_swap: false,
    mount_tool: "/usr/bin/mount",
    ...change,
  };
}

async function wireOf(fixture: SealedFixture, change: Partial<Job> = {}): Promise<Uint8Array> {
  using key = await packageKeyOf(fixture);
  return key.use((bytes) => concatBytes(encodeJob(jobOf(fixture, change)), bytes));
}

function codeOf(statuses: readonly Status[]): string | undefined {
  const last = statuses.at(-1);
  return last && "error" in last ? last.error.code : undefined;
}

test("the inner half loads, or says by code why not", { timeout: 120_000 }, async (t) => {
  if (process.platform !== "linux" || !canMount())
    return t.skip("needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000");
  const fixture = await sealFixture(t);
  const good = await tellInside(await wireOf(fixture));
  assert.equal(good.code, 0);
  const ready = good.statuses.find((status) => "ready" in status);
  assert.equal(ready?.ready.root_digest, fixture.sealed.rootDigest);
  assert.equal(ready?.ready.bytes, fixture.weights.length + 13);

  const wire = await wireOf(fixture);
  const cases: [string, Uint8Array][] = [
    ["MEMORY_TOO_SMALL", await wireOf(fixture, { mount_bytes: 1024 * 1024 })],
    ["MEMORY_MOUNT_FAILED", await wireOf(fixture, { folder: join(fixture.folder, "nowhere") })],
    ["SEALED_TAMPERED", await wireOf(fixture, { root_digest: "00".repeat(32) })],
    ["SEALED_TAMPERED", await wireOf(fixture, { files_digest: "00".repeat(32) })],
    ["SEALED_TAMPERED", await wireOf(fixture, { package_id: "00".repeat(16) })],
    ["BLOB_NOT_FOUND", await wireOf(fixture, { prefix: "other" })],
    ["STORE_URI_UNKNOWN", await wireOf(fixture, { store_uri: "gopher://x" })],
    ["JOB_INVALID", wire.subarray(0, wire.length - 1)],
    ["JOB_INVALID", wire.subarray(0, 3)],
    ["JOB_INVALID", concatBytes(uint32be(LOADER_LIMITS.jobBytes + 1), wire.subarray(4))],
    ["JOB_INVALID", concatBytes(uint32be(2), new TextEncoder().encode("{}"), wire.subarray(-32))],
    ["INVALID_JSON", concatBytes(uint32be(2), new TextEncoder().encode("{]"), wire.subarray(-32))],
  ];
  for (const [code, bytes] of cases) {
    const { code: exit, statuses } = await tellInside(bytes);
    assert.equal(exit, 1);
    assert.equal(codeOf(statuses), code);
  }
  for (const name of readdirSync(fixture.folder).filter((entry) => entry.startsWith("mount-")))
    assert.deepEqual(readdirSync(join(fixture.folder, name)), []);
});

test("a job and a status survive the wire, junk never gives one", () => {
  const text = fc.string({ maxLength: 40 });
  const job = fc.record(
    {
      store_uri: text,
      prefix: text,
      public_keys: fc.array(text, { minLength: 1, maxLength: 3 }),
      root_digest: text,
      files_digest: text,
      package_id: text,
      mount_bytes: fc.integer({ min: 1 }),
      folder: text,
      allow_swap: fc.boolean(),
      mount_tool: text,
    },
    { noNullPrototype: true },
  );
  fc.assert(fc.property(job, (value) => assert.deepEqual(decodeJob(encodeJob(value).subarray(4)), value)));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (junk) => {
      assert.throws(() => decodeJob(junk), ModelkeepError);
      statusReader(() => assert.fail("junk became a status"))(junk);
    }),
  );
});

test("statuses come whole however the chunks are cut; after junk or a line without end nothing counts", () => {
  const sent: Status[] = [
    { progress: { done: 1, total: 2 } },
    errorStatus(loaderError("LOAD_FAILED", { detail: "x" })),
  ];
  const wire = concatBytes(...sent.map(encodeStatus));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: wire.length }), { maxLength: 8 }), (cuts) => {
      const heard: Status[] = [];
      const read = statusReader((status) => heard.push(status));
      const places = [0, ...cuts.sort((a, b) => a - b), wire.length];
      for (const [index, end] of places.slice(1).entries()) read(wire.subarray(places[index], end));
      assert.deepEqual(heard, sent);
    }),
  );
  const heard: Status[] = [];
  const read = statusReader((status) => heard.push(status));
  read(new TextEncoder().encode("{}\n"));
  read(wire);
  const endless = statusReader((status) => heard.push(status));
  endless(new Uint8Array(LOADER_LIMITS.statusBytes + 1).fill(32));
  endless(concatBytes(new Uint8Array([10]), wire));
  assert.deepEqual(heard, []);
});

test("an error keeps code, exit and hint over the wire", () => {
  const status = errorStatus(loaderError("SWAP_IN_USE", { detail: "/dev/x" }));
  assert.ok("error" in status);
  const { code, exit, hint, detail } = toError(status);
  const same = loaderError("SWAP_IN_USE");
  assert.deepEqual([code, exit, hint, detail], ["SWAP_IN_USE", same.exit, same.hint, "/dev/x"]);
});

test("swap: refused unless the mount keeps out of it, there is none, or it was accepted", () => {
  const devices = parseSwaps(
    "Filename\tType\tSize\tUsed\tPriority\n/dev/sdb2  partition 1024 0 -2\n/swap\tfile\t9\t0\t-3\n",
  );
  assert.deepEqual(devices, ["/dev/sdb2", "/swap"]);
  assert.deepEqual(parseSwaps("Filename\tType\n"), []);
  assert.deepEqual(parseSwaps(""), []);
  assert.throws(() => checkSwap({ noSwap: false, devices, allowed: false }), { code: "SWAP_IN_USE" });
  checkSwap({ noSwap: true, devices, allowed: false });
  checkSwap({ noSwap: false, devices, allowed: true });
  checkSwap({ noSwap: false, devices: [], allowed: false });
});

test("a model that does not fit is refused before anything is decrypted", async () => {
  await assert.rejects(checkRoom({ files: 1, bytes: 2 ** 50 }), { code: "MEMORY_TOO_SMALL" });
  await checkRoom({ files: 1, bytes: 1 });
});

test("two files of one name, or a file that is also a folder, are refused", async (t) => {
  const into = createFolderSink(scratchFolder(t));
  await (await into.open("a/b", 1)).close();
  await assert.rejects(into.open("a/b", 1), { code: "LOAD_FAILED" });
  await assert.rejects(into.open("a", 1), { code: "LOAD_FAILED" });
  await assert.rejects(into.open("a/b/c", 1), { code: "LOAD_FAILED" });
});

test("promises are honest: root is never kept out, and each has a sentence", async () => {
  const promises = await hostPromises();
  assert.equal(promises.find(({ id }) => id === "root")?.holds, false);
  assert.deepEqual(new Set(promises.map(({ id }) => id)).size, promises.length);
  assert.ok(promises.every(({ about }) => about.length > 10));
});
