/** Reads a one-time code from where no process list and no history can show it. */
import { resolve } from "node:path";
import { readFileBounded } from "../../host/index.ts";
import type { CommandContext } from "../command.ts";
import { CODE_BYTES } from "../connect.ts";
import { promptHidden } from "../prompt.ts";

export interface CodeSources {
  readonly file?: string | undefined;
  /** Read standard input when it is no terminal. */
  readonly stdin: boolean;
}

/** From the file, a prompt without echo on a terminal, or stdin; undefined when there is none of these. */
export async function readOneTimeCode(context: CommandContext, sources: CodeSources): Promise<Uint8Array | undefined> {
  if (sources.file !== undefined) return readFileBounded(resolve(context.cwd, sources.file), CODE_BYTES);
  const typed = await promptHidden("One-time code (not shown): ", CODE_BYTES);
  return typed ?? (sources.stdin ? context.stdin(CODE_BYTES) : undefined);
}
