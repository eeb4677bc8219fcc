/** Guarded memory at every level, and a process that is closed to others of its own user. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { scanMemory } from "../../src/cli/leak-test/scan.ts";
import { GuardedBytes, guardedMemoryLevel, systemRandom } from "../../src/host/index.ts";

interface Said {
  readonly level?: string;
  readonly code?: string;
  readonly length?: number;
  readonly hardening?: { untraceable: boolean; noCoreFile: boolean; noInspector: boolean };
}

const NOBODY = 65534;

async function start(t: TestContext, level: string, options: { open?: boolean; uid?: number } = {}) {
  const key = systemRandom.bytes(40);
  const program = fileURLToPath(new URL("guarded-child.ts", import.meta.url));
  const words = [options.open ? "open" : "closed", Buffer.from(key).toString("hex")];
  const env = { ...process.env, MODELKEEP_MEMORY: level };
  const child = fork(program, words, {
    env,
    execArgv: [],
    ...(options.uid ? { uid: options.uid, gid: options.uid } : {}),
  });
  t.after(() => child.kill("SIGKILL"));
  const [said] = (await once(child, "message")) as [Said];
  return { child, said, key: Buffer.from(key) };
}

async function ask(child: ChildProcess): Promise<Said> {
  child.send("use");
  const [said] = (await once(child, "message")) as [Said];
  return said;
}

for (const level of ["secret", "locked", "plain"])
  test(`level ${level}: a key at rest is nowhere in memory, before and after it is used`, async (t) => {
    if (process.getuid?.() !== 0 || !existsSync("/proc/self/mem"))
      return t.skip("reading another process needs root on Linux: run the tests as root");
    const { child, said, key } = await start(t, level);
    if (said.code === "MEMORY_LEVEL_MISSING")
      return t.skip("no memfd_secret here: a kernel from 5.14 on with secretmem.enable=1, and npm install koffi");
    assert.equal(said.level, level);
    const look = () => scanMemory(child.pid ?? 0, [key])?.copies;
    assert.equal(look(), 0);
    assert.equal((await ask(child)).length, 40);
    assert.equal(look(), 0);
    const hex = Buffer.from(key.toString("hex"));
    assert.ok((scanMemory(child.pid ?? 0, [hex])?.copies ?? 0) > 0, "the search finds what is there");
  });

test("a level that is none, or that the machine has not, is said and not replaced", async (t) => {
  const { said } = await start(t, "perfect");
  assert.equal(said.code, "MEMORY_LEVEL_MISSING");
});

test("this kernel's best level is in force, and said when it is not memfd_secret", (t) => {
  const { level, hint } = guardedMemoryLevel();
  t.diagnostic(`guarded memory: ${level}${hint ? `; ${hint}` : ""}`);
  const enabled = existsSync("/sys/module/secretmem/parameters/enable")
    ? readFileSync("/sys/module/secretmem/parameters/enable", "utf8").trim()
    : "N";
  assert.equal(level === "secret" || enabled !== "Y", true, "the kernel has memfd_secret, and it is not used");
});

test("a closed process cannot be read by its own user, leaves no core file and opens no inspector", async (t) => {
  if (process.getuid?.() !== 0 || process.platform !== "linux")
    return t.skip("starting processes of another user needs root on Linux: run the tests as root");
  const reads = (pid: number | undefined) => {
    const words = [
      "--reuid",
      String(NOBODY),
      "--regid",
      String(NOBODY),
      "--clear-groups",
      "cat",
      `/proc/${pid}/environ`,
    ];
    return spawnSync("setpriv", words).status === 0;
  };
  if (spawnSync("setpriv", ["--version"]).error) return t.skip("needs setpriv: apt-get install util-linux");
  const probe = spawnSync("setpriv", ["--reuid", String(NOBODY), "--clear-groups", "test", "-r", import.meta.filename]);
  if (probe.status !== 0) return t.skip("another user cannot read this checkout: put it where others may look");
  const open = await start(t, "", { open: true, uid: NOBODY });
  const closed = await start(t, "", { uid: NOBODY });
  assert.deepEqual(closed.said.hardening, { untraceable: true, noCoreFile: true, noInspector: true });
  assert.deepEqual([reads(open.child.pid), reads(closed.child.pid)], [true, false]);
  const limits = execFileSync("cat", [`/proc/${closed.child.pid}/limits`], { encoding: "utf8" });
  assert.match(limits, /Max core file size\s+0\s+0/);
  closed.child.kill("SIGUSR1");
  await sleep(300);
  const listens = await new Promise((resolve) => {
    const socket = connect(9229, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
    t.after(() => socket.destroy());
  });
  assert.equal(listens, false);
  assert.equal((await ask(closed.child)).length, 40);
});

test("property: what is put in comes out, clones stand alone, and what was derived goes too", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (bytes) => {
      const guarded = GuardedBytes.take(new Uint8Array(bytes));
      const [clone, derived] = [guarded.clone(), GuardedBytes.take(new Uint8Array(bytes))];
      guarded.wipesToo(derived);
      guarded.use((outer) => guarded.use((inner) => assert.deepEqual([...inner], [...outer])));
      guarded.wipe();
      assert.deepEqual([guarded.wiped, derived.wiped, clone.wiped], [true, true, false]);
      clone.use((open) => assert.deepEqual([...open], [...bytes]));
      clone.wipe();
    }),
    { numRuns: 200 },
  );
  using written = GuardedBytes.allocate(4);
  written.use((bytes) => bytes.set([1, 2, 3, 4]));
  assert.deepEqual(
    written.use((bytes) => [...bytes]),
    [1, 2, 3, 4],
  );
  assert.throws(() => written.use(async () => 1), TypeError);
  assert.throws(() => written.use(() => written.wipe()), /in use/);
});
