/** The index of advisories of the configuration, opened again when another one takes its place. */
import { ModelkeepError } from "../base/index.ts";
import {
  type AdvisoryIndex,
  type AdvisoryMatch,
  countMatches,
  type ExploitationIndex,
  exploitationPath,
  type JudgedMatch,
  judgeMatches,
  matchAdvisories,
  openAdvisories,
  openExploitation,
  packagesOf,
  SEVERITIES,
  type VexStatement,
} from "../bom/index.ts";
import type { StandingWaiver, VulnerabilityCounts } from "../contract/index.ts";
import { files } from "../host/index.ts";

/** Of a model: counts are of what is open. */
export interface Assessment {
  readonly counts: VulnerabilityCounts;
  /** How many of them are known to be exploited. */
  readonly kev: number;
  /** `none`, or the worst severity; malware is critical. */
  readonly worst: string;
  /** Milliseconds since the epoch. */
  readonly matchedAtMs: number;
  /** What the publisher says does no harm or is fixed, and what somebody accepted. */
  readonly notAffected: number;
  readonly waived: number;
  readonly matches: readonly JudgedMatch[];
}

/** What is known of a model beside its packages. */
export interface Known {
  /** `name@version`. */
  readonly ref: string;
  /** A CycloneDX document of any shape. */
  readonly bom: Readonly<Record<string, unknown>>;
  readonly statements: readonly VexStatement[];
  /** Those that count now, of every model. */
  readonly waivers: readonly StandingWaiver[];
}

export class AdvisorySource {
  readonly #path: string;
  #index: AdvisoryIndex;
  #exploitation: ExploitationIndex | undefined;
  #identity: string;

  private constructor(
    path: string,
    index: AdvisoryIndex,
    exploitation: ExploitationIndex | undefined,
    identity: string,
  ) {
    this.#path = path;
    this.#index = index;
    this.#exploitation = exploitation;
    this.#identity = identity;
  }

  /** Fails with ADVISORIES_MISSING, ADVISORIES_INVALID or EXPLOITATION_INVALID: then the server does not start. */
  static async open(path: string): Promise<AdvisorySource> {
    const identity = await identityOf(path);
    const index = await openAdvisories(path);
    try {
      return new AdvisorySource(path, index, await openExploitation(exploitationPath(path)), identity);
    } catch (error) {
      index.close();
      throw error;
    }
  }

  /** True when another index is in use now. Fails as `open` does; then the one before stays in use. */
  async refresh(): Promise<boolean> {
    const identity = await identityOf(this.#path);
    if (identity === this.#identity) return false;
    const next = await AdvisorySource.open(this.#path);
    this.#index.close();
    this.#index = next.#index;
    this.#exploitation = next.#exploitation;
    this.#identity = next.#identity;
    return true;
  }

  /** Fails with BOM_INVALID when the document is beyond its limits. */
  assess({ ref, bom, statements, waivers }: Known, nowMs: number): Assessment {
    const own = waivers
      .filter(({ model }) => model === undefined || model === ref)
      .map((waiver) => ({ ...waiver, id: waiver.weakness }));
    const found = matchAdvisories(packagesOf(bom), this.#index, this.#exploitation);
    const matches = judgeOrIgnore(found, { statements, waivers: own, nowMs });
    const open = matches.filter(({ state }) => state === "open");
    const worst = open.map(({ severity }) => SEVERITIES.indexOf(severity)).reduce((a, b) => Math.max(a, b), -1);
    const waived = matches.filter(({ state }) => state === "waived").length;
    return {
      counts: countMatches(open),
      kev: open.filter(({ kev }) => kev).length,
      worst: SEVERITIES[worst] ?? "none",
      matchedAtMs: nowMs,
      notAffected: matches.length - open.length - waived,
      waived,
      matches,
    };
  }

  close(): void {
    this.#index.close();
  }
}

/** Of both files: an import replaces them by renaming. */
async function identityOf(path: string): Promise<string> {
  const parts = await Promise.all(
    [path, exploitationPath(path)].map((file) => files.stat(file, { bigint: true }).catch(() => undefined)),
  );
  return parts.map((stat) => (stat ? `${stat.dev}:${stat.ino}:${stat.mtimeNs}:${stat.size}` : "none")).join(" ");
}

/** A publisher whose statements are beyond the limits has said nothing: everything is open that nobody else waived. */
function judgeOrIgnore(found: readonly AdvisoryMatch[], judgements: Parameters<typeof judgeMatches>[1]): JudgedMatch[] {
  try {
    return judgeMatches(found, judgements);
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code !== "VEX_INVALID") throw error;
    return judgeMatches(found, { ...judgements, statements: [] });
  }
}
