/** VEX of publishers and waivers of the server: what they close, who may, and what opens it again. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Caller, silentLog } from "../../src/base/index.ts";
import { BOM_LIMITS, importAdvisories, openAdvisories, type VexStatement } from "../../src/bom/index.ts";
import * as contract from "../../src/contract/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { publishSealed } from "../../src/publisher/index.ts";
import { AdvisorySource } from "../../src/server/advisories.ts";
import { AdvisoryWatch } from "../../src/server/advisory-watch.ts";
import { statementsOfModel } from "../../src/server/model-vex.ts";
import { releasableModel } from "../../src/server/releasable.ts";
import { Waivers } from "../../src/server/waivers.ts";
import { pinKeys, signStatement } from "../../src/signing/index.ts";
import { range, record, temporaryFolder, writeFolder } from "../bom/support.ts";
import { type PublishFixture, preparePublish } from "../publisher/support.ts";
import { makePair } from "../sealing/support.ts";
import { open } from "../store/support.ts";

const CRITICAL = {
  severity: [{ type: "CVSS_V3", score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }],
  aliases: ["CVE-2026-7777"],
};
const PURL = "pkg:pypi/urllib3@2.8.0";
const NOT_AFFECTED: VexStatement = {
  ids: ["CVE-2026-7777"],
  products: [PURL],
  status: "not_affected",
  justification: "vulnerable_code_not_in_execute_path",
  impact: "nothing here opens a connection",
  timeMs: Date.parse("2026-05-01T00:00:00Z"),
};
const MONTH_MS = 30 * 24 * 60 * 60_000;
const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const waiverOf = (more: Partial<contract.NewWaiver> = {}): contract.NewWaiver => ({
  weakness: "CVE-2026-7777",
  package: "pkg:pypi/urllib3",
  owner: "ana@example.org",
  reason: "no connection leaves the host",
  expires: dayOf(Date.now() + MONTH_MS),
  ...more,
});

async function indexOf(...records: readonly string[]): Promise<string> {
  const into = join(temporaryFolder(), "advisories.idx");
  await importAdvisories({
    from: [writeFolder(Object.fromEntries(records.map((text, at) => [`${at}.json`, text])))],
    into,
  });
  return into;
}

const about = record("PYSEC-7777", "urllib3", range({ introduced: "0" }, { fixed: "3" }), CRITICAL);

async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + 20_000;
  for (;;) {
    const found = await ask();
    if (found !== undefined) return found;
    assert.ok(performance.now() < end, what);
    await sleep(200);
  }
}

const weakness = async ({ keep }: PublishFixture) =>
  (await keep.admin.api.call(contract.listAffected, {})).weaknesses[0];

const eventsOf = async ({ keep }: PublishFixture, action: string) =>
  (await keep.admin.api.call(contract.listAudit, { body: { action } })).entries;

test("what the publisher says with a reason does not count, and what is accepted here does not until it is taken back", async (t) => {
  const fixture = await preparePublish(t, { advisories: await indexOf(about) });
  const { api } = fixture.keep.admin;
  await publishSealed({ ...fixture.options, vex: [NOT_AFFECTED] }).then(
    () => assert.fail("a publisher without advisories writes no VEX, so that nothing is closed"),
    (error: { code: string }) => assert.equal(error.code, "FORBIDDEN"),
  );
  const advisories = await openAdvisories(await indexOf(about));
  t.after(() => advisories.close());
  const said = await publishSealed({ ...fixture.options, advisories, vex: [NOT_AFFECTED] });
  assert.equal(said.model.vulnerabilities.critical, 0);
  await assert.rejects(publishSealed({ ...fixture.options, advisories, version: "2", prefix: "tiny/2" }), {
    code: "FORBIDDEN",
  });
  const waiver = await api.call(contract.addWaiver, { body: waiverOf({ model: "tiny@2" }) });
  const second = await publishSealed({ ...fixture.options, advisories, version: "2", prefix: "tiny/2" });
  assert.equal(second.model.vulnerabilities.critical, 1, "what the publisher said stays as it was signed");
  const closed = await until("both", async () => {
    const found = await weakness(fixture);
    return found && found.not_affected.length + found.waived.length === 2 ? found : undefined;
  });
  assert.deepEqual([closed.models, closed.not_affected, closed.waived], [[], ["tiny@1"], ["tiny@2"]]);
  assert.deepEqual(await eventsOf(fixture, "advisory.match"), []);
  await api.call(contract.removeWaiver, { params: { id: waiver.id } });
  const [event] = await until("the event", async () => {
    const found = await eventsOf(fixture, "advisory.match");
    return found.length > 0 ? found : undefined;
  });
  assert.deepEqual([event?.data?.affected, event?.data?.not_affected, event?.data?.waived], [1, 1, 0]);
  assert.ok(fixture.keep.lines.some((line) => line.includes("affects 1 models, 0 running; 1 not affected")));
  assert.deepEqual((await weakness(fixture))?.models, ["tiny@2"]);
  const [waived] = await eventsOf(fixture, "advisory.waive");
  assert.deepEqual(
    [waived?.reason, waived?.data?.owner, waived?.resource],
    [["CVE-2026-7777"], "ana@example.org", 'Model::"tiny@2"'],
  );
  assert.equal((await eventsOf(fixture, "advisory.unwaive")).length, 1);
});

test("only whom policy names may waive, and not everything", async (t) => {
  const { keep } = await preparePublish(t);
  const { api } = keep.admin;
  const add = (body: contract.NewWaiver, by = api) => by.call(contract.addWaiver, { body });
  const workload = await keep.workload("billing");
  await assert.rejects(add(waiverOf(), workload.api), { code: "FORBIDDEN" });
  const waiver = await add(waiverOf());
  await assert.rejects(workload.api.call(contract.removeWaiver, { params: { id: waiver.id } }), { code: "FORBIDDEN" });
  await assert.rejects(workload.api.call(contract.listWaivers, {}), { code: "FORBIDDEN" });
  const { entries } = await api.call(contract.listAudit, { body: { action: "policy.waiveWeakness" } });
  assert.deepEqual(
    entries.map(({ outcome }) => outcome),
    ["refused", "refused"],
  );
  const refused = [
    waiverOf({ weakness: "MAL-2026-1" }),
    waiverOf({ expires: dayOf(Date.now() - 2 * MONTH_MS) }),
    waiverOf({ expires: dayOf(Date.now() + 20 * MONTH_MS) }),
  ];
  for (const body of refused) await assert.rejects(add(body), { code: "WAIVER_REFUSED" });
  for (const body of [waiverOf({ owner: " " }), waiverOf({ weakness: "x y" }), waiverOf({ expires: "2026-02-30" })])
    await assert.rejects(add(body), { code: "INVALID_BODY" });
  await assert.rejects(api.call(contract.removeWaiver, { params: { id: "waiver_0" } }), { code: "WAIVER_NOT_FOUND" });
  const policy = `
    permit (principal, action in [Action::"managePolicy", Action::"readModel"], resource);
    permit (principal == Workload::"billing", action == Action::"waiveWeakness", resource == Model::"tiny@1")
    when { context.days <= 60 && context.weakness == "CVE-2026-7777" && context has package };`;
  await api.call(contract.setPolicy, { body: { text: policy } });
  await assert.rejects(add(waiverOf()), { code: "FORBIDDEN" });
  await assert.rejects(add(waiverOf(), workload.api), { code: "FORBIDDEN" });
  const made = await add(waiverOf({ model: "tiny@1" }), workload.api);
  assert.equal(made.set_by, 'Workload::"billing"');
  const far = waiverOf({ model: "tiny@1", expires: dayOf(Date.now() + 3 * MONTH_MS) });
  await assert.rejects(add(far, workload.api), { code: "FORBIDDEN" });
  const { waivers } = await workload.api.call(contract.listWaivers, {});
  assert.deepEqual(new Set(waivers.map(({ id }) => id)), new Set([waiver.id, made.id]));
});

const caller: Caller = {
  principal: { type: "Admin", id: "admin" },
  groups: [],
  tokenId: "t",
  expiresAt: 0,
  keyThumbprint: "",
};

/** A watch whose clock the test turns, over models that it makes up. */
async function watchOf(t: TestContext, models: Readonly<Record<string, readonly VexStatement[]>>) {
  const store = await open(`sqlite:${join(temporaryFolder(), "store.db")}`);
  const clock = { nowMs: Date.parse("2026-06-01T12:00:00Z"), now: () => clock.nowMs };
  const events: { action: string; data?: Readonly<Record<string, unknown>> }[] = [];
  const recorder = { record: async (event: (typeof events)[number]) => void events.push(event) };
  const waivers = new Waivers({ store, recorder, clock, random: systemRandom });
  const bom = { bomFormat: "CycloneDX", components: [{ type: "library", name: "urllib3", purl: PURL }] };
  const watch = new AdvisoryWatch({
    source: await AdvisorySource.open(await indexOf(about)),
    models: {
      list: async () => ({
        models: Object.keys(models).map(
          (ref) => ({ name: ref.split("@")[0], version: ref.split("@")[1] }) as contract.PublishedModel,
        ),
      }),
      known: async (ref) => ({ ref, bom, statements: models[ref] ?? [] }),
    },
    waivers,
    store,
    recorder,
    metrics: { add: () => undefined, set: () => undefined },
    clock,
    log: silentLog,
  });
  t.after(async () => {
    await watch.close();
    await store.close();
  });
  const told = () => events.filter(({ action }) => action === "advisory.match").map(({ data }) => data?.models);
  return { watch, waivers, clock, told };
}

