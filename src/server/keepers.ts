/** Opens the drivers of the configuration with what they need of this server: secrets kept here, and its own name. */
import { type OwnUsePorts, openDrivers, type SecretDriver, withOwnSecret } from "../secrets/index.ts";
import type { Config } from "./config.ts";
import type { ServerIdentity } from "./identity.ts";

export interface KeeperPorts extends OwnUsePorts {
  readonly config: Pick<Config, "secret_drivers">;
  readonly identity: ServerIdentity;
}

export function openKeepers(ports: KeeperPorts): Promise<SecretDriver[]> {
  return openDrivers(ports.config.secret_drivers, {
    random: ports.random,
    issueIdentity: ports.identity.issue,
    withSecret: (name, work) => withOwnSecret(ports, name, work),
  });
}
