/** `modelkeep run` and `modelkeep doctor` through the command line, with the real key release behind them. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createVerifiers, measureLaunch } from "../../src/attestation/index.ts";
import { type Caller, silentLog } from "../../src/base/index.ts";
import { checkClock, checkNode, fromPromise } from "../../src/cli/commands/doctor.ts";
import { commands } from "../../src/cli/commands/index.ts";
import { cliError } from "../../src/cli/errors.ts";
import { runCommandLine, type Surroundings } from "../../src/cli/run.ts";
import type { ApiClient, PublishedModel } from "../../src/contract/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { PolicyEngine } from "../../src/policy/index.ts";
import { createReleaseService } from "../../src/release/index.ts";
import { canMount, ecKey, packageKeyOf, type SealedFixture, sealFixture } from "../loader/support.ts";
import { KeptEvents, MemoryStore } from "../secrets/support.ts";

const NEED = "needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000";
const LONG = { timeout: 120_000 };
const usable = process.platform === "linux" && canMount();
const REF = "tiny@1";

const caller: Caller = {
  principal: { type: "Workload", id: "inference" },
  groups: [],
  tokenId: "t1",
  expiresAt: 0,
  keyThumbprint: "thumb",
};

interface Server {
  readonly api: ApiClient;
  readonly events: KeptEvents;
  /** Ids of the routes that were called. */
  readonly called: string[];
  /** Outcomes that were reported, once the server has written them down, which takes it longer than the program runs. */
  readonly loads: unknown[];
}

