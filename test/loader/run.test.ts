/** The loader under attack: what a program sees, what it never gets to see, and what is left when somebody pulls the plug. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { GuardedBytes, systemRandom } from "../../src/host/index.ts";
import { runSealedModel } from "../../src/loader/index.ts";
import {
  type ChildOptions,
  canMount,
  ecKey,
  isAlive,
  packageKeyOf,
  pause,
  readOrEmpty,
  runLoader,
  type SealedFixture,
  scratchFolder,
  sealFixture,
  sealFolder,
  startLoader,
  treeOf,
} from "./support.ts";

const NEED = "needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000";
const isRoot = process.getuid?.() === 0;
const usable = process.platform === "linux" && canMount();
const LONG = { timeout: 120_000 };

function loaderTest(name: string, work: (t: TestContext) => Promise<unknown>): void {
  test(name, LONG, async (t) => {
    if (!usable) return t.skip(NEED);
    await work(t);
  });
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Runs a program that would leave a marker, and expects that it never did. */
async function neverStarts(fixture: SealedFixture, code: string, options: Partial<ChildOptions> = {}): Promise<void> {
  const marker = join(fixture.folder, "marker");
  const { error, stdout } = await runLoader(fixture, { command: ["touch", marker, "{model}"], ...options });
  assert.equal(error, code);
  assert.equal(stdout, "");
  assert.ok(!fs.existsSync(marker), "the program was started");
}

/** The same user without root, who owns all of the fixture. */
function asNobody(fixture: SealedFixture): readonly string[] {
  for (const name of ["", ...(fs.readdirSync(fixture.folder, { recursive: true }) as string[])])
    fs.chownSync(join(fixture.folder, name), 65534, 65534);
  return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
}

const LOOK = [
  "sha256sum {model}/weights.bin {model}/sub/config.json | cut -c1-64",
  "stat -c '%a %n' {model} {model}/sub {model}/weights.bin",
  "grep ' {model} ' /proc/self/mountinfo",
  "grep -E '^Cap(Eff|Bnd)' /proc/self/status",
  "grep core /proc/self/limits",
  'for fd in 3 4; do [ -e "/proc/self/fd/$fd" ] && echo "leaked $(readlink /proc/self/fd/$fd)"; done',
  'touch {model}/new 2>/dev/null && echo "wrote"; exit 7',
].join("; ");

function checkLook(fixture: SealedFixture, stdout: string): void {
  const lines = stdout.split("\n");
  assert.equal(lines[0], sha256(fixture.weights));
  assert.equal(lines[1], sha256(Buffer.from('{"layers":2}\n')));
  assert.match(stdout, /^500 \S+model$/m);
  assert.match(stdout, /^500 \S+sub$/m);
  assert.match(stdout, /^400 \S+weights.bin$/m);
  assert.match(stdout, / ro,nosuid,nodev,noexec,.* - tmpfs modelkeep ro,size=\d+k,mode=700/);
  assert.match(stdout, /Max core file size\s+1\s+1\s/);
  assert.doesNotMatch(stdout, /leaked socket|wrote/);
}

loaderTest("a program sees the signed bytes, read-only, and its exit code comes back", async (t) => {
  const fixture = await sealFixture(t);
  const { code, stdout, stderr } = await runLoader(fixture, { command: ["sh", "-c", LOOK] });
  assert.equal(code, 7, stderr);
  checkLook(fixture, stdout);
});

test("without root it does so in a user namespace, and the program keeps no capability of it", LONG, async (t) => {
  if (!usable || !isRoot) return t.skip("needs root to become another user; as a normal user the other tests show it");
  const fixture = await sealFixture(t);
  const { code, stdout, stderr } = await runLoader(fixture, {
    command: ["sh", "-c", `id -u >&2; ${LOOK}`],
    before: asNobody(fixture),
  });
  if (stderr.includes("NAMESPACE_UNAVAILABLE")) return t.skip("sysctl user.max_user_namespaces=10000");
  assert.equal(code, 7, stderr);
  assert.match(stderr, /^65534$/m);
  assert.match(stdout, /CapEff:\s+0+\nCapBnd:\s+0+$/m);
  checkLook(fixture, stdout);
});

