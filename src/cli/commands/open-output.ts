/** Where an opened model goes: a new folder, or the cache of the Hugging Face hub. */
import { resolve } from "node:path";
import { type OpenWithKmsOptions, openIntoFolder, openIntoHubCache, type VerifiedSeal } from "../../sealing/index.ts";
import type { CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

export const OUTPUT_OPTIONS: readonly CommandOption[] = [
  { flag: "--output", value: "DIR", about: "a folder that is not there yet" },
  { flag: "--hf-cache", value: "DIR", about: "instead: the cache where transformers look for models (HF_HUB_CACHE)" },
  { flag: "--hf-repo", value: "ORG/NAME", about: "what the model is called in that cache" },
];

export interface Opened {
  readonly opened: VerifiedSeal;
  readonly output: string;
}

/** Throws USAGE unless one of the two places is named, and what the opening throws. */
export async function openInto(
  context: CommandContext,
  input: CommandInput,
  options: Omit<OpenWithKmsOptions, "into">,
): Promise<Opened> {
  const [output, cache, repository] = ["--output", "--hf-cache", "--hf-repo"].map((flag) => input.text(flag));
  if (cache !== undefined && repository !== undefined && output === undefined) {
    const { seal, snapshot } = await openIntoHubCache(options, { cache: resolve(context.cwd, cache), repository });
    return { opened: seal, output: snapshot };
  }
  if (output === undefined || cache !== undefined || repository !== undefined)
    throw cliError("USAGE", {
      detail: "--output, or --hf-cache with --hf-repo",
      hint: "modelkeep open SEALED --kms URI --trust PEM --output DIR",
    });
  const folder = resolve(context.cwd, output);
  return { opened: await openIntoFolder(options, folder), output: folder };
}
