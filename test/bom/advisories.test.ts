/** Matching against OSV: the recorded ground truth by name, the rules one by one, and an index that refuses damage. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { ModelkeepError } from "../../src/base/index.ts";
import { BlockPacker } from "../../src/bom/advisories/block.ts";
import { buildIndex } from "../../src/bom/advisories/build-index.ts";
import type { AdvisoryRecord } from "../../src/bom/advisories/record.ts";
import {
  type AdvisoryIndex,
  type AdvisoryMatch,
  BOM_LIMITS,
  countMatches,
  findingsOf,
  importAdvisories,
  matchAdvisories,
  openAdvisories,
  parsePackage,
  rateSeverity,
  versionOrder,
} from "../../src/bom/index.ts";
import { findingsPredicate } from "../../src/contract/index.ts";
import { zip } from "../scan/support.ts";
import { ABSENT, osv, range, record, temporaryFolder, writeFolder } from "./support.ts";

interface Pair {
  readonly package: string;
  readonly version: string;
  readonly expected: readonly string[];
  readonly cves: readonly string[];
  readonly withdrawn_not_reported: readonly string[];
}

interface Recorded {
  readonly ecosystem: "PyPI" | "npm";
  readonly package: string;
  readonly version: string;
  readonly osv_ids: readonly string[];
}

function read<T>(name: string): readonly T[] {
  return (JSON.parse(readFileSync(join(osv, name), "utf8")) as { pairs: T[] }).pairs;
}

async function indexOf(...from: readonly string[]): Promise<AdvisoryIndex> {
  const into = join(temporaryFolder(), "advisories.idx");
  await importAdvisories({ from, into });
  return openAdvisories(into);
}

/** An index of records given as texts. */
function indexOfRecords(...texts: readonly string[]): Promise<AdvisoryIndex> {
  return indexOf(writeFolder(Object.fromEntries(texts.map((text, index) => [`${index}.json`, text]))));
}

function idsOf(matches: readonly AdvisoryMatch[], prefix = ""): string[] {
  return [...new Set(matches.flatMap(({ id, aliases }) => [id, ...aliases]))]
    .filter((id) => id.startsWith(prefix))
    .sort();
}

test("ground truth: every pair gives exactly its records", async (t) => {
  if (!existsSync(osv)) return t.skip(ABSENT);
  const index = await indexOf(join(osv, "PyPI/all.zip"));
  const pairs = read<Pair>("ground-truth.json");
  assert.equal(pairs.length, 101);
  for (const pair of pairs) {
    await t.test(`${pair.package}@${pair.version}`, () => {
      const matches = matchAdvisories([parsePackage(`pypi:${pair.package}@${pair.version}`)], index);
      assert.deepEqual(idsOf(matches, "PYSEC-"), [...pair.expected].sort());
      assert.deepEqual(idsOf(matches, "CVE-"), [...pair.cves].sort());
      for (const id of pair.withdrawn_not_reported) assert.ok(!idsOf(matches).includes(id));
      assert.equal(matches.length, pair.expected.length, "one match per weakness");
    });
  }
});

test("recorded answers of osv.dev", async (t) => {
  if (!existsSync(osv)) return t.skip(ABSENT);
  const index = await indexOf(join(osv, "PyPI/all.zip"));
  const pairs = read<Recorded>("osvdev-recorded.json");
  assert.equal(pairs.length, 22);
  for (const { ecosystem, package: name, version, osv_ids: ids } of pairs) {
    await t.test(`${ecosystem} ${name}@${version}`, () => {
      const matches = matchAdvisories([parsePackage(`${ecosystem}:${name}@${version}`)], index);
      assert.deepEqual(idsOf(matches, "PYSEC-"), ids.filter((id) => id.startsWith("PYSEC-")).sort());
    });
  }
});

