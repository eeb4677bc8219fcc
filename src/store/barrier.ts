/** The barrier: every value is encrypted before a database sees it, bound to its table, id and version. */
import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { concatBytes, type Random, uint32be, uint64be, utf8 } from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { storeError } from "./errors.ts";

const FORMAT = 1;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export interface Barrier {
  seal(table: string, id: string, version: number, value: Uint8Array): Uint8Array;
  /** Throws STORE_TAMPERED. */
  open(table: string, id: string, version: number, sealed: Uint8Array): Uint8Array;
  wipe(): void;
}

/** One key per table, derived from the data key: a random nonce stays far from its bound of 2^32 uses. */
export function createBarrier(dataKey: GuardedBytes, random: Random): Barrier {
  const keys = new Map<string, GuardedBytes>();
  const keyOf = (table: string): GuardedBytes => {
    let key = keys.get(table);
    if (!key) {
      key = dataKey.use((bytes) =>
        GuardedBytes.take(
          new Uint8Array(hkdfSync("sha256", bytes, new Uint8Array(0), utf8(`modelkeep store v1 ${table}`), KEY_BYTES)),
        ),
      );
      keys.set(table, key);
    }
    return key;
  };
  return {
    seal: (table, id, version, value) =>
      keyOf(table).use((key) => encrypt(key, random.bytes(NONCE_BYTES), place(table, id, version), value)),
    open: (table, id, version, sealed) =>
      keyOf(table).use((key) => decrypt(key, place(table, id, version), sealed, `${table}/${id}`)),
    wipe() {
      for (const key of keys.values()) key.wipe();
      dataKey.wipe();
    },
  };
}

/** A fresh data key, wrapped by the root key; and back. */
export function wrapDataKey(rootKey: GuardedBytes, dataKey: GuardedBytes, random: Random): Uint8Array {
  return rootKey.use((root) =>
    dataKey.use((data) => encrypt(root, random.bytes(NONCE_BYTES), place("barrier", "data-key", 1), data)),
  );
}

export function unwrapDataKey(rootKey: GuardedBytes, wrapped: Uint8Array): GuardedBytes {
  return GuardedBytes.take(
    rootKey.use((root) =>
      decrypt(root, place("barrier", "data-key", 1), wrapped, "data key: is this the right root key?"),
    ),
  );
}

function encrypt(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, value: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(aad);
  return concatBytes(Uint8Array.of(FORMAT), nonce, cipher.update(value), cipher.final(), cipher.getAuthTag());
}

function decrypt(key: Uint8Array, aad: Uint8Array, sealed: Uint8Array, what: string): Uint8Array {
  if (sealed.length < 1 + NONCE_BYTES + TAG_BYTES || sealed[0] !== FORMAT)
    throw storeError("STORE_TAMPERED", { detail: what });
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(1, 1 + NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const plain = decipher.update(sealed.subarray(1 + NONCE_BYTES, sealed.length - TAG_BYTES));
  try {
    decipher.final();
  } catch {
    plain.fill(0);
    throw storeError("STORE_TAMPERED", { detail: what });
  }
  return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
}

function place(table: string, id: string, version: number): Uint8Array {
  const [tableBytes, idBytes] = [utf8(table), utf8(id)];
  return concatBytes(
    utf8("modelkeep-record"),
    uint32be(tableBytes.length),
    tableBytes,
    uint32be(idBytes.length),
    idBytes,
    uint64be(version),
  );
}
