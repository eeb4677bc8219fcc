/** modelkeep secret put|link|rules|list|delete: the values that the server keeps, or knows where to find. */
import type { z } from "zod";
import {
  deleteSecret,
  type leaseRules,
  linkSecret,
  listSecrets,
  putSecret,
  type secretInfo,
  setSecretRules,
} from "../../contract/index.ts";
import type { Command, CommandInput, CommandOption } from "../command.ts";
import { requireYes, YES } from "../confirm.ts";
import { readCount, readSecretValue, sealForServer } from "./secret-input.ts";

const NAME = { name: "NAME", about: "name of the secret, for example openai or openai/prod" };
const FROM_FILE = { flag: "--from-file", value: "FILE", about: "read the value from a file in place of stdin" };
const ABOUT = { flag: "--about", value: "TEXT", about: "what it is for" };
const RULES: readonly CommandOption[] = [
  { flag: "--max-ttl", value: "SECONDS", about: "longest time of a lease" },
  { flag: "--max-uses", value: "COUNT", about: "how often the value may be taken out under one lease" },
  { flag: "--max-leases", value: "COUNT", about: "leases that may be open at once" },
  { flag: "--purpose-required", about: "nobody gets one without saying what it is for" },
  { flag: "--unshared", about: "every lease has one of its own at the keeper of the secret" },
];

export function describeSecret(info: z.output<typeof secretInfo>): string {
  const tried = info.candidate === undefined ? "" : `, ${info.candidate} is being tried`;
  const driver = info.versions.find(({ version }) => version === info.version)?.driver;
  const elsewhere = driver === undefined || driver === "embedded" ? "" : ` by ${driver}`;
  return `${info.name}  version ${info.version}${elsewhere}${tried}  ${info.updated_at}${info.about ? `  ${info.about}` : ""}`;
}

/** Undefined when no rule is named. */
function readRules(input: CommandInput): z.input<typeof leaseRules> | undefined {
  const rules = {
    max_ttl_seconds: readCount(input, "--max-ttl"),
    max_uses: readCount(input, "--max-uses"),
    max_leases: readCount(input, "--max-leases"),
    purpose_required: input.on("--purpose-required") || undefined,
    unshared: input.on("--unshared") || undefined,
  };
  const named = Object.entries(rules).filter(([, value]) => value !== undefined);
  return named.length === 0 ? undefined : Object.fromEntries(named);
}

function readOptions(input: CommandInput) {
  const [about, rules] = [input.text("--about"), readRules(input)];
  return { ...(about === undefined ? {} : { about }), ...(rules ? { rules } : {}) };
}

export const secretPut: Command = {
  name: "secret put",
  about: "Keep a value, or a new version of it; the value comes from stdin, a file or a prompt, never from the line.",
  examples: [
    { line: "modelkeep secret put openai-key", about: "asks without showing what is typed" },
    { line: "modelkeep secret put openai-key --from-file key.txt", about: "reads a file" },
  ],
  args: [NAME],
  options: [FROM_FILE, ABOUT, ...RULES],
  async run(context, input) {
    const name = input.arg(0);
    const options = readOptions(input);
    const value = await readSecretValue(context, input);
    const api = await context.client();
    const sealed = await sealForServer(api, name, value);
    const info = await api.call(putSecret, { params: { name }, body: { sealed, ...options } });
    return { data: info, text: describeSecret(info) };
  },
};

export const secretLink: Command = {
  name: "secret link",
  about: "Lend a value that stays with another keeper of secrets, for example a role of a database engine.",
  examples: [
    {
      line: "modelkeep secret link db --driver vault --reference database/creds/app",
      about: "each use stands on a lease there",
    },
  ],
  args: [NAME],
  options: [
    { flag: "--driver", value: "NAME", about: "a driver that the server is configured with", required: true },
    { flag: "--reference", value: "TEXT", about: "where the driver finds the value", required: true },
    ABOUT,
    ...RULES,
  ],
  async run(context, input) {
    const name = input.arg(0);
    const at = { driver: input.need("--driver"), reference: input.need("--reference") };
    const options = readOptions(input);
    const info = await (await context.client()).call(linkSecret, { params: { name }, body: { ...at, ...options } });
    return { data: info, text: describeSecret(info) };
  },
};

export const secretRules: Command = {
  name: "secret rules",
  about: "Set what leases of a secret must keep to from now on; a rule that is not named is none.",
  examples: [
    { line: "modelkeep secret rules db --max-ttl 300 --max-leases 5 --purpose-required", about: "for every lease" },
  ],
  args: [NAME],
  options: RULES,
  async run(context, input) {
    const body = readRules(input) ?? {};
    const info = await (await context.client()).call(setSecretRules, { params: { name: input.arg(0) }, body });
    const rules = Object.entries(info.rules).map(([rule, value]) => `${rule} ${value}`);
    return { data: info, text: `${info.name}: ${rules.join(", ") || "no rules"}` };
  },
};

export const secretList: Command = {
  name: "secret list",
  about: "Names and versions of the secrets, and who keeps those that the server does not; never a value.",
  examples: [{ line: "modelkeep secret list", about: "one line each" }],
  async run(context) {
    const data = await (await context.client()).call(listSecrets, {});
    return { data, text: data.secrets.map(describeSecret) };
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
