/** Seals a signed model: encrypts every file, hashes every segment, wraps the key, signs what was made. Resumable. */
import { createHash, createHmac, hkdfSync } from "node:crypto";
import { type BlobStore, modelFilePath, readChunks } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import { concatBytes, equalBytes, fromHex, type Progress, parseJson, type Random, toHex, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { type ModelSigner, signStatement, type VerifiedManifest } from "../signing/index.ts";
import { envelopeBytes, type KeyEnvelope, makeEnvelope, parseEnvelope, unwrapPackageKey } from "./envelope.ts";
import { sealingError } from "./errors.ts";
import { FLOE_1_MIB, Floe } from "./floe.ts";
import * as layout from "./layout.ts";
import { SEALING_LIMITS } from "./limits.ts";

export interface SealOptions {
  readonly root: string;
  readonly manifest: VerifiedManifest;
  /** The OMS bundle that `manifest` came from. */
  readonly bundle: Uint8Array;
  readonly signer: ModelSigner;
  readonly wrappers: readonly KeyWrapper[];
  readonly store: BlobStore;
  readonly prefix: string;
  readonly random: Random;
  readonly progress?: Progress;
}

export interface SealedPackage {
  readonly packageId: string;
  readonly rootDigest: string;
  readonly envelope: KeyEnvelope;
  /** The signed seal statement, a DSSE envelope as JSON text. */
  readonly seal: string;
  readonly files: readonly layout.SealedFile[];
  /** Files that an interrupted run had finished before. */
  readonly resumedFiles: number;
}

/** Throws SEALED_EXISTS when another sealed model is there, MODEL_CHANGED when a file is not what was signed. */
export async function sealModel(options: SealOptions): Promise<SealedPackage> {
  const { store, prefix, manifest } = options;
  const name = (part: string) => layout.blobName(prefix, part);
  if (await store.stat(name(layout.NAMES.seal)))
    throw sealingError("SEALED_EXISTS", { detail: `${store.uri} ${prefix}` });
  const { packageKey, envelope } = await startOrResume(options);
  try {
    const { files, resumedFiles } = await sealFiles(options, packageKey, envelope.package_id);
    const predicate: layout.SealPredicate = {
      format: layout.SEALED_FORMAT,
      package_id: envelope.package_id,
      payload: "FLOE-AES-256-GCM-HKDF-SHA-384",
      segment_bytes: SEALING_LIMITS.segmentBytes,
      leaf_hash: "sha256",
      files,
    };
    const seal = await signStatement({
      predicateType: layout.SEAL_PREDICATE_TYPE,
      predicate,
      rootDigest: manifest.rootDigest,
      name: manifest.name,
      signer: options.signer,
    });
    await store.write(name(layout.NAMES.bundle), [options.bundle]);
    await store.write(name(layout.NAMES.seal), [utf8(seal)]);
    for (const index of files.keys()) await store.delete(name(layout.journalName(index)));
    return { packageId: envelope.package_id, rootDigest: manifest.rootDigest, envelope, seal, files, resumedFiles };
  } finally {
    packageKey.wipe();
  }
}

/** The envelope is written first, so that an interrupted run finds its key again through the KMS. */
async function startOrResume(options: SealOptions): Promise<{ packageKey: GuardedBytes; envelope: KeyEnvelope }> {
  const { store, prefix, manifest, wrappers, random } = options;
  const name = layout.blobName(prefix, layout.NAMES.envelope);
  if (await store.stat(name)) {
    const envelope = parseEnvelope(await store.readAll(name, SEALING_LIMITS.envelopeBytes));
    if (envelope.root_digest === manifest.rootDigest)
      return { packageKey: await unwrapPackageKey(envelope, wrappers), envelope };
    throw sealingError("SEALED_EXISTS", { detail: `${store.uri} ${prefix} holds another, unfinished model` });
  }
  const packageKey = GuardedBytes.take(random.bytes(32));
  const envelope = await makeEnvelope(packageKey, toHex(random.bytes(16)), manifest.rootDigest, wrappers);
  await store.write(name, [envelopeBytes(envelope)]);
  return { packageKey, envelope };
}

async function sealFiles(options: SealOptions, packageKey: GuardedBytes, packageId: string) {
  const files: layout.SealedFile[] = [];
  let resumedFiles = 0;
  for (const [index, { name: path, digest }] of options.manifest.resources.entries()) {
    const journal = layout.blobName(options.prefix, layout.journalName(index));
    const before = await readJournal(options.store, journal, packageKey, { path, sha256: digest });
    if (before) resumedFiles++;
    const file = before ?? (await sealFile(options, packageKey, packageId, { index, path, sha256: digest }));
    if (!before) await options.store.write(journal, [journalBytes(packageKey, file)]);
    files.push(file);
  }
  return { files, resumedFiles };
}

async function sealFile(
  options: SealOptions,
  packageKey: GuardedBytes,
  packageId: string,
  file: { index: number; path: string; sha256: string },
): Promise<layout.SealedFile> {
  const key = layout.fileKey(packageKey, packageId, file.path);
  const floe = Floe.encrypt(key, layout.fileAad(packageId, file.path), FLOE_1_MIB, options.random);
  key.fill(0);
  const whole = createHash("sha256");
  const leaves: Uint8Array[] = [];
  let bytes = 0;
  const onSegment = (plain: Uint8Array) => {
    whole.update(plain);
    leaves.push(createHash("sha256").update(plain).digest());
    bytes += plain.length;
    options.progress?.({ step: `seal ${file.path}`, done: bytes, total: 0, unit: "bytes" });
  };
  const name = (part: string) => layout.blobName(options.prefix, part);
  try {
    await options.store.write(name(layout.fileName(file.index)), encrypt(options.root, file.path, floe, onSegment));
  } finally {
    floe.wipe();
  }
  if (whole.digest("hex") !== file.sha256) {
    await options.store.delete(name(layout.fileName(file.index)));
    throw sealingError("SEALED_TAMPERED", { detail: `${file.path} changed after it was signed` });
  }
  const list = concatBytes(...leaves);
  await options.store.write(name(layout.leavesName(file.index)), [list]);
  return {
    path: file.path,
    bytes,
    blob: layout.fileName(file.index),
    leaves: layout.leavesName(file.index),
    header_tag: toHex(floe.headerTag),
    leaves_sha256: createHash("sha256").update(list).digest("hex"),
    sha256: file.sha256,
  };
}

/** Header, then segments; one segment is held back, since only the end of the file tells which one is the last. */
async function* encrypt(
  root: string,
  path: string,
  floe: Floe,
  onSegment: (plain: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  yield floe.header;
  let held: Uint8Array | undefined;
  let index = 0;
  for await (const chunk of readChunks(modelFilePath(root, path), SEALING_LIMITS.segmentBytes)) {
    if (held) yield floe.sealSegment(index++, false, held);
    held = Uint8Array.from(chunk);
    onSegment(held);
  }
  if (!held) onSegment(new Uint8Array(0));
  yield floe.sealSegment(index, true, held ?? new Uint8Array(0));
  held?.fill(0);
}

/** What was finished is believed only with the package key's own authentication code. */
function journalBytes(packageKey: GuardedBytes, file: layout.SealedFile): Uint8Array {
  return utf8(JSON.stringify({ file, mac: toHex(journalMac(packageKey, file)) }));
}

async function readJournal(
  store: BlobStore,
  name: string,
  packageKey: GuardedBytes,
  expected: { path: string; sha256: string },
): Promise<layout.SealedFile | undefined> {
  if (!(await store.stat(name))) return undefined;
  const value = parseJson(await store.readAll(name, 64 * 1024), { what: "journal" }) as {
    file?: unknown;
    mac?: unknown;
  };
  const file = layout.sealedFile.safeParse(value.file);
  const mac = typeof value.mac === "string" ? fromHex(value.mac) : undefined;
  if (!file.success || !mac || !equalBytes(mac, journalMac(packageKey, file.data))) return undefined;
  return file.data.path === expected.path && file.data.sha256 === expected.sha256 ? file.data : undefined;
}

function journalMac(packageKey: GuardedBytes, file: layout.SealedFile): Uint8Array {
  return packageKey.use((key) => {
    const macKey = new Uint8Array(hkdfSync("sha256", key, new Uint8Array(0), utf8("modelkeep journal mac v1"), 32));
    return new Uint8Array(createHmac("sha256", macKey).update(jcs(file)).digest());
  });
}
