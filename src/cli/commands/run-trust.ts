/** Whom modelkeep run believes: the keys of --trust, what a signer policy accepts, or both. */
import { resolve } from "node:path";
import { openBlobStore } from "../../artifact/index.ts";
import { fromUtf8 } from "../../base/index.ts";
import type { PublishedModel } from "../../contract/index.ts";
import { readFileBounded } from "../../host/index.ts";
import { SEALED_NAMES } from "../../sealing/index.ts";
import {
  filesDigestOf,
  loadTrustedKey,
  type NamedBytes,
  readSignerPolicy,
  readStoredSignatureSet,
  requirePolicy,
  SIGNING_LIMITS,
  type SignatureSet,
  type SignerPolicy,
  signingError,
} from "../../signing/index.ts";
import type { CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

export const RUN_TRUST_OPTIONS: readonly CommandOption[] = [
  { flag: "--trust", value: "PEM", about: "public key of a publisher that this machine trusts", repeatable: true },
  { flag: "--signer-policy", value: "FILE", about: "who may sign which model; with --trust both must hold" },
];

export interface RunTrust {
  /** PEM. */
  readonly publicKeys: readonly string[];
  readonly policy: SignerPolicy | undefined;
}

/** Throws USAGE when neither is named, SIGNER_POLICY_INVALID. */
export async function readRunTrust(context: CommandContext, input: CommandInput, hint: string): Promise<RunTrust> {
  const [paths, file] = [input.all("--trust"), input.text("--signer-policy")];
  if (paths.length === 0 && file === undefined) throw cliError("USAGE", { detail: "--trust is missing", hint });
  const read = async (path: string) =>
    fromUtf8(await readFileBounded(resolve(context.cwd, path), SIGNING_LIMITS.keyFileBytes));
  const policy = file === undefined ? undefined : await readSignerPolicy(resolve(context.cwd, file));
  return { publicKeys: await Promise.all(paths.map(read)), policy };
}

export interface AcceptedSigner {
  /** PEM. */
  readonly publicKeys: readonly string[];
  /** Of the files that a policy's signers signed. */
  readonly filesDigest?: string;
}

/** What the sealed model may be signed with, and which files it may hold. Throws SIGNER_POLICY_REFUSED, SIGNER_NOT_TRUSTED. */
export async function acceptedSigner(
  { publicKeys, policy }: RunTrust,
  model: PublishedModel,
  atMs: number,
  signal?: AbortSignal,
): Promise<AcceptedSigner> {
  if (!policy) return { publicKeys };
  const keys = publicKeys.map(loadTrustedKey);
  const ref = `${model.name}@${model.version}`;
  const set = await readSealedSet(model, signal);
  const { base } = requirePolicy(policy, { model: ref, ...set, keys, atMs, sealed: true });
  const { pem, keyId } = base.manifest.signerKey;
  if (keys.length > 0 && !keys.some((key) => key.keyId === keyId))
    throw signingError("SIGNER_NOT_TRUSTED", { detail: `the policy accepts key ${keyId}, --trust does not name it` });
  return { publicKeys: [pem], filesDigest: filesDigestOf(base.manifest) };
}

/** What lies beside the signature, and what was made where the model was sealed. */
async function readSealedSet({ store_uri, prefix }: PublishedModel, signal?: AbortSignal): Promise<SignatureSet> {
  const store = await openBlobStore(store_uri, signal ? { signal } : {});
  const place = (name: string) => (prefix === "" ? name : `${prefix}/${name}`);
  const { signatures, statements } = await readStoredSignatureSet(store, place(SEALED_NAMES.bundle));
  const sealed: NamedBytes[] = [];
  for (const name of [SEALED_NAMES.seal, SEALED_NAMES.bom, SEALED_NAMES.findings]) {
    if (!(await store.stat(place(name)))) continue;
    sealed.push({ name: place(name), bytes: await store.readAll(place(name), SIGNING_LIMITS.statementBytes) });
  }
  return { signatures, statements: [...sealed, ...statements] };
}