test("a waiver that ends raises the event again, once, for the models that it was about", async (t) => {
  const { watch, waivers, clock, told } = await watchOf(t, { "a@1": [], "b@1": [], "c@1": [NOT_AFFECTED] });
  await waivers.add(waiverOf({ model: "a@1", expires: "2026-06-03" }), caller);
  await watch.look();
  assert.deepEqual(told(), [["b@1"]]);
  const [first] = watch.affected().weaknesses;
  assert.deepEqual([first?.models, first?.waived, first?.not_affected], [["b@1"], ["a@1"], ["c@1"]]);
  const at = watch.of("a@1");
  assert.deepEqual([at?.counts.critical, at?.worst, at?.waived, at?.notAffected], [0, "none", 1, 0]);
  assert.equal(watch.of("c@1")?.notAffected, 1);
  clock.nowMs = Date.parse("2026-06-03T23:59:59Z");
  await watch.look();
  assert.deepEqual(told(), [["b@1"]], "it holds to the end of its last day");
  clock.nowMs = Date.parse("2026-06-04T00:00:00Z");
  await watch.look();
  assert.deepEqual(told(), [["b@1"], ["a@1", "b@1"]]);
  await watch.look();
  assert.equal(told().length, 2);
  await waivers.add(waiverOf({ expires: "2026-06-30" }), caller);
  await watch.look();
  assert.deepEqual(watch.affected().weaknesses[0]?.models, []);
  assert.equal(told().length, 2, "nothing is told when something is closed");
  clock.nowMs = Date.parse("2026-07-01T00:00:01Z");
  await watch.look();
  assert.deepEqual(told().at(-1), ["a@1", "b@1"], "and everything when it ends");
  assert.deepEqual(
    (await waivers.list()).map(({ expired }) => expired),
    [true, true],
  );
});

