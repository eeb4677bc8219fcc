/** Errors of bills of materials and advisories. */
import { defineErrors, EXIT } from "../base/index.ts";

export const bomError = defineErrors("bom", {
  BOM_INVALID: { status: 400, exit: EXIT.failed, title: "The file is not a CycloneDX bill of materials" },
  LOCKFILE_INVALID: { status: 400, exit: EXIT.failed, title: "The lockfile cannot be read" },
  LOCKFILE_UNKNOWN: {
    status: 400,
    exit: EXIT.usage,
    title: "That kind of lockfile is not known",
    hint: "known are requirements*.txt, the lockfiles of uv, poetry, pdm, pipenv, conda, pixi, npm, pnpm and yarn, and pylock.toml",
  },
  INSTALLATION_MISSING: { status: 400, exit: EXIT.failed, title: "There is no such installation" },
  IMAGE_INVALID: { status: 400, exit: EXIT.failed, title: "The container image cannot be read" },
  VEX_INVALID: { status: 400, exit: EXIT.failed, title: "The VEX document cannot be read" },
  WAIVERS_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "The waivers cannot be read",
    hint: "each has id, owner, reason and expires (YYYY-MM-DD), and package where it is about one",
  },
  MANIFEST_INVALID: { status: 400, exit: EXIT.failed, title: "The model is not what its manifest says" },
  PACKAGE_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "That is not a package",
    hint: "modelkeep bom match --package pypi:torch@2.6.0",
  },
  ADVISORIES_MISSING: {
    status: 400,
    exit: EXIT.failed,
    title: "There are no advisories to match against",
    hint: "modelkeep advisories import ZIP",
  },
  ADVISORIES_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The index of advisories cannot be read",
    hint: "modelkeep advisories import ZIP",
  },
  ADVISORY_DUMP_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "There are no OSV advisories in it",
    hint: "give a zip or a folder of OSV records, one JSON file each",
  },
  ADVISORY_TOO_LARGE: {
    status: 400,
    exit: EXIT.failed,
    title: "A record of the dump is too large for the memory that an import may have",
    hint: "take the record out of the dump, and import again",
  },
  EXPLOITATION_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "That is neither CISA's catalogue nor scores of EPSS",
    hint: "modelkeep advisories import --kev known_exploited_vulnerabilities.json --epss epss_scores.csv.gz",
  },
  BOM_STOPPED: { status: 499, exit: EXIT.interrupted, title: "Interrupted" },
});
