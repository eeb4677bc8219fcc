/** VEX and waivers: what closes a weakness, what never does, and whose word holds. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import {
  type AdvisoryMatch,
  importExploitation,
  isBlocking,
  type JudgedMatch,
  judgeMatches,
  openExploitation,
  parseWaivers,
  readVex,
  statementsOf,
  writeOpenVex,
} from "../../src/bom/index.ts";
import { temporaryFolder } from "./support.ts";

function match(more: Partial<AdvisoryMatch> = {}): AdvisoryMatch {
  return {
    ecosystem: "PyPI",
    package: "torch",
    version: "2.5.0",
    purl: "pkg:pypi/torch@2.5.0",
    id: "PYSEC-1",
    aliases: ["CVE-2026-1"],
    severity: "high",
    score: 7.5,
    malware: false,
    kev: false,
    fixed: [],
    summary: "",
    ...more,
  };
}

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

function open(vex: unknown, item: AdvisoryMatch = match()): JudgedMatch["state"] | undefined {
  return judgeMatches([item], { statements: readVex(bytes(vex)).statements, nowMs: 0 })[0]?.state;
}

const openVex = (...statements: readonly object[]) => ({
  "@context": "https://openvex.dev/ns/v0.2.0",
  "@id": "x",
  author: "a",
  timestamp: "2026-01-01T00:00:00Z",
  version: 1,
  statements,
});
const reason = { status: "not_affected", justification: "vulnerable_code_not_present" };
const torch = [{ "@id": "pkg:pypi/torch@2.5.0" }];

test("OpenVEX: by id or alias, for this version or all", () => {
  assert.equal(open(openVex({ vulnerability: { name: "CVE-2026-1" }, products: torch, ...reason })), "not_affected");
  assert.equal(
    open(openVex({ vulnerability: { name: "X-1", aliases: ["PYSEC-1"] }, products: torch, status: "fixed" })),
    "fixed",
  );
  assert.equal(open(openVex({ vulnerability: "CVE-2026-1", products: ["pkg:pypi/Torch"], ...reason })), "not_affected");
  assert.equal(
    open(
      openVex({
        vulnerability: { name: "CVE-2026-1" },
        products: [{ "@id": "pkg:oci/app", subcomponents: torch }],
        ...reason,
      }),
    ),
    "not_affected",
  );
  assert.equal(
    open(
      openVex({
        vulnerability: { name: "CVE-2026-1" },
        products: [{ identifiers: { purl: "pkg:pypi/torch@2.5.0" } }],
        status: "not_affected",
        impact_statement: "why",
      }),
    ),
    "not_affected",
  );
  for (const wrong of [
    { vulnerability: { name: "CVE-2026-2" }, products: torch, ...reason },
    { vulnerability: { name: "CVE-2026-1" }, products: [{ "@id": "pkg:pypi/torch@2.5.1" }], ...reason },
    { vulnerability: { name: "CVE-2026-1" }, products: [{ "@id": "pkg:npm/torch@2.5.0" }], ...reason },
    { vulnerability: { name: "CVE-2026-1" }, products: [], ...reason },
    { vulnerability: { name: "CVE-2026-1" }, products: torch, status: "not_affected" },
    { vulnerability: { name: "CVE-2026-1" }, products: torch, status: "affected", action_statement: "wait" },
    { vulnerability: { name: "CVE-2026-1" }, products: torch, status: "under_investigation" },
    { vulnerability: { name: "CVE-2026-1" }, products: torch, status: "nonsense" },
  ])
    assert.equal(open(openVex(wrong)), "open", JSON.stringify(wrong));
  assert.equal(
    readVex(bytes(openVex({ vulnerability: { name: "C" }, products: torch, status: "not_affected" }))).ignored.length,
    1,
  );
});

test("the newest statement holds", () => {
  const old = { vulnerability: { name: "CVE-2026-1" }, products: torch, ...reason, timestamp: "2026-01-01T00:00:00Z" };
  const newer = {
    vulnerability: { name: "CVE-2026-1" },
    products: torch,
    status: "affected",
    action_statement: "update",
    timestamp: "2026-02-01T00:00:00Z",
  };
  assert.equal(open(openVex(old, newer)), "open");
  assert.equal(open(openVex(newer, { ...old, last_updated: "2026-03-01T00:00:00Z" })), "not_affected");
});

test("distributions: the release need not be named, and counts when it is", () => {
  const deb = match({
    ecosystem: "Debian:12",
    package: "libssl3",
    version: "3.0.11-1",
    purl: "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl",
  });
  const about = (purl: string) =>
    open(openVex({ vulnerability: { name: "CVE-2026-1" }, products: [purl], ...reason }), deb);
  assert.equal(about("pkg:deb/debian/libssl3@3.0.11-1"), "not_affected");
  assert.equal(about("pkg:deb/debian/libssl3?distro=debian-12"), "not_affected");
  assert.equal(about("pkg:deb/debian/libssl3?distro=debian-11"), "open");
});

test("CycloneDX: an analysis of a component, by reference, BOM-Link or package URL", () => {
  const vulnerability = (
    ref: string,
    analysis: object = { state: "not_affected", justification: "code_not_reachable" },
  ) => ({
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    components: [{ "bom-ref": "c1", purl: "pkg:pypi/torch@2.5.0", name: "torch" }],
    vulnerabilities: [{ id: "CVE-2026-1", affects: [{ ref }], analysis }],
  });
  for (const ref of [
    "c1",
    "urn:cdx:f08a6ccd-4dce-4759-bd84-c626675d60a7/1#c1",
    "pkg:pypi/torch@2.5.0",
    "urn:cdx:x/1#pkg%3Apypi%2Ftorch%402.5.0",
  ])
    assert.equal(open(vulnerability(ref)), "not_affected", ref);
  assert.equal(open(vulnerability("c2")), "open");
  assert.equal(open(vulnerability("c1", { state: "resolved" })), "fixed");
  assert.equal(open(vulnerability("c1", { state: "false_positive" })), "not_affected");
  for (const state of ["exploitable", "in_triage", "x"]) assert.equal(open(vulnerability("c1", { state })), "open");
});

test("CSAF: products by their helper, also as parts of others", () => {
  const csaf = (status: object, more: object = {}) => ({
    document: {
      csaf_version: "2.0",
      publisher: { name: "vendor" },
      tracking: { current_release_date: "2026-01-01T00:00:00Z" },
    },
    product_tree: {
      branches: [
        {
          branches: [{ product: { product_id: "T", product_identification_helper: { purl: "pkg:pypi/torch@2.5.0" } } }],
        },
      ],
      full_product_names: [{ product_id: "N" }],
      relationships: [{ product_reference: "T", full_product_name: { product_id: "T-in-N" } }],
    },
    vulnerabilities: [{ cve: "CVE-2026-1", product_status: status, ...more }],
  });
  assert.equal(
    open(
      csaf({ known_not_affected: ["T"] }, { flags: [{ label: "vulnerable_code_not_present", product_ids: ["T"] }] }),
    ),
    "not_affected",
  );
  assert.equal(open(csaf({ fixed: ["T-in-N"] })), "fixed");
  assert.equal(open(csaf({ known_affected: ["T"] })), "open");
  assert.equal(open(csaf({ known_not_affected: ["N"] })), "open");
  assert.equal(readVex(bytes(csaf({ known_not_affected: ["N"] }))).ignored.length, 1);
});

const WAIVER = { id: "CVE-2026-1", package: "pkg:pypi/torch", owner: "ana", reason: "soon", expires: "2026-06-30" };
const parse = (...waivers: readonly object[]) => parseWaivers(JSON.stringify({ waivers }));

test("waivers: owner, reason and expiry; over at the end of the last day", () => {
  const state = (nowMs: number, item = match()) => judgeMatches([item], { waivers: parse(WAIVER), nowMs })[0]?.state;
  assert.equal(state(Date.parse("2026-06-30T23:59:59Z")), "waived");
  assert.equal(state(Date.parse("2026-07-01T00:00:00Z")), "open");
  assert.equal(state(0, match({ package: "other" })), "open");
  const { package: _, ...anywhere } = WAIVER;
  assert.equal(judgeMatches([match({ package: "other" })], { waivers: parse(anywhere), nowMs: 0 })[0]?.state, "waived");
  for (const key of ["id", "owner", "reason", "expires"])
    assert.throws(() => parse({ ...WAIVER, [key]: undefined }), { code: "WAIVERS_INVALID" }, key);
  for (const wrong of [
    { expires: "soon" },
    { expires: "2026-02-30" },
    { owner: " " },
    { package: "torch" },
    { more: 1 },
  ])
    assert.throws(() => parse({ ...WAIVER, ...wrong }), { code: "WAIVERS_INVALID" }, JSON.stringify(wrong));
  assert.throws(() => parseWaivers("waivers: ["), { code: "WAIVERS_INVALID" });
  assert.throws(() => parseWaivers(""), { code: "WAIVERS_INVALID" });
});

test("malware blocks whatever anybody says, and open is what blocks", () => {
  const malware = match({ malware: true, severity: "critical" });
  const everything = {
    statements: readVex(bytes(openVex({ vulnerability: { name: "CVE-2026-1" }, products: torch, status: "fixed" })))
      .statements,
    waivers: parse(WAIVER),
    nowMs: 0,
  };
  const [judged] = judgeMatches([malware], everything);
  assert.ok(judged && judged.state === "open" && isBlocking(judged, undefined));
  const [closed] = judgeMatches([match()], everything);
  assert.ok(closed && !isBlocking(closed, "unknown"));
  const [high] = judgeMatches([match()], { nowMs: 0 });
  assert.ok(
    high &&
      isBlocking(high, "high") &&
      !isBlocking(high, "critical") &&
      !isBlocking(high, "kev") &&
      !isBlocking(high, undefined),
  );
  const [used] = judgeMatches([match({ severity: "low", kev: true })], { nowMs: 0 });
  assert.ok(used && isBlocking(used, "kev") && !isBlocking(used, "medium"));
});

test("out and in again: what was closed stays closed, what was open stays open", () => {
  const matches = [match(), match({ id: "PYSEC-2", aliases: ["CVE-2026-2"] }), match({ id: "PYSEC-3", aliases: [] })];
  const statements = readVex(
    bytes(openVex({ vulnerability: { name: "CVE-2026-1" }, products: torch, ...reason })),
  ).statements;
  const judged = judgeMatches(matches, { statements, waivers: parse({ ...WAIVER, id: "CVE-2026-2" }), nowMs: 0 });
  const written = writeOpenVex(statementsOf(judged, 1000), "me", 1000);
  assert.equal(JSON.stringify(written), JSON.stringify(writeOpenVex(statementsOf(judged, 1000), "me", 1000)));
  const again = judgeMatches(matches, { statements: readVex(bytes(written)).statements, nowMs: 0 });
  assert.deepEqual(
    again.map(({ state }) => state),
    ["not_affected", "open", "open"],
  );
});

test("documents of any shape are read or refused", () => {
  for (const text of ["", "[]", "{}", "[".repeat(100_000), '{"@context":7}'])
    assert.throws(() => readVex(Buffer.from(text)), { code: "VEX_INVALID" });
  const value = fc.anything({ withBigInt: false, withDate: false, maxDepth: 4 });
  const shape = fc.oneof(
    fc.record({
      "@context": fc.constant("https://openvex.dev/ns/v0.2.0"),
      statements: fc.oneof(
        value,
        fc.array(fc.record({ vulnerability: value, products: value, status: fc.constantFrom("fixed", "x") })),
      ),
    }),
    fc.record({
      bomFormat: fc.constant("CycloneDX"),
      vulnerabilities: fc.oneof(value, fc.array(fc.record({ id: value, affects: value, analysis: value }))),
      components: value,
    }),
    fc.record({
      document: fc.constant({ csaf_version: "2.0" }),
      product_tree: value,
      vulnerabilities: fc.oneof(
        value,
        fc.array(fc.record({ cve: value, product_status: value, flags: value, threats: value })),
      ),
    }),
  );
  fc.assert(
    fc.property(shape, (document) => {
      try {
        judgeMatches([match()], { statements: readVex(bytes(document)).statements, nowMs: 0 });
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "VEX_INVALID");
        assert.match(JSON.stringify(document), /__proto__/);
      }
    }),
    { numRuns: 300 },
  );
});

test("KEV and EPSS: from JSON, CSV and gzip; a damaged file is refused", async () => {
  const folder = temporaryFolder();
  const put = (name: string, data: string | Uint8Array) => {
    writeFileSync(join(folder, name), data);
    return join(folder, name);
  };
  const epss = put(
    "epss.csv.gz",
    gzipSync(
      "#model_version:v2025.03.14\ncve,epss,percentile\nCVE-2026-1000,0.94321,0.99\nCVE-2026-1001,1,1\nCVE-2026-1002,2,1\nrubbish\n",
    ),
  );
  const kev = put("kev.csv", '"cveID","vendorProject"\n"CVE-2026-1000","x"\nCVE-1999-0001,y\n');
  const into = join(folder, "x.idx");
  assert.equal(await importExploitation({ kev, epss, into }), 3);
  const index = await openExploitation(into);
  assert.deepEqual(
    ["CVE-2026-1000", "CVE-2026-1001", "CVE-1999-0001", "CVE-2026-1002", "GHSA-x"].map((id) => index?.find(id)),
    [{ kev: true, epss: 0.94321 }, { kev: false, epss: 1 }, { kev: true }, undefined, undefined],
  );
  assert.equal(await openExploitation(join(folder, "absent")), undefined);
  const many = Array.from({ length: 3000 }, (_, at) => `CVE-2020-${10_000 + at * 7},0.5,0.5`).join("\n");
  await importExploitation({ epss: put("many.csv", many), into });
  const big = await openExploitation(into);
  for (let at = 0; at < 3000; at += 13)
    assert.deepEqual(big?.find(`CVE-2020-${10_000 + at * 7}`), { kev: false, epss: 0.5 });
  for (const bad of ["", "{}", "x", '{"vulnerabilities":7}'])
    await assert.rejects(importExploitation({ kev: put("bad", bad), into }), { code: "EXPLOITATION_INVALID" });
  await assert.rejects(importExploitation({ epss: put("bad.gz", gzipSync(Buffer.alloc(80 * 2 ** 20))), into }), {
    code: "EXPLOITATION_INVALID",
  });
  for (const damaged of [Buffer.from("x"), Buffer.alloc(60)])
    await assert.rejects(openExploitation(put("damaged.idx", damaged)), { code: "EXPLOITATION_INVALID" });
});