loaderTest("a model of one file becomes the path of that file", async (t) => {
  const folder = scratchFolder(t);
  fs.writeFileSync(join(folder, "one.gguf"), "GGUF and more");
  const fixture = await sealFolder(folder, join(folder, "one.gguf"));
  const { code, stdout, stderr } = await runLoader(fixture, { command: ["cat", "{model}"] });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "GGUF and more");
});

loaderTest("nothing of it is seen outside the namespace while it runs, and nothing is left afterwards", async (t) => {
  const fixture = await sealFixture(t);
  const loader = startLoader(fixture, { command: ["sh", "-c", "echo {model}; sleep 60"] });
  await loader.said("model\n");
  const folder = loader.stdout().trim();
  assert.deepEqual(fs.readdirSync(folder), []);
  assert.ok(!fs.readFileSync("/proc/self/mountinfo", "utf8").includes(folder));
  const tree = treeOf(loader.child.pid ?? 0);
  loader.child.kill("SIGTERM");
  assert.equal((await loader.done).code, 128 + 15);
  await allGone(tree);
  assert.deepEqual(fs.readdirSync(folder), []);
});

async function allGone(tree: readonly number[]): Promise<void> {
  for (let tries = 0; tries < 100 && tree.some(isAlive); tries++) await pause(50);
  assert.deepEqual(tree.filter(isAlive), []);
}

loaderTest("a tampered segment: the program never starts", async (t) => {
  const fixture = await sealFixture(t);
  const blob = join(fixture.storeFolder, "tiny", "files", "1.floe");
  const bytes = fs.readFileSync(blob);
  const at = bytes.length - 100;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  fs.writeFileSync(blob, bytes);
  await neverStarts(fixture, "SEALED_TAMPERED");
});

loaderTest("a signer that is not trusted: the program never starts", async (t) => {
  const fixture = await sealFixture(t);
  await neverStarts(fixture, "SIGNER_NOT_TRUSTED", { publicKeys: [ecKey().publicPem] });
});

loaderTest("another root digest than the published one: the program never starts", async (t) => {
  await neverStarts(await sealFixture(t), "SEALED_TAMPERED", { rootDigest: "ab".repeat(32) });
});

loaderTest("other names of files than those that were signed: the program never starts", async (t) => {
  await neverStarts(await sealFixture(t), "SEALED_TAMPERED", { filesDigest: "ab".repeat(32) });
});

loaderTest("a wrong key: the program never starts", async (t) => {
  await neverStarts(await sealFixture(t), "SEALED_TAMPERED", { wrongKey: true });
});

loaderTest("a program that is not there is told before anything else", async (t) => {
  await neverStarts(await sealFixture(t), "PROGRAM_NOT_FOUND", { command: ["no-such-program", "{model}"] });
});

loaderTest("no namespace: a clear refusal", async (t) => {
  if (!isRoot) return t.skip("needs root to take the right to make namespaces away");
  const fixture = await sealFixture(t);
  const seccomp = [
    "unshare",
    "--user",
    "--map-current-user",
    "sh",
    "-c",
    'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"',
    "sh",
  ];
  await neverStarts(fixture, "NAMESPACE_UNAVAILABLE", { before: [...seccomp, "setpriv", "--bounding-set=-all", "--"] });
});

loaderTest("the key is wiped, whether the run succeeds or not", async (t) => {
  const fixture = await sealFixture(t);
  const common = { ...fixture, trust: { publicKeys: [fixture.publicKey] }, env: process.env, cwd: fixture.folder };
  const good = await packageKeyOf(fixture);
  const { exitCode, ready } = await runSealedModel({ ...common, packageKey: good, command: ["true"] });
  assert.equal(exitCode, 0);
  assert.equal(ready.rootDigest, fixture.sealed.rootDigest);
  assert.equal(good.wiped, true);
  for (const [command, code] of [
    ["false/none", "PROGRAM_NOT_FOUND"],
    ["true", "SEALED_TAMPERED"],
  ] as const) {
    const bad = GuardedBytes.take(systemRandom.bytes(32));
    await assert.rejects(runSealedModel({ ...common, packageKey: bad, command: [command] }), { code });
    assert.equal(bad.wiped, true);
  }
});