test("other databases join by alias; malware is malware", async (t) => {
  if (!existsSync(osv)) return t.skip(ABSENT);
  const index = await indexOf(join(osv, "PyPI/all.zip"), join(osv, "extra"));
  const vllm = matchAdvisories([parsePackage("pypi:vllm@0.8.4")], index);
  const group = vllm.filter((match) => idsOf([match]).includes("CVE-2025-32444"));
  assert.equal(group.length, 1);
  assert.ok(group[0]?.aliases.includes("GHSA-hj4w-hm2g-p6w5"));
  assert.equal(group[0]?.score, 10);
  const litellm = matchAdvisories([parsePackage("pypi:litellm@1.82.8")], index);
  assert.deepEqual(
    litellm.filter(({ malware }) => malware).map(({ id }) => id),
    ["MAL-2026-2144"],
  );
  assert.equal(countMatches(litellm).malware, 1);
  assert.equal(
    matchAdvisories([parsePackage("pypi:litellm@1.82.6")], index).some(({ malware }) => malware),
    false,
  );
  const lodash = matchAdvisories([parsePackage("npm:lodash@4.17.20")], index);
  assert.deepEqual(
    lodash.map(({ id, severity, fixed }) => [id, severity, fixed]),
    [["GHSA-35jh-r3h4-6jhm", "high", ["4.17.21"]]],
  );
  assert.deepEqual(matchAdvisories([parsePackage("npm:lodash@4.17.21")], index), []);
});

test("comparison of versions, pair by pair", async (t) => {
  if (!existsSync(osv)) return t.skip(ABSENT);
  const order = versionOrder("PyPI");
  assert.ok(order);
  const lines = ["pypi-versions.txt", "pypi-versions-generated.odd-lines.txt"].flatMap((name) =>
    readFileSync(join(osv, "version-compare", name), "utf8").split("\n"),
  );
  let compared = 0;
  for (const line of lines) {
    const [, a, sign, b] = /^(\S+) ([<=>]) (\S+)$/.exec(line) ?? [];
    if (!a || !b || order.readEvent(a) === "" || order.readEvent(b) === "") continue;
    compared++;
    assert.equal(Math.sign(order.compare(a, b)), sign === "<" ? -1 : Number(sign === ">"), line);
    assert.equal(order.key(a) === order.key(b), sign === "=", line);
  }
  assert.ok(compared > 1000, `${compared} pairs`);
});

test("ranges: each kind of event, at its edges", async () => {
  const index = await indexOfRecords(
    record("A-fixed", "p", range({ introduced: "1.0" }, { fixed: "2.0" })),
    record("A-last", "p", range({ introduced: "0" }, { last_affected: "1.5" })),
    record("A-twice", "p", range({ fixed: "3.2" }, { introduced: "1.0" }, { introduced: "3.0" }, { fixed: "1.1" })),
    record("A-open", "p", range({ introduced: "9" })),
    record("A-listed", "p", { versions: ["1.7", "not-a-version"] }),
    record("A-withdrawn", "p", range({ introduced: "0" }), { withdrawn: "2026-01-01T00:00:00Z" }),
    record("A-git", "p", { ranges: [{ type: "GIT", events: [{ introduced: "0" }] }] }),
    record("A-other", "q", range({ introduced: "0" })),
  );
  const at = (version: string) => idsOf(matchAdvisories([parsePackage(`pypi:P@${version}`)], index));
  assert.deepEqual(at("0.9"), ["A-last"]);
  assert.deepEqual(at("1.0"), ["A-fixed", "A-last", "A-twice"]);
  assert.deepEqual(at("1.0.0.dev1"), ["A-last"]);
  assert.deepEqual(at("1.1"), ["A-fixed", "A-last"]);
  assert.deepEqual(at("1.5"), ["A-fixed", "A-last"]);
  assert.deepEqual(at("1.5+cu124"), ["A-fixed", "A-last"]);
  assert.deepEqual(at("1.5.1"), ["A-fixed"]);
  assert.deepEqual(at("1.7.0"), ["A-fixed", "A-listed"]);
  assert.deepEqual(at("2.0rc1"), ["A-fixed"]);
  assert.deepEqual(at("2.0"), []);
  assert.deepEqual(at("3.1"), ["A-twice"]);
  assert.deepEqual(at("3.2"), []);
  assert.deepEqual(at("1!0"), ["A-open"]);
  assert.deepEqual(at("not-a-version"), ["A-listed"]);
});

