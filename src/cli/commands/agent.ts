/** modelkeep agent -- CMD: a program gets an address on loopback and a key that means nothing elsewhere, and no token. */
import { hardenProcess } from "../../host/index.ts";
import type { Agent } from "../../sdk/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { ensureEnrolled } from "../connect.ts";
import { cliError } from "../errors.ts";
import { runProgram } from "../program.ts";
import { readOneTimeCode } from "./code-input.ts";

const HINT = "modelkeep agent --as billing -- node app.mjs";

/** Keys of providers that the program must not find: it could go around the gateway with them. */
const PROVIDER_KEY =
  /^(OPENAI|ANTHROPIC|AZURE_OPENAI|GEMINI|GOOGLE|GROQ|MISTRAL|COHERE|CO|XAI|DEEPSEEK|TOGETHER|TOGETHERAI|FIREWORKS|OPENROUTER|PERPLEXITY|REPLICATE|CEREBRAS|NVIDIA|VOYAGE)_(API_KEY|API_TOKEN|ADMIN_KEY|AUTH_TOKEN)$/i;

export const agent: Command = {
  name: "agent",
  about:
    "Start a program that finds OPENAI_BASE_URL and a key for this start only; tokens are renewed and proven for it.",
  examples: [
    { line: "modelkeep agent --as billing -- node app.mjs", about: "as a workload that is enrolled on this machine" },
    {
      line: "modelkeep agent --as billing --enrol-code-file code.txt -- node app.mjs",
      about: "the first time: with the code from `modelkeep token issue --for billing`",
    },
  ],
  options: [
    { flag: "--as", value: "WORKLOAD", about: "which workload; without it the one that is logged in" },
    { flag: "--enrol-code-file", value: "FILE", about: "file with the one-time code for the first start" },
    { flag: "--enrol", about: "read the one-time code from stdin or a prompt at the first start" },
    { flag: "--server", value: "URL", about: "server to enrol at; default: MODELKEEP_SERVER, or that of the login" },
  ],
  takesProgram: true,
  async run(context, input) {
    if (input.rest.length === 0) throw cliError("USAGE", { detail: "the program is missing", hint: HINT });
    hardenProcess();
    const connection = await openConnection(context, input);
    const started = await connection.startAgent();
    try {
      const env = childEnvironment(context.env, started);
      const exit = await runProgram({ context, words: input.rest, env, hint: HINT });
      return { data: undefined, exit };
    } finally {
      await started.close();
    }
  },
};

function openConnection(context: CommandContext, input: CommandInput) {
  const { env, signal } = context;
  const [as, serverUrl, file] = [input.text("--as"), input.text("--server"), input.text("--enrol-code-file")];
  return ensureEnrolled({
    env,
    signal,
    ...(as === undefined ? {} : { as }),
    ...(serverUrl === undefined ? {} : { serverUrl }),
    readCode: () => readOneTimeCode(context, { file, stdin: input.on("--enrol") }),
  });
}

/** The parent's environment without the keys of providers, and with the agent in their place. */
function childEnvironment(
  env: CommandContext["env"],
  { baseUrl, localKey }: Pick<Agent, "baseUrl" | "localKey">,
): Record<string, string> {
  const kept = Object.entries(env).flatMap(([name, value]) =>
    value === undefined || PROVIDER_KEY.test(name) ? [] : [[name, value] as const],
  );
  const noProxy = [env.NO_PROXY ?? env.no_proxy, "127.0.0.1"].filter((part) => part).join(",");
  return {
    ...Object.fromEntries(kept),
    OPENAI_BASE_URL: baseUrl,
    OPENAI_API_KEY: localKey,
    NO_PROXY: noProxy,
    no_proxy: noProxy,
  };
}
