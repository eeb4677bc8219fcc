/** modelkeep provider set|list|delete: where the gateway sends requests. */
import type { z } from "zod";
import { deleteProvider, listProviders, type providerInfo, setProvider } from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { requireYes, YES } from "../confirm.ts";

const NAME = { name: "NAME", about: "name of the provider" };

function describe(info: z.output<typeof providerInfo>): string {
  return `${info.name}  ${info.base_url}  secret ${info.secret}  ${info.models.join(", ")}`;
}

export const providerSet: Command = {
  name: "provider set",
  about: "Make or change a provider: its address, the secret with its key, its models.",
  examples: [
    {
      line: "modelkeep provider set openai --base-url https://api.openai.com/v1 --secret openai-key --model gpt-5-mini",
      about: "clients then ask for openai/gpt-5-mini",
    },
  ],
  args: [NAME],
  options: [
    { flag: "--base-url", value: "URL", about: "https, or http on loopback", required: true },
    { flag: "--secret", value: "NAME", about: "the secret with the provider's key", required: true },
    { flag: "--model", value: "MODEL", about: "a model it has", repeatable: true, required: true },
  ],
  async run(context, input) {
    const name = input.arg(0);
    const body = {
      base_url: input.need("--base-url"),
      secret: input.need("--secret"),
      models: [...input.all("--model")],
    };
    const data = await (await context.client()).call(setProvider, { params: { name }, body });
    return { data, text: describe(data) };
  },
};

export const providerList: Command = {
  name: "provider list",
  about: "The providers and their models.",
  examples: [{ line: "modelkeep provider list", about: "one line each" }],
  async run(context) {
    const data = await (await context.client()).call(listProviders, {});
    return { data, text: data.providers.map(describe) };
  },
};

export const providerDelete: Command = {
  name: "provider delete",
  about: "Delete a provider; its secret stays.",
  examples: [{ line: "modelkeep provider delete openai --yes", about: "without --yes nothing happens" }],
  args: [NAME],
  options: [YES],
  async run(context, input) {
    const name = input.arg(0);
    requireYes(input, "its models would be gone at once", `modelkeep provider delete ${name}`);
    const data = await (await context.client()).call(deleteProvider, { params: { name } });
    return { data, text: `deleted ${data.deleted}` };
  },
};
