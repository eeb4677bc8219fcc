/** Versions of PyPI: PEP 440, and what was there before it. */
import { compare as comparePep440, explain } from "@renovatebot/pep440";
import { BEGINNING, remember, type VersionOrder } from "./order.ts";

const LEADING_NUMBERS = /^[vV=\s]*(\d{1,9}(?:\.\d{1,9}){0,9})/;

const isPep440 = remember((version) => explain(version) !== null);
const pypiKeyOf = remember(pypiKey);
/** Both in one text: a line feed is in neither. */
const pypiOrder = remember((both) => {
  const [a = "", b = ""] = both.split("\n");
  return comparePep440(a, b);
});

export const pypi: VersionOrder = {
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
