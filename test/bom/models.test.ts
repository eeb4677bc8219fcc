/** Models as they come: caches of Hugging Face, manifests of Ollama and ModelPack, code, templates and data sets beside them. */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { createBom } from "../../src/bom/index.ts";
import { gguf } from "../scan/support.ts";
import { schemaErrors, temporaryFolder, writeFolder } from "./support.ts";
import { sha256 } from "./tar-support.ts";

interface Component {
  readonly name: string;
  readonly version?: string;
  readonly type?: string;
  readonly "mime-type"?: string;
  readonly licenses?: unknown;
  readonly hashes?: readonly { readonly content: string }[];
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
  readonly data?: readonly Record<string, unknown>[];
}

async function make(root: string, more: object = {}) {
  const bom = await createBom({ root, ...more });
  assert.deepEqual(schemaErrors(bom), []);
  return bom as unknown as { metadata: { component: Component }; components: readonly Component[] };
}

const facts = ({ properties = [] }: Component, prefix: string) =>
  properties
    .filter(({ name }) => name.startsWith(`modelkeep:${prefix}`))
    .map(({ name, value }) => [name.slice("modelkeep:".length), value]);

test("a snapshot in the cache of Hugging Face: links are followed to its own blobs, and nowhere else", async () => {
  const revision = "0123456789abcdef0123456789abcdef01234567";
  const cache = writeFolder({
    "models--org--name/blobs/b1": "weights",
    "models--org--name/refs/main": revision,
    "secret.txt": "s",
  });
  const snapshot = join(cache, "models--org--name/snapshots", revision);
  mkdirSync(snapshot, { recursive: true });
  symlinkSync("../../blobs/b1", join(snapshot, "model.bin"));
  const { metadata, components } = await make(snapshot);
  assert.deepEqual([metadata.component.name, metadata.component.version], ["org/name", revision]);
  assert.deepEqual(
    components.map(({ name, hashes }) => [name, hashes?.[0]?.content]),
    [["model.bin", sha256("weights")]],
  );
  symlinkSync("../../../secret.txt", join(snapshot, "out.txt"));
  await assert.rejects(createBom({ root: snapshot }), { code: "MODEL_FILE_REFUSED" });
});

test("code of its own, of others, and chat templates wherever they stand", async () => {
  const template = "{{ messages }}";
  const root = writeFolder({
    "config.json": '{"auto_map":{"AutoConfig":"configuration_x.XConfig","AutoModel":"other/repo--modeling_y.Y"}}',
    "tokenizer_config.json": JSON.stringify({
      auto_map: { AutoTokenizer: ["tokenization_x.Slow", null] },
      chat_template: [{ name: "tool", template }, { name: "bad" }],
    }),
    "chat_template.jinja": template,
    "additional_chat_templates/rag.jinja": "rag",
    "configuration_x.py": "x",
    "m.gguf": gguf({ texts: { "tokenizer.chat_template": template, "tokenizer.chat_template.tool": "t" } }),
  });
  const { component } = (await make(root)).metadata;
  assert.deepEqual(facts(component, "custom_code"), [
    ["custom_code", "true"],
    ["custom_code:file", "configuration_x.py"],
    ["custom_code:file", "tokenization_x.py"],
    ["custom_code:repository", "other/repo"],
  ]);
  assert.deepEqual(
    facts(component, "chat_template:").map(([name]) => name),
    [
      "chat_template:tokenizer_config.json#tool",
      "chat_template:additional_chat_templates/rag.jinja",
      "chat_template:chat_template.jinja",
      "chat_template:m.gguf#tokenizer.chat_template",
      "chat_template:m.gguf#tokenizer.chat_template.tool",
    ],
  );
  assert.equal(facts(component, "chat_template:chat_template.jinja")[0]?.[1], sha256(template));
});

function ollama(change: (blob: string) => string = (blob) => blob): string {
  const model = gguf({ texts: { "general.name": "x" } });
  const blobs = {
    "application/vnd.ollama.image.model": model,
    "application/vnd.ollama.image.template": Buffer.from("{{ .Prompt }}"),
    "application/vnd.ollama.image.license": Buffer.from("MIT\nmore"),
  };
  const config = Buffer.from('{"model_format":"gguf","model_family":"llama","model_type":"8B","file_type":"Q4_0"}');
  const layers = Object.entries(blobs).map(([mediaType, data]) => ({
    mediaType,
    digest: `sha256:${sha256(data)}`,
    size: data.length,
  }));
  const root = temporaryFolder();
  const put = (path: string, data: Uint8Array | string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), data);
  };
  for (const data of [...Object.values(blobs), config])
    put(
      `models/blobs/sha256-${sha256(data)}`,
      change(data.toString("latin1")) === data.toString("latin1") ? data : "other",
    );
  put(
    "models/manifests/registry.ollama.ai/library/llama3/8b",
    JSON.stringify({ schemaVersion: 2, config: { digest: `sha256:${sha256(config)}` }, layers }),
  );
  return join(root, "models/manifests/registry.ollama.ai/library/llama3/8b");
}

