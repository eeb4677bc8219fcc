/** The log's signing key: made once, kept in the store behind the barrier, in guarded memory while the log is open. */
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { concatBytes, parseJson, type Random, utf8, wipe } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { GuardedBytes } from "../host/index.ts";
import type { RecordStore } from "../store/index.ts";
import { type Checkpoint, formatCheckpoint } from "./checkpoint.ts";
import { auditError } from "./errors.ts";
import { formatNote, makeVerifierKey, type VerifierKey } from "./note.ts";

const TABLE = "audit-key";
const ORIGIN_ID = "origin";
const SEED_ID = "seed";
const SEED_BYTES = 32;
/** PKCS #8 of an Ed25519 seed (RFC 8410, section 7). */
const PKCS8_PREFIX = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);

export interface CheckpointSigner {
  /** The origin that the log got when it was made; another one that is asked for later does not rename it. */
  readonly key: VerifierKey;
  /** The signed note. */
  sign(checkpoint: Omit<Checkpoint, "origin">): string;
  wipe(): void;
}

export async function openSigner(store: RecordStore, random: Random, origin: string): Promise<CheckpointSigner> {
  const stored = await store.transaction(async (tx) => {
    const [name, seed] = [await tx.get(TABLE, ORIGIN_ID), await tx.get(TABLE, SEED_ID)];
    if (name && seed) return { origin: parseJson(name.value), seed: seed.value };
    if (name || seed) throw auditError("AUDIT_TAMPERED", { detail: "half of the log's key is gone" });
    const fresh = random.bytes(SEED_BYTES);
    await tx.put(TABLE, ORIGIN_ID, jcs(origin), { ifVersion: 0 });
    await tx.put(TABLE, SEED_ID, fresh, { ifVersion: 0 });
    return { origin, seed: fresh };
  });
  if (typeof stored.origin !== "string" || stored.seed.length !== SEED_BYTES)
    throw auditError("AUDIT_TAMPERED", { detail: "the log's key is damaged" });
  return makeSigner(stored.origin, stored.seed);
}

/** Wipes the seed. */
function makeSigner(origin: string, seed: Uint8Array): CheckpointSigner {
  const guarded = GuardedBytes.take(concatBytes(PKCS8_PREFIX, seed));
  wipe(seed);
  const key = makeVerifierKey(origin, guarded.use(publicKeyOf));
  return {
    key,
    sign({ size, root }) {
      const text = formatCheckpoint({ origin, size, root });
      const signature = guarded.use((der) => sign(null, utf8(text), { key: view(der), format: "der", type: "pkcs8" }));
      return formatNote(text, key, new Uint8Array(signature));
    },
    wipe: () => guarded.wipe(),
  };
}

function publicKeyOf(der: Uint8Array): Uint8Array {
  const privateKey = createPrivateKey({ key: view(der), format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return new Uint8Array(spki.subarray(-32));
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
