/** Options of modelkeep sign --keyless: which identity, which services, which root. */
import { resolve } from "node:path";
import { readFileBounded, systemFetch } from "../../host/index.ts";
import {
  type KeylessEndpoints,
  type KeylessModelSigner,
  openKeylessSigner,
  readSigningConfig,
  SIGNING_LIMITS,
} from "../../signing/index.ts";
import type { CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

export const KEYLESS_OPTIONS: readonly CommandOption[] = [
  {
    flag: "--keyless",
    about:
      "sign with an identity in place of a key, by Sigstore: the token comes from SIGSTORE_ID_TOKEN or GitHub Actions",
  },
  { flag: "--identity-token-file", value: "FILE", about: "with --keyless: holds the identity token" },
  { flag: "--audience", value: "NAME", about: "with --keyless: for whom the token is; sigstore when absent" },
  { flag: "--identity", value: "NAME", about: "with --keyless: who signs, exactly; what the token says when absent" },
  { flag: "--issuer", value: "URL", about: "with --keyless: who vouches for that; what the token says when absent" },
  { flag: "--signing-config", value: "FILE", about: "with --keyless: services of another Sigstore instance" },
  { flag: "--fulcio", value: "URL", about: "with --keyless and --rekor: certificate authority of a private instance" },
  { flag: "--rekor", value: "URL", about: "with --keyless and --fulcio: its log" },
  { flag: "--rekor-version", value: "N", about: "of the log at --rekor", default: "2", choices: ["1", "2"] },
  { flag: "--timestamp-authority", value: "URL", about: "with --fulcio and --rekor: its whole URL", repeatable: true },
  { flag: "--trusted-root", value: "FILE", about: "with --keyless: the root that the signature must verify under" },
];

const OTHER_KINDS = ["--key", "--certificate", "--chain", "--timestamp", "--timestamp-policy", "--tsa"];
const PRIVATE_INSTANCE = ["--fulcio", "--rekor", "--timestamp-authority"];
const OWN = KEYLESS_OPTIONS.map(({ flag }) => flag).filter((flag) => !["--keyless", "--rekor-version"].includes(flag));

/** Undefined without `--keyless`. Throws USAGE for options that do not go together. */
export async function openKeyless(
  context: CommandContext,
  input: CommandInput,
): Promise<KeylessModelSigner | undefined> {
  const keyless = input.on("--keyless");
  const stray = (keyless ? OTHER_KINDS : OWN).find((flag) => input.all(flag).length > 0);
  if (stray) throw cliError("USAGE", { detail: `${stray} ${keyless ? "does not go with" : "belongs to"} --keyless` });
  if (!keyless) return undefined;
  const { clock, random, signal, env } = context;
  const file = input.text("--identity-token-file");
  return openKeylessSigner({
    fetch: systemFetch,
    clock,
    random,
    signal,
    token: { file: file && resolve(context.cwd, file), env, audience: input.text("--audience") },
    endpoints: await readEndpoints(context, input),
    trustedRoot: await readOptional(context, input.text("--trusted-root"), SIGNING_LIMITS.trustedRootBytes),
    identity: input.text("--identity"),
    issuer: input.text("--issuer"),
  });
}

async function readEndpoints(context: CommandContext, input: CommandInput): Promise<KeylessEndpoints | undefined> {
  const config = await readOptional(context, input.text("--signing-config"), SIGNING_LIMITS.trustedRootBytes);
  const named = PRIVATE_INSTANCE.some((flag) => input.all(flag).length > 0);
  if (config && named) throw cliError("USAGE", { detail: "--signing-config names the services already" });
  if (config) return readSigningConfig(config, context.clock.now());
  if (!named) return undefined;
  const version = input.text("--rekor-version") === "1" ? 1 : 2;
  return {
    authorityUrl: input.need("--fulcio"),
    logs: [{ url: input.need("--rekor"), version }],
    timestampUrls: input.all("--timestamp-authority"),
  };
}

async function readOptional(
  context: CommandContext,
  path: string | undefined,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  return path === undefined ? undefined : readFileBounded(resolve(context.cwd, path), maxBytes);
}
