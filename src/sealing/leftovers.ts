/** What a killed opening left beside its output is taken away by the next one. */
import { basename, dirname, join } from "node:path";
import { files } from "../host/index.ts";

/** Between the name of an output and 16 hex characters: what is not verified yet. */
export const UNVERIFIED = ".unverified-";
/** Behind that name: what is being taken away. */
const DISCARDED = ".discarded";

/**
 * By a new name first: an opening that is still at work there finds its folder gone, and cannot make a whole output of
 * what is left of it. What cannot be taken away stays.
 */
export async function discardLeftovers(output: string): Promise<void> {
  const [folder, start] = [dirname(output), `${basename(output)}${UNVERIFIED}`];
  for (const name of await files.readdir(folder).catch(() => [])) {
    const rest = name.startsWith(start) ? name.slice(start.length) : "";
    if (!/^[0-9a-f]{16}(\.discarded)?$/.test(rest)) continue;
    await discard(join(folder, name)).catch(() => undefined);
  }
}

/** A folder with everything in it. */
export async function discard(path: string): Promise<void> {
  const gone = path.endsWith(DISCARDED) ? path : `${path}${DISCARDED}`;
  if (gone !== path) await files.rename(path, gone);
  await files.rm(gone, { recursive: true, force: true });
}