test("groups: an alias joins, related does not, and the most trusted severity counts", async () => {
  const cvss = (score: string) => ({ severity: [{ type: score.startsWith("CVSS:4") ? "CVSS_V4" : "CVSS_V3", score }] });
  const all = range({ introduced: "0" }, { fixed: "2" });
  const index = await indexOfRecords(
    record("PYSEC-1", "p", all, { aliases: ["CVE-1"], ...cvss("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H") }),
    record("GHSA-1", "p", all, { aliases: ["CVE-1"], database_specific: { severity: "LOW" } }),
    record("GHSA-2", "p", all, { aliases: ["CVE-2"], related: ["CVE-1"], database_specific: { severity: "MODERATE" } }),
    record("GHSA-3", "p", all, { aliases: ["PYSEC-9"] }),
  );
  const matches = matchAdvisories([parsePackage("pypi:p@1"), parsePackage("pypi:p@1")], index);
  assert.deepEqual(
    matches.map(({ id, aliases, severity, fixed }) => [id, aliases, severity, fixed]),
    [
      ["GHSA-2", ["CVE-2"], "medium", ["2"]],
      ["GHSA-3", ["PYSEC-9"], "unknown", ["2"]],
      ["PYSEC-1", ["CVE-1", "GHSA-1"], "critical", ["2"]],
    ],
  );
  assert.deepEqual(countMatches(matches), { critical: 1, high: 0, medium: 1, low: 0, unknown: 1, malware: 0 });
  assert.deepEqual(findingsPredicate.parse(findingsOf("clean", matches)), findingsOf("clean", matches));
  assert.equal(findingsOf("clean", undefined).advisories_matched, false);
  assert.equal(findingsOf("clean", []).advisories_matched, true);
});

