/** The index of advisories of the configuration, opened again when another one takes its place. */
import {
  type AdvisoryIndex,
  type AdvisoryMatch,
  countMatches,
  type ExploitationIndex,
  exploitationPath,
  matchAdvisories,
  openAdvisories,
  openExploitation,
  packagesOf,
  SEVERITIES,
} from "../bom/index.ts";
import type { VulnerabilityCounts } from "../contract/index.ts";
import { files } from "../host/index.ts";

export interface Assessment {
  readonly counts: VulnerabilityCounts;
  /** How many of them are known to be exploited. */
  readonly kev: number;
  /** `none`, or the worst severity; malware is critical. */
  readonly worst: string;
  /** Milliseconds since the epoch. */
  readonly matchedAtMs: number;
  readonly matches: readonly AdvisoryMatch[];
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

  /** `bom` is a CycloneDX document of any shape. Fails with BOM_INVALID beyond its limits. */
  assess(bom: Readonly<Record<string, unknown>>, nowMs: number): Assessment {
    const matches = matchAdvisories(packagesOf(bom), this.#index, this.#exploitation);
    const worst = matches.map(({ severity }) => SEVERITIES.indexOf(severity)).reduce((a, b) => Math.max(a, b), -1);
    return {
      counts: countMatches(matches),
      kev: matches.filter(({ kev }) => kev).length,
      worst: SEVERITIES[worst] ?? "none",
      matchedAtMs: nowMs,
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
