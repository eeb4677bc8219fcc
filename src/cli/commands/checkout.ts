/** modelkeep checkout NAME -- CMD: lends a secret to one program, for as long as it runs. */
import { hardenProcess } from "../../host/index.ts";
import { type CheckedOut, checkOut } from "../../sdk/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";
import { runProgram } from "../program.ts";
import { type Lent, lendByDescriptor, lendByFile, lendInsecurely, removeAbandoned } from "./lent.ts";

const HINT = "modelkeep checkout db-password -- ./migrate.sh";

export const checkout: Command = {
  name: "checkout",
  about:
    "Lend a secret to one program: descriptor 3, also as MODELKEEP_SECRET_FILE; it is checked in when the program ends.",
  examples: [
    { line: "modelkeep checkout db-password -- ./migrate.sh", about: 'the script reads "$MODELKEEP_SECRET_FILE"' },
    {
      line: "modelkeep checkout db-password --file --purpose 'nightly dump' -- ./dump.py",
      about: "a file of mode 0600 in memory, for programs that close what they inherit",
    },
  ],
  args: [{ name: "NAME", about: "name of the secret" }],
  options: [
    { flag: "--ttl", value: "SECONDS", about: "time of the lease, renewed while the program runs; at most 3600" },
    { flag: "--purpose", value: "TEXT", about: "what it is for: told to policy, and kept in the audit log" },
    { flag: "--no-renew", about: "let the lease end at its time, also when the program still runs" },
    { flag: "--file", about: "MODELKEEP_SECRET_FILE names a file in place of descriptor 3" },
    { flag: "--insecure-env", value: "VARIABLE", about: "put the value into the program's environment" },
  ],
  takesProgram: true,
  async run(context, input) {
    const name = input.args[0];
    if (name === undefined || input.rest.length === 0)
      throw cliError("USAGE", { detail: "the program is missing", hint: HINT });
    const [ttlSeconds, variable, purpose] = [readTtl(input), readVariable(input), input.text("--purpose")];
    hardenProcess();
    await removeAbandoned();
    const options = {
      renew: !input.on("--no-renew"),
      ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
      ...(purpose === undefined ? {} : { purpose }),
    };
    await using secret = await checkOut({ api: await context.client(), log: context.log }, name, options);
    secret.onEnd(() => context.talk("the lease has ended: the program still has the value, and should be stopped"));
    const lent = await lend(context, input, name, variable, secret);
    try {
      const env = { ...context.env, ...lent.env };
      const exit = await runProgram({ context, words: input.rest, env, descriptors: lent.descriptors, hint: HINT });
      return { data: undefined, exit };
    } finally {
      await lent.end();
    }
  },
};

async function lend(
  context: CommandContext,
  input: CommandInput,
  name: string,
  variable: string | undefined,
  secret: CheckedOut,
): Promise<Lent> {
  if (variable !== undefined) return lendInsecurely(variable, secret);
  return input.on("--file") ? lendByFile(context, secret) : lendByDescriptor(context, name, secret);
}

function readVariable(input: CommandInput): string | undefined {
  const text = input.text("--insecure-env");
  if (text !== undefined && !/^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(text))
    throw cliError("USAGE", { detail: `--insecure-env ${text.slice(0, 40)} is not the name of a variable` });
  return text;
}

function readTtl(input: CommandInput): number | undefined {
  const text = input.text("--ttl");
  if (text !== undefined && !/^[1-9][0-9]{0,8}$/.test(text))
    throw cliError("USAGE", { detail: `--ttl ${text.slice(0, 20)} is not a number of seconds` });
  return text === undefined ? undefined : Number(text);
}