test("Ollama: the manifest names the layers, and each is what it says", async () => {
  const { metadata, components } = await make(ollama());
  assert.deepEqual([metadata.component.name, metadata.component.version], ["llama3", "8b"]);
  assert.deepEqual(metadata.component.licenses, [{ license: { id: "MIT" } }]);
  assert.deepEqual(facts(metadata.component, "manifest:"), [
    ["manifest:file_type", "Q4_0"],
    ["manifest:size", "8B"],
  ]);
  assert.equal(facts(metadata.component, "chat_template:template")[0]?.[1], sha256("{{ .Prompt }}"));
  assert.deepEqual(
    components.map((item) => item["mime-type"]?.split(".").at(-1)),
    ["model", "template", "license"],
  );
  assert.ok(facts(components[0] as Component, "format").some(([, value]) => value === "gguf"));
  await assert.rejects(createBom({ root: ollama(() => "other") }), { code: "MANIFEST_INVALID" });
});

test("ModelPack: an artifact in the OCI layout is a model and no image", async () => {
  const root = temporaryFolder();
  mkdirSync(join(root, "blobs/sha256"), { recursive: true });
  const put = (data: Uint8Array | string) => {
    writeFileSync(join(root, "blobs/sha256", sha256(data)), data);
    return `sha256:${sha256(data)}`;
  };
  const weights = gguf({ texts: { "general.name": "x" } });
  const config = put(
    JSON.stringify({
      descriptor: { name: "packed", version: "2", family: "llama", licenses: ["Apache-2.0"], title: "A model" },
      config: { format: "gguf", paramSize: "8b", precision: "q4" },
    }),
  );
  const manifest = put(
    JSON.stringify({
      artifactType: "application/vnd.cncf.model.manifest.v1+json",
      config: { digest: config },
      layers: [
        {
          mediaType: "application/vnd.cncf.model.weight.v1.raw",
          digest: put(weights),
          annotations: { "org.cncf.model.filepath": "model.gguf" },
        },
      ],
    }),
  );
  writeFileSync(join(root, "oci-layout"), "{}");
  writeFileSync(join(root, "index.json"), JSON.stringify({ manifests: [{ digest: manifest }] }));
  const { metadata, components } = await make(root);
  assert.deepEqual(
    [metadata.component.type, metadata.component.name, metadata.component.version],
    ["machine-learning-model", "packed", "2"],
  );
  assert.deepEqual(metadata.component.licenses, [{ license: { id: "Apache-2.0" } }]);
  assert.deepEqual(
    components.map(({ name, hashes }) => [name, hashes?.[0]?.content]),
    [["model.gguf", sha256(weights)]],
  );
  assert.deepEqual(
    facts(metadata.component, "manifest:").map(([name]) => name),
    ["manifest:format", "manifest:paramSize", "manifest:precision"],
  );
});

test("data sets: dataset_infos.json, and a folder that is hashed as sha256sum would", async () => {
  const infos = {
    plain: {
      dataset_name: "glue",
      features: { text: {} },
      license: "cc-by-4.0",
      splits: { train: { num_examples: 10 }, test: { num_examples: 2 } },
      download_checksums: { "https://example.org/a": { checksum: "b".repeat(64) } },
    },
    rubbish: 7,
    other: { splits: {} },
  };
  const data = writeFolder({
    "a.txt": "a",
    "b/c.txt": "c",
    "README.md": "---\nlicense: mit\n---\nTexts of the sea.\n",
  });
  const { components } = await make(writeFolder({ "dataset_infos.json": JSON.stringify(infos) }), { datasets: [data] });
  const [folder, glue] = components.filter(({ type }) => type === "data");
  const lines = ["README.md", "a.txt", "b/c.txt"].map(
    (path) =>
      `${sha256({ "README.md": "---\nlicense: mit\n---\nTexts of the sea.\n", "a.txt": "a", "b/c.txt": "c" }[path] ?? "")}  ${path}\n`,
  );
  assert.equal(folder?.hashes?.[0]?.content, sha256(lines.join("")));
  assert.deepEqual(folder?.licenses, [{ license: { id: "MIT" } }]);
  assert.equal(glue?.name, "glue/plain");
  assert.deepEqual(glue && facts(glue, "split:"), [
    ["split:train", "10"],
    ["split:test", "2"],
  ]);
});

test("descriptions of any shape make a valid document", async () => {
  const value = fc.anything({ withBigInt: false, withDate: false, maxDepth: 4 });
  const croissant = fc.record({
    conformsTo: fc.constant("http://mlcommons.org/croissant/1.0"),
    name: fc.oneof(fc.string(), value),
    description: value,
    license: value,
    url: fc.oneof(value, fc.webUrl()),
    creator: value,
    distribution: value,
    recordSet: value,
    "rai:personalSensitiveInformation": value,
    version: value,
  });
  await fc.assert(
    fc.asyncProperty(croissant, value, value, async (a, b, c) => {
      await make(
        writeFolder({
          "croissant.json": JSON.stringify(a),
          "dataset_infos.json": JSON.stringify({ x: { features: {}, splits: b, download_checksums: c } }) ?? "",
          "config.json": JSON.stringify({ auto_map: b }),
          "tokenizer_config.json": JSON.stringify({ chat_template: c }),
        }),
      );
    }),
    { numRuns: 80 },
  );
});
