/** The keys that `--kms` and `--from-kms` name, and where a passphrase is read: never from argv or the environment. */
import { resolve } from "node:path";
import { type KeyWrapper, openKeyWrapper, type PassphraseSource } from "../../backends/index.ts";
import { equalBytes, wipe } from "../../base/index.ts";
import { readFileBounded } from "../../host/index.ts";
import type { CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";
import { promptHidden } from "../prompt.ts";

const FILE_BYTES = 4_096;

export const PASSPHRASE_FILE: CommandOption = {
  flag: "--passphrase-file",
  value: "FILE",
  about: "the passphrase of --kms passphrase:, - for standard input; asked for without it",
};
export const FROM_KMS: CommandOption = {
  flag: "--from-kms",
  value: "URI",
  about: "key that opens it now; --kms when absent",
  repeatable: true,
};
export const FROM_PASSPHRASE_FILE: CommandOption = {
  flag: "--from-passphrase-file",
  value: "FILE",
  about: "the passphrase of --from-kms passphrase:",
};

/** Of `--kms`. */
export function openWrappers(context: CommandContext, input: CommandInput): Promise<KeyWrapper[]> {
  return openAll(context, input.all("--kms"), input.text(PASSPHRASE_FILE.flag));
}

/** Of `--from-kms`; undefined when there is none. */
export async function openFormerWrappers(
  context: CommandContext,
  input: CommandInput,
): Promise<KeyWrapper[] | undefined> {
  const uris = input.all("--from-kms");
  return uris.length === 0 ? undefined : openAll(context, uris, input.text(FROM_PASSPHRASE_FILE.flag));
}

function openAll(context: CommandContext, uris: readonly string[], file: string | undefined): Promise<KeyWrapper[]> {
  const passphrase = inTurn((use) => readPassphrase(context, use, file));
  return Promise.all(uris.map((uri) => openKeyWrapper(uri, { ...context, passphrase })));
}

/** There is one terminal: what is asked for at once is asked for one after the other. */
function inTurn(ask: PassphraseSource): PassphraseSource {
  let last: Promise<unknown> = Promise.resolve();
  return (use) => {
    const mine = last.then(() => ask(use));
    last = mine.catch(() => undefined);
    return mine;
  };
}

/** From the file, from a prompt without echo, or from standard input when it is no terminal. */
async function readPassphrase(
  context: CommandContext,
  use: "wrap" | "unwrap",
  file: string | undefined,
): Promise<Uint8Array> {
  if (file === "-") return withoutNewline(await context.stdin(FILE_BYTES));
  if (file !== undefined) return withoutNewline(await readFileBounded(resolve(context.cwd, file), FILE_BYTES));
  const question = use === "wrap" ? "New passphrase (not shown): " : "Passphrase (not shown): ";
  const typed = await promptHidden(question, FILE_BYTES);
  if (!typed) return withoutNewline(await context.stdin(FILE_BYTES));
  if (use === "wrap") await askAgain(typed);
  return typed;
}

async function askAgain(typed: Uint8Array): Promise<void> {
  const again = await promptHidden("Once more: ", FILE_BYTES);
  const same = again !== undefined && equalBytes(typed, again);
  wipe(again ?? new Uint8Array(0));
  if (same) return;
  wipe(typed);
  throw cliError("PASSPHRASES_DIFFER");
}

/** Only the end of a line is cut off: a passphrase may have spaces. */
function withoutNewline(bytes: Uint8Array): Uint8Array {
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : bytes.length;
  return bytes.subarray(0, end);
}
