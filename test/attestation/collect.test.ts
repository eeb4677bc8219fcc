/** Collectors against a folder that behaves as the kernel's does: counters, races, busy entries, wrong answers. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  createGramineCollector,
  createNvattestCollector,
  createTsmCollector,
  findTsm,
} from "../../src/attestation/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { runCli } from "./support/cli.ts";
import { type Behaviour, startKernel } from "./support/tsm-kernel.ts";

const QUESTION = new Uint8Array(64).map((_, index) => index);

function kernel(t: TestContext, behaviour: Behaviour = {}) {
  const started = startKernel(behaviour);
  t.after(() => started.end());
  const ports = { random: systemRandom, folder: started.folder, wait: async () => undefined };
  return { ...started, ports };
}

const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;

test("a report follows its question, with the table behind it, and leaves no entry", async (t) => {
  const table = Uint8Array.from([9, 9, 9]);
  const report = (question: Uint8Array) => Uint8Array.from([1, 2, ...question]);
  const { ports, entries } = kernel(t, { report, table });
  const collector = await createTsmCollector(ports);
  assert.equal(collector.kind, "snp");
  const { kind, data } = await collector.collect(QUESTION);
  assert.equal(kind, "snp");
  assert.deepEqual([...data], [1, 2, ...QUESTION, 9, 9, 9]);
  assert.deepEqual(entries(), []);
});

test("TDX has no table, and a privilege level is written before the question", async (t) => {
  const tdx = kernel(t, { provider: "tdx_guest", table: Uint8Array.from([9]) });
  assert.deepEqual(await findTsm(tdx.ports), { kind: "tdx", provider: "tdx_guest" });
  const { data } = await (await createTsmCollector(tdx.ports)).collect(QUESTION);
  assert.deepEqual([...data], [...QUESTION]);
  const level = kernel(t);
  await (await createTsmCollector({ ...level.ports, privilegeLevel: 2 })).collect(QUESTION);
  assert.deepEqual(level.levels, ["2"]);
});

test("what another process asked for in between is not taken", async (t) => {
  const { ports, entries } = kernel(t, { onQuestion: (count) => (count <= 2 ? "stranger" : undefined) });
  const { data } = await (await createTsmCollector(ports)).collect(QUESTION);
  assert.deepEqual([...data], [...QUESTION]);
  assert.deepEqual(entries(), []);
});

test("a busy kernel is asked again and not for ever", async (t) => {
  let asked = 0;
  const sometimes = kernel(t, { onQuestion: (count) => (count === 1 ? "busy" : undefined) });
  await (await createTsmCollector(sometimes.ports)).collect(QUESTION);
  const always = kernel(t, {
    onQuestion: (count) => {
      asked = count;
      return "busy";
    },
  });
  const collector = await createTsmCollector(always.ports);
  await assert.rejects(collector.collect(QUESTION), failsWith("COLLECT_FAILED"));
  assert.equal(asked, 5);
  assert.deepEqual(always.entries(), []);
  const refusing = kernel(t, { onQuestion: () => "refused" });
  const other = await createTsmCollector(refusing.ports);
  await assert.rejects(other.collect(QUESTION), failsWith("COLLECT_FAILED"));
  assert.deepEqual(refusing.entries(), []);
});

test("no kernel, another TEE, a flood, silence, too short a question: each is said", async (t) => {
  const ports = { random: systemRandom, wait: async () => undefined };
  await assert.rejects(createTsmCollector({ ...ports, folder: "/nowhere/tsm" }), failsWith("COLLECT_UNAVAILABLE"));
  const arm = kernel(t, { provider: "arm_cca_guest" });
  await assert.rejects(createTsmCollector(arm.ports), failsWith("COLLECT_UNAVAILABLE"));
  const flood = kernel(t, { report: () => new Uint8Array(100_000) });
  await assert.rejects((await createTsmCollector(flood.ports)).collect(QUESTION), failsWith("COLLECT_FAILED"));
  const silent = kernel(t, { report: () => new Uint8Array() });
  const collector = await createTsmCollector(silent.ports);
  await assert.rejects(collector.collect(QUESTION), failsWith("COLLECT_FAILED"));
  await assert.rejects(collector.collect(QUESTION.subarray(1)), failsWith("COLLECT_FAILED"));
});

test("Gramine: 64 bytes in, a quote out; outside an enclave it says so", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-gramine-"));
  t.after(() => rmSync(folder, { recursive: true }));
  await assert.rejects(createGramineCollector({ folder }), failsWith("COLLECT_UNAVAILABLE"));
  writeFileSync(join(folder, "attestation_type"), "none\n");
  await assert.rejects(createGramineCollector({ folder }), failsWith("COLLECT_UNAVAILABLE"));
  writeFileSync(join(folder, "attestation_type"), "dcap\n");
  writeFileSync(join(folder, "user_report_data"), "");
  writeFileSync(join(folder, "quote"), Uint8Array.from([3, 0, 2]));
  const evidence = await (await createGramineCollector({ folder })).collect(QUESTION);
  assert.deepEqual(evidence, { kind: "sgx", data: Uint8Array.from([3, 0, 2]) });
  assert.deepEqual([...readFileSync(join(folder, "user_report_data"))], [...QUESTION]);
});

test("nvattest: its JSON is the evidence, its failure and its absence are told apart", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-nvattest-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = (name: string, text: string) => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
    return join(folder, name);
  };
  const good = createNvattestCollector({ program: program("good", `echo "looking"; printf '{"words":"%s"}' "$*"`) });
  const { kind, data } = await good.collect(QUESTION);
  assert.equal(kind, "nvidia");
  const nonce = Buffer.from(QUESTION.subarray(0, 32)).toString("hex");
  assert.deepEqual(JSON.parse(Buffer.from(data).toString()), {
    words: `collect-evidence --device gpu --nonce ${nonce}`,
  });
  const bad = createNvattestCollector({ program: program("bad", "exit 3") });
  await assert.rejects(bad.collect(QUESTION), failsWith("COLLECT_FAILED"));
  const mute = createNvattestCollector({ program: program("mute", "echo nothing") });
  await assert.rejects(mute.collect(QUESTION), failsWith("COLLECT_FAILED"));
  const none = createNvattestCollector({ program: join(folder, "absent") });
  await assert.rejects(none.collect(QUESTION), failsWith("COLLECT_UNAVAILABLE"));
});

test("attest collect: a file, or base64; the next command; no machine without a TEE", async (t) => {
  const { folder } = kernel(t, { provider: "tdx_guest" });
  const home = mkdtempSync(join(tmpdir(), "modelkeep-collect-"));
  t.after(() => rmSync(home, { recursive: true }));
  const run = (...words: readonly string[]) => runCli(["attest", "collect", ...words], { cwd: home });
  const nonce = "ab".repeat(32);
  const printed = await run("--folder", folder, "--nonce", nonce, "--json");
  const told = JSON.parse(printed.stdout);
  assert.equal(told.kind, "tdx");
  assert.equal(told.report_data, nonce + "00".repeat(32));
  assert.equal(Buffer.from(told.evidence, "base64").toString("hex"), told.report_data);
  const written = await run("--folder", folder, "--output", "evidence.bin");
  assert.equal(written.exit, 0);
  const data = readFileSync(join(home, "evidence.bin")).toString("hex");
  assert.ok(written.stdout.includes(`--kind tdx --report-data ${data}`));
  assert.notEqual(data.slice(0, 64), "00".repeat(32), "a nonce of its own");
  assert.equal((await run("--folder", folder, "--nonce", "xy")).exit, 2);
  assert.equal((await run("--folder", folder, "--nonce", "00".repeat(65))).exit, 2);
  assert.equal((await run("--folder", join(home, "none"))).exit, 1);
});
