/** CycloneDX 1.7 and 1.6 and SPDX 3.0.1 from one inventory: valid by their schemas, equal every time; merge, diff and score. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import Ajv2020 from "ajv/dist/2020.js";
import fc from "fast-check";
import {
  type AdvisoryMatch,
  BOM_FORMATS,
  diffBoms,
  gatherInventory,
  type Inventory,
  judgeMatches,
  mergeBoms,
  packagesOf,
  readBom,
  scoreBom,
  toHtml,
  toSarif,
  withExamination,
  withMatches,
  writeBom,
} from "../../src/bom/index.ts";
import { bomTool, spdxSchemaFile } from "../../tools/peers/bom-places.ts";
import { gguf } from "../scan/support.ts";
import { hasPeers, PEERS_ABSENT } from "./peers.ts";
import { keeper, schemaErrors, temporaryFolder, writeFolder } from "./support.ts";

type Plain = Readonly<Record<string, unknown>>;

function match(id: string, more: Partial<AdvisoryMatch> = {}): AdvisoryMatch {
  const purl = "pkg:pypi/torch@2.5.0";
  return {
    ecosystem: "PyPI",
    package: "torch",
    version: "2.5.0",
    purl,
    id,
    aliases: ["CVE-1"],
    severity: "high",
    score: 7.5,
    malware: false,
    kev: false,
    fixed: ["2.6.0"],
    summary: "a <b> & c",
    ...more,
  };
}

const CARD = `---
license: apache-2.0
base_model: meta/Base
base_model_relation: finetune
datasets: [org/set, local]
pipeline_tag: text-generation
model-index: [{name: x, results: [{dataset: {name: G}, metrics: [{type: acc, value: 0.5}]}]}]
---
What it is.
`;
const CROISSANT = JSON.stringify({
  conformsTo: "http://mlcommons.org/croissant/1.0",
  name: "org/set",
  description: "texts",
  license: "https://creativecommons.org/licenses/by/4.0/",
  url: "https://example.org/set",
  creator: { name: "somebody" },
  "rai:personalSensitiveInformation": "No names",
  distribution: [{ name: "train.parquet", sha256: "a".repeat(64) }],
  recordSet: [{ field: [{}, {}] }],
});

async function rich(): Promise<Inventory> {
  const root = writeFolder({
    "README.md": CARD,
    "croissant.json": CROISSANT,
    "config.json":
      '{"model_type":"x","architectures":["XForCausalLM"],"hidden_size":8,"auto_map":{"AutoModel":"modeling_x.X"}}',
    "m.gguf": gguf({
      texts: {
        "general.base_model.0.name": "Up",
        "general.base_model.0.organization": "Top",
        "tokenizer.chat_template": "{{ x }}",
      },
    }),
    "requirements.txt": "torch==2.5.0\nnumpy>=1\nlitellm==1.82.8\n",
  });
  const inventory = await gatherInventory({
    root,
    name: "rich",
    version: "1",
    author: "ana",
    supplier: "acme",
    now: 0,
    toolVersion: "1",
    datasets: [keeper],
  });
  const statement = {
    ids: ["CVE-2"],
    products: ["pkg:pypi/torch"],
    status: "not_affected",
    justification: "vulnerable_code_not_present",
    impact: "not built in",
    timeMs: 1,
  } as const;
  const waiver = { id: "CVE-3", owner: "ana", reason: "soon", expires: "2999-01-01" };
  const matches = judgeMatches(
    [
      match("PYSEC-1", { kev: true, epss: 0.5 }),
      match("PYSEC-2", { aliases: ["CVE-2"] }),
      match("PYSEC-3", { aliases: ["CVE-3"] }),
      match("MAL-1", { malware: true, severity: "critical" }),
    ],
    { statements: [statement], waivers: [waiver], nowMs: 0 },
  );
  return withExamination(inventory, { scanVerdict: "clean", signerKeyId: "ab", rootDigest: "cd", matches });
}

test("CycloneDX 1.7 and 1.6: valid, and all that was found out is in them", async () => {
  const inventory = await rich();
  for (const format of ["cyclonedx-1.7", "cyclonedx-1.6"] as const) {
    const bom = writeBom(inventory, format);
    assert.deepEqual(schemaErrors(bom), [], format);
    assert.equal(bom.specVersion, format.slice(-3));
    const text = JSON.stringify(bom);
    for (const fact of [
      "modelkeep:scan_verdict",
      "modelkeep:signer_key_id",
      "custom_code:file",
      "modeling_x.py",
      "chat_template:m.gguf#tokenizer.chat_template",
      "Top/Up",
      "meta/Base",
      "train.parquet",
      "No names",
      "modelkeep:kev",
    ])
      assert.ok(text.includes(fact), fact);
    const states = (bom.vulnerabilities as unknown as { id: string; analysis: { state: string } }[]).map(
      ({ id, analysis }) => [id, analysis.state],
    );
    assert.deepEqual(states, [
      ["PYSEC-1", "in_triage"],
      ["PYSEC-2", "not_affected"],
      ["PYSEC-3", "exploitable"],
      ["MAL-1", "exploitable"],
    ]);
  }
});

test("SPDX 3.0.1: valid by its own schema; SPDX's Python library reads it", async (t) => {
  if (!hasPeers) return t.skip(PEERS_ABSENT);
  const document = writeBom(await rich(), "spdx-3.0.1");
  const ajv = new Ajv2020.default({ strict: false, allErrors: false });
  const validate = ajv.compile(JSON.parse(readFileSync(spdxSchemaFile, "utf8")) as object);
  assert.ok(validate(document), JSON.stringify(validate.errors?.slice(0, 3)));
  const wrong = JSON.parse(JSON.stringify(document)) as {
    "@graph": { type: string; software_primaryPurpose?: string }[];
  };
  for (const item of wrong["@graph"]) if (item.type === "ai_AIPackage") item.software_primaryPurpose = "nonsense";
  assert.equal(validate(wrong), false, "the schema is really asked");
  const path = join(temporaryFolder(), "spdx.json");
  writeFileSync(path, JSON.stringify(document));
  const script =
    "import sys;from spdx_python_model import v3_0_1 as m;s=m.SHACLObjectSet();m.JSONLDDeserializer().read(open(sys.argv[1],'rb'),s);print(sorted({type(o).__name__ for o in s.foreach()}),len(s.missing_ids))";
  const said = execFileSync(bomTool("python"), ["-c", script, path], { encoding: "utf8" });
  for (const type of [
    "ai_AIPackage",
    "dataset_DatasetPackage",
    "software_File",
    "security_Vulnerability",
    "security_VexNotAffectedVulnAssessmentRelationship",
  ])
    assert.ok(said.includes(`'${type}'`), said);
  assert.match(said, / 0\n$/, "no reference leads nowhere");
});

test("the validator of CycloneDX's Python library agrees", async (t) => {
  if (!hasPeers) return t.skip(PEERS_ABSENT);
  for (const [format, version] of [
    ["cyclonedx-1.7", "V1_7"],
    ["cyclonedx-1.6", "V1_6"],
  ] as const) {
    const script = `import sys;from cyclonedx.validation.json import JsonStrictValidator as V;from cyclonedx.schema import SchemaVersion as S;print(V(S.${version}).validate_str(sys.stdin.read()))`;
    const said = execFileSync(bomTool("python"), ["-c", script], {
      encoding: "utf8",
      input: JSON.stringify(writeBom(await rich(), format)),
    });
    assert.equal(said, "None\n");
  }
});

test("equal inventories give equal bytes, in every format", async () => {
  for (const format of BOM_FORMATS)
    assert.equal(
      JSON.stringify(writeBom(await rich(), format)),
      JSON.stringify(writeBom(await rich(), format)),
      format,
    );
});

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

test("merge: what has a package URL counts once, everything else stays apart, nothing dangles", async () => {
  const a = readBom(bytes(writeBom(await rich(), "cyclonedx-1.7")));
  const other = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    metadata: { component: { type: "container", name: "image", "bom-ref": "model" } },
    components: [
      { type: "library", name: "torch", version: "2.5.0", purl: "pkg:pypi/torch@2.5.0", "bom-ref": "x1" },
      { type: "file", name: "README.md", "bom-ref": "file:README.md" },
    ],
    dependencies: [{ ref: "model", dependsOn: ["x1"] }],
  };
  const merged = mergeBoms([a, other], { name: "both", version: "1" });
  assert.deepEqual(schemaErrors(merged), []);
  assert.equal(packagesOf(merged).filter(({ name }) => name === "torch").length, 1);
  const components = merged.components as unknown as { name: string; "bom-ref": string }[];
  assert.equal(components.filter(({ name }) => name === "README.md").length, 2);
  const refs = new Set([...components.map((item) => item["bom-ref"]), "merged"]);
  for (const { ref, dependsOn = [] } of merged.dependencies as unknown as { ref: string; dependsOn?: string[] }[])
    for (const each of [ref, ...dependsOn]) assert.ok(refs.has(each), each);
  assert.equal(new Set(components.map((item) => item["bom-ref"])).size, components.length);
  assert.equal((merged.vulnerabilities as unknown[]).length, 4);
  assert.equal(JSON.stringify(mergeBoms([a, other], { name: "both", version: "1" })), JSON.stringify(merged));
  const deep = (depth: number): object => (depth === 0 ? {} : { components: [deep(depth - 1)] });
  assert.throws(() => mergeBoms([deep(100) as Plain], { name: "x" }), { code: "BOM_INVALID" });
});

test("diff: what was added, removed and changed; nothing for equal ones", async () => {
  const before = readBom(bytes(writeBom(await rich(), "cyclonedx-1.7")));
  assert.deepEqual(diffBoms(before, before), []);
  const inventory = await rich();
  const libraries = [
    ...inventory.libraries
      .filter(({ name }) => name !== "numpy")
      .map((item) => (item.name === "torch" ? { ...item, version: "2.6.0" } : item)),
    { ecosystem: "npm" as const, name: "new", version: "1", hashes: [], needs: [] },
  ];
  const after = readBom(bytes(writeBom({ ...inventory, libraries, version: "2" }, "cyclonedx-1.6")));
  assert.deepEqual(
    diffBoms(before, after).map(({ what, name, before: old, after: now }) => [what, name, old, now]),
    [
      ["package", "pkg:npm/new", undefined, "1"],
      ["package", "pkg:pypi/numpy", "any", undefined],
      ["package", "pkg:pypi/torch", "2.5.0", "2.6.0"],
      ["subject", "version", "1", "2"],
    ],
  );
});

test("score: fifty elements; more is found in more, every gap says what to do", async () => {
  const empty = scoreBom({ bomFormat: "CycloneDX", specVersion: "1.7" });
  assert.equal(empty.elements.length, 50);
  assert.equal(new Set(empty.elements.map(({ id }) => id)).size, 50);
  const clusters = { MD: 10, SLP: 9, MDL: 13, DP: 10, INF: 2, SP: 4, KPI: 2 };
  for (const [cluster, size] of Object.entries(clusters))
    assert.equal(empty.elements.filter(({ id }) => id.split("-")[0] === cluster).length, size);
  assert.deepEqual(
    empty.elements.filter(({ state }) => state !== "missing").map(({ id }) => id),
    ["MD-3", "MD-4"],
  );
  const full = scoreBom(readBom(bytes(writeBom(await rich(), "cyclonedx-1.7"))), true);
  assert.ok(full.percent >= 75, `${full.percent}`);
  for (const { state, evidence, todo } of [...empty.elements, ...full.elements])
    assert.ok(state === "missing" ? todo !== "" && evidence === "" : evidence !== "" && todo === "");
  assert.equal(full.elements.find(({ id }) => id === "MD-5")?.state, "filled");
  assert.equal(
    scoreBom(readBom(bytes(writeBom(await rich(), "cyclonedx-1.7")))).elements.find(({ id }) => id === "MD-5")?.state,
    "missing",
  );
});

test("documents of any shape are scored, compared, merged and matched without a stumble", () => {
  const value = fc.anything({ withBigInt: false, withDate: false, maxDepth: 4, withNullPrototype: false });
  const shape = fc.record({
    metadata: value,
    components: fc.oneof(
      value,
      fc.array(
        fc.record({
          type: fc.constantFrom("data", "file", "library"),
          name: value,
          purl: fc.oneof(value, fc.constant("pkg:pypi/x@1")),
          hashes: value,
          data: value,
          properties: value,
        }),
      ),
    ),
    dependencies: value,
    vulnerabilities: value,
    externalReferences: value,
  });
  fc.assert(
    fc.property(shape, (made) => {
      const document = JSON.parse(JSON.stringify({ ...made, bomFormat: "CycloneDX", specVersion: "1.7" })) as Plain;
      assert.equal(scoreBom(document).elements.length, 50);
      assert.deepEqual(diffBoms(document, document), []);
      mergeBoms([document, document], { name: "x" });
      withMatches(document, judgeMatches([match("A-1")], { nowMs: 0 }));
    }),
    { numRuns: 300 },
  );
});

test("reports: SARIF with suppressions, HTML that runs nothing and hides nothing", async () => {
  const matches = (await rich()).examination?.matches ?? [];
  const sarif = toSarif(matches, "my bom.json") as unknown as {
    runs: {
      results: { ruleId: string; level: string; suppressions?: unknown[]; partialFingerprints: unknown }[];
      tool: { driver: { rules: { id: string }[] } };
    }[];
  };
  assert.deepEqual(
    sarif.runs[0]?.results.map(({ ruleId, level, suppressions }) => [ruleId, level, suppressions?.length ?? 0]),
    [
      ["PYSEC-1", "error", 0],
      ["PYSEC-2", "error", 1],
      ["PYSEC-3", "error", 1],
      ["MAL-1", "error", 0],
    ],
  );
  const html = toHtml({
    title: "x<script>alert(1)</script>",
    packages: 3,
    matches: matches.map((item) => ({ ...item, package: '"><img src=x onerror=alert(1)>' })),
    score: scoreBom({}),
    nowMs: 0,
  });
  assert.doesNotMatch(html, /<script|<img|<link|<[^>]*\s(?:src|on\w+)=|url\(/);
  assert.ok(html.indexOf("MAL-1") < html.indexOf("PYSEC-1"), "the worst first");
  assert.match(html, /default-src 'none'/);
  assert.match(html, /<html lang="en">/);
  assert.equal((html.match(/<table>/g) ?? []).length, (html.match(/<caption>/g) ?? []).length);
  for (const id of ["PYSEC-1", "PYSEC-2", "PYSEC-3", "MAL-1", "a &lt;b&gt; &amp; c"]) assert.ok(html.includes(id), id);
});
