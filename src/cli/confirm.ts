/** What cannot be undone happens only with --yes. */
import type { CommandInput, CommandOption } from "./command.ts";
import { cliError } from "./errors.ts";

export const YES: CommandOption = { flag: "--yes", about: "really do it" };

/** Fails with NOT_CONFIRMED, the reason, and the line to type. */
export function requireYes(input: CommandInput, reason: string, line: string): void {
  if (!input.on(YES.flag)) throw cliError("NOT_CONFIRMED", { detail: reason, hint: `${line} --yes` });
}
