/** Versions of Maven (POM reference, "Version Order Specification"; where that is silent, what Maven itself does). */
import { BEGINNING, compareDigits, compareText, type VersionOrder } from "./order.ts";

/** Qualifiers that sort before, as, and after a release; all others follow in alphabetical order. */
const QUALIFIERS: readonly string[] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
const SAME: Readonly<Record<string, string>> = { cr: "rc", final: "", ga: "", release: "" };
const SHORT: Readonly<Record<string, string>> = { a: "alpha", b: "beta", m: "milestone" };

interface Token {
  readonly prefix: "." | "-";
  readonly text: string;
  readonly isNumber: boolean;
}

const VERSION = /^[A-Za-z0-9._+-]+$/;

const read = (version: string): string | undefined => (VERSION.test(version.trim()) ? version.trim() : undefined);

export const maven: VersionOrder = {
  read,
  readEvent: (version) => read(version) ?? BEGINNING,
  compare: compareMaven,
  key: (version) =>
    tokensOf(version)
      .map(({ prefix, text }) => `${prefix}${text}`)
      .join(""),
  candidates: (version) => [version],
};

function tokensOf(version: string): Token[] {
  const tokens: Token[] = [];
  let prefix: Token["prefix"] = "-";
  const parts = version.toLowerCase().split(/([.-])/);
  for (const [at, part] of parts.entries()) {
    if (part === "." || part === "-") {
      prefix = part;
      continue;
    }
    const runs = part === "" ? ["0"] : (part.match(/\d+|\D+/g) ?? []);
    const isLast = at === parts.length - 1;
    for (const [index, run] of runs.entries()) {
      const isDotted = index === 0 && prefix === "." && !(isQualifier(run) && (isLast || runs.length > 1));
      tokens.push(tokenOf(isDotted ? "." : "-", run, /^\d/.test(runs[index + 1] ?? "")));
    }
  }
  return trim(tokens);
}

/** At the end, or before a number, a qualifier is the same after a dot as after a hyphen. */
const isQualifier = (run: string): boolean => !/^\d/.test(run);

function tokenOf(prefix: Token["prefix"], run: string, isBeforeNumber: boolean): Token {
  const isNumber = /^\d/.test(run);
  if (isNumber) return { prefix, text: run.replace(/^0+(?=.)/, ""), isNumber };
  const long = isBeforeNumber ? (SHORT[run] ?? run) : run;
  return { prefix, text: SAME[long] ?? long, isNumber };
}

/** Empty values at the end, and before each hyphen, count for nothing. */
function trim(tokens: readonly Token[]): Token[] {
  const kept = [...tokens];
  for (let at = kept.length - 1; at > 0; at--) {
    const token = kept[at];
    const next = kept[at + 1];
    const isEmpty = token?.text === "0" || token?.text === "";
    if (isEmpty && (next === undefined || next.prefix === "-")) kept.splice(at, 1);
  }
  return kept;
}

function compareMaven(first: string, second: string): number {
  const [a, b] = [tokensOf(first), tokensOf(second)];
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const x = a[index] ?? padding(b[index]);
    const y = b[index] ?? padding(a[index]);
    const difference = compareTokens(x, y);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** What stands for a missing token: 0 beside `.number`, nothing beside the rest. */
function padding(other: Token | undefined): Token {
  return other?.isNumber && other.prefix === "."
    ? { prefix: ".", text: "0", isNumber: true }
    : { prefix: "-", text: "", isNumber: false };
}

/** `.qualifier` as `-qualifier` before `-number` before `.number`. */
function compareTokens(a: Token, b: Token): number {
  const kind = ({ isNumber, prefix }: Token) => (isNumber ? (prefix === "." ? 2 : 1) : 0);
  if (kind(a) !== kind(b)) return kind(a) - kind(b);
  if (a.isNumber) return compareDigits(a.text, b.text);
  const [x, y] = [rankOf(a.text), rankOf(b.text)];
  return x - y || (x === QUALIFIERS.length ? compareText(a.text, b.text) : 0);
}

function rankOf(qualifier: string): number {
  const at = QUALIFIERS.indexOf(qualifier);
  return at === -1 ? QUALIFIERS.length : at;
}