loaderTest("a racing writer in the store never gets a byte to the program", async (t) => {
  const fixture = await sealFixture(t, 6 * 1024 * 1024);
  const other = await sealFixture(t, 6 * 1024 * 1024);
  const seen = join(fixture.folder, "seen");
  const blob = join(fixture.storeFolder, "tiny", "files", "1.floe");
  const [mine, foreign] = [fs.readFileSync(blob), fs.readFileSync(join(other.storeFolder, "tiny", "files", "1.floe"))];
  let stop = false;
  const writer = (async () => {
    for (let turn = 0; !stop; turn++) {
      fs.writeFileSync(`${blob}.new`, turn % 2 === 0 ? foreign : mine);
      fs.renameSync(`${blob}.new`, blob);
      await pause(turn % 2 === 0 ? 5 + (turn % 7) : 15 + (turn % 31));
    }
  })();
  let [started, refused] = [0, 0];
  for (let round = 0; round < 40 && (round < 6 || started === 0 || refused === 0); round++) {
    const command = ["sh", "-c", `sha256sum {model}/weights.bin | cut -c1-64 >> ${seen}`];
    const { error, code } = await runLoader(fixture, { command });
    if (code === 0) started++;
    else refused++;
    assert.ok(code === 0 || error === "SEALED_TAMPERED", error);
  }
  stop = true;
  await writer;
  t.diagnostic(`${started} started, ${refused} refused`);
  assert.ok(started > 0 && refused > 0, "the race went one way only");
  const digests = new Set(
    readOrEmpty(seen)
      .trim()
      .split("\n")
      .filter((line) => line !== ""),
  );
  assert.deepEqual([...digests], [sha256(fixture.weights)]);
});

loaderTest("signals come to the program once, and 128 plus the signal is told when one ends it", async (t) => {
  const fixture = await sealFixture(t);
  const script = `trap 'echo int; exit 5' INT; trap 'echo term; exit 6' TERM; echo up; while :; do sleep 0.05; done`;
  for (const [signal, word, code] of [
    ["SIGINT", "int", 5],
    ["SIGTERM", "term", 6],
  ] as const) {
    const loader = startLoader(fixture, { command: ["sh", "-c", script] });
    await loader.said("up\n");
    loader.child.kill(signal);
    const finished = await loader.done;
    assert.deepEqual([finished.code, finished.stdout], [code, `up\n${word}\n`]);
  }
  assert.equal((await runLoader(fixture, { command: ["sh", "-c", "kill -9 $$"] })).code, 128 + 9);
});

loaderTest("a signal while it loads ends it without a start", async (t) => {
  const fixture = await sealFixture(t, 24 * 1024 * 1024);
  const marker = join(fixture.folder, "marker");
  for (const wait of [150, 300, 450]) {
    const loader = startLoader(fixture, { command: ["sh", "-c", `touch ${marker}; sleep 30`] });
    await pause(wait);
    const tree = treeOf(loader.child.pid ?? 0);
    loader.child.kill("SIGTERM");
    const { code } = await loader.done;
    assert.notEqual(code, 0);
    await allGone(tree);
  }
});

