/** Orders of versions beside the programs that define them: dpkg, npm's own semver; apk and Maven by their documents. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { versionOrder } from "../../src/bom/index.ts";
import { ABSENT, osv } from "./support.ts";

function orderOf(ecosystem: string) {
  const order = versionOrder(ecosystem);
  assert.ok(order, ecosystem);
  return (a: string, b: string): number => {
    const [x, y] = [order.read(a), order.read(b)];
    assert.ok(x !== undefined && y !== undefined, `${a} ${b}`);
    assert.equal(
      Math.sign(order.compare(x, y)),
      0 - Math.sign(order.compare(y, x)),
      `${a} and ${b} the other way round`,
    );
    return Math.sign(order.compare(x, y));
  };
}

function ascending(ecosystem: string, versions: readonly string[]): void {
  const compare = orderOf(ecosystem);
  for (const [at, version] of versions.entries()) {
    for (const later of versions.slice(at + 1)) assert.equal(compare(version, later), -1, `${version} < ${later}`);
  }
}

const dpkg = ["/usr/bin/dpkg", "/bin/dpkg"].find((path) => existsSync(path));

function askDpkg(pairs: readonly (readonly [string, string])[]): number[] {
  const script = pairs
    .map(
      ([a, b]) =>
        `if dpkg --compare-versions '${a}' lt '${b}'; then echo -1; elif dpkg --compare-versions '${a}' eq '${b}'; then echo 0; else echo 1; fi`,
    )
    .join("\n");
  return execFileSync("sh", [], { input: script, encoding: "utf8" }).trim().split("\n").map(Number);
}

test("Debian: dpkg itself compares", (t) => {
  if (!dpkg) return t.skip("no dpkg: run on Debian");
  const part = fc.stringMatching(/^[0-9a-zA-Z+.~]{0,6}$/);
  const version = fc
    .tuple(
      fc.constantFrom("", "", "0:", "1:", "01:"),
      fc.stringMatching(/^[0-9]{1,3}$/),
      part,
      fc.constantFrom("", "-"),
      part,
    )
    .map(([epoch, number, upstream, dash, revision]) => `${epoch}${number}${upstream}${dash && `-${revision || "1"}`}`);
  const random = fc.sample(fc.tuple(version, version), 120);
  const near = fc
    .sample(version, 60)
    .map((text) => [text, text.replace(/\d(?=\D*$)/, (digit) => `0${digit}`)] as const);
  const installed =
    readFileSync("/var/lib/dpkg/status", "utf8")
      .match(/^Version: .+$/gm)
      ?.map((line) => line.slice(9)) ?? [];
  const real = installed.slice(0, 80).map((text, at) => [text, installed[at + 1] ?? text] as const);
  const edges = [
    ["1.0~rc1", "1.0"],
    ["1.0", "1.0-0"],
    ["1.0a", "1.0+"],
    ["1:0", "9"],
    ["1.0-1", "1.0-1+b1"],
    ["2.9", "2.10"],
    ["0~~", "0~"],
    ["1.2-3~bpo12+1", "1.2-3"],
  ] as const;
  const pairs = [...random, ...near, ...real, ...edges];
  const compare = orderOf("Debian:12");
  const order = versionOrder("Debian");
  for (const [at, expected] of askDpkg(pairs).entries()) {
    const [a, b] = pairs[at] ?? ["", ""];
    assert.equal(compare(a, b), expected, `${a} ${b}`);
    assert.equal(order?.key(a) === order?.key(b), expected === 0, `keys of ${a} and ${b}`);
  }
  t.diagnostic(`${pairs.length} pairs`);
});

/** The copy inside the npm that the machine has, which this project does not choose. */
function npmSemver(): string | undefined {
  return (process.env.PATH ?? "")
    .split(":")
    .filter((folder) => existsSync(join(folder, "npm")))
    .map((folder) => join(dirname(realpathSync(join(folder, "npm"))), "../node_modules/semver"))
    .find((path) => existsSync(join(path, "package.json")));
}

