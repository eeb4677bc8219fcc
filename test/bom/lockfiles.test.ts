/** Each kind of lockfile: every package once, with version, hash and needs; hostile ones end in an error. */
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  createBom,
  importAdvisories,
  isLockfile,
  judgeMatches,
  matchAdvisories,
  openAdvisories,
  packagesOf,
  readLockfile,
  unmatchedOf,
} from "../../src/bom/index.ts";
import { range, record, writeFolder } from "./support.ts";

async function read(name: string, text: string) {
  const libraries = await readLockfile(join(writeFolder({ [name]: text }), name));
  return libraries.map(({ ecosystem, name: library, version, requirement, hashes, needs }) => [
    ecosystem,
    library,
    version ?? requirement,
    hashes[0]?.hex.slice(0, 4) ?? "",
    needs.join(" "),
  ]);
}

const HEX = "ab12".repeat(16);
const SRI = `sha512-${Buffer.alloc(64, 7).toString("base64")}`;

test("pipenv: both groups, pins and what is not pinned", async () => {
  const lock = {
    _meta: { hash: { sha256: HEX }, sources: [{ url: "https://user:secret@example.org" }] },
    default: { Torch_Vision: { version: "==0.17.0", hashes: [`sha256:${HEX}`] }, here: { path: ".", editable: true } },
    develop: { pytest: { version: "==8.0.0", hashes: [`sha256:${HEX}`, `sha256:${HEX}`] } },
  };
  assert.deepEqual(await read("Pipfile.lock", JSON.stringify(lock)), [
    ["PyPI", "torch-vision", "0.17.0", "ab12", ""],
    ["PyPI", "here", "*", "", ""],
    ["PyPI", "pytest", "8.0.0", "", ""],
  ]);
});

test("pdm and pylock", async () => {
  const pdm = `[[package]]\nname = "Jinja2"\nversion = "3.1.4"\ndependencies = ["MarkupSafe>=2.0"]\nfiles = [{file = "x.whl", hash = "sha256:${HEX}"}]\n`;
  assert.deepEqual(await read("pdm.lock", pdm), [["PyPI", "jinja2", "3.1.4", "ab12", "markupsafe"]]);
  const pylock = `lock-version = "1.0"\n[[packages]]\nname = "attrs"\nversion = "25.1.0"\ndependencies = [{name = "b"}]\n[[packages.wheels]]\nname = "attrs.whl"\nhashes = {sha256 = "${HEX}"}\n[[packages]]\nname = "here"\ndirectory = {path = "."}\n`;
  assert.deepEqual(await read("pylock.toml", pylock), [["PyPI", "attrs", "25.1.0", "ab12", "b"]]);
});

test("conda: environment, lock, explicit list; what pip installs there is PyPI's", async () => {
  const environment =
    "name: x\ndependencies:\n  - python=3.11\n  - conda-forge::numpy=1.26.4=py311_0\n  - scipy>=1.10\n  - cuda-toolkit\n  - pip:\n      - torch==2.6.0\n      - Flask\n";
  assert.deepEqual(await read("environment.yml", environment), [
    ["conda", "python", "3.11", "", ""],
    ["conda", "numpy", "1.26.4", "", ""],
    ["conda", "scipy", ">=1.10", "", ""],
    ["conda", "cuda-toolkit", "*", "", ""],
    ["PyPI", "torch", "2.6.0", "", ""],
    ["PyPI", "flask", "*", "", ""],
  ]);
  const lock = `version: 1\npackage:\n  - name: zlib\n    version: 1.2.13\n    manager: conda\n    dependencies: {libgcc: '>=12'}\n    hash: {md5: ${"0".repeat(32)}, sha256: ${HEX}}\n  - {name: Torch, version: '2.10', manager: pip, hash: {sha256: ${HEX}}}\n`;
  assert.deepEqual(await read("conda-lock.yml", lock), [
    ["conda", "zlib", "1.2.13", "ab12", "libgcc"],
    ["PyPI", "torch", "2.10", "ab12", ""],
  ]);
  const explicit = `# x\n@EXPLICIT\nhttps://conda.example.org/conda-forge/linux-64/ca-certificates-2024.2.2-hbcca054_0.conda#${"0".repeat(32)}\n`;
  assert.deepEqual(await read("conda-linux-64.lock", explicit), [["conda", "ca-certificates", "2024.2.2", "0000", ""]]);
});