test("severity: CVSS 4 before 3 before words; rubbish is unknown", () => {
  const v3 = { type: "CVSS_V3", score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" };
  const v4 = { type: "CVSS_V4", score: "CVSS:4.0/AV:P/AC:L/AT:N/PR:N/UI:N/VC:H/VI:L/VA:L/SC:H/SI:H/SA:H" };
  assert.equal(rateSeverity([v3, v4], ["LOW"]).level, "high");
  assert.equal(rateSeverity([v3], ["LOW"]).level, "critical");
  assert.equal(rateSeverity([], ["moderate"]).level, "medium");
  const rubbish = [
    null,
    7,
    {},
    { type: "CVSS_V3", score: "CVSS:3.1/AV:N" },
    { type: "CVSS_V3", score: "x".repeat(1e6) },
  ];
  for (const entry of rubbish) assert.equal(rateSeverity([entry], [undefined, 5]).level, "unknown");
});

test("npm: pre-releases, builds, scopes", async () => {
  const npm = { ecosystem: "npm" };
  const index = await indexOfRecords(
    record("N-1", "@s/p", range({ introduced: "1.0.0" }, { fixed: "1.2.3" }), npm),
    record("N-2", "p", { versions: ["2.0.0"] }, npm),
  );
  const at = (text: string) => idsOf(matchAdvisories([parsePackage(text)], index));
  assert.deepEqual(at("npm:@s/p@1.2.3-rc.1"), ["N-1"]);
  assert.deepEqual(at("pkg:npm/%40s/p@1.2.2"), ["N-1"]);
  assert.deepEqual(at("npm:@s/p@1.2.3"), []);
  assert.deepEqual(at("npm:p@2.0.0+build"), ["N-2"]);
  assert.deepEqual(at("npm:P@2.0.0"), []);
});

test("packages that are none", () => {
  for (const text of [
    "torch",
    "pypi:torch",
    "pypi:@1",
    "gem:x@1",
    "pkg:gem/x@1",
    "pkg:pypi/x",
    "pypi:x@1 2",
    `pypi:${"x".repeat(300)}@1`,
  ]) {
    assert.throws(() => parsePackage(text), { code: "PACKAGE_INVALID" }, text);
  }
});

test("a dump with rubbish in it: what can be read is kept, the rest is named", async () => {
  const good = record("A-1", "p", range({ introduced: "0" }));
  const dump = zip([
    { name: "A-1.json", data: Buffer.from(good), deflate: true },
    { name: "again.json", data: Buffer.from(good) },
    { name: "broken.json", data: Buffer.from("{") },
    { name: "deep.json", data: Buffer.from("[".repeat(1000)) },
    { name: "README.md", data: Buffer.from("x") },
    { name: "empty.json", data: Buffer.from("{}") },
    { name: "types.json", data: Buffer.from('{"id":7,"affected":"x"}') },
    { name: "holes.json", data: Buffer.from('{"id":"A-2","affected":[null,7,{"package":{"ecosystem":"PyPI"}}]}') },
  ]);
  const root = writeFolder({ "dump.zip": dump });
  const into = join(temporaryFolder(), "a.idx");
  const report = await importAdvisories({ from: [root], into });
  assert.deepEqual(report, { records: 1, packages: 1, unreadable: ["broken.json", "deep.json"] });
  assert.deepEqual(readdirSync(dirname(into)), ["a.idx"]);
});

test("a record of many megabytes is read with more memory; one beyond its limits is named, and nothing is lost", async () => {
  const into = join(temporaryFolder(), "a.idx");
  const versions = Array.from({ length: 60_000 }, (_, at) => `1.${at}.${"0".repeat(20)}`);
  const small = record("A-small", "q", range({ introduced: "0" }));
  const large = record("A-large", "p", { versions });
  assert.ok(large.length > BOM_LIMITS.importUsualBytes);
  const counts: number[] = [];
  const report = await importAdvisories({
    from: [writeFolder({ "a.json": large, "b.json": small })],
    into,
    progress: ({ done }) => counts.push(done),
  });
  assert.deepEqual(report, { records: 2, packages: 2, unreadable: [] });
  assert.equal(counts.at(-1), 2);
  const index = await openAdvisories(into);
  assert.deepEqual(idsOf(matchAdvisories([parsePackage("pypi:p@1.59999.0")], index)), ["A-large"]);
  index.close();
  const before = readFileSync(into);
  const dense = [`{"id":"D","x":[${"{},".repeat(BOM_LIMITS.advisoryValues)}1]}`, `{"id":"D",${keys(600_000)}}`];
  for (const [at, text] of dense.entries()) {
    const from = writeFolder({ "a.json": small, [`dense-${at}.json`]: text });
    await assert.rejects(importAdvisories({ from: [from], into }), (error: ModelkeepError) => {
      assert.equal(error.code, "ADVISORY_TOO_LARGE");
      return error.detail?.endsWith(`dense-${at}.json`) === true;
    });
  }
  assert.deepEqual(readFileSync(into), before);
  assert.deepEqual(readdirSync(dirname(into)), ["a.idx"]);
});

test("what a package's block is said to take holds its versions too: it is written as long as it is read", () => {
  const packer = new BlockPacker("PyPI\npé");
  const parts = { aliases: [], summary: "", severity: { level: "high", score: 7, source: "x" }, ranges: [] };
  for (const at of [0, 1, 2]) {
    const versions = Array.from({ length: 500 }, (_, each) => `1.${each + 250 * at}."é`);
    const said = packer.add({ id: `A-${at}`, versions, ...parts } as unknown as AdvisoryRecord);
    assert.ok(said - packer.pack().length === 1, `${said} bytes, ${packer.pack().length} written`);
  }
});

/** A file of this process may be no longer, as on a disk that becomes full: what fits of a write is written. */
function importWithin(kibibytes: number, from: string, into: string): string {
  const index = new URL("../../src/bom/index.ts", import.meta.url).href;
  const program = `import { importAdvisories } from ${JSON.stringify(index)};
    const [from, into] = ${JSON.stringify([from, into])};
    const say = (text) => process.stdout.write(text);
    await importAdvisories({ from: [from], into }).then(() => say("imported"), ({ code }) => say(code));`;
  const shell = `trap '' XFSZ; ulimit -f ${kibibytes}; exec "$0" --input-type=module -e "$1"`;
  return execFileSync("bash", ["-c", shell, process.execPath, program], { encoding: "utf8" });
}

test("a disk that becomes full with the last bytes is an error, and the index that was there stays", async () => {
  const into = join(temporaryFolder(), "a.idx");
  const records = Array.from({ length: 5_000 }, (_, at) => ({
    name: `${at}.json`,
    data: Buffer.from(record(`A-${at}`, `package-${at}`, range({ introduced: "0" }))),
  }));
  const from = join(writeFolder({ "dump.zip": zip(records) }), "dump.zip");
  await importAdvisories({ from: [from], into });
  const before = readFileSync(into);
  const kibibytes = Math.floor(before.length / 1024);
  assert.equal(importWithin(kibibytes + 1, from, into), "imported");
  assert.equal(importWithin(kibibytes - 32, from, into), "FILE_UNWRITABLE");
  assert.deepEqual(readFileSync(into), before);
  assert.deepEqual(readdirSync(dirname(into)), ["a.idx"]);
});

const keys = (count: number) => Array.from({ length: count }, (_, at) => `"k${at}":{}`).join(",");

test("ten thousand packages: each is found, in the same bytes whatever the order of the dumps", async () => {
  const records = Array.from({ length: 10_000 }, (_, at) => ({
    name: `${at}.json`,
    data: Buffer.from(record(`A-${at}`, `package-${at}`, range({ introduced: "0" }, { fixed: `${at}` }))),
  }));
  const [first, second] = [temporaryFolder(), temporaryFolder()].map((folder) => join(folder, "a.idx"));
  assert.ok(first && second);
  const dumps = writeFolder({ "1.zip": zip(records.slice(0, 4000)), "2.zip": zip(records.slice(3000)) });
  const report = await importAdvisories({ from: [join(dumps, "1.zip"), join(dumps, "2.zip")], into: first });
  assert.deepEqual([report.records, report.packages], [10_000, 10_000]);
  await importAdvisories({ from: [join(dumps, "2.zip"), join(dumps, "1.zip")], into: second });
  assert.ok(readFileSync(first).equals(readFileSync(second)), "blocks stand in the order of their hashes");
  const index = await openAdvisories(first);
  for (let at = 1; at < 10_000; at += 97)
    assert.deepEqual(idsOf(matchAdvisories([parsePackage(`pypi:package-${at}@0.${at}`)], index)), [`A-${at}`]);
  assert.deepEqual(matchAdvisories([parsePackage("pypi:package-10000@0")], index), []);
  index.close();
});

test("no index of more packages is written than can be opened", async () => {
  const folder = temporaryFolder();
  const records = Array.from({ length: 10 }, (_, at) => [`${at}.json`, record(`A-${at}`, `package-${at}`, range())]);
  const plan = {
    from: [writeFolder(Object.fromEntries(records))],
    ...{ index: join(folder, "a.idx"), spill: join(folder, "spill"), recordBytes: BOM_LIMITS.advisoryBytes },
  };
  const open = async (packages: number) => {
    await buildIndex({ ...plan, packages }, () => undefined);
    const index = await openAdvisories(plan.index);
    index.close();
    return index.packages;
  };
  assert.equal(await open(11), 11, "one of them says that the ecosystem is covered");
  await assert.rejects(open(10), { code: "ADVISORY_DUMP_INVALID" });
});

test("dumps that are none change nothing", async () => {
  const into = join(temporaryFolder(), "a.idx");
  writeFileSync(into, "what was there");
  const bad = [writeFolder({ "x.zip": "no zip" }), writeFolder({ "x.json": "{}" }), join(temporaryFolder(), "absent")];
  for (const from of bad)
    await assert.rejects(importAdvisories({ from: [from], into }), { code: "ADVISORY_DUMP_INVALID" });
  const bomb = zip([{ name: "x.json", data: Buffer.alloc(64 * 2 ** 20, " "), deflate: true }]);
  await assert.rejects(importAdvisories({ from: [writeFolder({ "x.zip": bomb })], into }), { code: "LIMIT_EXCEEDED" });
  const good = writeFolder({ "x.json": record("A-1", "p", range({ introduced: "0" })) });
  await assert.rejects(importAdvisories({ from: [good], into, signal: AbortSignal.abort() }), { code: "BOM_STOPPED" });
  assert.equal(readFileSync(into, "utf8"), "what was there");
  assert.deepEqual(readdirSync(dirname(into)), ["a.idx"]);
});

test("a damaged index is refused, wherever the damage is", async () => {
  const into = join(temporaryFolder(), "a.idx");
  await importAdvisories({ from: [writeFolder({ "x.json": record("A-1", "p", range({ introduced: "0" })) })], into });
  const whole = readFileSync(into);
  const look = async (bytes: Uint8Array): Promise<unknown> => {
    writeFileSync(into, bytes);
    const index = await openAdvisories(into);
    try {
      return [index.find("PyPI", ""), index.find("PyPI", "p")];
    } finally {
      index.close();
    }
  };
  const original = await look(whole);
  await assert.rejects(openAdvisories(join(dirname(into), "absent")), { code: "ADVISORIES_MISSING" });
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ change;
      const inCount = at >= 24 && at < 32;
      if (inCount) assert.deepEqual(await look(damaged), original);
      else await assert.rejects(look(damaged), { code: "ADVISORIES_INVALID" });
    }),
    { numRuns: 200 },
  );
  await assert.rejects(look(whole.subarray(0, 40)), { code: "ADVISORIES_INVALID" });
});

