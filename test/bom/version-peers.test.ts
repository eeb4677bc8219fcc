/** Orders of versions beside the programs that define them: Maven, Go's x/mod/semver, cargo's crate semver, a port of apk. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { versionOrder } from "../../src/bom/index.ts";
import { crateVersionsBinary, mavenArtifactJars, versionsBinary } from "../../tools/peers/bom-places.ts";
import { PEERS_ABSENT } from "./peers.ts";
import {
  alpinePairs,
  askCrate,
  askGo,
  askMaven,
  everyPair,
  goPairs,
  hasJava,
  MAVEN_VERSIONS,
  mavenPairs,
  type Pair,
  semanticPairs,
  strangeMavenPairs,
} from "./version-peers.ts";

const COUNT = 1500;

/** What differs from the peer: signs, and keys that are equal for versions that are not, or the other way round. */
function differences(ecosystem: string, pairs: readonly Pair[], expected: readonly (number | undefined)[]): string[] {
  const order = versionOrder(ecosystem);
  assert.ok(order);
  assert.equal(expected.length, pairs.length, "the peer answered for every pair");
  return pairs.flatMap(([a, b], at) => {
    const wanted = expected[at];
    const [x, y] = [order.read(a), order.read(b)];
    if (wanted === undefined) return [];
    if (x === undefined || y === undefined) return [`${a} ${b}: not read`];
    const found = Math.sign(order.compare(x, y));
    if (found !== wanted) return [`${a} ${b}: ${found}, the peer says ${wanted}`];
    return (order.key(a) === order.key(b)) === (wanted === 0) ? [] : [`keys of ${a} and ${b}`];
  });
}

function agree(t: TestContext, ecosystem: string, pairs: readonly Pair[], expected: readonly (number | undefined)[]) {
  assert.deepEqual(differences(ecosystem, pairs, expected), []);
  const compared = expected.filter((sign) => sign !== undefined);
  assert.ok(compared.length >= 500, `${compared.length} pairs`);
  for (const sign of [-1, 0, 1]) assert.ok(compared.includes(sign), `no pair of sign ${sign}`);
  t.diagnostic(`${compared.length} pairs`);
}

test("Go: golang.org/x/mod/semver compares", (t) => {
  if (!existsSync(versionsBinary())) return t.skip(PEERS_ABSENT);
  const pairs = goPairs(COUNT);
  agree(t, "Go", pairs, askGo("go", pairs));
});

test("crates.io: cargo's crate semver compares", (t) => {
  if (!existsSync(crateVersionsBinary())) return t.skip(`${PEERS_ABSENT}, with cargo`);
  const pairs = semanticPairs(COUNT);
  agree(t, "crates.io", pairs, askCrate(pairs));
});

test("Alpine: go-apk-version, a port of apk-tools, compares", (t) => {
  if (!existsSync(versionsBinary())) return t.skip(PEERS_ABSENT);
  const pairs = alpinePairs(COUNT);
  agree(t, "Alpine:v3.20", pairs, askGo("apk", pairs));
});

test("Maven: its own ComparableVersion compares", (t) => {
  if (!hasJava || !mavenArtifactJars.every((path) => existsSync(path)))
    return t.skip("no Maven: apt-get install default-jre-headless libmaven3-core-java");
  const pairs = [...mavenPairs(COUNT), ...everyPair(MAVEN_VERSIONS)];
  agree(t, "Maven", pairs, askMaven(pairs));
  const strange = strangeMavenPairs(COUNT);
  const differing = differences("Maven", strange, askMaven(strange));
  t.diagnostic(`${differing.length} of ${strange.length} strange pairs differ, as spec/bill-of-materials.md says`);
  assert.ok(differing.length < COUNT * 0.04, differing.slice(0, 20).join("\n"));
});
