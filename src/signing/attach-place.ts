/** Where further signatures and statements lie: in the folder `SIGNATURE.d` beside a signature, on disk or in a store. */
import { basename, join } from "node:path";
import type { BlobStore } from "../artifact/index.ts";
import { baseError } from "../base/index.ts";
import { files, readFileBounded, systemErrorCode } from "../host/index.ts";
import type { NamedBytes } from "./attach.ts";
import { SIGNING_LIMITS } from "./limits.ts";

/** `NAME.sig` is a further signature, `TYPE.json` a statement; nothing else belongs there. */
const SIBLING = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(sig|json)$/;

export interface SignatureSet {
  /** The named one first, the others by name. */
  readonly signatures: readonly NamedBytes[];
  readonly statements: readonly NamedBytes[];
}

export function siblingFolder(signature: string): string {
  return `${signature}.d`;
}

/** The paths of all that belongs to a signature besides itself: regular files with such a name, sorted. */
export async function listSiblings(signature: string): Promise<string[]> {
  const folder = siblingFolder(signature);
  const entries = await files.readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    const code = systemErrorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw error;
  });
  const names = entries.filter((entry) => entry.isFile() && SIBLING.test(entry.name)).map(({ name }) => name);
  return bounded(names).map((name) => join(folder, name));
}

export async function readSignatureSet(signature: string): Promise<SignatureSet> {
  const own = { name: basename(signature), bytes: await readFileBounded(signature, SIGNING_LIMITS.bundleBytes) };
  const folder = basename(siblingFolder(signature));
  const found: NamedBytes[] = [];
  for (const path of await listSiblings(signature))
    found.push({ name: `${folder}/${basename(path)}`, bytes: await readFileBounded(path, limitOf(path)) });
  return setOf(own, found);
}

/** The same of a sealed model: `name` is the blob of its signature. */
export async function readStoredSignatureSet(store: BlobStore, name: string): Promise<SignatureSet> {
  const own = { name, bytes: await store.readAll(name, SIGNING_LIMITS.bundleBytes) };
  const folder = `${siblingFolder(name)}/`;
  const names: string[] = [];
  for await (const blob of store.list(folder)) {
    if (!SIBLING.test(blob.slice(folder.length))) continue;
    names.push(blob);
    bounded(names);
  }
  const found: NamedBytes[] = [];
  for (const blob of bounded(names)) found.push({ name: blob, bytes: await store.readAll(blob, limitOf(blob)) });
  return setOf(own, found);
}

function bounded(names: readonly string[]): string[] {
  if (names.length > SIGNING_LIMITS.siblings)
    throw baseError("LIMIT_EXCEEDED", { detail: `over ${SIGNING_LIMITS.siblings} files beside the signature` });
  return [...names].sort();
}

function limitOf(name: string): number {
  return name.endsWith(".sig") ? SIGNING_LIMITS.bundleBytes : SIGNING_LIMITS.statementBytes;
}

function setOf(own: NamedBytes, found: readonly NamedBytes[]): SignatureSet {
  return {
    signatures: [own, ...found.filter(({ name }) => name.endsWith(".sig"))],
    statements: found.filter(({ name }) => name.endsWith(".json")),
  };
}