test("fuzz: records of any shape are read or left out", async () => {
  const value = fc.anything({ withBigInt: false, withDate: false, maxDepth: 3 });
  const shape = fc.record(
    {
      id: fc.oneof(fc.string(), value),
      aliases: value,
      severity: fc.oneof(
        value,
        fc.array(fc.record({ type: fc.constantFrom("CVSS_V3", "CVSS_V4"), score: fc.string() })),
      ),
      affected: fc.oneof(
        value,
        fc.array(
          fc.record({
            package: fc.record({ ecosystem: fc.constantFrom("PyPI", "npm"), name: fc.string() }),
            versions: fc.array(fc.string()),
            ranges: fc.array(
              fc.record({
                type: fc.constantFrom("ECOSYSTEM", "SEMVER", "GIT"),
                events: fc.array(fc.dictionary(fc.constantFrom("introduced", "fixed", "last_affected"), fc.string())),
              }),
            ),
          }),
        ),
      ),
    },
    { requiredKeys: ["id"] },
  );
  const seed = record("A-0", "seed", range({ introduced: "0" }));
  await fc.assert(
    fc.asyncProperty(fc.array(shape, { minLength: 40, maxLength: 60 }), async (records) => {
      const index = await indexOfRecords(seed, ...records.map((item) => JSON.stringify(item)));
      assert.equal(matchAdvisories([parsePackage("pypi:seed@1")], index).length, 1);
      index.close();
    }),
    { numRuns: 8 },
  );
});

