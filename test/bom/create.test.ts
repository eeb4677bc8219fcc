/** Bills of materials: valid by the schema, the same every time, complete, and made from whatever the folder holds. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { createBom, packagesOf, readBom, readLockfile } from "../../src/bom/index.ts";
import { gguf, safetensors } from "../scan/support.ts";
import { keeper, schemaErrors, temporaryFolder, writeFolder } from "./support.ts";

interface Component {
  readonly type: string;
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly licenses?: unknown;
  readonly pedigree?: unknown;
  readonly modelCard?: unknown;
  readonly description?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
}

interface Bom {
  readonly serialNumber: string;
  readonly metadata: { readonly component: Component; readonly timestamp?: string };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

async function make(root: string, more: object = {}): Promise<Bom> {
  const bom = await createBom({ root, ...more });
  assert.deepEqual(schemaErrors(bom), []);
  return bom as unknown as Bom;
}

test("the schema is really asked", () => {
  assert.notEqual(
    schemaErrors({ bomFormat: "CycloneDX", specVersion: "1.7", components: [{ type: "model" }] }).length,
    0,
  );
});

test("the example model: every file with its digest, card, data set", async () => {
  const bom = await make(keeper);
  const files = bom.components.filter(({ type }) => type === "file");
  assert.deepEqual(
    files.map(({ name }) => name),
    readdirSync(keeper).sort(),
  );
  for (const { name, hashes } of files) {
    const digest = createHash("sha256")
      .update(readFileSync(join(keeper, name)))
      .digest("hex");
    assert.deepEqual(hashes, [{ alg: "SHA-256", content: digest }]);
  }
  assert.equal(bom.metadata.component.name, "keeper");
  assert.deepEqual(bom.metadata.component.licenses, [{ license: { id: "Apache-2.0" } }]);
  assert.ok(bom.components.some(({ type, name }) => type === "data" && name === "grey-point-stories"));
  assert.equal(bom.metadata.timestamp, undefined);
});

test("equal folders give equal bytes; a changed byte, another serial number", async () => {
  const copy = join(temporaryFolder(), "other-name");
  cpSync(keeper, copy, { recursive: true });
  const [a, b] = [await make(keeper), await make(copy)];
  assert.equal(JSON.stringify(a), JSON.stringify(b));
  const changed = await make(keeper, { version: "2" });
  assert.notEqual(changed.serialNumber, a.serialNumber);
  assert.equal((await make(keeper, { now: 0 })).metadata.timestamp, "1970-01-01T00:00:00.000Z");
});

const CARD = `---
license: llama3
license_name: my-license
license_link: https://example.org/license
base_model: [meta/Base-1B, "local thing"]
base_model_relation: finetune
datasets: [a/b, c]
language: en
pipeline_tag: text-generation
model-index:
  - name: x
    results:
      - task: {type: text-generation}
        dataset: {name: GLUE, type: glue}
        metrics: [{type: accuracy, value: 0.9}, {type: f1, value: "0.8"}]
---
# Title

What it is, in a sentence.
`;

test("model card: licence by name, pedigree, metrics", async () => {
  const root = writeFolder({
    "README.md": CARD,
    "adapter_config.json": '{"base_model_name_or_path":"org/Adapter-Base"}',
    "config.json": '{"model_type":"x","architectures":["XForCausalLM"],"auto_map":{}}',
  });
  const { component } = (await make(root)).metadata;
  assert.deepEqual(component.licenses, [{ license: { name: "my-license", url: "https://example.org/license" } }]);
  assert.deepEqual(component.pedigree, {
    ancestors: [
      { type: "machine-learning-model", name: "meta/Base-1B", purl: "pkg:huggingface/meta/Base-1B" },
      { type: "machine-learning-model", name: "local thing" },
      { type: "machine-learning-model", name: "org/Adapter-Base", purl: "pkg:huggingface/org/Adapter-Base" },
    ],
  });
  assert.match(JSON.stringify(component.modelCard), /"accuracy","value":"0.9","slice":"GLUE"/);
  assert.equal(component.description, "What it is, in a sentence.");
  assert.ok(component.properties?.some(({ name }) => name === "modelkeep:custom_code"));
});

test("hostile cards, configurations and headers make a valid document", async () => {
  const cards = [
    "---\na: &a [1]\nb: *a\n---\n",
    `---\n${"[".repeat(50_000)}\n---\n`,
    `---\na: ${"{a: ".repeat(50_000)}\n---\n`,
    "---\nlicense: {a: 1}\ndatasets: 7\nbase_model: [null, 3, {}]\nlanguage: [[]]\nmodel-index: [1, {results: [null]}]\n---\n",
    "---\n__proto__: {license: mit}\nlicense: [mit, x]\n---\n",
    "---\nno end",
    "\ufeff---\r\nlicense: mit\r\n---\r\n",
    "\0\x01\xff",
    "---\n? !!binary x\n: !!js/function y\n---\n",
  ];
  const started = performance.now();
  for (const card of cards)
    await make(writeFolder({ "README.md": card, "config.json": "[".repeat(1e5), "adapter_config.json": "7" }));
  await make(writeFolder({ "a.safetensors": safetensors("{broken"), "b.gguf": gguf({ pairCount: 10n ** 12n }) }));
  const odd = await make(
    writeFolder({ "sp ace/ü#?.gguf": gguf({ texts: { "general.name": 'a"b\n', "general.url": "x" } }) }),
  );
  assert.equal(odd.metadata.component.name, 'a"b\n');
  assert.ok(performance.now() - started < 20_000);
});

test("a card of any YAML makes a valid document", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.json(),
      fc.string(),
      fc.constantFrom("license", "datasets", "base_model", "model-index"),
      async (value, text, key) => {
        await make(
          writeFolder({ "README.md": `---\n${key}: ${value}\ntags: [${JSON.stringify(text)}]\n---\n${text}` }),
        );
      },
    ),
    { numRuns: 40 },
  );
});

const UV = `version = 1
[[package]]
name = "app"
version = "0.1.0"
source = { virtual = "." }
dependencies = [{ name = "torch" }]
[[package]]
name = "torch"
version = "2.6.0+cpu"
source = { registry = "https://example.org/simple" }
dependencies = [{ name = "Typing_Extensions" }]
[[package]]
name = "typing-extensions"
version = "4.12.2"
sdist = { url = "x", hash = "sha256:${"a".repeat(64)}", size = 1 }
`;
const POETRY = `[[package]]
name = "Jinja2"
version = "3.1.5"
files = [{file = "x", hash = "sha256:${"b".repeat(64)}"}]
[package.dependencies]
MarkupSafe = ">=2.0"
[[package]]
name = "markupsafe"
version = "3.0.2"
`;
const NPM = JSON.stringify({
  lockfileVersion: 3,
  packages: {
    "": { name: "app", version: "1.0.0" },
    "node_modules/lodash": { version: "4.17.20", integrity: `sha512-${Buffer.alloc(64, 7).toString("base64")}` },
    "node_modules/a/node_modules/@s/b": { version: "1.0.0", dependencies: { lodash: "*" } },
    "node_modules/linked": { link: true, resolved: "packages/linked" },
    "packages/linked": { version: "9.9.9" },
  },
});
const REQUIREMENTS = `# comment
torch==2.6.0 ; python_version > "3.8" --hash=sha256:${"c".repeat(64)}
Llama.Cpp_Python[server] == 0.2.72  # trailing
transformers>=4.40,<5 \\
  --hash=sha256:${"d".repeat(64)}
-e .
--index-url https://user:secret@example.org/simple
private @ https://user:secret@example.org/private-1.0.tar.gz
wheel-thing @ https://example.org/wheel_thing-1.2.3-py3-none-any.whl
numpy===1.26.4
anything
-r more/requirements-more.txt
`;

test("lockfiles in the folder become components that can be matched", async () => {
  const root = writeFolder({
    "uv.lock": UV,
    "poetry.lock": POETRY,
    "package-lock.json": NPM,
    "requirements.txt": REQUIREMENTS,
    "more/requirements-more.txt": "-r ../requirements.txt\nray==2.8.0\n",
  });
  const bom = await make(root);
  const packages = packagesOf(readBom(Buffer.from(JSON.stringify(bom)))).map(
    ({ name, version }) => `${name}@${version}`,
  );
  assert.deepEqual(packages.sort(), [
    "@s/b@1.0.0",
    "jinja2@3.1.5",
    "llama-cpp-python@0.2.72",
    "lodash@4.17.20",
    "markupsafe@3.0.2",
    "numpy@1.26.4",
    "ray@2.8.0",
    "torch@2.6.0",
    "torch@2.6.0+cpu",
    "typing-extensions@4.12.2",
    "wheel-thing@1.2.3",
  ]);
  assert.doesNotMatch(JSON.stringify(bom), /secret/);
  const asked = bom.components.filter(({ type, version }) => type === "library" && version === undefined);
  assert.deepEqual(asked.map(({ name }) => name).sort(), ["anything", "private", "transformers"]);
  const edges = Object.fromEntries(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  assert.deepEqual(edges["pkg:pypi/jinja2@3.1.5"], ["pkg:pypi/markupsafe@3.0.2"]);
  assert.deepEqual(edges["pkg:npm/%40s/b@1.0.0"], ["pkg:npm/lodash@4.17.20"]);
});

test("a lockfile outside the folder", async () => {
  const outside = writeFolder({ "uv.lock": UV });
  const bom = await make(keeper, { lockfiles: [join(outside, "uv.lock")] });
  assert.ok(bom.components.some(({ name }) => name === "torch"));
  await assert.rejects(createBom({ root: keeper, lockfiles: [join(outside, "absent.lock")] }), {
    code: "LOCKFILE_UNKNOWN",
  });
  await assert.rejects(createBom({ root: keeper, lockfiles: [join(outside, "more/uv.lock")] }), {
    code: "FILE_NOT_FOUND",
  });
});

test("hostile lockfiles end in an error, in bounded time", async () => {
  const chain = Object.fromEntries(Array.from({ length: 80 }, (_, n) => [`r${n}.txt`, `-r r${n + 1}.txt\n`]));
  const root = writeFolder({
    "requirements-out.txt": "-r ../../etc/passwd\n",
    "requirements-web.txt": "-r https://example.org/r.txt\n",
    ...chain,
    "deep/package-lock.json": `{"packages":${'{"a":'.repeat(1000)}`,
    "twice/package-lock.json": '{"packages":{},"packages":{}}',
    "toml/uv.lock": `a = ${"[".repeat(10_000)}`,
    "requirements-spaces.txt": `a${" ".repeat(10_000_000)}b\n`,
    "types/uv.lock": 'package = "x"\n',
    "types2/uv.lock": "[[package]]\nname = 7\nversion = []\n",
  });
  const started = performance.now();
  for (const name of [
    "requirements-out.txt",
    "requirements-web.txt",
    "requirements-spaces.txt",
    "r0.txt",
    "deep/package-lock.json",
    "twice/package-lock.json",
    "toml/uv.lock",
  ]) {
    await assert.rejects(readLockfile(join(root, name)), { code: "LOCKFILE_INVALID" }, name);
  }
  for (const name of ["types/uv.lock", "types2/uv.lock"]) assert.deepEqual(await readLockfile(join(root, name)), []);
  assert.ok(performance.now() - started < 5000);
  const circle = writeFolder({
    "requirements.txt": "-r requirements-b.txt\na==1\n",
    "requirements-b.txt": "-r requirements.txt\nb==2\n",
  });
  assert.deepEqual(
    (await readLockfile(join(circle, "requirements.txt"))).map(({ name }) => name),
    ["a", "b"],
  );
});

test("documents of strangers", () => {
  const bad = [
    "",
    "[]",
    "{}",
    '{"bomFormat":"SPDX","specVersion":"1.7"}',
    '{"bomFormat":"CycloneDX"}',
    "[".repeat(1e5),
  ];
  for (const text of bad) assert.throws(() => readBom(Buffer.from(text)), { code: "BOM_INVALID" }, text.slice(0, 20));
  const nested = (depth: number): object =>
    depth === 0 ? { purl: "pkg:pypi/x@1" } : { components: [nested(depth - 1)] };
  const bom = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    components: [nested(20), null, 7, { purl: 5 }, { purl: "rubbish" }],
  };
  assert.equal(packagesOf(bom).length, 1);
  assert.throws(() => packagesOf({ components: [nested(40)] }), { code: "BOM_INVALID" });
});

test("links in the folder are refused", async () => {
  const root = writeFolder({ "a.txt": "x" });
  symlinkSync("/etc/passwd", join(root, "config.json"));
  await assert.rejects(createBom({ root }), { code: "MODEL_FILE_REFUSED" });
});
