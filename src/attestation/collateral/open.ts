/** Collateral that stays current: files and folders, read again when a minute has passed and something changed. */
import type { Clock, Log } from "../../base/index.ts";
import { readCollateralFiles } from "./files.ts";
import { COLLATERAL_LIMITS } from "./limits.ts";
import { type CollateralSet, digestOfFiles, readCollateralSet } from "./set.ts";

export interface CollateralPorts {
  readonly paths: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The same set as long as the files are the same, so that what was verified need not be verified again. Throws
 * COLLATERAL_UNREADABLE when it cannot be read at first; later the last good one stays, and its dates still count.
 */
export async function openCollateral({ paths, clock, log }: CollateralPorts): Promise<() => Promise<CollateralSet>> {
  let current = await load(paths);
  let readAt = clock.monotonic();
  let reading: Promise<void> | undefined;
  const renew = async () => {
    try {
      current = await load(paths, current);
    } catch (error) {
      log.warn("the collateral cannot be read: the last one stays", { error });
    } finally {
      readAt = clock.monotonic();
      reading = undefined;
    }
  };
  return async () => {
    if (clock.monotonic() - readAt >= COLLATERAL_LIMITS.reloadSeconds * 1000) reading ??= renew();
    await reading;
    return current.set;
  };
}

interface Loaded {
  readonly digest: string;
  readonly set: CollateralSet;
}

async function load(paths: readonly string[], last?: Loaded): Promise<Loaded> {
  const files = await readCollateralFiles(paths);
  const digest = digestOfFiles(files);
  return last?.digest === digest ? last : { digest, set: readCollateralSet(files) };
}