test("a replica sees the waiver of another, without being told", async (t) => {
  const { watch, waivers } = await watchOf(t, { "a@1": [] });
  await watch.look();
  assert.equal(watch.of("a@1")?.counts.critical, 1);
  const made = await waivers.add(waiverOf({ expires: "2026-06-30" }), caller);
  await watch.look();
  assert.equal(watch.of("a@1")?.counts.critical, 0);
  await waivers.remove(made, caller);
  await watch.look();
  assert.equal(watch.of("a@1")?.counts.critical, 1);
});

test("only the publisher speaks for his model, about this model, and with a reason", async () => {
  const [signer, stranger] = [makePair(), makePair()];
  const rootDigest = "ab".repeat(32);
  const vex = (status: object) => ({
    "@context": "https://openvex.dev/ns/v0.2.0",
    statements: [{ vulnerability: { name: "CVE-1" }, products: [{ "@id": PURL }], ...status }],
  });
  const good = vex({ status: "not_affected", justification: "component_not_present" });
  const say = (predicate: unknown, by = signer, root = rootDigest, predicateType = "https://openvex.dev/ns/v0.2.0") =>
    signStatement({ predicateType, predicate, rootDigest: root, name: "m", signer: by.signer });
  const read = (bom: unknown, ...more: readonly string[]) =>
    statementsOfModel({ bom, more, trust: pinKeys([signer.publicPem]), rootDigest }).map(({ status }) => status);
  assert.deepEqual(read({}, await say(good)), ["not_affected"]);
  assert.deepEqual(read({}, await say(good, signer, rootDigest, "https://openvex.dev/ns")), ["not_affected"]);
  assert.deepEqual(read({}, await say(good, stranger)), []);
  assert.deepEqual(read({}, await say(good, signer, "cd".repeat(32))), []);
  assert.deepEqual(read({}, await say(good, signer, rootDigest, "https://cyclonedx.org/bom")), []);
  assert.deepEqual(read({}, await say(vex({ status: "not_affected" })), "{", await say("no VEX")), []);
  const analysis = (more: object) => ({
    bomFormat: "CycloneDX",
    vulnerabilities: [{ id: "CVE-1", analysis: { state: "not_affected", ...more }, affects: [{ ref: PURL }] }],
  });
  assert.deepEqual(read(analysis({ justification: "code_not_present" })), ["not_affected"]);
  assert.deepEqual(read(analysis({})), [], "without a reason");
  for (const bom of [undefined, null, 7, [], { bomFormat: "CycloneDX", vulnerabilities: [null, { id: 7 }] }])
    assert.deepEqual(read(bom), []);
});