test("npm: the semver of the npm that is installed compares", (t) => {
  const home = npmSemver();
  if (!home) return t.skip("no npm: install Node with npm");
  const identifier = fc.constantFrom("alpha", "beta", "rc", "0", "1", "10", "x-y");
  const version = fc
    .tuple(fc.nat(12), fc.nat(12), fc.nat(12), fc.array(identifier, { maxLength: 3 }), fc.constantFrom("", "+build.7"))
    .map(([a, b, c, pre, build]) => `${a}.${b}.${c}${pre.length === 0 ? "" : `-${pre.join(".")}`}${build}`);
  const pairs = fc.sample(fc.tuple(version, version), 500);
  const script = `const s=require(${JSON.stringify(home)});process.stdout.write(JSON.stringify(${JSON.stringify(pairs)}.map(([a,b])=>s.compare(a,b))))`;
  const expected = JSON.parse(execFileSync(process.execPath, ["-e", script], { encoding: "utf8" })) as number[];
  for (const ecosystem of ["npm", "crates.io", "Go"]) {
    const compare = orderOf(ecosystem);
    for (const [at, [a, b]] of pairs.entries()) assert.equal(compare(a, b), expected[at], `${ecosystem} ${a} ${b}`);
  }
});

test("semantic versions: the recorded pairs", (t) => {
  const path = join(osv, "version-compare/semver-versions.odd-lines.txt");
  if (!existsSync(path)) return t.skip(ABSENT);
  const order = versionOrder("npm");
  assert.ok(order);
  let [compared, agreed] = [0, 0];
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [, a, sign, b] = /^(\S+) ([<=>]) (\S+)$/.exec(line) ?? [];
    const [x, y] = [a && order.read(a), b && order.read(b)];
    if (!x || !y) continue;
    compared++;
    if (Math.sign(order.compare(x, y)) === (sign === "<" ? -1 : Number(sign === ">"))) agreed++;
  }
  t.diagnostic(`${agreed} of ${compared} pairs`);
  assert.ok(compared >= 40);
  assert.equal(agreed, compared);
});

test("Go: pseudo-versions and v", () => {
  ascending("Go", [
    "v0.0.0-20190101000000-abcdefabcdef",
    "0.0.0-20200101000000-abcdefabcdef",
    "v1.2.2",
    "1.2.3-pre",
    "v1.2.3",
    "v2.0.0+incompatible",
  ]);
  assert.equal(versionOrder("Go")?.key("v1.2.3"), versionOrder("Go")?.key("1.2.3"));
});

test("Alpine: letters, suffixes, fractions, revisions", () => {
  ascending("Alpine:v3.20", [
    "0.9_alpha",
    "0.9_alpha1",
    "0.9_alpha2-r1",
    "0.9_beta",
    "0.9_pre2",
    "0.9_rc1",
    "0.9",
    "0.9-r1",
    "0.9-r10",
    "0.9_git20200101",
    "0.9_p1",
    "0.9a",
    "0.9.1",
    "0.10",
    "1.0.01",
    "1.0.1",
    "1.2.3-r4",
    "2",
    "10.0",
  ]);
  assert.equal(versionOrder("Alpine")?.read("not a version"), undefined);
});

test("Maven: the order of the POM reference", () => {
  ascending("Maven", [
    "1-alpha-1",
    "1-alpha2",
    "1-beta1",
    "1-milestone",
    "1-rc",
    "1-SNAPSHOT",
    "1",
    "1-sp",
    "1-foo",
    "1-1",
    "1.1",
    "1.2-alpha",
    "1.2",
    "1.10",
    "2.0",
  ]);
  const compare = orderOf("Maven");
  const equal = [
    ["1", "1.0"],
    ["1", "1.0.0-ga"],
    ["1-a1", "1-alpha-1"],
    ["1.0.Final", "1"],
    ["1-cr2", "1-RC2"],
    ["1x", "1-x"],
    ["1.0-0", "1"],
  ] as const;
  for (const [a, b] of equal) {
    assert.equal(compare(a, b), 0, `${a} = ${b}`);
    assert.equal(versionOrder("Maven")?.key(a), versionOrder("Maven")?.key(b), `keys of ${a} and ${b}`);
  }
});

test("every order is one, whatever is compared", () => {
  const text = fc.oneof(fc.stringMatching(/^[0-9a-z.+~_-]{1,12}$/), fc.string({ maxLength: 12 }));
  for (const ecosystem of ["PyPI", "npm", "Debian:12", "Alpine:v3.20", "Maven", "Go", "crates.io"]) {
    const order = versionOrder(ecosystem);
    assert.ok(order);
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        const [x, y, z] = [order.readEvent(a), order.readEvent(b), order.readEvent(c)];
        if (x === "" || y === "" || z === "") return;
        assert.equal(order.compare(x, x), 0);
        assert.equal(Math.sign(order.compare(x, y)), 0 - Math.sign(order.compare(y, x)));
        if (order.compare(x, y) <= 0 && order.compare(y, z) <= 0) assert.ok(order.compare(x, z) <= 0, `${x} ${y} ${z}`);
      }),
      { numRuns: 300 },
    );
  }
  assert.equal(versionOrder("Hex"), undefined);
});
