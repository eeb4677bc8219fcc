/** modelkeep secret import SOURCE: from .env files and Vault into the server, and out of the file. */
import { ModelkeepError, wipe } from "../../base/index.ts";
import { type ApiClient, listSecrets, putSecret } from "../../contract/index.ts";
import { SECRET_LIMITS } from "../../secrets/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";
import { type Found, IMPORT_HINT, type ImportSource, openSource } from "./secret-import-source.ts";
import { sealForServer } from "./secret-input.ts";

/** Names of variables that hold no setting but a secret. */
const SECRET_NAME = /KEY|TOKEN|SECRET|PASSW|PWD|CREDENTIAL|PRIVATE|DSN|DATABASE_URL|CONNECTION_STRING/i;

type State = "new" | "imported" | "exists" | "setting" | "empty" | "invalid";

interface Outcome {
  readonly variable: string;
  readonly secret: string;
  readonly state: State;
}

const WORDS: Readonly<Record<State, string>> = {
  new: "would be imported",
  imported: "imported",
  exists: "stays: the server has a secret of this name",
  setting: "stays: it looks like a setting and not like a secret",
  empty: "stays: it is empty",
  invalid: "stays: it is too long",
};

export const secretImport: Command = {
  name: "secret import",
  about:
    "Take the secrets of a .env file, or of a path of Vault or OpenBao, into the server; what looks like a setting stays in the file. Values are never shown.",
  examples: [
    { line: "modelkeep secret import .env --dry-run", about: "says what would be done" },
    {
      line: "modelkeep secret import .env --prefix billing/ --delete-source",
      about: "as billing/OPENAI_API_KEY and so on",
    },
    { line: "modelkeep secret import vault://vault.example/kv/billing --prefix billing/", about: "each field of it" },
    {
      line: "modelkeep secret import vault://vault.example --wrapped-token-file - --wrapped-from kv/data/billing",
      about: "what was wrapped for you; a token that somebody used before is an alarm",
    },
  ],
  args: [{ name: "SOURCE", about: "a .env file, vault://HOST/PATH, or vault://HOST with a wrapping token" }],
  options: [
    { flag: "--prefix", value: "TEXT", about: "stands before each variable's name in the secret's", default: "" },
    { flag: "--only", value: "VARIABLE", about: "take this one, whatever it looks like", repeatable: true },
    { flag: "--all", about: "take all, also what looks like a setting" },
    { flag: "--dry-run", about: "change nothing" },
    { flag: "--wrapped-token-file", value: "FILE", about: "a wrapping token of Vault; `-` reads standard input" },
    { flag: "--wrapped-from", value: "PATH", about: "where it must have been made, as the API has it" },
    { flag: "--delete-source", about: "overwrite and delete the file when everything in it was imported" },
  ],
  async run(context, input) {
    const source = openSource(context, input);
    if (input.on("--delete-source") && !source.remove)
      throw cliError("USAGE", { detail: "only a file is deleted from here", hint: IMPORT_HINT });
    const found = await source.read();
    try {
      const api = await context.client();
      const outcomes = await importAll(context, api, input, { found, mixed: source.mixed });
      const removed = await removeSource(context, input, source, outcomes);
      return {
        data: { secrets: outcomes, source_deleted: removed },
        text: outcomes.map(({ secret, state }) => `${secret}  ${WORDS[state]}`),
      };
    } finally {
      for (const { value } of found) wipe(value);
    }
  },
};

async function importAll(
  context: CommandContext,
  api: ApiClient,
  input: CommandInput,
  { found, mixed }: { readonly found: readonly Found[]; readonly mixed: boolean },
): Promise<readonly Outcome[]> {
  const only = input.all("--only");
  const missing = only.find((name) => !found.some(({ variable }) => variable === name));
  if (missing !== undefined) throw cliError("USAGE", { detail: `there is no ${missing}`, hint: IMPORT_HINT });
  const known = new Set((await api.call(listSecrets, {})).secrets.map(({ name }) => name));
  const outcomes: Outcome[] = [];
  for (const { variable, value } of found.filter(({ variable: name }) => only.length === 0 || only.includes(name))) {
    const secret = `${input.text("--prefix") ?? ""}${variable}`;
    const wanted = only.length > 0 || input.on("--all") || !mixed || SECRET_NAME.test(variable);
    const state = stateOf(value, known.has(secret), wanted);
    if (state === "new" && !input.on("--dry-run")) {
      await importOne(context, api, secret, value);
      outcomes.push({ variable, secret, state: "imported" });
    } else outcomes.push({ variable, secret, state });
  }
  return outcomes;
}

function stateOf(value: Uint8Array, known: boolean, wanted: boolean): State {
  if (!wanted) return "setting";
  if (value.length === 0) return "empty";
  if (value.length > SECRET_LIMITS.valueBytes) return "invalid";
  return known ? "exists" : "new";
}

/** What was imported before it stays: the next run finds it there. */
async function importOne(context: CommandContext, api: ApiClient, name: string, value: Uint8Array): Promise<void> {
  try {
    const sealed = await sealForServer(api, name, value);
    await api.call(putSecret, { params: { name }, body: { sealed } });
  } catch (error) {
    if (error instanceof ModelkeepError) context.talk(`${name} was not imported`);
    throw error;
  }
}

async function removeSource(
  context: CommandContext,
  input: CommandInput,
  source: ImportSource,
  outcomes: readonly Outcome[],
): Promise<boolean> {
  if (!outcomes.some(({ state }) => state === "imported")) return false;
  const whole = input.all("--only").length === 0 && outcomes.every(({ state }) => state === "imported");
  if (input.on("--delete-source") && whole && source.remove) {
    await source.remove();
    context.talk("the file is gone; if it was ever committed or copied, rotate the keys: modelkeep secret rotate NAME");
    return true;
  }
  if (!source.remove) {
    context.talk("the values are there as before: take them out, or link them in place of a copy");
    return false;
  }
  const why = input.on("--delete-source") ? "the file was not deleted: not everything in it was imported; " : "";
  context.talk(`${why}take the values out of the file, and rotate them if it was ever committed or copied`);
  return false;
}
