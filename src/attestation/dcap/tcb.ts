/** Intel's rule for the state of a platform: levels, TDX module, quoting enclave, and how their states converge. */
import type { ModuleIdentity, PlatformStatus, SvnLevel, TcbInfo, TcbLevel, TdxTcbInfo } from "./documents.ts";
import type { TdReport } from "./reports.ts";

/** What a platform is in after all parts were looked at; the last three are not in TCB info but follow from it. */
export const TCB_STATUSES = [
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
  "TDRelaunchAdvised",
  "TDRelaunchAdvisedConfigurationNeeded",
  "OutOfDate",
  "OutOfDateConfigurationNeeded",
  "Revoked",
  "NotSupported",
] as const;
export type TcbStatus = (typeof TCB_STATUSES)[number];

/** From the PCK certificate. */
export interface PlatformTcb {
  /** 16 security version numbers. */
  readonly components: readonly number[];
  readonly pceSvn: number;
}

export type PartStatus = SvnLevel["tcbStatus"] | "NotSupported";

export interface LevelMatch {
  /** The first level that the processor and the PCE meet. */
  readonly sgx?: TcbLevel;
  /** The first of those that the TDX components meet as well. */
  readonly tdx?: TcbLevel;
}

export interface TcbAppraisal {
  readonly status: TcbStatus;
  /** Sorted, each once. */
  readonly advisories: readonly string[];
  /** The oldest date among the levels that matched; milliseconds since the epoch. */
  readonly tcbDate?: number;
  /** The oldest date among those of them that are not up to date: where a grace begins. */
  readonly behindSince?: number;
  readonly module?: PartStatus;
  /** Why it is not better: what is behind, and what the newest level asks for. */
  readonly shortfall: readonly string[];
}

/** The TDX components that a module of its own version answers for are not compared: its identity speaks for them. */
export function firstComparedComponent(teeTcbSvn: Uint8Array): number {
  return (teeTcbSvn[1] ?? 0) > 0 ? 2 : 0;
}

/** Levels come newest first, as Intel delivers them. `teeTcbSvn` only for a trust domain. */
export function matchTcbLevels(
  levels: readonly TcbLevel[],
  platform: PlatformTcb,
  teeTcbSvn: Uint8Array | undefined,
): LevelMatch {
  const met = levels.filter(({ tcb }) => meetsSgx(tcb, platform));
  const sgx = met[0];
  const tdx = teeTcbSvn && met.find(({ tcb }) => meetsTdx(tcb.tdxtcbcomponents, teeTcbSvn));
  return { ...(sgx ? { sgx } : {}), ...(tdx ? { tdx } : {}) };
}

function meetsSgx(tcb: TcbLevel["tcb"], platform: PlatformTcb): boolean {
  return (
    platform.pceSvn >= tcb.pcesvn &&
    tcb.sgxtcbcomponents.every((need, index) => (platform.components[index] ?? -1) >= need)
  );
}

function meetsTdx(components: readonly number[] | undefined, teeTcbSvn: Uint8Array): boolean {
  if (components?.length !== teeTcbSvn.length) return false;
  const first = firstComparedComponent(teeTcbSvn);
  return components.every((need, index) => index < first || (teeTcbSvn[index] ?? -1) >= need);
}

/** The identity of the module's major version; ids are compared in upper case. */
export function findModuleIdentity(info: TdxTcbInfo, version: number): ModuleIdentity | undefined {
  const id = `TDX_${version.toString(16).padStart(2, "0").toUpperCase()}`;
  return info.tdxModuleIdentities?.find((identity) => identity.id.toUpperCase() === id);
}

/** The first level whose SVN is reached. */
export function svnLevelOf(levels: readonly SvnLevel[], isvSvn: number): SvnLevel | undefined {
  return levels.find(({ tcb }) => tcb.isvsvn <= isvSvn);
}

/** A module or a quoting enclave that is behind takes the platform with it. */
export function converge(status: TcbStatus, part: PartStatus): TcbStatus {
  if (part === "Revoked" || part === "NotSupported") return status === "NotSupported" ? status : part;
  if (part === "UpToDate") return status;
  if (status === "UpToDate" || status === "SWHardeningNeeded") return "OutOfDate";
  const configuration = status === "ConfigurationNeeded" || status === "ConfigurationAndSWHardeningNeeded";
  return configuration ? "OutOfDateConfigurationNeeded" : status;
}

export interface TcbInput {
  readonly info: TcbInfo;
  readonly platform: PlatformTcb;
  readonly report: TdReport | undefined;
  readonly qe: SvnLevel | undefined;
}

export function appraiseTcb({ info, platform, report, qe }: TcbInput): TcbAppraisal {
  const match = matchTcbLevels(info.tcbLevels, platform, report?.teeTcbSvn);
  const level = report ? match.tdx : match.sgx;
  const module = report && info.id === "TDX" ? moduleLevel(info, report) : undefined;
  const qeStatus: PartStatus = qe?.tcbStatus ?? "NotSupported";
  const status = statusOf({ info, report, match, module: module?.status, qeStatus });
  const levels = [level, module?.level, qe].filter((found) => found !== undefined);
  const behindLevels = levels.filter(({ tcbStatus }) => tcbStatus !== "UpToDate");
  return {
    status,
    advisories: [...new Set(levels.flatMap(({ advisoryIDs }) => advisoryIDs ?? []))].sort(),
    ...(levels.length > 0 ? { tcbDate: oldest(levels) } : {}),
    ...(behindLevels.length > 0 ? { behindSince: oldest(behindLevels) } : {}),
    ...(module ? { module: module.status } : {}),
    shortfall: shortfallOf(info, platform, report, level),
  };
}

