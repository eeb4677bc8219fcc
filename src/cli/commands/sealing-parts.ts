/** modelkeep seal --part and --join: one model, sealed by several machines. */
import type { BlobStore } from "../../artifact/index.ts";
import type { KeyWrapper } from "../../backends/index.ts";
import { files, readFileBounded } from "../../host/index.ts";
import { joinParts, type LeafHashName, SEALING_LIMITS, type SealedPackage, sealPart } from "../../sealing/index.ts";
import { type ModelSigner, pinKeys, SIGNING_LIMITS, verifyBundle } from "../../signing/index.ts";
import type { CommandContext, CommandInput, CommandOption, CommandResult } from "../command.ts";
import { cliError } from "../errors.ts";
import { signatureOf } from "./signing.ts";
import { readPem } from "./signing-trust.ts";

export const PARTS_OPTIONS: readonly CommandOption[] = [
  { flag: "--part", value: "I/N", about: "seal part I of N, from 0, of a signed model; --join comes last" },
  { flag: "--join", about: "sign and publish what the parts sealed; the model's own files are not read" },
  { flag: "--trust", value: "PEM", about: "with --part, in place of --key: the public key that signed the model" },
];

export interface PartsInput {
  readonly root: string;
  readonly store: BlobStore;
  readonly prefix: string;
  readonly wrappers: readonly KeyWrapper[];
}

/** Throws USAGE for what does not go together. */
export function readPart(input: CommandInput): { readonly part: number; readonly parts: number } | undefined {
  const text = input.text("--part");
  if (text === undefined && input.text("--trust") !== undefined)
    throw cliError("USAGE", { detail: "--trust belongs to --part: who seals or joins signs with --key" });
  if (text === undefined) return undefined;
  if (input.on("--join")) throw cliError("USAGE", { detail: "--part and --join are two steps" });
  const [, part, parts] = /^(\d{1,4})\/(\d{1,4})$/.exec(text)?.map(Number) ?? [];
  if (part === undefined || parts === undefined || part >= parts || parts > SEALING_LIMITS.parts)
    throw cliError("USAGE", {
      detail: `--part ${text.slice(0, 40)}: the first of four is 0/4, the last 3/4, and ${SEALING_LIMITS.parts} are possible`,
    });
  return { part, parts };
}

/** Needs no private key: a public one, or none but a path to it. */
export async function sealOnePart(
  context: CommandContext,
  input: CommandInput,
  at: PartsInput & { readonly part: number; readonly parts: number },
  openKey: () => Promise<ModelSigner>,
): Promise<CommandResult> {
  const trusted = input.text("--trust");
  const pem = trusted === undefined ? (await openKey()).publicKeyPem : await readPem(context, trusted);
  const bundle = await readSignature(at.root);
  const { random, progress, signal } = context;
  const leafHash = input.text("--leaf-hash") as LeafHashName | undefined;
  const manifest = verifyBundle(bundle, pinKeys([pem]));
  const watched = { random, progress, signal, ...(leafHash === undefined ? {} : { leafHash }) };
  const sealed = await sealPart({ ...at, ...watched, manifest });
  const data = {
    ...placeData(at),
    package_id: sealed.packageId,
    root_digest: sealed.rootDigest,
    part: at.part,
    parts: at.parts,
    pieces: sealed.pieces,
    resumed_pieces: sealed.resumedPieces,
  };
  const resumed = sealed.resumedPieces > 0 ? `, ${sealed.resumedPieces} were there already` : "";
  return { data, text: `sealed part ${at.part}/${at.parts}: ${sealed.pieces} pieces${resumed}` };
}

export async function joinAll(
  context: CommandContext,
  { root, ...at }: PartsInput,
  signer: ModelSigner,
): Promise<SealedPackage> {
  const bundle = await readSignature(root);
  const manifest = verifyBundle(bundle, pinKeys([signer.publicKeyPem]));
  const { random, progress, signal } = context;
  return joinParts({ ...at, bundle, manifest, signer, random, progress, signal });
}

const placeData = ({ store, prefix }: PartsInput) => ({ store: store.uri, prefix });

/** Parts that each signed anew would each read the whole model. */
async function readSignature(root: string): Promise<Uint8Array> {
  const signature = await signatureOf(root);
  if (await files.lstat(signature).catch(() => undefined))
    return readFileBounded(signature, SIGNING_LIMITS.bundleBytes);
  throw cliError("USAGE", {
    detail: `${signature} is not there: parts need a signed model`,
    hint: "modelkeep sign MODEL --key KEY",
  });
}
