/** Refusals in plain words: every rule that exists has its own, and a quote of the vectors gets the right one. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { topicOf } from "../../src/attestation/explain.ts";
import { TOPICS } from "../../src/attestation/explain-topics.ts";
import { explainVerdict, explanationLines } from "../../src/attestation/index.ts";
import { type Rule, Rules } from "../../src/attestation/verdict.ts";

const SOURCE = join(import.meta.dirname, "../../src/attestation");
const RULE = /"((?:snp|tdx|sgx|dcap|nvidia|azure|eventlog|evidence|profile)\.[a-z0-9.-]+)"/g;

const ruleIds = (): string[] => [
  ...new Set(
    readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .flatMap((name) => [...readFileSync(join(SOURCE, name), "utf8").matchAll(RULE)].map(([, id]) => id ?? "")),
  ),
];

test("every rule of the source has words of its own", () => {
  const ids = ruleIds();
  assert.ok(ids.length > 150, `${ids.length} rules`);
  assert.deepEqual(
    ids.filter((id) => !TOPICS.includes(topicOf(id))),
    [],
  );
});

test("rules are explained by what they are about", () => {
  const about = (id: string) => topicOf(id).what;
  for (const id of ["snp.policy.debug", "tdx.debug", "sgx.debug", "nvidia.devtools"])
    assert.match(about(id), /debug mode/, id);
  for (const id of ["snp.report-data", "dcap.report-data", "azure.quote.binding", "nvidia.report.nonce"])
    assert.match(about(id), /another question/, id);
  for (const id of ["dcap.tcb.status", "dcap.tcb-info.fmspc"]) assert.match(about(id), /up to date/, id);
  for (const id of ["dcap.tcb-info.time", "dcap.qe-identity.time", "dcap.pck-crl.time"])
    assert.match(about(id), /not current/, id);
  for (const id of ["snp.report.signature", "dcap.quote.signature", "nvidia.report.signature"])
    assert.match(about(id), /not those that the key signed/, id);
  for (const id of ["snp.chain.expired", "nvidia.device.chain", "dcap.pck.chain"])
    assert.match(about(id), /pinned root/, id);
  for (const id of ["snp.crl.present", "snp.crl.revoked", "nvidia.device.revocation", "dcap.root-crl"])
    assert.match(about(id), /revo/, id);
  for (const id of ["snp.measurement", "tdx.mr-td", "tdx.rtmr2", "sgx.identity", "azure.pcr.4"])
    assert.match(about(id), /Something else was started/, id);
  assert.match(about("snp.tcb.minimum"), /lower/);
  assert.match(about("tdx.mr-service-td"), /moved/);
});

test("one cause is told once with all its rules; what passed is not told", () => {
  const rules = new Rules();
  rules.fail("dcap.tcb-info.time", "It has expired.", { have: "a", need: "b" });
  rules.pass("dcap.quote.signature", "fine");
  rules.skip("dcap.ppid", "not asked");
  rules.fail("dcap.qe-identity.time", "It has expired.");
  rules.fail("tdx.debug", "debug");
  const verdict = { verdict: rules.verdict, rules: rules.list, advisories: [] };
  const told = explainVerdict(verdict);
  assert.deepEqual(
    told.map((one) => one.rules.map(({ id }: Rule) => id)),
    [["dcap.tcb-info.time", "dcap.qe-identity.time"], ["tdx.debug"]],
  );
  const lines = explanationLines(verdict);
  assert.equal(lines.filter((line) => /^\d\. /.test(line)).length, 2);
  assert.ok(lines.some((line) => line.includes("have a, need b")));
  assert.ok(!lines.join().includes("dcap.ppid"));
});

test("accepted evidence has nothing to explain but what was not asked for", () => {
  const rules = new Rules();
  rules.pass("snp.report.signature", "fine");
  rules.skip("snp.measurement", "not asked");
  const verdict = { verdict: rules.verdict, rules: rules.list, advisories: [] };
  assert.deepEqual(explainVerdict(verdict), []);
  assert.match(explanationLines(verdict).join("\n"), /accepted[\s\S]*1 rules/);
});