test("distributions: the source package is matched, in its own release, by its own order", async () => {
  const index = await indexOfRecords(
    record("DSA-1", "openssl", range({ introduced: "0" }, { fixed: "3.0.11-1~deb12u2" }), { ecosystem: "Debian:12" }),
    record("DSA-2", "openssl", range({ introduced: "0" }), { ecosystem: "Debian:11" }),
    record("DSA-3", "libssl3", range({ introduced: "0" }), { ecosystem: "Debian:12" }),
    record("ALPINE-1", "busybox", range({ introduced: "0" }, { fixed: "1.36.1-r16" }), { ecosystem: "Alpine:v3.19" }),
  );
  const at = (purl: string) => idsOf(matchAdvisories([parsePackage(purl)], index));
  const ssl = (version: string, distro = "debian-12") =>
    `pkg:deb/debian/libssl3@${version}?arch=amd64&distro=${distro}&upstream=openssl`;
  assert.deepEqual(at(ssl("3.0.11-1~deb12u1")), ["DSA-1"]);
  assert.deepEqual(at(ssl("3.0.11-1~deb12u2")), []);
  assert.deepEqual(at(ssl("3.0.11-1~deb12u9", "debian-11")), ["DSA-2"]);
  assert.deepEqual(at("pkg:deb/debian/libssl3@1?distro=debian-12&upstream=openssl%403.0.11-1~deb12u1"), ["DSA-1"]);
  assert.deepEqual(at("pkg:deb/debian/openssl@3.0.1-1"), [], "nobody knows which release");
  assert.deepEqual(at("pkg:apk/alpine/ssl_client@1.36.1-r15?distro=alpine-3.19.1&upstream=busybox"), ["ALPINE-1"]);
  assert.deepEqual(at("pkg:apk/alpine/busybox@1.36.1-r16?distro=alpine-3.19.1"), []);
  const [match] = matchAdvisories([parsePackage(ssl("3.0.11-1~deb12u1"))], index);
  assert.deepEqual(
    [match?.package, match?.fixed, match?.purl],
    ["libssl3", ["3.0.11-1~deb12u2"], ssl("3.0.11-1~deb12u1")],
  );
});

