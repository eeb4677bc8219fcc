/** Configuration: file, environment and flags, each over the one before; checked, frozen, with the origin of every value. */
import { join, resolve } from "node:path";
import { parse as parseToml } from "smol-toml";
import { z } from "zod";
import { fromUtf8 } from "../base/index.ts";
import { homeDirectory, readFileBounded, systemErrorCode } from "../host/index.ts";
import { serverError } from "./errors.ts";
import { SERVER_LIMITS } from "./limits.ts";

const uri = z.string().min(1).max(2048);

/** Every key, once: the reference in docs is generated from here. */
export const configSchema = z.strictObject({
  listen: z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, "HOST:PORT")
    .describe("Where the server listens; port 0 picks a free one."),
  public_url: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("How clients reach the server; needed when it does not listen on loopback."),
  tls_certificate: z
    .string()
    .max(4096)
    .optional()
    .describe("PEM file of the certificate chain; together with tls_key."),
  tls_key: z.string().max(4096).optional().describe("PEM file of the private key."),
  store: uri.describe("sqlite:PATH or postgres://… : where the records are kept, encrypted."),
  root_key: uri.describe("KMS URI of the key that protects the store; file://PATH keeps it in a file of mode 0600."),
  kms: z.array(uri).max(32).describe("KMS URIs whose keys this server may use to release model keys."),
  attestation_profile: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe("YAML file that says which TEEs may get model keys, and in which state; without it none may."),
  attestation_collateral: z
    .array(z.string().min(1).max(4096))
    .max(32)
    .describe("Files and folders with what vendors sign: chains, revocation lists, TCB info; read again every minute."),
  attestation_references: z
    .array(z.string().min(1).max(4096))
    .max(64)
    .describe("Files with signed reference values, added to the lists of the profile; read again every minute."),
  attestation_reference_keys: z
    .array(z.string().min(1).max(4096))
    .max(32)
    .describe("PEM files of the public keys that may sign reference values."),
  signer_policy: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe(
      "YAML file that says who may sign which model; asked at registration and before every key, read again as it changes.",
    ),
  advisories: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe(
      "Index of `advisories import`: published models are matched at registration, and again whenever it changes.",
    ),
  secret_drivers: z
    .array(uri)
    .max(32)
    .describe(
      "Keepers of secrets that `secret link` may name, as NAME=URI: vault://HOST, awssm://REGION, awssts://REGION, " +
        "gcpsm://projects/P, azurekv://HOST, openai:, openrouter:, federation:PROVIDER.",
    ),
  log_level: z.enum(["debug", "info", "warn", "error"]).describe("How much is written to the log."),
  shutdown_seconds: z.int().min(0).max(3600).describe("How long running requests may take to end after SIGTERM."),
  insecure_dev_attestation: z.boolean().describe("Accepts evidence that proves nothing. For development only."),
});

export type Config = Readonly<z.output<typeof configSchema>>;
export type ConfigKey = keyof Config;

/** Where a value came from: `default`, `file PATH`, `env NAME` or `flag --name`. */
export type ConfigOrigins = Readonly<Partial<Record<ConfigKey, string>>>;

export interface LoadedConfig {
  readonly config: Config;
  readonly origins: ConfigOrigins;
}

export interface ConfigSources {
  /** A file that must exist; without it `modelkeep.toml` in the configuration folder is read when it is there. */
  readonly file?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Values of flags by configuration key; undefined ones do not count. */
  readonly flags: Readonly<Partial<Record<ConfigKey, unknown>>>;
}

export function configFolder(env: ConfigSources["env"]): string {
  return join(env.XDG_CONFIG_HOME ?? join(env.HOME ?? homeDirectory(), ".config"), "modelkeep");
}

export function dataFolder(env: ConfigSources["env"]): string {
  return join(env.XDG_DATA_HOME ?? join(env.HOME ?? homeDirectory(), ".local", "share"), "modelkeep");
}

function defaults(env: ConfigSources["env"]): Record<string, unknown> {
  return {
    listen: "127.0.0.1:8420",
    store: `sqlite:${join(dataFolder(env), "server", "modelkeep.db")}`,
    root_key: `file://${join(configFolder(env), "root.key")}`,
    kms: [],
    attestation_collateral: [],
    attestation_references: [],
    attestation_reference_keys: [],
    secret_drivers: [],
    log_level: "info",
    shutdown_seconds: 20,
    insecure_dev_attestation: false,
  };
}