test("pixi: versions 5 and 6", async () => {
  const six = `version: 6\nenvironments: {}\npackages:\n- conda: https://c.example.org/linux-64/bzip2-1.0.8-hd590300_5.conda\n  sha256: ${HEX}\n  depends: [libgcc-ng >=12]\n- pypi: https://p.example.org/x/torch-2.6.0-cp311-none-any.whl\n  name: torch\n  version: 2.6.0\n  sha256: ${HEX}\n  requires_dist: ['filelock', 'sympy==1.13.1 ; python_version >= "3.9"']\n`;
  const rows = [
    ["conda", "bzip2", "1.0.8", "ab12", "libgcc-ng"],
    ["PyPI", "torch", "2.6.0", "ab12", "filelock sympy"],
  ];
  assert.deepEqual(await read("pixi.lock", six), rows);
  const five = `version: 5\npackages:\n- {kind: conda, name: bzip2, version: 1.0.8, sha256: ${HEX}, depends: [libgcc-ng >=12]}\n- {kind: pypi, name: torch, version: 2.6.0, sha256: ${HEX}, requires_dist: [filelock, sympy]}\n`;
  assert.deepEqual(await read("pixi.lock", five), rows);
});

test("pnpm: versions 5, 6 and 9; peers are no other package", async () => {
  const rows = [
    ["npm", "@s/a", "1.0.0", "0707", "b"],
    ["npm", "b", "2.1.0-rc.1", "0707", ""],
  ];
  const entry = `resolution: {integrity: ${SRI}}`;
  const nine = `lockfileVersion: '9.0'\npackages:\n  '@s/a@1.0.0':\n    ${entry}\n  b@2.1.0-rc.1:\n    ${entry}\n  local@file:../x:\n    resolution: {directory: ../x}\nsnapshots:\n  '@s/a@1.0.0(b@2.1.0-rc.1)':\n    dependencies: {b: 2.1.0-rc.1}\n  b@2.1.0-rc.1: {}\n`;
  const six = `lockfileVersion: '6.0'\npackages:\n  /@s/a@1.0.0(b@2.1.0-rc.1):\n    ${entry}\n    dependencies: {b: 2.1.0-rc.1}\n  /@s/a@1.0.0(c@1.0.0):\n    ${entry}\n  /b@2.1.0-rc.1:\n    ${entry}\n`;
  const five = `lockfileVersion: 5.4\npackages:\n  /@s/a/1.0.0_b@2.1.0:\n    ${entry}\n    dependencies: {b: 2.1.0-rc.1}\n  /b/2.1.0-rc.1:\n    ${entry}\n`;
  for (const text of [nine, six, five]) assert.deepEqual(await read("pnpm-lock.yaml", text), rows, text.slice(0, 30));
});

