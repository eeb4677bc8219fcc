/** Versions of Debian packages (Debian Policy 5.6.12; the order is that of dpkg's `verrevcmp`). */
import { BEGINNING, compareDigits, type VersionOrder } from "./order.ts";

const VERSION = /^(?:\d{1,9}:)?[A-Za-z0-9.+~:-]+$/;

const read = (version: string): string | undefined => {
  const text = version.trim();
  return VERSION.test(text) ? text : undefined;
};

export const debian: VersionOrder = {
  read,
  readEvent: (version) => read(version) ?? BEGINNING,
  compare: compareDebian,
  key: debianKey,
  candidates: (version) => [version],
};

interface Parts {
  readonly epoch: string;
  readonly upstream: string;
  readonly revision: string;
}

function split(version: string): Parts {
  const colon = version.indexOf(":");
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf("-");
  return {
    epoch: colon === -1 ? "0" : version.slice(0, colon),
    upstream: dash === -1 ? rest : rest.slice(0, dash),
    revision: dash === -1 ? "" : rest.slice(dash + 1),
  };
}

function compareDebian(first: string, second: string): number {
  const [a, b] = [split(first), split(second)];
  return compareDigits(a.epoch, b.epoch) || compareRuns(a.upstream, b.upstream) || compareRuns(a.revision, b.revision);
}

/** Runs of other characters and of digits in turn, compared one after the other. */
function runsOf(text: string): (readonly [string, string])[] {
  return [...text.matchAll(/([^0-9]*)([0-9]*)/g)].map(([, other = "", digits = ""]) => [other, digits] as const);
}

function compareRuns(a: string, b: string): number {
  const [left, right] = [runsOf(a), runsOf(b)];
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const [otherA, digitsA] = left[index] ?? ["", ""];
    const [otherB, digitsB] = right[index] ?? ["", ""];
    const difference = compareOthers(otherA, otherB) || compareDigits(digitsA, digitsB);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A tilde sorts before the end, letters before all that is no letter. */
function compareOthers(a: string, b: string): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const difference = weightOf(a.charCodeAt(index)) - weightOf(b.charCodeAt(index));
    if (difference !== 0) return difference;
  }
  return 0;
}

function weightOf(code: number): number {
  if (Number.isNaN(code)) return 0;
  if (code === 0x7e) return -1;
  const isLetter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
  return isLetter ? code : code + 256;
}

function debianKey(version: string): string {
  const { epoch, upstream, revision } = split(version.trim());
  const normal = (text: string) =>
    text.replace(/[0-9]+/g, (digits) => `<${digits.replace(/^0+(?=.)/, "")}>`).replace(/<0>$/, "");
  return `${epoch.replace(/^0+(?=.)/, "")}:${normal(upstream)}/${normal(revision)}`;
}
