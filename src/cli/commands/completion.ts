/** `modelkeep completion SHELL`. */
import type { Command } from "../command.ts";
import { completionScript, SHELLS, type Shell } from "../completion.ts";
import { cliError } from "../errors.ts";

/** The table is passed in late, since this command is in it. */
export function completionCommand(table: () => readonly Command[]): Command {
  return {
    name: "completion",
    about: "Prints the completion script of a shell.",
    examples: [
      { line: "modelkeep completion bash > /etc/bash_completion.d/modelkeep", about: "for everybody, bash" },
      { line: "source <(modelkeep completion zsh)", about: "for this session, zsh" },
    ],
    args: [{ name: "SHELL", about: `one of ${SHELLS.join(", ")}` }],
    async run(_context, { args }) {
      const shell = SHELLS.find((name): name is Shell => name === args[0]);
      if (!shell)
        throw cliError("USAGE", {
          detail: `SHELL ${args[0]}: it is one of ${SHELLS.join(", ")}`,
          hint: "modelkeep completion bash",
        });
      const script = completionScript(shell, table());
      return { data: { shell, script }, text: script };
    },
  };
}
