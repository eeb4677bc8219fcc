/** The server's signer policy changes while it runs: what is taken out loses, what is broken changes nothing, and all of it is told. */
import assert from "node:assert/strict";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type AuditEvent, type Recorder, silentLog } from "../../src/base/index.ts";
import { systemClock } from "../../src/host/index.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { openSignerCheck, type SignedParts } from "../../src/server/signers.ts";
import { signModel } from "../../src/signing/index.ts";
import { codeOf, makePair, temporaryFolder, writeModel } from "../sealing/support.ts";

const LOOK_MS = 10;
const [first, second] = [makePair(), makePair()];
const { bundle } = await signModel({ root: writeModel({ "weights.bin": "0" }), signer: first.signer });
const parts = {
  public_key: first.publicPem,
  bundle: Buffer.from(bundle).toString(),
  statements: { seal: "", bom: "", findings: "" },
} satisfies SignedParts;

const POLICY = `version: 1
signers: {one: {key: one.pub}}
rules: [{models: ["*@*"], signers: [one]}]
`;

async function start(t: TestContext, record: Recorder["record"] = async () => undefined) {
  const folder = temporaryFolder();
  const file = join(folder, "signers.yaml");
  writeFileSync(join(folder, "one.pub"), first.publicPem);
  writeFileSync(file, POLICY);
  const told: string[] = [];
  const events: AuditEvent[] = [];
  const metrics = new Metrics();
  const recorder = {
    async record(event: AuditEvent) {
      events.push(event);
      await record(event);
    },
  };
  const log = { ...silentLog, error: (message: string) => void told.push(message) };
  const check = await openSignerCheck({
    config: { signer_policy: file },
    clock: systemClock,
    log,
    recorder,
    metrics,
    lookMs: LOOK_MS,
  });
  assert.ok(check);
  t.after(() => check.close());
  /** Whether the first signer's word counts; the statements are none, so that only a refusal of the signer is told. */
  const accepts = async () => {
    const code = await codeOf(() => check.accept("m@1", parts).length);
    const why = await codeMessage(() => check.accept("m@1", parts));
    return code === undefined || /threshold/.test(why) === false;
  };
  const stale = () => /^modelkeep_signer_policy_stale (\d)/m.exec(metrics.render())?.[1];
  return { folder, file, check, told, events, metrics, accepts, stale };
}

async function codeMessage(work: () => unknown): Promise<string> {
  try {
    await work();
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (await what()) return;
    await sleep(LOOK_MS);
  }
  assert.fail("it did not come to that");
}

test("who is taken out of the policy loses without a restart, and the change is in the log", async (t) => {
  const { file, folder, accepts, events, stale, metrics } = await start(t);
  assert.equal(await accepts(), true);
  writeFileSync(join(folder, "two.pub"), second.publicPem);
  writeFileSync(file, POLICY.replace("one.pub", "two.pub"));
  await until(async () => !(await accepts()));
  assert.deepEqual(
    events.map(({ action, outcome }) => [action, outcome]),
    [["signers.change", "allowed"]],
  );
  const { from, to } = events[0]?.data ?? {};
  assert.match(String(from), /^[0-9a-f]{64}$/);
  assert.notEqual(from, to);
  assert.equal(stale(), "0");
  assert.match(metrics.render(), /modelkeep_signer_policy_changes_total 1/);
  writeFileSync(file, POLICY);
  await until(accepts);
  assert.equal(events.length, 2);
});

test("another key in the file that the policy names is another policy", async (t) => {
  const { folder, accepts } = await start(t);
  writeFileSync(join(folder, "one.pub"), second.publicPem);
  await until(async () => !(await accepts()));
});

test("a file that is broken or gone leaves the policy before it in force, loudly and once", async (t) => {
  const { file, folder, accepts, events, told, stale } = await start(t);
  copyFileSync(file, join(folder, "good.yaml"));
  for (const [index, breaks] of [
    () => writeFileSync(file, "version: 1\nrules: ["),
    () => rmSync(file),
    () => writeFileSync(file, POLICY.replace("one.pub", "absent.pub")),
  ].entries()) {
    breaks();
    await until(() => told.length > index);
    assert.equal(stale(), "1");
    assert.equal(await accepts(), true);
  }
  await sleep(LOOK_MS * 10);
  assert.equal(told.length, 3);
  assert.deepEqual(
    events.map(({ outcome, reason }) => [outcome, reason?.[0]]),
    [
      ["failed", "SIGNER_POLICY_INVALID"],
      ["failed", "FILE_NOT_FOUND"],
      ["failed", "FILE_NOT_FOUND"],
    ],
  );
  copyFileSync(join(folder, "good.yaml"), file);
  await until(() => stale() === "0");
  assert.equal(events.length, 3, "the same policy came back: nothing changed");
});

test("a change that cannot be kept in the log is not used", async (t) => {
  const { file, folder, accepts, told } = await start(t, () => Promise.reject(new Error("disk full")));
  writeFileSync(join(folder, "two.pub"), second.publicPem);
  writeFileSync(file, POLICY.replace("one.pub", "two.pub"));
  await until(() => told.length > 0);
  assert.equal(await accepts(), true);
});

test("after its end nothing is looked at any more", async (t) => {
  const { file, check, events } = await start(t);
  check.close();
  writeFileSync(file, POLICY.replace("signers: [one]", "signers: [one], threshold: 1"));
  await sleep(LOOK_MS * 10);
  assert.equal(events.length, 0);
});
