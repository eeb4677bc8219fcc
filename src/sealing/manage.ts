/** What is done to a sealed model without its plaintext: inspect, rewrap, add and remove recipients, shred. */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { BlobStore } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { parseJson } from "../base/index.ts";
import { parseDsse } from "../codec/index.ts";
import { changeRecipients, envelopeBytes, type KeyEnvelope, openEnvelope, parseEnvelope } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface SealedInfo {
  readonly format: string;
  readonly payload: string;
  readonly leafHash: layout.LeafHashName;
  readonly packageId: string;
  readonly rootDigest: string;
  /** As the signature names whoever made it: the id of a key, or the SHA-256 of a certificate. */
  readonly signer: SignerName | undefined;
  /** The publisher's further statements that lie beside the seal. */
  readonly statements: readonly string[];
  /** Empty when the envelope is gone: then nobody can open it any more. */
  readonly recipients: readonly { readonly kms: string; readonly keyId: string; readonly keyVersion: string }[];
  readonly files: readonly SealedFileInfo[];
}

export type SignerName = { readonly keyId: string } | { readonly certificateSha256: string };

export interface SealedFileInfo {
  readonly path: string;
  readonly bytes: number;
  readonly sealedBytes: number;
  readonly segments: number;
  readonly sha256: string;
}

/** What the parts say of themselves; nothing is verified here. */
export async function inspectSealed(store: BlobStore, prefix: string): Promise<SealedInfo> {
  const { predicate, rootDigest } = await readSeal(store, prefix);
  const isThere = (name: string) => store.stat(layout.blobName(prefix, name)).then(Boolean);
  const recipients = (await isThere(layout.NAMES.envelope)) ? (await readEnvelope(store, prefix)).recipients : [];
  const statements: string[] = [];
  for (const name of [layout.NAMES.bom, layout.NAMES.findings]) if (await isThere(name)) statements.push(name);
  return {
    format: predicate.format,
    payload: predicate.payload,
    leafHash: predicate.leaf_hash,
    packageId: predicate.package_id,
    rootDigest,
    signer: await readSignerName(store, prefix),
    statements,
    recipients: recipients.map(({ kms, key_id: keyId, key_version: keyVersion }) => ({ kms, keyId, keyVersion })),
    files: predicate.files.map(infoOf),
  };
}

const certificate = z.object({ rawBytes: z.base64() });
const bundle = z.object({
  verificationMaterial: z.object({
    publicKey: z.object({ hint: z.string().max(256) }).optional(),
    certificate: certificate.optional(),
    x509CertificateChain: z.object({ certificates: z.array(certificate) }).optional(),
  }),
});

/** Undefined where the signature does not say it, or is not there. */
async function readSignerName(store: BlobStore, prefix: string): Promise<SignerName | undefined> {
  const name = layout.blobName(prefix, layout.NAMES.bundle);
  if (!(await store.stat(name))) return undefined;
  const text = await store.readAll(name, SEALING_LIMITS.bundleBytes);
  const parsed = bundle.safeParse(parseJson(text, { maxBytes: SEALING_LIMITS.bundleBytes, what: "signature file" }));
  const material = parsed.data?.verificationMaterial;
  const der = (material?.certificate ?? material?.x509CertificateChain?.certificates[0])?.rawBytes;
  if (der !== undefined) return { certificateSha256: createHash("sha256").update(der, "base64").digest("hex") };
  return material?.publicKey && { keyId: material.publicKey.hint };
}

function infoOf({ path, bytes, sha256 }: layout.SealedFile): SealedFileInfo {
  return { path, bytes, sealedBytes: layout.sealedBytes(bytes), segments: layout.segmentCount(bytes), sha256 };
}

const statement = z.object({
  subject: z.array(z.object({ digest: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }) })).length(1),
  predicate: layout.sealPredicate,
});

/** The seal statement without a look at its signature. Throws SEALED_INVALID. */
export async function readSeal(
  store: BlobStore,
  prefix: string,
): Promise<{
  readonly bytes: Uint8Array;
  readonly predicate: layout.SealPredicate;
  readonly rootDigest: string;
}> {
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
export function rewrapSealed(
  store: BlobStore,
  prefix: string,
  from: readonly KeyWrapper[],
  to: readonly KeyWrapper[],
): Promise<KeyEnvelope> {
  return replaceEnvelope(store, prefix, from, () => [], to);
}

/** Wraps the package key for more recipients; who is there already with the same key gets the new wrap alone. */
export function addRecipients(
  store: BlobStore,
  prefix: string,
  from: readonly KeyWrapper[],
  to: readonly KeyWrapper[],
): Promise<KeyEnvelope> {
  return replaceEnvelope(store, prefix, from, (recipients) => recipients, to);
}

/**
 * Takes out the recipients that have one of these names, a URI or the id of a key; their services are not asked. Who
 * had the package key may have kept it, or an older envelope. Throws RECIPIENT_UNKNOWN or RECIPIENTS_INVALID.
 */
export function removeRecipients(
  store: BlobStore,
  prefix: string,
  from: readonly KeyWrapper[],
  names: readonly string[],
): Promise<KeyEnvelope> {
  return replaceEnvelope(store, prefix, from, (recipients) => without(recipients, names), []);
}

function without(recipients: KeyEnvelope["recipients"], names: readonly string[]): KeyEnvelope["recipients"] {
  const hasName = (name: string) => (entry: KeyEnvelope["recipients"][number]) =>
    entry.kms === name || entry.key_id === name;
  const unknown = names.find((name) => !recipients.some(hasName(name)));
  if (unknown !== undefined) throw sealingError("RECIPIENT_UNKNOWN", { detail: unknown.slice(0, 200) });
  return recipients.filter((entry) => !names.some((name) => hasName(name)(entry)));
}

/** Two that change it at once: the second one fails where the store can tell, and nothing of the first is lost. */
async function replaceEnvelope(
  store: BlobStore,
  prefix: string,
  from: readonly KeyWrapper[],
  keep: (recipients: KeyEnvelope["recipients"]) => KeyEnvelope["recipients"],
  to: readonly KeyWrapper[],
): Promise<KeyEnvelope> {
  const name = layout.blobName(prefix, layout.NAMES.envelope);
  const tag = (await store.stat(name))?.tag;
  const opened = await openEnvelope(await readEnvelope(store, prefix), from);
  using _key = opened.key;
  const envelope = await changeRecipients(opened, keep(opened.envelope.recipients), to);
  await store.write(name, [envelopeBytes(envelope)], tag === undefined ? {} : { unchanged: tag });
  return envelope;
}

/**
 * Deletes the wrapped keys, and what a change of them left that was killed: without a copy elsewhere the model can
 * never be read again.
 */
export async function shredSealed(store: BlobStore, prefix: string): Promise<boolean> {
  const deleted = await store.delete(layout.blobName(prefix, layout.NAMES.envelope));
  await store.discardUnfinished(prefix === "" ? "" : `${prefix}/`);
  return deleted;
}
