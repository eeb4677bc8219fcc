/** Where `secret import` takes values from: a .env file, a path of Vault or OpenBao, or what Vault wrapped for us. */
import { resolve } from "node:path";
import { type BackendPorts, openVaultSecrets, takeMembers, unwrapVault } from "../../backends/index.ts";
import { copySecret, wipe } from "../../base/index.ts";
import { files, readFileBounded } from "../../host/index.ts";
import { asSecretErrors, parseDotenv, SECRET_LIMITS, secretError } from "../../secrets/index.ts";
import type { CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";

/** A value on its way; whoever takes it wipes it. */
export interface Found {
  readonly variable: string;
  readonly value: Uint8Array;
}

export interface ImportSource {
  /** Settings may stand among the secrets. */
  readonly mixed: boolean;
  read(): Promise<readonly Found[]>;
  /** Absent where nothing can be taken away. */
  remove?(): Promise<void>;
}

const PLACE = /^(vault:\/\/[^/?#]+)(?:\/([\w.@:~/-]*))?(\?[^#]*)?$/;
const TOKEN_BYTES = 4_096;
/** What the second version of the key-value engine puts around the data. */
const VERSIONED = ["data", "metadata"];

export const IMPORT_HINT = "modelkeep secret import .env --dry-run";

export function openSource(context: CommandContext, input: CommandInput): ImportSource {
  const text = input.arg(0);
  const [, host, path = "", query = ""] = PLACE.exec(text) ?? [];
  const wrapped = input.text("--wrapped-token-file");
  if (wrapped !== undefined && (host === undefined || path !== ""))
    throw cliError("USAGE", { detail: "a wrapping token is opened by vault://HOST", hint: IMPORT_HINT });
  if (host !== undefined && wrapped !== undefined) return wrappedSource(context, `${host}${query}`, wrapped, input);
  if (host !== undefined) return vaultSource(context, `${host}${query}`, path);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    throw cliError("USAGE", { detail: "only .env files and vault://HOST/PATH can be imported", hint: IMPORT_HINT });
  return fileSource(resolve(context.cwd, text));
}

function fileSource(path: string): ImportSource {
  return {
    mixed: true,
    async read() {
      const bytes = await readFileBounded(path, SECRET_LIMITS.dotenvBytes);
      try {
        return parseDotenv(bytes).map(({ name, value }) => ({ variable: name, value }));
      } finally {
        wipe(bytes);
      }
    },
    async remove() {
      const { size } = await files.stat(path);
      await files.writeFile(path, new Uint8Array(size), { flag: "r+" });
      await files.rm(path);
    },
  };
}

const portsOf = ({ env, clock, random }: CommandContext): BackendPorts => ({ env, clock, random });

/** Each field of the document is a secret. Logins are those of keys in Vault. */
function vaultSource(context: CommandContext, uri: string, path: string): ImportSource {
  const encoded = path.split("/").map(encodeURIComponent);
  return {
    mixed: false,
    read: () =>
      asSecretErrors(async () => {
        const vault = await openVaultSecrets(uri, portsOf(context));
        const found = await vault.read({ path: encoded.join("/") });
        if (!found) throw secretError("SECRET_NOT_FOUND", { detail: path });
        if (!found.lease) return fieldsOf(found.value);
        await vault.revoke(found.lease.id);
        wipe(found.value);
        throw cliError("USAGE", {
          detail: `${path} lends its values: they end, and are not to be copied`,
          hint: `modelkeep secret link NAME --driver DRIVER --reference ${path}`,
        });
      }),
  };
}

/** A token opens once: with --dry-run nobody could import it afterwards. */
function wrappedSource(context: CommandContext, uri: string, path: string, input: CommandInput): ImportSource {
  if (input.on("--dry-run"))
    throw cliError("USAGE", { detail: "a wrapping token opens once, so it cannot be tried", hint: IMPORT_HINT });
  const from = input.text("--wrapped-from");
  const alarm = (detail: string) => secretError("WRAPPING_TOKEN_USED", { detail });
  return {
    mixed: false,
    read: () =>
      asSecretErrors(async () => {
        const token = path === "-" ? await context.stdin(TOKEN_BYTES) : await readFileBounded(path, TOKEN_BYTES);
        const place = { uri, token: withoutLineEnd(token), from };
        const value = await unwrapVault(place, ["data"], portsOf(context), alarm);
        if (!value) throw secretError("SECRET_NOT_FOUND", { detail: "nothing was wrapped" });
        return fieldsOf(value);
      }),
  };
}

function withoutLineEnd(token: Uint8Array): Uint8Array {
  const end = token.findLastIndex((byte) => byte > 0x20) + 1;
  if (end === 0) throw cliError("USAGE", { detail: "the wrapping token is empty", hint: IMPORT_HINT });
  const trimmed = copySecret(token.subarray(0, end));
  wipe(token);
  return trimmed;
}

/** Wipes the document. */
function fieldsOf(document: Uint8Array): Found[] {
  const members = takeMembers(document, SECRET_LIMITS.dotenvEntries);
  wipe(document);
  const isVersioned = members.length === 2 && VERSIONED.every((name) => members.some((one) => one.name === name));
  if (!isVersioned) return members.map(({ name, value }) => ({ variable: name, value }));
  const inner = members.find(({ name }) => name === "data")?.value ?? new Uint8Array(0);
  for (const { name, value } of members) if (name !== "data") wipe(value);
  return fieldsOf(inner);
}
