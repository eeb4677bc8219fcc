/** modelkeep secret rotate|promote|rollback|retire: a new value without a request that fails, and the way back. */
import type { z } from "zod";
import {
  promoteSecret,
  type Route,
  retireSecret,
  rollBackSecret,
  rotateSecret,
  type secretInfo,
} from "../../contract/index.ts";
import type { Command, CommandInput, CommandResult } from "../command.ts";
import { describeSecret } from "./secret.ts";
import { readCount, readSecretValue, sealForServer } from "./secret-input.ts";

const NAME = { name: "NAME", about: "name of the secret" };
const CANARY = {
  flag: "--canary",
  about: "call every provider that has the secret first; nothing changes if one refuses",
};
const GRACE = {
  flag: "--grace",
  value: "SECONDS",
  about: "how long the old version is kept, at most 604800; until the next rotation when absent",
};

function readWays(input: CommandInput) {
  const grace = readCount(input, "--grace");
  return {
    ...(grace === undefined ? {} : { grace_seconds: grace }),
    ...(input.on("--canary") ? { canary: true } : {}),
  };
}

function told(info: z.output<typeof secretInfo>): CommandResult {
  return { data: info, text: describeSecret(info) };
}

export const secretRotate: Command = {
  name: "secret rotate",
  about: "Give a secret a new value; the gateway's next request uses it, and no request fails.",
  examples: [
    { line: "modelkeep secret rotate openai-key --from-file new.txt", about: "reads the new value from a file" },
    {
      line: "modelkeep secret rotate openai-key --canary --grace 3600",
      about: "tries it first, keeps the old one for an hour",
    },
  ],
  args: [NAME],
  options: [
    { flag: "--from-file", value: "FILE", about: "read the value from a file in place of stdin" },
    CANARY,
    GRACE,
    { flag: "--stage", about: "keep it beside the current value until `secret promote`" },
  ],
  async run(context, input) {
    const name = input.arg(0);
    const ways = { ...readWays(input), ...(input.on("--stage") ? { stage: true } : {}) };
    const value = await readSecretValue(context, input);
    const api = await context.client();
    const sealed = await sealForServer(api, name, value);
    return told(await api.call(rotateSecret, { params: { name }, body: { sealed, ...ways } }));
  },
};

export const secretPromote: Command = {
  name: "secret promote",
  about: "Make the value that waits beside the current one the current one.",
  examples: [{ line: "modelkeep secret promote openai-key --canary", about: "after a call to every provider" }],
  args: [NAME],
  options: [CANARY, GRACE],
  async run(context, input) {
    const body = readWays(input);
    return told(await (await context.client()).call(promoteSecret, { params: { name: input.arg(0) }, body }));
  },
};

function plain(word: string, route: Route<z.ZodObject, typeof secretInfo>, about: string, example: string): Command {
  return {
    name: `secret ${word}`,
    about,
    examples: [{ line: `modelkeep secret ${word} openai-key`, about: example }],
    args: [NAME],
    async run(context, input) {
      return told(await (await context.client()).call(route, { params: { name: input.arg(0) }, body: {} }));
    },
  };
}

export const secretRollback = plain(
  "rollback",
  rollBackSecret,
  "Drop the value that waits, or else go back to the one before the current one, and end leases of what was dropped.",
  "requests under way end with the key they began with",
);

export const secretRetire = plain(
  "retire",
  retireSecret,
  "Drop the versions before the current one now, and end their leases.",
  "when the provider is about to forget the old key",
);
