/** A secret that this server needs itself, such as the key of an administrator at a provider: no lease, but in the log. */
import type { Log, Random, Recorder } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";
import type { RecordStore } from "../store/index.ts";
import { createEmbeddedDriver } from "./drivers/embedded.ts";
import { secretError } from "./errors.ts";
import { SecretJournal, secretRef } from "./journal.ts";
import { checkSecretName, decodeSecret, TABLES, versionOf } from "./records.ts";

export interface OwnUsePorts {
  readonly store: RecordStore;
  readonly random: Random;
  readonly recorder: Recorder;
  readonly log: Log;
}

const SELF = { type: "Server", id: "keepers" };

/**
 * Of what is kept in the server alone: drivers that read each other's secrets would wait for each other. It works until
 * the store is closed, so that keys are deleted elsewhere also by a server that stops. Fails with KEEPER_LOGIN_MISSING.
 */
export async function withOwnSecret<T>(
  ports: OwnUsePorts,
  name: string,
  work: (key: GuardedBytes) => Promise<T>,
): Promise<T> {
  const record = await ports.store.get(TABLES.secrets, checkSecretName(name));
  const version = record && versionOf(decodeSecret(record.value));
  const driver = createEmbeddedDriver(ports);
  if (version?.driver !== driver.kind)
    throw secretError("KEEPER_LOGIN_MISSING", {
      detail: `${name} is not kept in this server`,
      hint: `modelkeep secret put ${name}`,
    });
  const data = { version: version.version };
  await new SecretJournal(ports).record({ action: "secret.use", by: SELF, resource: secretRef(name), data });
  using key = (await driver.read(version.reference, { ttlSeconds: 1 })).key;
  return await work(key);
}
