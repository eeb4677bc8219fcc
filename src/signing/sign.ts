/** Signs a model: walks it, hashes every file, signs the manifest (OMS 1.0, method files, SHA-256). */
import { basename, resolve } from "node:path";
import { digestFile, type ModelFile, walkModel } from "../artifact/index.ts";
import { type Progress, utf8 } from "../base/index.ts";
import { makeBundle } from "./bundle.ts";
import type { ModelSigner } from "./keys.ts";
import { OMS_PREDICATE_TYPE, type Resource, rootDigestOf, STATEMENT_TYPE } from "./manifest.ts";

export interface SignOptions {
  readonly root: string;
  readonly signer: ModelSigner;
  /** Exact relative paths that are left out; the signature file is one of them. */
  readonly ignore?: readonly string[];
  readonly progress?: Progress;
}

export interface SignedModel {
  readonly bundle: Uint8Array;
  readonly rootDigest: string;
  /** Path → lower-case hex SHA-256. */
  readonly digests: ReadonlyMap<string, string>;
  readonly files: readonly ModelFile[];
}

export async function signModel(options: SignOptions): Promise<SignedModel> {
  const ignore = options.ignore ?? [];
  const files = await walkModel(options.root, { ignore });
  const resources: Resource[] = [];
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  let before = 0;
  for (const file of files) {
    const progress =
      options.progress &&
      ((update: Parameters<Progress>[0]) => options.progress?.({ ...update, done: before + update.done, total }));
    resources.push({
      name: file.path,
      digest: await digestFile(options.root, file.path, file.bytes, progress),
      algorithm: "sha256",
    });
    before += file.bytes;
  }
  const rootDigest = rootDigestOf(resources);
  const statement = {
    _type: STATEMENT_TYPE,
    subject: [{ name: basename(resolve(options.root)), digest: { sha256: rootDigest } }],
    predicateType: OMS_PREDICATE_TYPE,
    predicate: {
      serialization: { method: "files", hash_type: "sha256", allow_symlinks: false, ignore_paths: [...ignore] },
      resources,
    },
  };
  const bundle = await makeBundle(utf8(JSON.stringify(statement)), options.signer);
  return { bundle, rootDigest, digests: new Map(resources.map(({ name, digest }) => [name, digest])), files };
}
