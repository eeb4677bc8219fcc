/** Keeps values in the server's own store, whose barrier encrypts them. */
import { copySecret, type Random, toHex, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import type { RecordStore } from "../../store/index.ts";
import type { SecretDriver } from "../driver.ts";
import { secretError } from "../errors.ts";

const TABLE = "secret-values";

export interface EmbeddedDriverOptions {
  readonly store: RecordStore;
  readonly random: Random;
}

export type StoringDriver = SecretDriver & Required<Pick<SecretDriver, "write" | "delete">>;

export function createEmbeddedDriver(options: EmbeddedDriverOptions): StoringDriver {
  const { store, random } = options;
  return {
    kind: "embedded",
    async write(value) {
      const reference = toHex(random.bytes(16));
      const copy = value.use(copySecret);
      try {
        await store.put(TABLE, reference, copy, { ifVersion: 0 });
      } finally {
        wipe(copy);
      }
      return reference;
    },
    async read(reference) {
      const record = await store.get(TABLE, reference);
      if (!record) throw secretError("SECRET_NOT_FOUND");
      return { key: GuardedBytes.take(record.value) };
    },
    async delete(reference) {
      await store.delete(TABLE, reference);
    },
  };
}
