/** Versions of npm, crates.io and Go: semantic versions, read as leniently as npm reads them. */
import semver from "semver";
import { BEGINNING, type VersionOrder } from "./order.ts";

const readLoose = (version: string): string | undefined =>
  semver.parse(version, { loose: true })?.version ?? semver.coerce(version)?.version;

export const semantic: VersionOrder = {
  read: readLoose,
  readEvent: (version) => readLoose(version) ?? BEGINNING,
  compare: (a, b) => semver.compare(a, b, { loose: true }),
  key: (version) => semver.parse(version, { loose: true })?.version ?? version,
  candidates: (version) => [version],
};
