/** Keeps values in the server's own store, whose barrier encrypts them. */
import { type Random, toHex, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import type { RecordStore } from "../../store/index.ts";
import type { SecretDriver } from "../driver.ts";
import { secretError } from "../errors.ts";

const TABLE = "secret-values";

export function createEmbeddedDriver(options: { readonly store: RecordStore; readonly random: Random }): SecretDriver {
  const { store, random } = options;
  return {
    kind: "embedded",
    async write(value) {
      const reference = toHex(random.bytes(16));
      const copy = copyOffHeap(value);
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
      return GuardedBytes.take(record.value);
    },
    async delete(reference) {
      await store.delete(TABLE, reference);
    },
  };
}

/** Memory of its own outside V8's heap: arrays of up to 64 bytes inside it are moved, and the old place is not wiped. */
function copyOffHeap(value: GuardedBytes): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(value.length));
  value.use((bytes) => copy.set(bytes));
  return copy;
}
