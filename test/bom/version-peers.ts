/** Versions as their ecosystems write them, near each other so that every rule decides some pair, and the programs that order them. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import fc from "fast-check";
import { crateVersionsBinary, mavenArtifactJars, versionsBinary } from "../../tools/peers/bom-places.ts";

export type Pair = readonly [string, string];

const small = fc.nat(12).map(String);
const odd = fc.constantFrom("0", "1", "01", "007", "10", "2024", "20240101", "18446744073709551616");
const number = fc.oneof({ weight: 4, arbitrary: small }, { weight: 1, arbitrary: odd });

/** Pairs that share a beginning: what is drawn at random is decided by the first number nearly always. */
function near(version: fc.Arbitrary<string>, tail: fc.Arbitrary<string>, count: number): Pair[] {
  const changed = fc.tuple(version, tail, tail).map(([text, a, b]): Pair => [`${text}${a}`, `${text}${b}`]);
  const cut = fc.tuple(version, tail).map(([text, a]): Pair => [text, `${text}${a}`]);
  return fc.sample(fc.oneof(changed, cut, fc.tuple(version, version)), count);
}

export const everyPair = (versions: readonly string[]): Pair[] =>
  versions.flatMap((a, at) => versions.slice(at).map((b): Pair => [a, b]));

const identifier = fc.constantFrom(
  "alpha",
  "beta",
  "rc",
  "RC",
  "0",
  "1",
  "2",
  "10",
  "x-y",
  "a1",
  "1a",
  "-",
  "99999999999",
);
const core = fc.tuple(small, small, small).map((parts) => parts.join("."));
const preRelease = fc.array(identifier, { minLength: 1, maxLength: 3 }).map((parts) => `-${parts.join(".")}`);
const build = fc.constantFrom("", "", "+build.7", "+001");
const semanticTail = fc.tuple(fc.oneof(fc.constant(""), preRelease), build).map(([pre, meta]) => `${pre}${meta}`);

export const semanticPairs = (count: number) => near(core, semanticTail, count).map(([a, b]): Pair => [a, b]);

const pseudo = fc
  .tuple(
    fc.constantFrom("v0.0.0-", "v1.2.3-0.", "v1.2.3-pre.0.", "v2.0.0-"),
    fc.constantFrom("20190101000000", "20200229235959"),
  )
  .map(([head, time]) => `${head}${time}-abcdefabcdef`);
const goVersion = fc.oneof(
  core.map((text) => `v${text}`),
  fc.tuple(core, preRelease).map(([a, b]) => `v${a}${b}`),
  pseudo,
);
const goTail = fc.constantFrom("", "+incompatible", "+dirty");

export const goPairs = (count: number) => near(goVersion, goTail, count);

const mavenQualifier = fc.constantFrom(
  ...[
    "-alpha-1",
    "-alpha2",
    "-beta",
    "-beta1",
    "-M1",
    "-m2",
    "-milestone-3",
    "-rc1",
    "-RC2",
    "-CR1",
    "-cr2",
    "-SNAPSHOT",
  ],
  ...["-ga", ".GA", ".Final", "-FINAL", ".RELEASE", "-release", "-sp", ".SP1", "-jre", "-android", ".Beta1", ".Alpha2"],
  ...[
    ".CR1",
    "-redhat-1",
    "-foo",
    "-1",
    "-2",
    "-10",
    ".1",
    ".0",
    "-0",
    "a1",
    "b2",
    "m3",
    "rc1",
    "",
    "",
    "-20240101.120000-1",
  ],
);
const mavenCore = fc.array(number, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("."));

export const mavenPairs = (count: number) => near(mavenCore, mavenQualifier, count);

