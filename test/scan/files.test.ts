/** Every other kind of file: weights, graphs, templates, configurations, code, and what nobody knows. */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { memorySource, readSafetensorsHeader } from "../../src/artifact/index.ts";
import { reachesThreshold, scanModel, VERDICTS, worstVerdict } from "../../src/scan/index.ts";
import { evilPickle, gguf, inFolder, latin1, rulesOf, safetensors, scanBytes, tar } from "./support.ts";

const SSTI = "{{ cycler.__init__.__globals__.os.popen('id').read() }}";

test("the name of a file decides nothing", async () => {
  for (const name of ["model.safetensors", "README.md", "a.png", "x.json", "noext"]) {
    assert.equal((await scanBytes(evilPickle, name)).verdict, "malicious", name);
  }
});

/**
 * A safetensors file that is a pickle too: the length of its header begins with U (SHORT_BINSTRING), texts that are
 * popped again lead across the header, and the data acts.
 */
function polyglot(): Buffer {
  const head = '{"__metadata__":{"k":"';
  const tail = '"},"w":{"dtype":"U8","shape":[64],"data_offsets":[0,64]}}';
  const unit = `U~${"a".repeat(126)}0`;
  for (let first = head.length + 7; first < 256; first++) {
    const total = 0x55 + 256 * first;
    const fixed = `${head}${"b".repeat(first - 6 - head.length)}0`;
    const room = total - fixed.length - tail.length - 2;
    const pad = room % unit.length;
    if (pad + tail.length > 126) continue;
    const last = `U${String.fromCharCode(pad + tail.length)}${"c".repeat(pad)}`;
    const header = `${fixed}${unit.repeat(Math.floor(room / unit.length))}${last}${tail}`;
    return safetensors(header, latin1("0cos\nsystem\n(S'id'\ntR.".padEnd(64, "\n")));
  }
  return assert.fail("no length fits");
}

test("a file of two formats is judged by both", async () => {
  const name = "cos\nsystem\n(S'id'\ntR.";
  const archive = tar([{ name, data: Buffer.from("hello") }]);
  const report = await scanBytes(archive, "model.tar");
  assert.equal(report.verdict, "malicious", "a tar whose first name is a pickle");
  const file = polyglot();
  assert.equal(readSafetensorsHeader(memorySource(file)).tensors.length, 1);
  assert.deepEqual(rulesOf(await scanBytes(file)), ["pickle-dangerous-import"], "safetensors that is a pickle");
});

test("text that happens to be a pickle is still text", async () => {
  for (const text of ["N. Korea is a country.\n", "I1\n. is the first\n", "]. done\n"]) {
    assert.deepEqual(rulesOf(await scanBytes(text)), [], text);
  }
  assert.equal((await scanBytes("N.cos\nsystem\n(S'id'\ntR.")).verdict, "malicious");
});

test("templates in JSON, GGUF, YAML and files of their own", async () => {
  const places = {
    json: JSON.stringify({ chat_template: SSTI }),
    nested: JSON.stringify({ chat_template: [{ name: "default", template: SSTI }] }),
    gguf: gguf({ texts: { "tokenizer.chat_template": SSTI } }),
    "gguf by another name": gguf({ texts: { "my.key": SSTI } }),
    yaml: `a: 1\nchat_template: "${SSTI}"\n`,
    jinja: SSTI,
  };
  for (const [name, bytes] of Object.entries(places)) assert.equal((await scanBytes(bytes)).verdict, "malicious", name);
});

test("templates that hide their names", async () => {
  const hidden = [
    "{{ x['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ x['__cl' ~ 'ass__'] }}",
    "{{ x['__cl' + 'ass__'] }}",
    "{% set y = ''['\\u005f_class__'] %}",
    "{{ ''.__class__",
    "{{ getattr(x, y) }}",
  ];
  for (const template of hidden) {
    assert.equal((await scanBytes(JSON.stringify({ chat_template: template }))).verdict, "malicious", template);
  }
  const built = await scanBytes(JSON.stringify({ chat_template: "{{ x[['_','_','class','_','_']|join] }}" }));
  assert.deepEqual(rulesOf(built), ["template-gadget"]);
  const filter = await scanBytes(JSON.stringify({ chat_template: "{{ x|attr(y) }}" }));
  assert.deepEqual(rulesOf(filter), ["template-attr-filter"]);
});

