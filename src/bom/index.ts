/** Bills of materials: what a model is made of, and which advisories speak of it. */
export { type ImportOptions, type ImportReport, importAdvisories } from "./advisories/import.ts";
export { type AdvisoryIndex, openAdvisories } from "./advisories/index-file.ts";
export { type AdvisoryMatch, matchAdvisories } from "./advisories/match.ts";
export { type AdvisoryRecord, readAdvisory } from "./advisories/record.ts";
export { rateSeverity, SEVERITIES, type SeverityLevel } from "./advisories/severity.ts";
export { versionOrder } from "./advisories/versions.ts";
export { type CreateBomOptions, createBom } from "./create.ts";
export type { Json, JsonObject } from "./document.ts";
export { bomError } from "./errors.ts";
export { countMatches, findingsOf } from "./findings.ts";
export { BOM_LIMITS } from "./limits.ts";
export { isLockfile, readLockfile } from "./lockfiles/read-lockfile.ts";
export { type Ecosystem, type PackageRef, packageOfPurl, parsePackage } from "./packages.ts";
export { defaultAdvisoriesPath } from "./place.ts";
export { packagesOf, readBom } from "./read-bom.ts";