for (const victim of ["the outer half", "the first process of the namespace", "the link between"] as const) {
  loaderTest(`kill -9 of ${victim}: no process, no mount, no file is left`, async (t) => {
    const fixture = await sealFixture(t);
    const before = modelMounts();
    const program = "echo up; (setsid sleep 61 &) ; sleep 62";
    const loader = startLoader(fixture, { command: ["sh", "-c", program] });
    await loader.said("up\n");
    await pause(200);
    const outer = loader.child.pid ?? 0;
    const tree = treeOf(outer);
    const at = (name: string) =>
      tree.find((pid) => readOrEmpty(`/proc/${pid}/cmdline`).startsWith(`/usr/bin/${name}\0`)) ?? 0;
    const sleepers = tree.filter((pid) => /^sleep.6[12]/s.test(readOrEmpty(`/proc/${pid}/cmdline`)));
    assert.ok(at("unshare") > 0 && at("sh") > 0 && sleepers.length === 2, "the tree is not what the test thinks");
    const target = { "the outer half": outer, "the link between": at("unshare") }[victim as string] ?? at("sh");
    process.kill(target, "SIGKILL");
    await loader.done;
    await allGone(tree);
    assert.deepEqual(modelMounts(), before);
    const left = (fs.readdirSync(fixture.folder, { recursive: true }) as string[])
      .filter((name) => !/^(store|kek)/.test(name))
      .filter((name) => !fs.statSync(join(fixture.folder, name)).isDirectory());
    assert.deepEqual(left, []);
  });
}

loaderTest("kill -9 of the inner half while it loads: LOAD_FAILED, and the program never starts", async (t) => {
  const fixture = await sealFixture(t, 48 * 1024 * 1024);
  const marker = join(fixture.folder, "marker");
  const loader = startLoader(fixture, { command: ["touch", marker] });
  const inner = () =>
    treeOf(loader.child.pid ?? 0).find((pid) => /^[^\0]*node\0.*inside\.ts/.test(readOrEmpty(`/proc/${pid}/cmdline`)));
  let pid: number | undefined;
  for (let tries = 0; tries < 500 && pid === undefined; tries++) {
    pid = inner();
    if (pid === undefined) await pause(5);
  }
  assert.ok(pid, "the inner half was never seen");
  await pause(50);
  process.kill(pid, "SIGKILL");
  assert.equal((await loader.done).error, "LOAD_FAILED");
  assert.ok(!fs.existsSync(marker));
});

test("where /proc is masked it does without a process namespace, and says so", LONG, async (t) => {
  if (!usable || !isRoot) return t.skip("needs root to mask a part of /proc");
  const fixture = await sealFixture(t);
  const mask = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    'mount -t tmpfs none /proc/fs; exec "$@"',
  ];
  const loader = startLoader(fixture, {
    command: ["sh", "-c", "sha256sum {model}/weights.bin; echo up; exec sleep 63"],
    before: [...mask, "sh", ...asNobody(fixture)],
  });
  await loader.said("up\n");
  const tree = treeOf(loader.child.pid ?? 0);
  assert.ok(loader.stdout().startsWith(sha256(fixture.weights)));
  process.kill(loader.child.pid ?? 0, "SIGKILL");
  const { stderr } = await loader.done;
  assert.match(stderr, /"contained":false/);
  assert.ok(tree.length >= 4);
  await allGone(tree);
});

test("swap on and noswap refused: the program starts only when that was accepted", LONG, async (t) => {
  if (!usable || !isRoot) return t.skip("needs root to show another /proc/swaps");
  const fixture = await sealFixture(t);
  const swaps = join(fixture.folder, "swaps");
  fs.writeFileSync(swaps, "Filename\tType\tSize\tUsed\tPriority\n/dev/made-up\tpartition\t1024\t0\t-2\n");
  const show = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    `mount --bind ${swaps} /proc/swaps; exec "$@"`,
  ];
  const before = [...show, "sh", ...asNobody(fixture)];
  await neverStarts(fixture, "SWAP_IN_USE", { before });
  const accepted = await runLoader(fixture, { command: ["true"], before, allowSwap: true });
  assert.equal(accepted.code, 0, accepted.stderr);
  assert.match(accepted.stderr, /"noSwap":false/);
});

/** Mounts of models that this process sees; other tests mount other things meanwhile. */
function modelMounts(): string[] {
  const lines = fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.filter((line) => line.includes("/modelkeep/model"));
}