/** As artifacts of the central repository are called. */
export const MAVEN_VERSIONS = [
  ...[
    "1.0",
    "1.0.0",
    "1",
    "1.1",
    "1.0.1",
    "1.0-1",
    "1.10",
    "1.9",
    "2.0-beta9",
    "2.0-rc1",
    "2.0-rc2",
    "2.0",
    "2.0.1",
    "2.14.1",
    "2.15.0",
  ],
  ...[
    "4.1.94.Final",
    "4.1.100.Final",
    "4.2.0.Alpha1",
    "4.2.0.Beta1",
    "4.2.0.CR1",
    "4.2.0.Final",
    "5.3.0.RELEASE",
    "5.3.0",
    "5.3.1",
  ],
  ...[
    "32.1.3-jre",
    "32.1.3-android",
    "33.0.0-jre",
    "20030203.000550",
    "2.0.0-M1",
    "2.0.0-M10",
    "2.0.0-SNAPSHOT",
    "6.0.0.Alpha1",
  ],
  ...[
    "6.0.0.Beta2",
    "6.0.0.CR1",
    "6.0.0.Final",
    "3.0.0-alpha-1",
    "3.0.0-alpha-2",
    "3.0.0-beta-1",
    "3.0.0",
    "1.4.200",
    "9.4.51.v20230217",
  ],
];

/** Everything that the language allows, also what nobody would write. */
export function strangeMavenPairs(count: number): Pair[] {
  const word = fc.constantFrom(
    "alpha",
    "b",
    "rc",
    "ga",
    "final",
    "sp",
    "foo",
    "x",
    "jre",
    "dev",
    "snapshot",
    "release",
  );
  const part = fc.tuple(fc.constantFrom(".", "-", "", "-"), fc.oneof(number, word)).map((both) => both.join(""));
  const parts = fc.array(part, { maxLength: 5 }).map((all) => all.join(""));
  return near(number, parts, count);
}

/**
 * Without what the port is known to do otherwise than apk-tools: numbers of more than 64 bits, a zero at the end, after
 * which it takes `_alpha` for later, and a suffix with a number beside one that another suffix follows.
 */
const apkNumber = fc.oneof(small, fc.constantFrom("01", "007", "2024", "20240101"));
const apkCore = fc
  .tuple(fc.array(apkNumber, { maxLength: 3 }), fc.integer({ min: 1, max: 30 }))
  .map(([parts, last]) => [...parts, last].join("."));
const apkSuffix = fc.constantFrom(
  "_alpha",
  "_beta",
  "_pre",
  "_rc",
  "_cvs",
  "_svn",
  "_git",
  "_hg",
  "_p",
  "_p1",
  "_rc2",
  "_git20240101",
  "_alpha3",
  "_alpha10",
);
const apkTail = fc
  .tuple(
    fc.constantFrom("", "", "a", "b", "z"),
    fc.array(apkSuffix, { maxLength: 1 }),
    fc.constantFrom("", "-r0", "-r1", "-r10", "-r2"),
  )
  .map(([letter, suffixes, revision]) => `${letter}${suffixes.join("")}${revision}`);

export const alpinePairs = (count: number) => near(apkCore, apkTail, count);

export const hasJava = ["/usr/bin/java", "/usr/local/bin/java"].some((path) => existsSync(path));

/** Its own main program compares each word with the one before it. */
export function askMaven(pairs: readonly Pair[]): number[] {
  const words = pairs.flat();
  const main = "org.apache.maven.artifact.versioning.ComparableVersion";
  const out = execFileSync("java", ["-cp", mavenArtifactJars.join(":"), main, ...words], { encoding: "utf8" });
  const signs = [...out.matchAll(/^ {3}\S+ (<|==|>) \S+$/gm)].map(([, sign]) =>
    sign === "<" ? -1 : Number(sign === ">"),
  );
  return signs.filter((_, at) => at % 2 === 0);
}

/** Undefined where the peer reads no version. */
export function askGo(kind: "go" | "apk", pairs: readonly Pair[]): (number | undefined)[] {
  return ask(
    versionsBinary(),
    pairs.map(([a, b]) => `${kind} ${a} ${b}`),
  );
}

export function askCrate(pairs: readonly Pair[]): (number | undefined)[] {
  return ask(
    crateVersionsBinary(),
    pairs.map(([a, b]) => `${a} ${b}`),
  );
}

function ask(program: string, lines: readonly string[]): (number | undefined)[] {
  const out = execFileSync(program, [], { input: `${lines.join("\n")}\n`, encoding: "utf8" });
  return out
    .trim()
    .split("\n")
    .map((word) => (word === "none" ? undefined : Number(word)));
}
