/** Compares versions as their ecosystem orders them; what is no version there is read as far as it goes. */
import { compare as comparePep440, explain } from "@renovatebot/pep440";
import semver from "semver";

export interface VersionOrder {
  /** A form of a package's version that can be compared; undefined when there is no number in it at all. */
  read(version: string): string | undefined;
  /** The same for a version that an advisory names; BEGINNING for one that stands before every version. */
  readEvent(version: string): string;
  /** Not for BEGINNING. */
  compare(a: string, b: string): number;
  /** Equal versions have equal keys: 1.0 and 1.0.0 of PyPI, 1.0.0 and 1.0.0+build of npm. */
  key(version: string): string;
  /** The version, and what else it must be matched as: the public part of a local version. */
  candidates(version: string): readonly string[];
}

export const BEGINNING = "";

const LEADING_NUMBERS = /^[vV=\s]*(\d{1,9}(?:\.\d{1,9}){0,9})/;

/** The records of a package name the same versions again and again; answers are kept, and dropped all at once. */
const MAX_KNOWN = 50_000;

function remember<T>(answer: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined || known.has(text)) return before as T;
    if (known.size >= MAX_KNOWN) known.clear();
    const value = answer(text);
    known.set(text, value);
    return value;
  };
}

const isPep440 = remember((version) => explain(version) !== null);
const pypiKeyOf = remember(pypiKey);
/** Both in one text: a line feed is in neither. */
const pypiOrder = remember((both) => {
  const [a = "", b = ""] = both.split("\n");
  return comparePep440(a, b);
});

const pypi: VersionOrder = {
  read: (version) => (isPep440(version) ? version : LEADING_NUMBERS.exec(version)?.[1]),
  /** What PEP 440 cannot read sorted before all it can, as pip's legacy versions did; osv.dev agrees. */
  readEvent: (version) => (isPep440(version) ? version : BEGINNING),
  compare: (a, b) => pypiOrder(`${a}\n${b}`),
  key: pypiKeyOf,
  candidates(version) {
    const plus = version.indexOf("+");
    return plus > 0 ? [version, version.slice(0, plus)] : [version];
  },
};

function pypiKey(version: string): string {
  const parts = explain(version);
  if (!parts) return version;
  const release = parts.release.join(".").replace(/(?:\.0)+$/, "");
  const rest = [parts.pre, parts.post, parts.dev, parts.local].map((part) => [part ?? []].flat().join("."));
  return `${parts.epoch}!${release}/${rest.join("/")}`;
}

const readNpm = (version: string): string | undefined =>
  semver.parse(version, { loose: true })?.version ?? semver.coerce(version)?.version;

const npm: VersionOrder = {
  read: readNpm,
  readEvent: (version) => readNpm(version) ?? BEGINNING,
  compare: (a, b) => semver.compare(a, b, { loose: true }),
  key: (version) => semver.parse(version, { loose: true })?.version ?? version,
  candidates: (version) => [version],
};

export function versionOrder(ecosystem: string): VersionOrder | undefined {
  if (ecosystem === "PyPI") return pypi;
  return ecosystem === "npm" ? npm : undefined;
}