test("yarn: 1 and berry; an alias is the package behind it", async () => {
  const classic = `# yarn lockfile v1\n\n\n"@babel/code@^7.0.0", "@babel/code@^7.1.0":\n  version "7.1.5"\n  resolved "https://r.example.org/x.tgz#abc"\n  integrity ${SRI}\n  dependencies:\n    "@babel/high" "^7.0.0"\n    js-tokens "^4"\n  optionalDependencies:\n    fsevents "*"\n\nalias@npm:lodash@^4:\n  version "4.17.20"\n\nhere@file:../x:\n  version "0.0.0"\n`;
  assert.deepEqual(await read("yarn.lock", classic), [
    ["npm", "@babel/code", "7.1.5", "0707", "@babel/high js-tokens fsevents"],
    ["npm", "lodash", "4.17.20", "", ""],
    ["npm", "here", "0.0.0", "", ""],
  ]);
  const berry = `__metadata:\n  version: 8\n\n"@s/a@npm:^1.0.0":\n  version: 1.0.0\n  resolution: "@s/a@npm:1.0.0"\n  dependencies:\n    b: "npm:^2"\n  checksum: 10c0/abc\n  languageName: node\n  linkType: hard\n\n"root@workspace:.":\n  version: 0.0.0-use.local\n  resolution: "root@workspace:."\n`;
  assert.deepEqual(await read("yarn.lock", berry), [["npm", "@s/a", "1.0.0", "", "b"]]);
});

test("pixi: a package of conda is one of PyPI only where the lock says so, and what is not matched is told", async () => {
  const url = (name: string) => `https://conda.example.org/linux-64/${name}-py312_0.conda`;
  const lock = `version: 6
packages:
- conda: ${url("urllib3-2.2.1")}
  sha256: ${"ab".repeat(32)}
  purls:
  - pkg:pypi/urllib3?source=hash-mapping
- conda: ${url("requests-2.31.0")}
  purls: []
- conda: ${url("openssl-3.3.0")}
- pypi: https://files.example.org/idna-3.6.whl
  name: idna
  version: "3.6"
`;
  const path = join(writeFolder({ "pixi.lock": lock, "requirements.txt": "tqdm>=4\n" }), "pixi.lock");
  const bom = await createBom({ root: dirname(path), kind: "project" });
  const into = join(writeFolder({}), "a.idx");
  const all = range({ introduced: "0" });
  const records = ["urllib3", "requests", "openssl", "idna"].map((name) => record(`A-${name}`, name, all));
  await importAdvisories({
    from: [writeFolder(Object.fromEntries(records.map((text, at) => [`${at}.json`, text])))],
    into,
  });
  const index = await openAdvisories(into);
  const matches = matchAdvisories(packagesOf(bom), index);
  assert.deepEqual(
    matches.map(({ id, purl, version }) => [id, purl, version]),
    [
      ["A-idna", "pkg:pypi/idna@3.6", "3.6"],
      ["A-urllib3", "pkg:conda/urllib3@2.2.1", "2.2.1"],
    ],
  );
  assert.deepEqual(unmatchedOf(bom, index), [
    { type: "conda", count: 2, why: "no advisory source" },
    { type: "pypi", count: 1, why: "no version" },
  ]);
  const statement = { ids: ["A-urllib3"], products: ["pkg:pypi/urllib3"], status: "fixed", timeMs: 0 } as const;
  const judged = judgeMatches(matches, { statements: [statement], nowMs: 0 });
  assert.deepEqual(
    judged.map(({ state }) => state),
    ["open", "fixed"],
  );
  index.close();
});

test("what the index has nothing of is not matched: ecosystems, releases, other types", async () => {
  const into = join(writeFolder({}), "a.idx");
  const one = record("A", "p", range({ introduced: "0" }), { ecosystem: "Debian:12" });
  await importAdvisories({ from: [writeFolder({ "a.json": one })], into });
  const index = await openAdvisories(into);
  assert.deepEqual([index.covers("Debian:12"), index.covers("Debian:11"), index.covers("PyPI")], [true, false, false]);
  const purls = [
    "pkg:deb/debian/p@1?distro=debian-12",
    "pkg:deb/debian/p@1?distro=debian-11",
    "pkg:deb/debian/p@1",
    "pkg:pypi/torch@2.6.0",
    "pkg:npm/x",
    "pkg:gem/rails@7",
    "no purl",
  ];
  const components = [
    ...purls.map((purl) => ({ type: "library", name: "x", purl })),
    { type: "machine-learning-model", name: "m", purl: "pkg:huggingface/a/b@1" },
    { type: "library", name: "nothing", components: [{ type: "library", name: "in", purl: "pkg:gem/in@1" }, null, 7] },
    {
      type: "library",
      name: "x",
      purl: "pkg:conda/x@1",
      properties: [null, { name: "modelkeep:same_as", value: "x" }],
    },
  ];
  assert.deepEqual(unmatchedOf({ components }, index), [
    { type: "conda", count: 1, why: "no advisory source" },
    { type: "deb", count: 1, why: "no advisories of it were imported" },
    { type: "deb", count: 1, why: "no release of the distribution" },
    { type: "gem", count: 2, why: "no advisory source" },
    { type: "npm", count: 1, why: "no version" },
    { type: "pypi", count: 1, why: "no advisories of it were imported" },
  ]);
  index.close();
});

