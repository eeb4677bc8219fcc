/** Reports: SARIF against its own schema, HTML as a browser shows it, both with texts that want to be something else. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type JsonObject, type JudgedMatch, readVex, toHtml, toSarif } from "../../src/bom/index.ts";
import { bomTool, sarifSchemaFile, schemaScript } from "../../tools/peers/bom-places.ts";
import { PEERS_ABSENT } from "./peers.ts";
import { temporaryFolder } from "./support.ts";

const match = (more: Partial<JudgedMatch> = {}): JudgedMatch => ({
  ecosystem: "PyPI",
  package: "torch",
  version: "2.6.0",
  purl: "pkg:pypi/torch@2.6.0",
  id: "PYSEC-2026-1",
  aliases: ["CVE-2026-1"],
  severity: "high",
  score: 8.1,
  malware: false,
  kev: false,
  fixed: ["2.6.1"],
  summary: "something breaks",
  state: "open",
  ...more,
});

const HOSTILE =
  "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> \u202e\ud800";
const waiver = { id: "CVE-2026-1", owner: HOSTILE, reason: HOSTILE, expires: "2026-12-31" };
const MATCHES: readonly JudgedMatch[] = [
  match(),
  match({ version: "2.5.0", purl: "pkg:pypi/torch@2.5.0", epss: 0.3, kev: true }),
  match({ id: "MAL-2026-1", malware: true, severity: "critical", score: 0, fixed: [], aliases: [] }),
  match({ id: "CVE-2026-2", severity: "unknown", score: 0, summary: "", fixed: [] }),
  match({ id: "CVE-2026-3", state: "waived", waiver, severity: "medium" }),
  match({
    id: "CVE-2026-4",
    state: "not_affected",
    severity: "low",
    statement: { ids: ["CVE-2026-4"], products: [], status: "not_affected", impact: HOSTILE, timeMs: 0 },
  }),
  match({ id: "CVE-2026-5", package: HOSTILE, version: HOSTILE, purl: `pkg:pypi/${HOSTILE}@1`, summary: HOSTILE }),
];

function faultsOf(sarif: JsonObject): string {
  const input = JSON.stringify(sarif).replace(/\\ud800/g, "\ufffd");
  return execFileSync(bomTool("python"), [schemaScript, sarifSchemaFile], { input, encoding: "utf8" });
}

test("SARIF: as its schema wants it, whatever the weaknesses are called", (t) => {
  if (!existsSync(sarifSchemaFile) || !existsSync(bomTool("python"))) return t.skip(PEERS_ABSENT);
  const documents = ["bom.json", "a b/ü?#%.json", "C:\\x\\bom.json", "../up.json", HOSTILE];
  const runs = documents.flatMap((document) => toSarif(MATCHES, document).runs as JsonObject[]);
  assert.equal(faultsOf({ ...toSarif([], "bom.json"), runs }), "");
  assert.equal(faultsOf(toSarif([], "bom.json")), "");
  const broken = toSarif(MATCHES, "bom.json") as { runs: { results: object[] }[] };
  assert.match(faultsOf({ ...broken, version: "2.0.0" } as JsonObject), /2\.0\.0/, "the schema is asked indeed");
});

const csaf = (more: object = {}) => ({
  document: {
    category: "csaf_vex",
    csaf_version: "2.0",
    title: "urllib3 in our models",
    publisher: { category: "vendor", name: "Example", namespace: "https://example.org" },
    tracking: {
      current_release_date: "2026-05-01T00:00:00Z",
      id: "EX-1",
      initial_release_date: "2026-05-01T00:00:00Z",
      revision_history: [{ date: "2026-05-01T00:00:00Z", number: "1", summary: "first" }],
      status: "final",
      version: "1",
    },
  },
  product_tree: {
    branches: [
      {
        category: "vendor",
        name: "Example",
        branches: [
          {
            category: "product_version",
            name: "2.8.0",
            product: {
              name: "urllib3 2.8.0",
              product_id: "P1",
              product_identification_helper: { purl: "pkg:pypi/urllib3@2.8.0" },
            },
          },
        ],
      },
    ],
  },
  vulnerabilities: [
    {
      cve: "CVE-2026-7777",
      notes: [{ category: "description", text: "x" }],
      product_status: { known_not_affected: ["P1"] },
      flags: [{ label: "vulnerable_code_not_in_execute_path", product_ids: ["P1"] }],
      threats: [{ category: "impact", details: "nothing connects", product_ids: ["P1"] }],
    },
  ],
  ...more,
});

test("CSAF: what csaf-vex verifies and the schema allows is read as it is meant", (t) => {
  if (!existsSync(bomTool("csaf-vex"))) return t.skip(PEERS_ABSENT);
  const path = join(temporaryFolder(), "vex.json");
  writeFileSync(path, JSON.stringify(csaf()));
  assert.match(execFileSync(bomTool("csaf-vex"), ["verify", path], { encoding: "utf8" }), /Verification PASSED/);
  const where = "import csaf_vex.verification as v, os; print(os.path.dirname(v.__file__))";
  const folder = execFileSync(bomTool("python"), ["-c", where], { encoding: "utf8" }).trim();
  const faults = (document: object) =>
    execFileSync(bomTool("python"), [schemaScript, join(folder, "schemas/csaf_2_0.json")], {
      input: JSON.stringify(document),
      encoding: "utf8",
    });
  assert.equal(faults(csaf()), "");
  assert.notEqual(faults(csaf({ product_tree: 7 })), "", "the schema is asked indeed");
  assert.deepEqual(readVex(Buffer.from(JSON.stringify(csaf()))), {
    format: "CSAF",
    ignored: [],
    statements: [
      {
        ids: ["CVE-2026-7777"],
        products: ["pkg:pypi/urllib3@2.8.0"],
        status: "not_affected",
        justification: "vulnerable_code_not_in_execute_path",
        impact: "nothing connects",
        author: "Example",
        timeMs: Date.parse("2026-05-01T00:00:00Z"),
      },
    ],
  });
});

const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) =>
  existsSync(path),
);

test("HTML: a browser shows every weakness, and runs nothing", (t) => {
  if (!chromium) return t.skip("no browser: apt-get install chromium");
  const page = join(temporaryFolder(), "report.html");
  const title = "Weaknesses of bom.json";
  writeFileSync(page, toHtml({ title, packages: 7, matches: MATCHES, nowMs: Date.parse("2026-06-01T00:00:00Z") }));
  const profile = `--user-data-dir=${temporaryFolder()}`;
  const words = ["--headless", "--no-sandbox", "--disable-gpu", profile, "--dump-dom", `file://${page}`];
  const shown = spawnSync(chromium, words, { encoding: "utf8", timeout: 60_000 });
  if (shown.status !== 0) return t.skip("the browser does not start here: apt-get install chromium");
  assert.match(shown.stdout, new RegExp(`<title>${title}</title>`), "no script changed it");
  for (const { id } of MATCHES) assert.ok(shown.stdout.includes(id), id);
  assert.doesNotMatch(shown.stdout, /<(?:script|img)\b/i);
});