test("Go, crates.io and Maven by their purls", async () => {
  const all = range({ introduced: "0" }, { fixed: "1.2.3" });
  const index = await indexOfRecords(
    record("GO-1", "golang.org/x/net", all, { ecosystem: "Go" }),
    record("RUSTSEC-1", "serde", all, { ecosystem: "crates.io" }),
    record("GHSA-1", "org.apache:log4j", all, { ecosystem: "Maven" }),
  );
  const at = (purl: string) => idsOf(matchAdvisories([parsePackage(purl)], index));
  assert.deepEqual(at("pkg:golang/golang.org/x/net@v1.2.2"), ["GO-1"]);
  assert.deepEqual(at("pkg:golang/golang.org/x/net@v1.2.3"), []);
  assert.deepEqual(at("pkg:cargo/serde@1.2.3-beta"), ["RUSTSEC-1"]);
  assert.deepEqual(at("pkg:maven/org.apache/log4j@1.2.3-rc1"), ["GHSA-1"]);
  assert.deepEqual(at("pkg:maven/org.apache/log4j@1.2.3.RELEASE"), []);
});

test("CVSS 2 counts where nothing newer is there; urgency of a distribution is a word", () => {
  const v2 = { type: "CVSS_V2", score: "AV:N/AC:L/Au:N/C:P/I:P/A:P" };
  const v3 = { type: "CVSS_V3", score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L" };
  assert.deepEqual(rateSeverity([v2], ["LOW"]), { level: "high", score: 7.5, trust: 2 });
  assert.deepEqual(rateSeverity([v2, v3], []), { level: "medium", score: 5.3, trust: 3 });
  assert.equal(rateSeverity([], ["not yet assigned", "low"]).level, "low");
});

test("an index of thousands of listed versions finds each, and no other", async () => {
  const versions = Array.from({ length: 3000 }, (_, at) => `1.${at}`);
  const index = await indexOfRecords(
    record("A-even", "p", { versions: versions.filter((_, at) => at % 2 === 0) }),
    record("A-run", "p", { versions: versions.slice(100, 200) }),
  );
  const at = (version: string) => idsOf(matchAdvisories([parsePackage(`pypi:p@${version}`)], index));
  assert.deepEqual(at("1.98"), ["A-even"]);
  assert.deepEqual(at("1.99"), []);
  assert.deepEqual(at("1.100.0"), ["A-even", "A-run"]);
  assert.deepEqual(at("1.199"), ["A-run"]);
  assert.deepEqual(at("1.3000"), []);
});
