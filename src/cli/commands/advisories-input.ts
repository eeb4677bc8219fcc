/** Opens the advisories that a command matches against: the imported index, another one, or dumps. */
import { join, resolve } from "node:path";
import {
  type AdvisoryIndex,
  defaultAdvisoriesPath,
  type ExploitationIndex,
  exploitationPath,
  importAdvisories,
  openAdvisories,
  openExploitation,
} from "../../bom/index.ts";
import { files, homeDirectory, tempDirectory } from "../../host/index.ts";
import type { CommandContext } from "../command.ts";

export interface OpenAdvisories {
  readonly index: AdvisoryIndex;
  /** Undefined when neither KEV nor EPSS was imported beside the index. */
  readonly exploitation: ExploitationIndex | undefined;
}

/** Dumps are indexed into a folder that is gone afterwards. */
export async function withAdvisories<T>(
  context: CommandContext,
  given: string | undefined,
  use: (advisories: OpenAdvisories) => T,
): Promise<T> {
  const path = given === undefined ? defaultAdvisoriesPath(context.env, homeDirectory()) : resolve(context.cwd, given);
  if (given === undefined || /\.idx$/.test(given)) return useIndex(path, use);
  const folder = await files.mkdtemp(join(tempDirectory(), "modelkeep-advisories-"));
  try {
    const into = join(folder, "advisories.idx");
    await importAdvisories({ from: [path], into, progress: context.progress, signal: context.signal });
    return await useIndex(into, use);
  } finally {
    await files.rm(folder, { recursive: true, force: true });
  }
}

async function useIndex<T>(path: string, use: (advisories: OpenAdvisories) => T): Promise<T> {
  const index = await openAdvisories(path);
  try {
    return use({ index, exploitation: await openExploitation(exploitationPath(path)) });
  } finally {
    index.close();
  }
}
