/** What is done to a sealed model without its plaintext: inspect, rewrap, shred. */
import { z } from "zod";
import type { BlobStore } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { parseJson } from "../base/index.ts";
import { parseDsse } from "../codec/index.ts";
import { envelopeBytes, type KeyEnvelope, makeEnvelope, parseEnvelope, unwrapPackageKey } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface SealedInfo {
  readonly packageId: string;
  readonly rootDigest: string;
  /** Empty when the envelope is gone: then nobody can open it any more. */
  readonly recipients: readonly { readonly kms: string; readonly keyId: string; readonly keyVersion: string }[];
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
}

/** What the parts say of themselves; nothing is verified here. */
export async function inspectSealed(store: BlobStore, prefix: string): Promise<SealedInfo> {
  const { predicate, rootDigest } = await readSeal(store, prefix);
  const isThere = await store.stat(layout.blobName(prefix, layout.NAMES.envelope));
  const recipients = isThere ? (await readEnvelope(store, prefix)).recipients : [];
  return {
    packageId: predicate.package_id,
    rootDigest,
    recipients: recipients.map(({ kms, key_id: keyId, key_version: keyVersion }) => ({ kms, keyId, keyVersion })),
    files: predicate.files.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
  };
}

const statement = z.object({
  subject: z.array(z.object({ digest: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }) })).length(1),
  predicate: layout.sealPredicate,
});

/** The seal statement without a look at its signature. Throws SEALED_INVALID. */
export async function readSeal(
  store: BlobStore,
  prefix: string,
): Promise<{ bytes: Uint8Array; predicate: layout.SealPredicate; rootDigest: string }> {
  const bytes = await store.readAll(layout.blobName(prefix, layout.NAMES.seal), SEALING_LIMITS.statementBytes);
  const limits = { maxBytes: SEALING_LIMITS.statementBytes, what: "seal statement" };
  const parsed = statement.safeParse(parseJson(parseDsse(bytes).payload, limits));
  if (!parsed.success)
    throw sealingError("SEALED_INVALID", { detail: `seal statement: ${parsed.error.issues[0]?.path.join(".") ?? ""}` });
  const { predicate, subject } = parsed.data;
  return { bytes, predicate, rootDigest: subject[0]?.digest.sha256 ?? "" };
}

export async function readEnvelope(store: BlobStore, prefix: string): Promise<KeyEnvelope> {
  return parseEnvelope(
    await store.readAll(layout.blobName(prefix, layout.NAMES.envelope), SEALING_LIMITS.envelopeBytes),
  );
}

/** Wraps the package key anew, for other recipients; only the envelope is written, whatever the size of the model. */
export async function rewrapSealed(
  store: BlobStore,
  prefix: string,
  from: readonly KeyWrapper[],
  to: readonly KeyWrapper[],
): Promise<KeyEnvelope> {
  const old = await readEnvelope(store, prefix);
  const key = await unwrapPackageKey(old, from);
  try {
    const envelope = await makeEnvelope(key, old.package_id, old.root_digest, to);
    await store.write(layout.blobName(prefix, layout.NAMES.envelope), [envelopeBytes(envelope)]);
    return envelope;
  } finally {
    key.wipe();
  }
}

/** Deletes the wrapped keys: without a copy of them elsewhere the model can never be read again. */
export async function shredSealed(store: BlobStore, prefix: string): Promise<boolean> {
  return store.delete(layout.blobName(prefix, layout.NAMES.envelope));
}