/** The registry and the real release service, without the wire. */
function serverFor(fixture: SealedFixture, measurement: string, change: Partial<PublishedModel> = {}): Server {
  const { sealed } = fixture;
  const model: PublishedModel = {
    name: "tiny",
    version: "1",
    package_id: sealed.packageId,
    root_digest: sealed.rootDigest,
    signer_key_id: "cd".repeat(32),
    store_uri: fixture.storeUri,
    prefix: fixture.prefix,
    scan_verdict: "clean",
    vulnerabilities: { critical: 0, high: 0, medium: 0, low: 0, unknown: 0, malware: 0 },
    advisories_matched: true,
    published_at: "2026-01-01T00:00:00Z",
    published_by: 'Workload::"ci"',
    ...change,
  };
  const policy = `@id("dev") permit (principal, action == Action::"releaseKey", resource == Model::"${REF}")
    when { context.attestation.kind == "insecure-dev" && context.attestation.measurement == "${measurement}" };`;
  const engine = PolicyEngine.load(policy);
  const events = new KeptEvents();
  const service = createReleaseService({
    store: new MemoryStore(),
    authorizer: () => engine,
    verifiers: createVerifiers({ allowInsecureDev: true }),
    findModel: async () => ({
      ref: REF,
      packageId: sealed.packageId,
      rootDigest: sealed.rootDigest,
      signerKeyId: model.signer_key_id,
      scanVerdict: "clean",
      vulnerabilities: model.vulnerabilities,
    }),
    unwrapKey: async () => {
      using key = await packageKeyOf(fixture);
      return key.use((bytes) => Uint8Array.from(bytes));
    },
    recorder: events,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
  const called: string[] = [];
  const loads: unknown[] = [];
  const answers: Record<string, (body: unknown) => Promise<unknown>> = {
    getModel: async () => model,
    challengeRelease: async () => {
      const { nonce, expiresAt } = await service.challenge(caller);
      return { nonce, expires_at: new Date(expiresAt).toISOString() };
    },
    releaseKey: async (body) => service.release(body as Parameters<typeof service.release>[0], caller),
    reportLoad: async (body) => {
      await sleep(500);
      loads.push((body as { outcome: unknown }).outcome);
    },
  };
  const call = async (route: { id: string }, input: { body?: unknown }) => {
    called.push(route.id);
    return answers[route.id]?.(input.body);
  };
  return { api: { serverUrl: "http://127.0.0.1:1", call: call as ApiClient["call"] }, events, called, loads };
}

function measurementOf(fixture: SealedFixture, command: readonly string[]): string {
  const [program = "", ...words] = command;
  return measureLaunch({
    program,
    arguments: words,
    model: REF,
    package_id: fixture.sealed.packageId,
    verify: "full",
  });
}

async function type(words: readonly string[], around: Partial<Surroundings>) {
  let [stdout, stderr] = ["", ""];
  const code = await runCommandLine(words, {
    commands,
    version: "0",
    stdin: (async function* () {})(),
    stdout: {
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
    env: process.env,
    cwd: process.cwd(),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    signal: new AbortController().signal,
    connect: async () => {
      throw cliError("NOT_LOGGED_IN");
    },
    ...around,
  });
  return { code, stdout, stderr };
}

interface Scene {
  readonly fixture: SealedFixture;
  readonly command: readonly string[];
  readonly seen: string;
  readonly words: (...extra: string[]) => string[];
}

/** A program that leaves the digest of what it read, and ends with 3. */
async function scene(t: TestContext): Promise<Scene> {
  const fixture = await sealFixture(t);
  const seen = join(fixture.folder, "seen");
  const command = ["sh", "-c", `sha256sum {model}/weights.bin | cut -c1-64 > ${seen}; exit 3`];
  fs.writeFileSync(join(fixture.folder, "signer.pub"), fixture.publicKey);
  const words = (...extra: string[]) => [
    "run",
    REF,
    "--trust",
    join(fixture.folder, "signer.pub"),
    ...extra,
    "--",
    ...command,
  ];
  return { fixture, command, seen, words };
}

test(
  "run: evidence, key, start; the program reads the signed bytes and its exit code is the command's",
  LONG,
  async (t) => {
    if (!usable) return t.skip(NEED);
    const { fixture, command, seen, words } = await scene(t);
    const { api, events, loads } = serverFor(fixture, measurementOf(fixture, command));
    const plain = await type(words("--tee", "insecure-dev"), { connect: async () => api });
    assert.equal(plain.code, 3, plain.stderr);
    assert.equal(plain.stdout, "");
    assert.deepEqual(loads, ["loaded"], "the process may end now: what was not told is never told");
    assert.match(plain.stderr, /proves nothing/);
    assert.match(plain.stderr, /root of this host/);
    assert.equal(fs.readFileSync(seen, "utf8").trim(), createHash("sha256").update(fixture.weights).digest("hex"));
    assert.ok(events.events.some(({ action, outcome }) => action === "key.release" && outcome === "allowed"));
    const json = await type(words("--tee", "insecure-dev", "--json"), { connect: async () => api });
    assert.deepEqual([json.code, json.stdout], [3, ""]);
    const ready = json.stderr.split("\n").find((line) => line.startsWith("{")) ?? "";
    assert.equal(JSON.parse(ready).ready, true);
    assert.equal(JSON.parse(ready).root_digest, fixture.sealed.rootDigest);
  },
);

test("run --print-measurement prints what policy names, and asks for no key", async (t) => {
  const { fixture, command, seen, words } = await scene(t);
  const { api, called } = serverFor(fixture, "00");
  const { code, stdout } = await type(words("--tee", "insecure-dev", "--print-measurement"), {
    connect: async () => api,
  });
  assert.deepEqual([code, stdout], [0, `${measurementOf(fixture, command)}\n`]);
  assert.deepEqual(called, ["getModel"]);
  assert.ok(!fs.existsSync(seen));
});

test("run refuses before a key is asked for", LONG, async (t) => {
  const { fixture, command, seen, words } = await scene(t);
  fs.writeFileSync(join(fixture.folder, "stranger.pub"), ecKey().publicPem);
  const stranger = [
    "run",
    REF,
    "--trust",
    join(fixture.folder, "stranger.pub"),
    "--tee",
    "insecure-dev",
    "--",
    ...command,
  ];
  const cases: [string, number, string[], Partial<PublishedModel>][] = [
    ["EVIDENCE_NOT_CHOSEN", 2, words(), {}],
    ["SIGNER_NOT_TRUSTED", 4, stranger, {}],
    ["SEALED_TAMPERED", 4, words("--tee", "insecure-dev"), { root_digest: "ab".repeat(32) }],
    ["SEALED_TAMPERED", 4, words("--tee", "insecure-dev"), { package_id: "ab".repeat(16) }],
    ["USAGE", 2, ["run", REF, "--tee", "insecure-dev", "--", ...command], {}],
    ["USAGE", 2, ["run", "no-version", "--", ...command], {}],
    ["USAGE", 2, ["run", REF, "--tee", "insecure-dev"], {}],
    ["USAGE", 2, words("--tee", "toaster"), {}],
    ["COLLECT_UNAVAILABLE", 1, words("--tee", "sgx"), {}],
    ["NOT_LOGGED_IN", 3, words("--tee", "insecure-dev", "--as", "nobody-here"), {}],
    ["USAGE", 2, words("--tee", "insecure-dev", "--as", "../../etc"), {}],
    ["FILE_NOT_FOUND", 1, words("--tee", "insecure-dev", "--as", "nobody-here", "--enrol-code-file", "none"), {}],
  ];
  for (const [expected, exit, line, change] of cases) {
    const { api, called } = serverFor(fixture, measurementOf(fixture, command), change);
    const { code, stdout } = await type([line[0] ?? "", "--json", ...line.slice(1)], {
      connect: async () => api,
      env: { PATH: process.env.PATH, HOME: fixture.folder },
    });
    assert.deepEqual([JSON.parse(stdout).code, code], [expected, exit]);
    assert.ok(!called.includes("releaseKey") && !called.includes("challengeRelease"), expected);
  }
  assert.ok(!fs.existsSync(seen));
});

test(
  "run under a signer policy: without --trust what it accepts starts, and nothing else asks for a key",
  LONG,
  async (t) => {
    if (!usable) return t.skip(NEED);
    const { fixture, command, seen } = await scene(t);
    fs.writeFileSync(join(fixture.folder, "stranger.pub"), ecKey().publicPem);
    const policy = (key: string, models: string) => {
      const path = join(fixture.folder, "signers.yaml");
      const rule = `{models: ["${models}"], signers: [x], require: [seal]}`;
      fs.writeFileSync(path, `version: 1\nsigners: {x: {key: ${key}.pub}}\nrules: [${rule}]\n`);
      return ["run", REF, "--signer-policy", path, "--tee", "insecure-dev", "--json", "--", ...command];
    };
    const { api, called, loads } = serverFor(fixture, measurementOf(fixture, command));
    for (const words of [policy("stranger", "*@*"), policy("signer", "other@*")]) {
      const refused = await type(words, { connect: async () => api });
      assert.deepEqual([JSON.parse(refused.stdout).code, refused.code], ["SIGNER_POLICY_REFUSED", 4]);
    }
    assert.ok(!called.includes("challengeRelease"));
    assert.deepEqual(loads, ["refused", "refused"]);
    assert.ok(!fs.existsSync(seen));
    const started = await type(policy("signer", "tiny@*"), { connect: async () => api });
    assert.equal(started.code, 3, started.stderr);
    assert.ok(fs.existsSync(seen));
  },
);

test("run: a start that policy does not name gets no key and never happens", LONG, async (t) => {
  const { fixture, command, seen, words } = await scene(t);
  const { api, events } = serverFor(fixture, measurementOf(fixture, [...command, "--other"]));
  const { code, stdout } = await type(words("--tee", "insecure-dev", "--json"), { connect: async () => api });
  assert.deepEqual([JSON.parse(stdout).code, code], ["KEY_NOT_GRANTED", 5]);
  assert.ok(!fs.existsSync(seen));
  assert.ok(events.events.some(({ outcome }) => outcome === "refused"));
});

test("doctor: one answer for each check, exit 1 only when one failed", LONG, async (t) => {
  const { fixture } = await scene(t);
  const env = { PATH: process.env.PATH, HOME: fixture.folder };
  const good = await type(["doctor", "--json"], { env });
  const { verdict, checks } = JSON.parse(good.stdout);
  assert.deepEqual([good.code, verdict], [0, "ok"]);
  const statusOf = Object.fromEntries(checks.map((check: { id: string; status: string }) => [check.id, check.status]));
  assert.equal(statusOf.node, "ok");
  assert.equal(statusOf["guarded-memory"], "ok");
  assert.equal(statusOf.server, "warning");
  assert.equal(statusOf.advisories, "warning");
  assert.equal(statusOf.root, "warning");
  for (const { status, hint, id } of checks) if (status !== "ok") assert.ok(hint, `${id} has no hint`);

  const folder = join(fixture.folder, ".config", "modelkeep");
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(join(folder, "root.key"), "x", { mode: 0o644 });
  const open = await type(["doctor"], { env });
  assert.equal(open.code, 1);
  assert.match(open.stdout, /FAIL {2}file-mode: .*root\.key has mode 0644\n {6}-> chmod 600/);
  fs.chmodSync(join(folder, "root.key"), 0o600);
  const api = { serverUrl: "http://127.0.0.1:1", call: async () => ({}) } as unknown as ApiClient;
  const down = await type(["doctor", "--json"], { env, connect: async () => api });
  assert.equal(down.code, 1);
  assert.equal(JSON.parse(down.stdout).checks.find(({ id }: { id: string }) => id === "server").status, "failed");
});

test("doctor: old Node and an unset clock fail; a promise that does not hold warns", () => {
  assert.equal(checkNode("22.1.0").status, "failed");
  assert.equal(checkNode("24.0.0").status, "ok");
  assert.equal(checkClock(0).status, "failed");
  assert.equal(checkClock(Date.UTC(2030, 1)).status, "ok");
  assert.equal(fromPromise({ id: "swap", holds: false, about: "swap is on" }).status, "warning");
});