const oldest = (levels: readonly { readonly tcbDate: number }[]) => Math.min(...levels.map(({ tcbDate }) => tcbDate));

interface StatusParts {
  readonly info: TcbInfo;
  readonly report: TdReport | undefined;
  readonly match: LevelMatch;
  readonly module: PartStatus | undefined;
  readonly qeStatus: PartStatus;
}

function statusOf({ info, report, match, module, qeStatus }: StatusParts): TcbStatus {
  if (!match.sgx) return "NotSupported";
  if (!report) return converge(match.sgx.tcbStatus, qeStatus);
  if (!match.tdx || info.id !== "TDX" || module === "NotSupported") return "NotSupported";
  const status = module ? converge(match.tdx.tcbStatus, module) : match.tdx.tcbStatus;
  if (status === "Revoked") return status;
  const relaunched = relaunch({ info, report, sgx: match.sgx.tcbStatus, tdx: status, module, qeStatus });
  return converge(relaunched, qeStatus);
}

/** Modules before version 1 have no identity of their own: TCB components 0 and 1 spoke for them. */
function moduleLevel(info: TdxTcbInfo, report: TdReport): { status: PartStatus; level?: SvnLevel } | undefined {
  const version = report.teeTcbSvn[1] ?? 0;
  if (version === 0) return undefined;
  const level = svnLevelOf(findModuleIdentity(info, version)?.tcbLevels ?? [], report.teeTcbSvn[0] ?? 0);
  return level ? { status: level.tcbStatus, level } : { status: "NotSupported" };
}

const HEALTHY: ReadonlySet<PlatformStatus> = new Set([
  "UpToDate",
  "SWHardeningNeeded",
  "ConfigurationNeeded",
  "ConfigurationAndSWHardeningNeeded",
]);

interface RelaunchInput {
  readonly info: TdxTcbInfo;
  readonly report: TdReport;
  readonly sgx: PlatformStatus;
  readonly tdx: TcbStatus;
  readonly module: PartStatus | undefined;
  readonly qeStatus: PartStatus;
}

/** TDX 1.5: the module was updated under a running domain, which only has to be launched again. */
function relaunch({ info, report, sgx, tdx, module, qeStatus }: RelaunchInput): TcbStatus {
  if (!report.teeTcbSvn2 || qeStatus !== "UpToDate" || !HEALTHY.has(sgx) || module !== "OutOfDate") return tdx;
  if (tdx !== "OutOfDate" && tdx !== "OutOfDateConfigurationNeeded") return tdx;
  const updated = meetsNewest(info, report.teeTcbSvn2);
  if (updated === undefined) return "NotSupported";
  if (!updated) return tdx;
  const configuration = [sgx, tdx].some((status) => status.includes("Configuration"));
  return configuration ? "TDRelaunchAdvisedConfigurationNeeded" : "TDRelaunchAdvised";
}

/** Undefined when Intel knows no module of that version. */
function meetsNewest(info: TdxTcbInfo, svn: Uint8Array): boolean | undefined {
  const newest = info.tcbLevels[0]?.tcb.tdxtcbcomponents;
  const version = svn[1] ?? 0;
  const minor = version === 0 ? newest?.[0] : findModuleIdentity(info, version)?.tcbLevels[0]?.tcb.isvsvn;
  const third = newest?.[2];
  if (minor === undefined || third === undefined) return undefined;
  return (svn[0] ?? 0) >= minor && (svn[2] ?? 0) >= third;
}

/** For people: which numbers are below the newest level, or below the oldest one when no level was met. */
function shortfallOf(
  info: TcbInfo,
  platform: PlatformTcb,
  report: TdReport | undefined,
  level: TcbLevel | undefined,
): string[] {
  if (level && level === info.tcbLevels[0]) return [];
  const aim: TcbLevel | undefined = level ? info.tcbLevels[0] : info.tcbLevels.at(-1);
  if (!aim) return [];
  const first = report ? firstComparedComponent(report.teeTcbSvn) : 0;
  const tdx = report ? [...report.teeTcbSvn].map((have, index) => (index < first ? 255 : have)) : [];
  return [
    ...behind("SGX component", platform.components, aim.tcb.sgxtcbcomponents),
    ...behind("TDX component", tdx, report ? (aim.tcb.tdxtcbcomponents ?? []) : []),
    ...(platform.pceSvn < aim.tcb.pcesvn
      ? [`PCE SVN is ${platform.pceSvn}, the level asks for ${aim.tcb.pcesvn}`]
      : []),
  ];
}

function behind(what: string, have: readonly number[], need: readonly number[]): string[] {
  return need.flatMap((wanted, index) => {
    const found = have[index] ?? 0;
    return found < wanted ? [`${what} ${index} is ${found}, the level asks for ${wanted}`] : [];
  });
}