export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const values = new Map<string, { value: unknown; origin: string }>();
  const lay = (layer: Readonly<Record<string, unknown>>, origin: (key: string) => string) => {
    for (const [key, value] of Object.entries(layer)) {
      if (value !== undefined) values.set(key, { value, origin: origin(key) });
    }
  };
  lay(defaults(sources.env), () => "default");
  const file = await readConfigFile(sources);
  if (file) lay(file.values, () => `file ${file.path}`);
  lay(readEnvironment(sources.env), (key) => `env ${environmentName(key)}`);
  lay(sources.flags, (key) => `flag --${key.replaceAll("_", "-")}`);
  const config = check(Object.fromEntries([...values].map(([key, { value }]) => [key, value])), values);
  return { config, origins: Object.freeze(Object.fromEntries([...values].map(([key, { origin }]) => [key, origin]))) };
}

async function readConfigFile(
  sources: ConfigSources,
): Promise<{ path: string; values: Record<string, unknown> } | undefined> {
  const path = resolve(
    sources.file ?? sources.env.MODELKEEP_CONFIG ?? join(configFolder(sources.env), "modelkeep.toml"),
  );
  const required = sources.file !== undefined || sources.env.MODELKEEP_CONFIG !== undefined;
  try {
    const text = fromUtf8(await readFileBounded(path, SERVER_LIMITS.configBytes));
    return { path, values: parseToml(text) };
  } catch (error) {
    const missing = error instanceof Error && systemErrorCode(error.cause) === "ENOENT";
    if (missing && !required) return undefined;
    throw serverError("CONFIG_INVALID", {
      detail: `${path}: ${error instanceof Error ? error.message : "unreadable"}`,
      cause: error,
    });
  }
}

function environmentName(key: string): string {
  return `MODELKEEP_${key.toUpperCase()}`;
}

function readEnvironment(env: ConfigSources["env"]): Record<string, unknown> {
  const read = (key: ConfigKey) => env[environmentName(key)];
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(configSchema.shape) as ConfigKey[]) {
    const text = read(key);
    if (text !== undefined) out[key] = fromEnvironmentText(key, text);
  }
  return out;
}

const LISTS: readonly ConfigKey[] = [
  "kms",
  "attestation_collateral",
  "attestation_references",
  "attestation_reference_keys",
  "secret_drivers",
];

function fromEnvironmentText(key: ConfigKey, text: string): unknown {
  if (LISTS.includes(key)) return text.split(",").filter((part) => part !== "");
  if (key === "shutdown_seconds") return Number(text);
  if (key === "insecure_dev_attestation") return text === "true" ? true : text === "false" ? false : text;
  return text;
}

function check(values: Record<string, unknown>, origins: ReadonlyMap<string, { origin: string }>): Config {
  const parsed = configSchema.safeParse(values);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => {
      const unknown = issue.code === "unrecognized_keys" ? issue.keys : [];
      const key = unknown[0] ?? String(issue.path[0] ?? "");
      return `${key} (${origins.get(key)?.origin ?? "unset"}): ${issue.message}`;
    });
    throw serverError("CONFIG_INVALID", { detail: lines.join("; ") });
  }
  checkTogether(parsed.data);
  return Object.freeze({ ...parsed.data, kms: Object.freeze([...parsed.data.kms]) as string[] });
}

const OUTSIDE = "modelkeep serve --listen HOST:PORT --public-url https://NAME:PORT --tls-certificate PEM --tls-key PEM";

function checkTogether(config: Config): void {
  if ((config.tls_certificate === undefined) !== (config.tls_key === undefined)) {
    throw serverError("CONFIG_INVALID", {
      detail: "tls_certificate and tls_key go together",
      hint: "modelkeep serve --tls-certificate PEM --tls-key PEM",
    });
  }
  checkReferences(config);
  const { port } = splitListen(config.listen);
  if (port > 65_535)
    throw serverError("CONFIG_INVALID", {
      detail: `listen: there is no port ${port}`,
      hint: "modelkeep serve --listen 127.0.0.1:8420",
    });
  if (!isLoopback(config.listen) && config.public_url === undefined) {
    throw serverError("CONFIG_INVALID", {
      detail: `listen ${config.listen} is not loopback: say how clients reach it with public_url`,
      hint: OUTSIDE,
    });
  }
  if (!isLoopback(config.listen) && config.tls_certificate === undefined && config.public_url?.startsWith("http:")) {
    throw serverError("CONFIG_INVALID", {
      detail:
        "outside loopback the server speaks TLS: set tls_certificate and tls_key, or an https public_url of the proxy in front",
      hint: OUTSIDE,
    });
  }
}

function checkReferences({ attestation_profile: profile, ...config }: Config): void {
  const { attestation_references: files, attestation_reference_keys: keys } = config;
  if (files.length > 0 && (keys.length === 0 || profile === undefined))
    throw serverError("CONFIG_INVALID", {
      detail: "attestation_references needs attestation_profile and attestation_reference_keys",
    });
}

export function splitListen(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(":");
  return { host: listen.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(listen.slice(colon + 1)) };
}

export function isLoopback(listen: string): boolean {
  const { host } = splitListen(listen);
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
