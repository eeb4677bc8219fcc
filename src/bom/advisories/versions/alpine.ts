/** Versions of Alpine packages (apk-tools, "version.c"): numbers, a letter, suffixes, a revision. */
import { BEGINNING, compareDigits, compareText, type VersionOrder } from "./order.ts";

const VERSION =
  /^(\d{1,64}(?:\.\d{1,64}){0,31})([a-z]?)((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)\d{0,64}){0,15})(?:~[0-9a-f]{1,64})?(?:-r(\d{1,18}))?$/;

/** Before 0 is a pre-release, which sorts before the version without a suffix. */
const SUFFIXES: Readonly<Record<string, number>> = {
  alpha: -4,
  beta: -3,
  pre: -2,
  rc: -1,
  cvs: 0,
  svn: 1,
  git: 2,
  hg: 3,
  p: 4,
};

interface Parts {
  readonly numbers: readonly string[];
  readonly letter: string;
  readonly suffixes: readonly (readonly [number, string])[];
  readonly revision: string;
}

const read = (version: string): string | undefined => (VERSION.test(version.trim()) ? version.trim() : undefined);

export const alpine: VersionOrder = {
  read,
  readEvent: (version) => read(version) ?? BEGINNING,
  compare: compareAlpine,
  key: (version) => version.trim().replace(/^0+(?=\d)/, ""),
  candidates: (version) => [version],
};

function split(version: string): Parts {
  const [, numbers = "", letter = "", suffixes = "", revision = ""] = VERSION.exec(version) ?? [];
  return {
    numbers: numbers.split("."),
    letter,
    suffixes: [...suffixes.matchAll(/_([a-z]+)(\d*)/g)].map(([, name = "", count = ""]) => [
      SUFFIXES[name] ?? 0,
      count,
    ]),
    revision,
  };
}

function compareAlpine(first: string, second: string): number {
  const [a, b] = [split(first), split(second)];
  return (
    compareNumbers(a.numbers, b.numbers) ||
    compareText(a.letter, b.letter) ||
    compareSuffixes(a.suffixes, b.suffixes) ||
    compareRevisions(a.revision, b.revision)
  );
}

/** A version without a revision comes before `-r0`. */
function compareRevisions(a: string, b: string): number {
  return a === "" || b === "" ? Number(a !== "") - Number(b !== "") : compareDigits(a, b);
}

/** After the first, a number with a leading zero is a fraction. */
function compareNumbers(a: readonly string[], b: readonly string[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [x, y] = [a[index], b[index]];
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
    const isFraction = index > 0 && (x.startsWith("0") || y.startsWith("0"));
    const difference = isFraction ? compareText(x, y) : compareDigits(x, y);
    if (difference !== 0) return difference;
  }
  return 0;
}

function compareSuffixes(a: Parts["suffixes"], b: Parts["suffixes"]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [x, y] = [a[index], b[index]];
    if (x === undefined) return y !== undefined && y[0] < 0 ? 1 : -1;
    if (y === undefined) return x[0] < 0 ? -1 : 1;
    const difference = x[0] - y[0] || compareDigits(x[1], y[1]);
    if (difference !== 0) return difference;
  }
  return 0;
}