test("a publisher whose statements are beyond the limit has closed nothing, and stops no other match", async () => {
  const source = await AdvisorySource.open(await indexOf(about));
  try {
    const bom = { bomFormat: "CycloneDX", components: [{ type: "library", purl: PURL }] };
    const many = Array.from({ length: BOM_LIMITS.vexLooks + 1 }, () => PURL);
    const statements = [{ ...NOT_AFFECTED, products: many }];
    const { matches, counts, notAffected } = source.assess({ ref: "m@1", bom, statements, waivers: [] }, Date.now());
    assert.deepEqual([matches.map(({ state }) => state), counts.critical, notAffected], [["open"], 1, 0]);
  } finally {
    source.close();
  }
});

test("a key is asked for before the first match, or for a model that is newer: what is known now counts", async (t) => {
  const known: Record<string, readonly VexStatement[]> = { "a@1": [] };
  const { watch, clock } = await watchOf(t, known);
  const said = { published_at: new Date(clock.nowMs).toISOString(), vulnerabilities: { critical: 0 } };
  const models = { get: async () => said as unknown as contract.PublishedModel, signers: async () => [] };
  const countsOf = async (ref: string) =>
    (await releasableModel(ref, models, { watch, nowMs: clock.nowMs }))?.vulnerabilities.critical;
  assert.equal(await countsOf("a@1"), 1);
  known["b@1"] = [];
  assert.equal(await countsOf("b@1"), 1, "published by another replica");
});