test("templates of honest models are clean", async () => {
  const honest = [
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>' }}{% endfor %}",
    "{% set ns = namespace(system='') %}{{ raise_exception('no') if not messages else bos_token }}",
    "{# a comment about __class__ does not run #}{{ strftime_now('%Y') }}",
    "{{ message.content.split('</think>')[-1].lstrip('\n') }}{{ tool | tojson(indent=4) }}",
  ];
  for (const template of honest) {
    const report = await scanBytes(JSON.stringify({ chat_template: template }));
    assert.equal(report.verdict, "clean", JSON.stringify(report.findings));
  }
});

test("custom code is named", async () => {
  assert.deepEqual(rulesOf(await scanBytes('{"auto_map": {"AutoModel": "modeling.Net"}}')), ["custom-code"]);
  assert.deepEqual(rulesOf(await scanBytes("import os\n", "modeling.py")), ["custom-code"]);
  assert.deepEqual(rulesOf(await scanBytes("#!/bin/sh\nid\n")), ["script"]);
  assert.deepEqual(rulesOf(await scanBytes(latin1("\x7fELF\x02\x01\x01"))), ["executable"]);
});

test("YAML that builds objects", async () => {
  const tags = [
    "x: !!python/object/apply:os.system [id]\n",
    "x: !<tag:yaml.org,2002:python/object/apply:os.system> [id]\n",
    "%TAG !e! tag:yaml.org,2002:python/\n---\nx: !e!object/apply:os.system [id]\n",
    "x: !!p%79thon/object/apply:os.system [id]\n",
    "- !!python/name:os.system\n",
  ];
  for (const text of tags) assert.notEqual((await scanBytes(text)).verdict, "clean", text);
  assert.deepEqual(rulesOf(await scanBytes(tags[0] ?? "")), ["yaml-python-object"]);
  assert.deepEqual(rulesOf(await scanBytes("%TAG !e! tag:yaml.org,2002:pyth\n---\n!e!on/name:x\n")), ["yaml-tag"]);
  assert.deepEqual(rulesOf(await scanBytes("model:\n  _target_: os.system\n")), ["yaml-target"]);
  assert.deepEqual(rulesOf(await scanBytes("a: 100 % sure! 50%20\nb: [1, 2]\n")), []);
});

test("Keras layers that carry code", async () => {
  const lambda = '{"class_name": "Lambda", "config": {"function": ["4wEA"]}}';
  assert.deepEqual(rulesOf(await scanBytes(lambda)), ["keras-lambda"]);
  const h5 = Buffer.concat([latin1("\x89HDF\r\n\x1a\n"), Buffer.alloc(5 * 2 ** 20), Buffer.from(lambda)]);
  assert.deepEqual(rulesOf(await scanBytes(h5)), ["keras-lambda"]);
  const foreign = '{"class_name": "system", "module": "os", "config": {}}';
  assert.equal((await scanBytes(foreign)).verdict, "malicious");
  const own = '{"class_name": "Dense", "module": "keras.layers", "config": {}}';
  assert.equal((await scanBytes(own)).verdict, "clean");
});

test("graphs that reach out", async () => {
  const field = (number: number, data: string) => latin1(String.fromCharCode(number * 8 + 2, data.length) + data);
  const graph = (inner: Buffer) => scanBytes(field(1, inner.toString("latin1")));
  assert.deepEqual(rulesOf(await graph(field(2, "WriteFile"))), ["tensorflow-operation"]);
  assert.deepEqual(rulesOf(await graph(field(1, "WriteFile"))), [], "a word of a vocabulary");
  const external = field(
    1,
    `${field(1, "location").toString("latin1")}${field(2, "../../etc/passwd").toString("latin1")}`,
  );
  assert.deepEqual(rulesOf(await scanBytes(field(7, external.toString("latin1")))), ["onnx-external-path"]);
});

