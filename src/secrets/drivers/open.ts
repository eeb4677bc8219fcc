/** Opens the drivers that a server's configuration names: `NAME=URI`. */
import type { SecretDriver } from "../driver.ts";
import { secretError } from "../errors.ts";
import { SECRET_LIMITS } from "../limits.ts";
import { openAwsKeeper, openAwsRoleKeeper } from "./aws.ts";
import { openAzureKeeper } from "./azure.ts";
import { openGoogleKeeper } from "./google.ts";
import { asSecretErrors, type Keeper, keeperDriver } from "./keeper.ts";
import { type FederatedPorts, openFederatedKeeper } from "./provider/federated.ts";
import { type MintingPorts, openOpenAiKeeper, openOpenRouterKeeper } from "./provider/minted.ts";
import { openVaultKeeper } from "./vault.ts";

type Open = (uri: string, ports: DriverPorts, name: string) => Promise<Keeper>;

/** Credentials are looked up in `env`, the process's when absent. */
export type DriverPorts = MintingPorts & FederatedPorts;

const KEEPERS: Readonly<Record<string, Open>> = {
  "vault:": openVaultKeeper,
  "awssm:": openAwsKeeper,
  "awssts:": openAwsRoleKeeper,
  "gcpsm:": openGoogleKeeper,
  "azurekv:": openAzureKeeper,
  "openai:": openOpenAiKeeper,
  "openrouter:": openOpenRouterKeeper,
  "federation:": openFederatedKeeper,
};
const ENTRY = /^([a-z][a-z0-9-]{0,49})=([a-z]{2,20}:)(.{0,2000})$/;

/** In the order of the configuration. Throws KEEPER_UNKNOWN and KEEPER_LOGIN_MISSING; no keeper is asked anything yet. */
export async function openDrivers(entries: readonly string[], ports: DriverPorts): Promise<SecretDriver[]> {
  const drivers: SecretDriver[] = [];
  if (entries.length > SECRET_LIMITS.keepers)
    throw secretError("KEEPER_UNKNOWN", { detail: `at most ${SECRET_LIMITS.keepers} are possible` });
  for (const entry of entries) {
    const [, name, scheme = "", rest = ""] = ENTRY.exec(entry) ?? [];
    const open = KEEPERS[scheme];
    if (name === undefined || !open)
      throw secretError("KEEPER_UNKNOWN", { detail: entry.split("?")[0]?.slice(0, 100) ?? "" });
    if (name === "embedded" || drivers.some(({ kind }) => kind === name))
      throw secretError("KEEPER_UNKNOWN", { detail: `the name ${name} is taken` });
    drivers.push(keeperDriver(name, await asSecretErrors(() => open(`${scheme}${rest}`, ports, name))));
  }
  return drivers;
}
