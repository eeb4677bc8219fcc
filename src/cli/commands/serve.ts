/** `modelkeep serve` and `modelkeep config show`. */
import {
  type Config,
  type ConfigKey,
  configSchema,
  hardenServer,
  loadConfig,
  splitListen,
  startServer,
} from "../../server/index.ts";
import type { Command, CommandContext, CommandInput, CommandOption } from "../command.ts";

const configOptions: readonly CommandOption[] = [
  { flag: "--config", value: "FILE", about: "TOML configuration file" },
  { flag: "--listen", value: "HOST:PORT", about: "where to listen; port 0 picks a free one" },
  { flag: "--public-url", value: "URL", about: "how clients reach the server" },
  { flag: "--tls-certificate", value: "PEM", about: "certificate chain" },
  { flag: "--tls-key", value: "PEM", about: "private key of the certificate" },
  { flag: "--store", value: "URL", about: "sqlite:PATH or postgres://…" },
  { flag: "--root-key", value: "URI", about: "key that protects the store" },
  { flag: "--kms", value: "URI", about: "KMS whose keys this server may use", repeatable: true },
  { flag: "--attestation-profile", value: "FILE", about: "which TEEs may get model keys, and in which state" },
  {
    flag: "--attestation-collateral",
    value: "FILE|DIR",
    about: "what vendors sign: chains, revocation lists, TCB info",
    repeatable: true,
  },
  {
    flag: "--attestation-references",
    value: "FILE",
    about: "signed reference values, added to the lists of the profile",
    repeatable: true,
  },
  {
    flag: "--attestation-reference-keys",
    value: "PEM",
    about: "a public key that may sign reference values",
    repeatable: true,
  },
  {
    flag: "--secret-drivers",
    value: "NAME=URI",
    about: "a keeper of secrets that `secret link` may name",
    repeatable: true,
  },
  { flag: "--log-level", value: "LEVEL", about: "how much is logged", choices: ["debug", "info", "warn", "error"] },
  { flag: "--insecure-dev-attestation", about: "accept evidence that proves nothing; for development only" },
];

function flagsToConfig(input: CommandInput): Partial<Record<ConfigKey, unknown>> {
  const list = (flag: string) => {
    const given = input.all(flag);
    return given.length > 0 ? given : undefined;
  };
  return {
    listen: input.text("--listen"),
    public_url: input.text("--public-url"),
    tls_certificate: input.text("--tls-certificate"),
    tls_key: input.text("--tls-key"),
    store: input.text("--store"),
    root_key: input.text("--root-key"),
    kms: list("--kms"),
    attestation_profile: input.text("--attestation-profile"),
    attestation_collateral: list("--attestation-collateral"),
    attestation_references: list("--attestation-references"),
    attestation_reference_keys: list("--attestation-reference-keys"),
    secret_drivers: list("--secret-drivers"),
    log_level: input.text("--log-level"),
    insecure_dev_attestation: input.on("--insecure-dev-attestation") ? true : undefined,
  };
}

function load(context: CommandContext, input: CommandInput) {
  const file = input.text("--config");
  return loadConfig({ env: context.env, flags: flagsToConfig(input), ...(file === undefined ? {} : { file }) });
}

export const serve: Command = {
  name: "serve",
  about: "Starts the server: API and gateway, with embedded defaults when there is no configuration.",
  examples: [
    { line: "modelkeep serve", about: "on http://127.0.0.1:8420, records in SQLite, root key in a file" },
    { line: "modelkeep serve --store postgres://db/modelkeep --config /etc/modelkeep.toml", about: "on PostgreSQL" },
    { line: "modelkeep serve --listen 127.0.0.1:0 --json", about: "on a free port, told as JSON once it is ready" },
  ],
  options: [
    ...configOptions,
    {
      flag: "--bootstrap-code-file",
      value: "FILE",
      about: "write the administrator's one-time code to a new file of mode 0600",
    },
  ],
  async run(context, input) {
    const { config } = await load(context, input);
    hardenServer(context.talk);
    const codeFile = input.text("--bootstrap-code-file");
    const server = await startServer({
      config,
      version: context.version,
      writeLog: (line) => context.talk(line.trimEnd()),
      talk: context.talk,
      ...(codeFile === undefined ? {} : { bootstrapCodeFile: codeFile }),
    });
    context.out(
      context.json ? `${JSON.stringify({ ready: true, url: server.url })}\n` : `Modelkeep listens on ${server.url}\n`,
    );
    await aborted(context.signal);
    context.talk("stopping ...");
    await server.close();
    return { data: undefined };
  },
};

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

export const configShow: Command = {
  name: "config show",
  about: "Prints the server's configuration as it would be used.",
  examples: [{ line: "modelkeep config show --origin", about: "with where each value came from" }],
  options: [...configOptions, { flag: "--origin", about: "say where each value came from" }],
  async run(context, input) {
    const { config, origins } = await load(context, input);
    const keys = Object.keys(configSchema.shape) as ConfigKey[];
    const shown = keys.map((key) => ({ key, value: withoutPassword(config, key), origin: origins[key] ?? "unset" }));
    const width = Math.max(...keys.map((key) => key.length));
    const text = shown.map(
      ({ key, value, origin }) =>
        `${key.padEnd(width)} = ${JSON.stringify(value ?? null)}${input.on("--origin") ? `   # ${origin}` : ""}`,
    );
    return { data: { listen: splitListen(config.listen), values: shown }, text: text };
  },
};

function withoutPassword(config: Config, key: ConfigKey): unknown {
  const value = config[key];
  return typeof value === "string" ? value.replace(/(:\/\/[^\s/:@]*:)[^\s/@]*@/, "$1***@") : value;
}