const YAML_LOCKS = ["environment.yml", "conda-lock.yml", "pixi.lock", "pnpm-lock.yaml"];

test("hostile YAML: deep, aliased, long, tagged", async () => {
  const started = performance.now();
  const bombs = [
    `a: ${"[".repeat(50_000)}`,
    `${"- ".repeat(50_000)}x`,
    Array.from({ length: 3000 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n"),
    `a: &a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\npackages: [*b,*b]\n`,
    "packages: !!js/function x\n\t- broken: [",
  ];
  for (const name of YAML_LOCKS) {
    for (const text of bombs)
      await assert.rejects(read(name, text), { code: "LOCKFILE_INVALID" }, `${name} ${text.slice(0, 20)}`);
  }
  await assert.rejects(read("pnpm-lock.yaml", "#".repeat(9 * 2 ** 20)), { code: "LOCKFILE_INVALID" });
  await assert.rejects(read("yarn.lock", `a@1:\n${" ".repeat(70_000)}x\n`), { code: "LOCKFILE_INVALID" });
  await assert.rejects(read("yarn.lock", "  version 1\n"), { code: "LOCKFILE_INVALID" });
  await assert.rejects(read("Pipfile.lock", "["), { code: "LOCKFILE_INVALID" });
  assert.ok(performance.now() - started < 20_000, `${performance.now() - started} ms`);
});

test("a lockfile of 2 GB of nothing: refused by its size, in little memory", async () => {
  const root = writeFolder({});
  for (const name of ["uv.lock", "yarn.lock", "requirements.txt"]) {
    const path = join(root, name);
    const file = openSync(path, "w");
    writeSync(file, "# x\n");
    ftruncateSync(file, 2 * 2 ** 30);
    closeSync(file);
    const before = process.memoryUsage.rss();
    const started = performance.now();
    await assert.rejects(readLockfile(path), { code: "LIMIT_EXCEEDED" });
    assert.ok(performance.now() - started < 2000);
    assert.ok(process.memoryUsage.rss() - before < 200 * 2 ** 20);
  }
});

test("texts of any kind are read or refused", async () => {
  const names = [
    ...YAML_LOCKS,
    "yarn.lock",
    "Pipfile.lock",
    "conda-linux-64.lock",
    "package-lock.json",
    "uv.lock",
    "requirements.txt",
  ];
  for (const name of names) assert.ok(isLockfile(name), name);
  const value = fc.anything({ withBigInt: false, withDate: false, maxDepth: 3 });
  const text = fc.oneof(
    fc.string(),
    fc
      .dictionary(
        fc.constantFrom("package", "packages", "dependencies", "default", "snapshots", "/a@1", "__metadata"),
        value,
      )
      .map((item) => JSON.stringify(item) ?? ""),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), text, async (name, content) => {
      try {
        for (const [, library] of await read(name, content)) assert.equal(typeof library, "string");
      } catch (error) {
        assert.match(
          String((error as { code?: unknown }).code),
          /^(?:LOCKFILE_INVALID|FILE_NOT_FOUND|FILE_UNREADABLE)$/,
          `${name}: ${content}`,
        );
      }
    }),
    { numRuns: 300 },
  );
});
