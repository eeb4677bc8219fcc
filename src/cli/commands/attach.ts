/** Options of modelkeep sign for what lies beside a signature: statements, and the signatures of further signers. */
import { basename, join, resolve } from "node:path";
import { fromUtf8, parseJson, utf8 } from "../../base/index.ts";
import { files, readFileBounded, writeFileAtomic } from "../../host/index.ts";
import {
  ATTACHABLE_TYPES,
  type ModelSigner,
  makeProvenance,
  makeStatement,
  readSignedRoot,
  SIGNING_LIMITS,
  type StatementType,
  siblingFolder,
  signingError,
} from "../../signing/index.ts";
import type { CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

export const ATTACH_OPTIONS: readonly CommandOption[] = [
  {
    flag: "--attach",
    value: "TYPE=FILE",
    about: `sign a statement too: ${ATTACHABLE_TYPES.join(", ")}; slsa also from a training descriptor in YAML`,
    repeatable: true,
  },
  { flag: "--add", about: "sign beside the signature that is there, as a further signer" },
];

export interface Attachment {
  readonly type: StatementType;
  readonly predicate: unknown;
}

/** Everything is read and checked before anything is signed. */
export async function readAttachments(context: CommandContext, input: CommandInput): Promise<Attachment[]> {
  const attachments: Attachment[] = [];
  for (const word of input.all("--attach")) {
    const [name = "", ...path] = word.split("=");
    const type = ATTACHABLE_TYPES.find((known) => known === name);
    if (!type || path.length === 0)
      throw cliError("USAGE", {
        detail: `--attach ${word.slice(0, 100)}: TYPE=FILE with ${ATTACHABLE_TYPES.join(", ")}`,
      });
    if (attachments.some((other) => other.type === type))
      throw cliError("USAGE", { detail: `--attach ${type} is there twice` });
    attachments.push({ type, predicate: await readPredicate(context, type, path.join("=")) });
  }
  return attachments;
}

async function readPredicate(context: CommandContext, type: StatementType, path: string): Promise<unknown> {
  const bytes = await readFileBounded(resolve(context.cwd, path), SIGNING_LIMITS.statementBytes);
  const isJson = /^\s*\{/.test(fromUtf8(bytes.subarray(0, 64)));
  if (type === "slsa" && !isJson) return makeProvenance(bytes, context.env);
  return parseJson(bytes, { maxBytes: SIGNING_LIMITS.statementBytes, what: path });
}

export function placesOf(signature: string, attachments: readonly Attachment[]): string[] {
  return attachments.map(({ type }) => join(siblingFolder(signature), `${type}.json`));
}

/** All are signed before the first is written. */
export async function writeAttachments(
  signature: string,
  attachments: readonly Attachment[],
  about: { readonly rootDigest: string; readonly name: string; readonly signer: ModelSigner },
): Promise<string[]> {
  const made: string[] = [];
  for (const { type, predicate } of attachments) made.push(await makeStatement(type, { ...about, predicate }));
  const places = placesOf(signature, attachments);
  if (places.length > 0) await files.mkdir(siblingFolder(signature), { recursive: true });
  for (const [index, place] of places.entries()) await writeFileAtomic(place, utf8(made[index] ?? ""));
  return places;
}

/** One per key: who signs again replaces only the own signature. */
export function furtherSignature(signature: string, signer: ModelSigner): string {
  return join(siblingFolder(signature), `${signer.keyId.slice(0, 16)}.sig`);
}

/** Before anything is hashed. */
export async function mustBeSigned(signature: string): Promise<void> {
  const found = await files.stat(signature).catch(() => undefined);
  if (found?.isFile()) return;
  const hint = "modelkeep sign MODEL --key signer.pem makes the first signature, without --add";
  throw cliError("USAGE", { detail: `there is no ${basename(signature)} to add a signature to`, hint });
}

/** A further signer signs what the first one did, or learns now that the files are others. Makes the folder. */
export async function mustBeOfModel(signature: string, rootDigest: string): Promise<void> {
  const first = readSignedRoot(await readFileBounded(signature, SIGNING_LIMITS.bundleBytes));
  if (first !== rootDigest)
    throw signingError("MODEL_NOT_AS_SIGNED", {
      detail: `${basename(signature)} is over ${first}, here is ${rootDigest}`,
    });
  await files.mkdir(siblingFolder(signature), { recursive: true });
}
