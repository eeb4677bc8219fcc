/** Bills of materials: what a model is made of, and which advisories speak of it. */
export {
  type Exploitation,
  type ExploitationIndex,
  type ExploitationOptions,
  importExploitation,
  openExploitation,
} from "./advisories/exploitation.ts";
export { type ImportOptions, type ImportReport, importAdvisories } from "./advisories/import.ts";
export { type AdvisoryIndex, openAdvisories } from "./advisories/index-file.ts";
export { type AdvisoryMatch, matchAdvisories } from "./advisories/match.ts";
export { type AdvisoryRecord, readAdvisory } from "./advisories/record.ts";
export { rateSeverity, SEVERITIES, type SeverityLevel } from "./advisories/severity.ts";
export { versionOrder } from "./advisories/versions.ts";
export {
  BOM_FORMATS,
  type BomFormat,
  type CreateBomOptions,
  createBom,
  gatherInventory,
  SUBJECT_KINDS,
  withExamination,
  writeBom,
} from "./create.ts";
export type { Json, JsonObject } from "./document.ts";
export { type BomChange, diffBoms } from "./documents/diff.ts";
export type { Examination, Inventory, SubjectKind } from "./documents/inventory.ts";
export { type MergeOptions, mergeBoms } from "./documents/merge.ts";
export { withMatches } from "./documents/with-matches.ts";
export { bomError } from "./errors.ts";
export { countMatches, findingsOf } from "./findings.ts";
export { type Image, type ImageOptions, readImage } from "./image/read-image.ts";
export { BOM_LIMITS } from "./limits.ts";
export { isLockfile, readLockfile } from "./lockfiles/read-lockfile.ts";
export { type Ecosystem, type PackageRef, packageOfPurl, parsePackage } from "./packages.ts";
export { defaultAdvisoriesPath, exploitationPath } from "./place.ts";
export { packagesOf, readBom, type UnmatchedPackages, unmatchedOf, unmatchedText } from "./read-bom.ts";
export { toHtml } from "./report/html.ts";
export { toSarif, whyClosed } from "./report/sarif.ts";
export { type Scorecard, type ScoredElement, scoreBom } from "./score/score.ts";
export { isBlocking, type JudgedMatch, type Judgements, judgeMatches, statementsOf } from "./vex/judge.ts";
export { writeOpenVex } from "./vex/openvex.ts";
export { readVex, readVexOf } from "./vex/read-vex.ts";
export { VEX_STATUSES, type VexDocument, type VexStatement, type VexStatus } from "./vex/statement.ts";
export { isExpired, parseWaivers, type Waiver } from "./vex/waivers.ts";
