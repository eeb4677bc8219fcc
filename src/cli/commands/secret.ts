/** modelkeep secret put|list|rotate|delete: the values that the server keeps. */
import type { z } from "zod";
import { deleteSecret, listSecrets, putSecret, rotateSecret, type secretInfo } from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { requireYes, YES } from "../confirm.ts";
import { readSecretValue, sealForServer } from "./secret-input.ts";

const NAME = { name: "NAME", about: "name of the secret" };
const FROM_FILE = { flag: "--from-file", value: "FILE", about: "read the value from a file in place of stdin" };

function describe(info: z.output<typeof secretInfo>): string {
  return `${info.name}  version ${info.version}  ${info.updated_at}${info.about ? `  ${info.about}` : ""}`;
}

export const secretPut: Command = {
  name: "secret put",
  about: "Keep a value, or a new version of it; the value comes from stdin, a file or a prompt, never from the line.",
  examples: [
    { line: "modelkeep secret put openai-key", about: "asks without showing what is typed" },
    { line: "modelkeep secret put openai-key --from-file key.txt", about: "reads a file" },
  ],
  args: [NAME],
  options: [FROM_FILE, { flag: "--about", value: "TEXT", about: "what it is for" }],
  async run(context, input) {
    const name = input.arg(0);
    const value = await readSecretValue(context, input);
    const api = await context.client();
    const about = input.text("--about");
    const sealed = await sealForServer(api, name, value);
    const info = await api.call(putSecret, {
      params: { name },
      body: { sealed, ...(about === undefined ? {} : { about }) },
    });
    return { data: info, text: describe(info) };
  },
};

export const secretRotate: Command = {
  name: "secret rotate",
  about: "Give a secret a new value; the gateway's next request uses it, and no request fails.",
  examples: [
    { line: "modelkeep secret rotate openai-key --from-file new.txt", about: "reads the new value from a file" },
  ],
  args: [NAME],
  options: [FROM_FILE],
  async run(context, input) {
    const name = input.arg(0);
    const value = await readSecretValue(context, input);
    const api = await context.client();
    const info = await api.call(rotateSecret, {
      params: { name },
      body: { sealed: await sealForServer(api, name, value) },
    });
    return { data: info, text: describe(info) };
  },
};

export const secretList: Command = {
  name: "secret list",
  about: "Names and versions of the secrets; never a value.",
  examples: [{ line: "modelkeep secret list", about: "one line each" }],
  async run(context) {
    const data = await (await context.client()).call(listSecrets, {});
    return { data, text: data.secrets.map(describe) };
  },
};

export const secretDelete: Command = {
  name: "secret delete",
  about: "Delete a secret with all its versions and end its leases; this cannot be undone.",
  examples: [{ line: "modelkeep secret delete openai-key --yes", about: "without --yes nothing happens" }],
  args: [NAME],
  options: [YES],
  async run(context, input) {
    const name = input.arg(0);
    requireYes(input, "deleting cannot be undone", `modelkeep secret delete ${name}`);
    const data = await (await context.client()).call(deleteSecret, { params: { name } });
    return { data, text: `deleted ${data.deleted}` };
  },
};