test("weight files with broken headers are malformed", async () => {
  const broken = [
    safetensors('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', Buffer.alloc(4)),
    safetensors('{"a":1,"a":2}'),
    safetensors("{}", Buffer.alloc(5)),
    gguf({ pairCount: 10n ** 15n }),
    gguf({ version: 9 }),
  ];
  for (const bytes of broken) assert.deepEqual(rulesOf(await scanBytes(bytes)), ["header-invalid"]);
});

test("arrays of objects load a pickle", async () => {
  const npy = (header: string, data: Uint8Array) =>
    Buffer.concat([
      latin1(`\x93NUMPY\x01\x00${String.fromCharCode(header.length & 0xff, header.length >> 8)}${header}`),
      data,
    ]);
  const objects = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n";
  assert.equal((await scanBytes(npy(objects, evilPickle))).verdict, "malicious");
  const structured = "{'descr': [('a', '<i4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }\n";
  assert.equal((await scanBytes(npy(structured, evilPickle))).verdict, "malicious");
  const reordered = "{'shape': (1,), 'fortran_order': False, 'descr': 'O'}\n";
  assert.equal((await scanBytes(npy(reordered, evilPickle))).verdict, "malicious");
  const numbers = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
  assert.equal((await scanBytes(npy(numbers, Buffer.alloc(4)))).verdict, "clean");
});

test("deep JSON and broken JSON are not clean and not slow", async () => {
  const started = performance.now();
  assert.equal((await scanBytes(`[${"[".repeat(1e6)}`)).verdict, "unscannable");
  assert.equal((await scanBytes('{"a": 1,, }')).verdict, "malformed");
  assert.equal((await scanBytes('{"a": 1}\n{"a": 2}\n')).verdict, "clean");
  assert.ok(performance.now() - started < 5000);
});

test("JSON that loaders read differently", async () => {
  const twice = `{"chat_template": "${SSTI}", "chat_template": "x"}`;
  assert.equal((await scanBytes(twice)).verdict, "malicious");
  assert.deepEqual(rulesOf(await scanBytes('{"a": 1, "a": 2}')), ["json-ambiguous"]);
  assert.deepEqual(rulesOf(await scanBytes('{"__proto__": {"auto_map": {}}}')), ["json-ambiguous", "custom-code"]);
});

test("what nobody knows is unscannable", async () => {
  assert.deepEqual(rulesOf(await scanBytes(latin1("\xee\x01\x02\x00\xff\xfe\x00garbage"))), ["format-unknown"]);
  assert.equal((await scanBytes("")).verdict, "clean");
});

test("a folder: order, worst verdict, links refused, interruption", async () => {
  await inFolder(async (folder) => {
    mkdirSync(join(folder, "sub"));
    writeFileSync(join(folder, "sub/a.pkl"), evilPickle);
    writeFileSync(join(folder, "README.md"), "# hello\n");
    const report = await scanModel({ root: folder });
    assert.deepEqual(
      report.files.map(({ path }) => path),
      ["README.md", "sub/a.pkl"],
    );
    assert.equal(report.verdict, "malicious");
    await assert.rejects(scanModel({ root: folder, signal: AbortSignal.abort() }), { code: "SCAN_STOPPED" });
    symlinkSync("/etc/passwd", join(folder, "link"));
    await assert.rejects(scanModel({ root: folder }), { code: "MODEL_FILE_REFUSED" });
  });
});

test("unscannable and malformed never count as clean", () => {
  assert.equal(worstVerdict([]), "clean");
  for (const verdict of VERDICTS) {
    assert.equal(reachesThreshold(verdict, "suspicious"), verdict !== "clean");
    assert.equal(reachesThreshold(verdict, "malicious"), verdict === "malicious");
    assert.equal(worstVerdict(["clean", verdict]), verdict);
  }
});
