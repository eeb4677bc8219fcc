/** Advisories in the server: policy sees them at registration, and a new index raises an event about what was published before. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { importAdvisories, importExploitation } from "../../src/bom/index.ts";
import * as contract from "../../src/contract/index.ts";
import { publishSealed } from "../../src/publisher/index.ts";
import { bomAttributes } from "../../src/server/bom-attributes.ts";
import { releasableModel } from "../../src/server/releasable.ts";
import { range, record, temporaryFolder, writeFolder } from "../bom/support.ts";
import { type PublishFixture, preparePublish, writeModel } from "../publisher/support.ts";

const CRITICAL = {
  severity: [{ type: "CVSS_V3", score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }],
  aliases: ["CVE-2026-7777"],
};

async function importRecords(into: string, ...records: readonly string[]): Promise<void> {
  await importAdvisories({
    from: [writeFolder(Object.fromEntries(records.map((text, at) => [`${at}.json`, text])))],
    into,
  });
}

const harmless = record("PYSEC-0", "elsewhere", range({ introduced: "0" }));
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

const affected = ({ keep }: PublishFixture) => keep.admin.api.call(contract.listAffected, {});

async function events({ keep }: PublishFixture) {
  const { entries } = await keep.admin.api.call(contract.listAudit, { body: { action: "advisory.match" } });
  return entries;
}

test("a new index: every published model is matched again, and what is new is told once", async (t) => {
  const into = join(temporaryFolder(), "advisories.idx");
  await importRecords(into, harmless);
  const fixture = await preparePublish(t, { advisories: into });
  await publishSealed(fixture.options);
  await publishSealed({ ...fixture.options, version: "2", prefix: "tiny/2" });
  await until("the first match", async () => (await affected(fixture)).matched_at);
  assert.deepEqual((await affected(fixture)).weaknesses, []);
  const { package_id, root_digest } = await fixture.keep.admin.api.call(contract.getModel, {
    params: { ref: "tiny@2" },
  });
  await fixture.keep.admin.api.call(contract.reportLoad, {
    params: { ref: "tiny@2" },
    body: { package_id, root_digest, outcome: "loaded" },
  });
  await importRecords(into, harmless, about);
  const weakness = await until("the weakness", async () => (await affected(fixture)).weaknesses[0]);
  assert.deepEqual(weakness, {
    id: "PYSEC-7777",
    aliases: ["CVE-2026-7777"],
    severity: "critical",
    malware: false,
    kev: false,
    packages: ["pkg:pypi/urllib3@2.8.0"],
    models: ["tiny@1", "tiny@2"],
    running: ["tiny@2"],
    not_affected: [],
    waived: [],
  });
  const [event, ...more] = await events(fixture);
  assert.deepEqual(more, []);
  assert.deepEqual([event?.reason, event?.data?.affected, event?.data?.running], [["PYSEC-7777"], 2, 1]);
  assert.ok(fixture.keep.lines.some((line) => line.includes("CVE-2026-7777 affects 2 models, 1 running")));
  const metrics = await (await fetch(`${fixture.keep.server.url}/metrics`)).text();
  assert.match(metrics, /modelkeep_models_affected\{severity="critical"\} 2/);

  const kev = join(temporaryFolder(), "kev.json");
  writeFileSync(kev, '{"vulnerabilities":[{"cveID":"CVE-2026-7777"}]}');
  await importExploitation({ kev, into: into.replace(/\.idx$/, ".exploitation.idx") });
  await until("KEV", async () => (await affected(fixture)).weaknesses.find((item) => item.kev));
  assert.equal((await events(fixture)).length, 1, "the same models are told of once");
  writeFileSync(into, "damaged");
  await until("the damage", async () => fixture.keep.lines.find((line) => line.includes("could not be matched")));
  assert.equal((await affected(fixture)).weaknesses.length, 1, "what was known stays");
});

test("registration: what the server knows counts, whatever the publisher matched", async (t) => {
  const into = join(temporaryFolder(), "advisories.idx");
  await importRecords(into, about);
  const fixture = await preparePublish(t, { advisories: into });
  await assert.rejects(publishSealed(fixture.options), { code: "FORBIDDEN" });
  writeModel(fixture.root, "urllib3==3.0.0");
  const { model } = await publishSealed({ ...fixture.options, version: "3", prefix: "tiny/3" });
  assert.deepEqual(model.bom?.custom_code, false);
  assert.ok((model.bom?.score ?? 0) > 20);
});

test("a server without advisories says that it has none; one whose index is missing does not start", async (t) => {
  const fixture = await preparePublish(t);
  assert.deepEqual(await affected(fixture), { weaknesses: [] });
  await assert.rejects(preparePublish(t, { advisories: join(temporaryFolder(), "absent.idx") }), {
    code: "ADVISORIES_MISSING",
  });
});

test("the key release sees the match of now, and how old it is", async () => {
  const counts = { critical: 0, high: 0, medium: 0, low: 0, unknown: 0, malware: 0 };
  const model: contract.PublishedModel = {
    name: "m",
    version: "1",
    package_id: "p",
    root_digest: "r",
    signer_key_id: "k",
    store_uri: "s",
    prefix: "x",
    scan_verdict: "clean",
    vulnerabilities: counts,
    advisories_matched: false,
    bom: { score: 40, licenses: ["MIT"], custom_code: true },
    published_at: "2026-01-01T00:00:00.000Z",
    published_by: "a",
  };
  const models = { get: async () => model, signers: async () => [] };
  const nowMs = Date.parse("2026-01-02T03:30:00Z");
  const found = {
    counts: { ...counts, high: 2 },
    kev: 1,
    worst: "high",
    matchedAtMs: nowMs - 90 * 60_000,
    notAffected: 3,
    waived: 1,
    matches: [],
  };
  const fresh = await releasableModel("m@1", models, { watch: { need: async () => found }, nowMs });
  assert.deepEqual(
    [fresh?.vulnerabilities, fresh?.advisoriesMatched],
    [{ ...counts, high: 2, kev: 1, worst: "high", notAffected: 3, waived: 1, ageHours: 1 }, true],
  );
  assert.deepEqual(fresh?.bom, { keyId: "k", score: 40, licenses: ["MIT"], customCode: true });
  const unmatched = await releasableModel("m@1", models, { watch: undefined, nowMs });
  assert.deepEqual([unmatched?.vulnerabilities, unmatched?.advisoriesMatched], [counts, false]);
  const old = await releasableModel(
    "m@1",
    { ...models, get: async () => ({ ...model, advisories_matched: true }) },
    { watch: undefined, nowMs },
  );
  assert.equal(old?.vulnerabilities.ageHours, 27);
});

test("attributes of documents of any shape", () => {
  for (const bom of [
    undefined,
    null,
    7,
    [],
    {},
    { metadata: { component: { licenses: [null, { license: { name: 7 } }] } } },
  ])
    assert.deepEqual(bomAttributes(bom).licenses, []);
  const licenses = [{ license: { id: "MIT" } }, { license: { name: "own" } }, { expression: "A OR B" }];
  assert.deepEqual(
    bomAttributes({ metadata: { component: { licenses, properties: [{ name: "modelkeep:custom_code" }] } } }),
    { score: 4, licenses: ["MIT", "own", "A OR B"], custom_code: true },
  );
});
