/** What is installed: beside pip, dpkg and pip-audit, and from databases that lie. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import fc from "fast-check";
import { createBom, importAdvisories, matchAdvisories, openAdvisories, packagesOf } from "../../src/bom/index.ts";
import { bomEnvironmentFolder, bomEnvironmentPython, bomTool } from "../../tools/peers/bom-places.ts";
import { hasPeers, PEERS_ABSENT, startOsvApi } from "./peers.ts";
import { ABSENT, osv, schemaErrors, temporaryFolder, writeFolder } from "./support.ts";
import { ociLayout, tarOf } from "./tar-support.ts";

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
}

async function componentsOf(root: string, more: object = {}): Promise<readonly Component[]> {
  const bom = await createBom({ root, ...more });
  assert.deepEqual(schemaErrors(bom), []);
  return bom.components as unknown as Component[];
}

function factsOf(component: Component | undefined, name: string): string[] {
  return (component?.properties ?? []).filter((item) => item.name === `modelkeep:${name}`).map(({ value }) => value);
}

const normal = (name: string) => name.replace(/[-_.]+/g, "-").toLowerCase();

test("a real environment: what pip inspect lists, nothing missing, nothing twice; every RECORD holds", async (t) => {
  if (!hasPeers) return t.skip(PEERS_ABSENT);
  const said = JSON.parse(
    execFileSync(bomEnvironmentPython(), ["-m", "pip", "inspect", "--local"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      maxBuffer: 2 ** 28,
    }),
  );
  const expected = said.installed
    .map(({ metadata }: { metadata: Component }) => `${normal(metadata.name)}@${metadata.version}`)
    .sort();
  const components = await componentsOf(bomEnvironmentFolder);
  assert.deepEqual(components.map(({ name, version }) => `${name}@${version}`).sort(), expected);
  assert.ok(expected.length >= 40, `${expected.length}`);
  for (const component of components) assert.deepEqual(factsOf(component, "record"), ["intact"], component.name);
  const [requests] = said.installed.filter(({ metadata }: { metadata: Component }) => metadata.name === "requests");
  const bom = await createBom({ root: bomEnvironmentFolder });
  const edges = (bom.dependencies as unknown as { ref: string; dependsOn: string[] }[]).find(({ ref }) =>
    ref.startsWith("pkg:pypi/requests@"),
  );
  const needs = requests.metadata.requires_dist
    .filter((text: string) => !text.includes("extra =="))
    .map((text: string) => normal(/^[\w.-]+/.exec(text)?.[0] ?? ""));
  assert.deepEqual(edges?.dependsOn.map((ref) => /pypi\/([^@]+)@/.exec(ref)?.[1]).sort(), needs.sort());
  t.diagnostic(`${expected.length} distributions`);
});

test("pip-audit over the same records finds nothing that we miss, and we find nothing that it does not", async (t) => {
  if (!hasPeers) return t.skip(PEERS_ABSENT);
  if (!existsSync(osv)) return t.skip(ABSENT);
  const dump = join(osv, "PyPI/all.zip");
  const api = await startOsvApi(dump);
  const words = [
    "--vulnerability-service",
    "osv",
    "--osv-url",
    api.url,
    "--format",
    "json",
    "--progress-spinner",
    "off",
    "--cache-dir",
    temporaryFolder(),
    "--path",
    execFileSync(bomEnvironmentPython(), ["-c", "import site;print(site.getsitepackages()[0])"], {
      encoding: "utf8",
    }).trim(),
  ];
  // It exits with 1 when it finds something.
  const { stdout } = await promisify(execFile)(bomTool("pip-audit"), words, { maxBuffer: 2 ** 28 })
    .catch((error: unknown) => error as { stdout: string })
    .finally(() => api.stop());
  const audited = JSON.parse(stdout).dependencies.flatMap(
    ({ name, version, vulns }: { name: string; version: string; vulns: { id: string; aliases: string[] }[] }) =>
      (vulns ?? []).map(({ id, aliases }) => ({ package: `${normal(name)}@${version}`, ids: [id, ...aliases] })),
  );
  const into = join(temporaryFolder(), "a.idx");
  await importAdvisories({ from: [dump], into });
  const index = await openAdvisories(into);
  const matches = matchAdvisories(packagesOf(await createBom({ root: bomEnvironmentFolder })), index);
  index.close();
  const ours = matches.map((match) => ({
    package: `${match.package}@${match.version}`,
    ids: [match.id, ...match.aliases],
  }));
  const has = (list: typeof ours, item: (typeof ours)[number]) =>
    list.some((other) => other.package === item.package && other.ids.some((id) => item.ids.includes(id)));
  assert.deepEqual(
    audited.filter((item: (typeof ours)[number]) => !has(ours, item)),
    [],
    "missed",
  );
  assert.deepEqual(
    ours.filter((item) => !has(audited, item)),
    [],
    "only ours",
  );
  assert.ok(audited.length >= 30, `${audited.length}`);
  t.diagnostic(`${audited.length} findings of pip-audit, ${ours.length} of ours`);
});

test("uv resolves torch, transformers and vllm: its lock is our inventory", async (t) => {
  if (!hasPeers) return t.skip(PEERS_ABSENT);
  const text = readFileSync(join(import.meta.dirname, "vllm-requirements.txt"), "utf8");
  const root = writeFolder({ "requirements.txt": text });
  const pins = [...text.matchAll(/^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)/gm)].map(
    ([, name = "", version]) => `${normal(name)}@${version}`,
  );
  const components = await componentsOf(root, { kind: "project" });
  assert.deepEqual(components.map(({ name, version }) => `${name}@${version}`).sort(), pins.sort());
  assert.ok(pins.length > 100 && pins.some((pin) => pin.startsWith("vllm@")));
  t.diagnostic(`${pins.length} packages`);
});

const DPKG = "/var/lib/dpkg/status";

function dpkgPackages(): string[] {
  const format = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\\n";
  const lines = execFileSync("dpkg-query", ["-W", "-f", format], { encoding: "utf8", maxBuffer: 2 ** 28 })
    .trim()
    .split("\n");
  return lines
    .filter((line) => line.startsWith("installed "))
    .map((line) => line.slice("installed ".length))
    .sort();
}

test("this machine's Debian, as a root and as an image, has what dpkg lists", async (t) => {
  if (!existsSync(DPKG)) return t.skip("no dpkg: run on Debian");
  const root = writeFolder({
    "var/lib/dpkg/status": readFileSync(DPKG),
    "etc/os-release": readFileSync("/etc/os-release"),
  });
  const layout = ociLayout([
    tarOf([
      { name: "etc/os-release", data: readFileSync("/etc/os-release") },
      { name: "var/lib/dpkg/status", data: readFileSync(DPKG) },
    ]),
  ]);
  const expected = dpkgPackages();
  for (const place of [root, layout]) {
    const found = packagesOf(await createBom({ root: place, name: "debian" }));
    const architecture = (purl: string | undefined) => /[?&]arch=([^&]+)/.exec(purl ?? "")?.[1];
    const lines = found.map(
      ({ name, version, purl, source }) =>
        `${name} ${version} ${architecture(purl)} ${source?.name ?? name} ${source?.version ?? version}`,
    );
    assert.deepEqual(lines.sort(), expected);
  }
  t.diagnostic(`${expected.length} packages`);
});

const record = (path: string, data: string) =>
  `${path},sha256=${createHash("sha256").update(data).digest("base64url")},${data.length}`;
const SITE = "lib/python3.11/site-packages";

function distribution(name: string, files: Readonly<Record<string, string>>, lines: readonly string[]) {
  const info = `${SITE}/${name}-1.0.dist-info`;
  return {
    [`${info}/METADATA`]: `Metadata-Version: 2.4\nName: ${name}\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\nRequires-Dist: b_b>=1\nRequires-Dist: c; extra == "x"\n\nName: not-this\n`,
    [`${info}/RECORD`]: [...lines, `${name}-1.0.dist-info/RECORD,,`].join("\n"),
    [`${info}/INSTALLER`]: "uv\n",
    ...Object.fromEntries(Object.entries(files).map(([path, data]) => [`${SITE}/${path}`, data])),
  };
}

test("RECORD: a changed, a missing and a far file are named", async () => {
  const root = writeFolder({
    "pyvenv.cfg": "",
    ...distribution("good", { "good/a.py": "a", 'good/we"ird,.py': "w" }, [
      record("good/a.py", "a"),
      record('"good/we""ird,.py"', "w"),
    ]),
    ...distribution("bad", { "bad/a.py": "evil", "bad/b.py": "b" }, [
      record("bad/a.py", "good"),
      record("bad/b.py", "b"),
      record("bad/gone.py", "x"),
      record("../../../../../../../etc/hostname", "x"),
      record("/etc/hostname", "x"),
    ]),
    [`${SITE}/none-2.dist-info/METADATA`]: "Name: none\nVersion: 2\n",
    [`${SITE}/old-3.egg-info/PKG-INFO`]: "Name: old\nVersion: 3\n",
    [`${SITE}/good/_vendor/inner-1.dist-info/METADATA`]: "Name: inner\nVersion: 1\n",
    [`${SITE}/rubbish-1.dist-info/METADATA`]: "\0\xff: \n\n",
    [`${SITE}/direct-1.dist-info/METADATA`]: "Name: direct\nVersion: 1\n",
    [`${SITE}/direct-1.dist-info/direct_url.json`]:
      '{"url":"https://user:secret@example.org/direct.whl","archive_info":{}}',
  });
  symlinkSync("/etc/passwd", join(root, SITE, "none-2.dist-info", "RECORD"));
  const components = await componentsOf(root);
  const by = new Map(components.map((item) => [item.name, item]));
  assert.deepEqual([...by.keys()].sort(), ["bad", "direct", "good", "none", "old"]);
  assert.deepEqual(factsOf(by.get("good"), "record"), ["intact"]);
  assert.deepEqual(factsOf(by.get("good"), "installer"), ["uv"]);
  assert.deepEqual(factsOf(by.get("bad"), "record"), ["changed"]);
  assert.deepEqual(factsOf(by.get("bad"), "record_changed"), [
    "bad/a.py",
    "bad/gone.py",
    "../../../../../../../etc/hostname",
    "/etc/hostname",
  ]);
  assert.deepEqual(factsOf(by.get("none"), "record"), ["missing"]);
  assert.deepEqual(factsOf(by.get("direct"), "origin"), ["https://example.org/direct.whl"]);
  assert.doesNotMatch(JSON.stringify(components), /secret/);
});

test("RECORD in an image is held against the layers", async () => {
  const files = distribution("good", { "good/a.py": "a" }, [record("good/a.py", "a")]);
  const lower = tarOf(Object.entries(files).map(([name, data]) => ({ name, data })));
  const changed = tarOf([{ name: `${SITE}/good/a.py`, data: "evil" }]);
  const [intact] = await componentsOf(ociLayout([lower]), { name: "i" });
  assert.deepEqual(factsOf(intact, "record"), ["intact"]);
  const [broken] = await componentsOf(ociLayout([lower, changed]), { name: "i" });
  assert.deepEqual(factsOf(broken, "record_changed"), ["good/a.py"]);
});

test("node_modules and conda-meta", async () => {
  const root = writeFolder({
    "conda-meta/zlib-1.2.13-h_0.json": JSON.stringify({
      name: "zlib",
      version: "1.2.13",
      depends: ["libgcc >=12"],
      license: "Zlib",
    }),
    "conda-meta/broken.json": "{",
    "node_modules/lodash/package.json": '{"name":"lodash","version":"4.17.20","license":"MIT"}',
    "node_modules/@s/a/package.json": '{"name":"@s/a","version":"1.0.0","dependencies":{"lodash":"*"}}',
    "node_modules/@s/a/lib/package.json": '{"type":"module"}',
    "node_modules/deep/package.json": "[".repeat(10_000),
  });
  const components = await componentsOf(root);
  assert.deepEqual(
    components.map(({ purl }) => purl),
    ["pkg:conda/zlib@1.2.13", "pkg:npm/%40s/a@1.0.0", "pkg:npm/lodash@4.17.20"],
  );
});

test("databases of any text make a valid document", async () => {
  const line = fc.oneof(
    fc.constantFrom(
      "Package: a",
      "Version: 1",
      "Status: install ok installed",
      "",
      " more",
      "P:x",
      "V:2",
      "o:y",
      "Source: z (3",
      "Depends: a (>=, |",
    ),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 20 }), async (lines) => {
      const text = lines.join("\n");
      await componentsOf(
        writeFolder({
          "var/lib/dpkg/status": text,
          "lib/apk/db/installed": text,
          "etc/os-release": text,
          [`${SITE}/a-1.dist-info/METADATA`]: text,
        }),
      );
    }),
    { numRuns: 60 },
  );
});

test("an environment beside a model is in its document", async () => {
  const root = writeFolder({ "config.json": "{}" });
  const venv = writeFolder(distribution("good", {}, []));
  const components = await componentsOf(root, { environments: [venv] });
  assert.ok(components.some(({ purl }) => purl === "pkg:pypi/good@1.0"));
  await assert.rejects(createBom({ root: join(root, "absent"), kind: "environment" }), {
    code: "INSTALLATION_MISSING",
  });
  const copy = join(temporaryFolder(), "copy");
  cpSync(venv, copy, { recursive: true });
  writeFileSync(join(copy, "more.txt"), "x");
  assert.equal((await componentsOf(copy, { kind: "environment" })).length, 1);
});
