/** What it means for an ecosystem to order its versions. */

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

/** What is kept of the answers; dropped all at once, so that memory stays small. */
const MAX_KNOWN = 8_000;

/** The records of a package name the same versions again and again. */
export function remember<T>(answer: (text: string) => T): (text: string) => T {
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

/** Decimal digits of any length. */
export function compareDigits(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+/, ""), b.replace(/^0+/, "")];
  return x.length - y.length || compareText(x, y);
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
