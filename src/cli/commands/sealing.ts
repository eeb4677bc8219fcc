/** modelkeep kms init, seal, open, rewrap, shred: models that only the holder of a KMS key can read. */
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type BlobStore, openBlobStore } from "../../artifact/index.ts";
import { createKeyFile, openKeyWrapper } from "../../backends/index.ts";
import { ModelkeepError } from "../../base/index.ts";
import { files, readFileBounded } from "../../host/index.ts";
import {
  inspectSealed,
  LEAF_HASHES,
  type LeafHashName,
  rewrapSealed,
  sealingError,
  sealModel,
  shredSealed,
} from "../../sealing/index.ts";
import { type ModelSigner, pinKeys, SIGNING_LIMITS, signModel, verifyBundle } from "../../signing/index.ts";
import type { Command, CommandArgument, CommandContext, CommandInput, CommandOption } from "../command.ts";
import { requireYes, YES } from "../confirm.ts";
import { cliError } from "../errors.ts";
import { OUTPUT_OPTIONS, openInto } from "./open-output.ts";
import { joinAll, PARTS_OPTIONS, type PartsInput, readPart, sealOnePart } from "./sealing-parts.ts";
import { modelRoot, signatureOf } from "./signing.ts";
import { ANY_SIGNER_OPTIONS, readSigner } from "./signing-signer.ts";
import { readTrust, signerData, TRUST_OPTIONS } from "./signing-trust.ts";
import { FROM_KMS, FROM_PASSPHRASE_FILE, openFormerWrappers, openWrappers, PASSPHRASE_FILE } from "./wrappers.ts";

export const SEALED: CommandArgument = { name: "SEALED", about: "folder of the sealed model, or URI of its store" };
export const PREFIX: CommandOption = { flag: "--prefix", value: "PREFIX", about: "where it lies in the store" };

/** A folder by path, or a store by URI. */
export function openPlace(context: CommandContext, place: string): Promise<BlobStore> {
  const isUri = /^[a-z][a-z0-9+.-]*:/i.test(place);
  return openBlobStore(isUri ? place : pathToFileURL(resolve(context.cwd, place)).href, context);
}

export async function sealedPlace(context: CommandContext, input: CommandInput) {
  return { store: await openPlace(context, input.args[0] ?? ""), prefix: input.text("--prefix") ?? "" };
}

export const kmsInit: Command = {
  name: "kms init",
  about: "Make a key file that can wrap the keys of models. No other command makes one.",
  examples: [
    { line: "modelkeep kms init file:///etc/modelkeep/models.kek", about: "a new key, in a file of mode 0600" },
  ],
  args: [{ name: "URI", about: "file:///PATH" }],
  async run(context, input) {
    const uri = input.args[0] ?? "";
    if (!/^file:\/\/\/./.test(uri))
      throw cliError("USAGE", {
        detail: `${uri.slice(0, 80)}: this version makes key files`,
        hint: "modelkeep kms init file:///PATH",
      });
    const created = await createKeyFile(uri, context.random);
    await openKeyWrapper(uri, { random: context.random });
    return {
      data: { kms: uri, created },
      text: created ? `made ${uri}` : `${uri} is there already and was left alone`,
    };
  },
};

export const seal: Command = {
  name: "seal",
  about: "Encrypt a model for who holds a KMS key. Signs it first when it has no model.sig. Goes on where it stopped.",
  examples: [
    {
      line: "modelkeep seal ./my-model --key signer.pem --kms file:///etc/modelkeep/models.kek --output ./sealed",
      about: "into a folder",
    },
    {
      line: "modelkeep seal ./my-model --key signer.pem --kms URI --output file:///srv/models --prefix my-model/1",
      about: "into a store",
    },
    {
      line: "modelkeep seal ./my-model --part 0/4 --trust signer.pub --kms URI --output s3://my-bucket/my-model",
      about: "one of four machines; a last one says --join --key signer.pem",
    },
  ],
  args: [{ name: "MODEL", about: "folder, or a single file" }],
  options: [
    { flag: "--kms", value: "URI", about: "key that may open it", repeatable: true, required: true },
    PASSPHRASE_FILE,
    ...ANY_SIGNER_OPTIONS,
    { flag: "--output", value: "DIR|URI", about: "where the sealed model goes", required: true },
    {
      flag: "--leaf-hash",
      value: "NAME",
      about: "of the segments; blake3 where it is installed, else sha256, which every reader has",
      choices: LEAF_HASHES,
    },
    ...PARTS_OPTIONS,
    PREFIX,
  ],
  async run(context, input) {
    const root = await modelRoot(context, input);
    const part = readPart(input);
    const openKey = async () => (await readSigner(context, input)).signer;
    const place = async () => ({
      root,
      wrappers: await openWrappers(context, input),
      store: await openPlace(context, input.need("--output")),
      prefix: input.text("--prefix") ?? "",
    });
    if (part) return sealOnePart(context, input, { ...(await place()), ...part }, openKey);
    const signer = await openKey();
    const at = await place();
    const { store, prefix } = at;
    const sealed = input.on("--join")
      ? await joinAll(context, at, signer)
      : await sealWhole(context, at, signer, input.text("--leaf-hash") as LeafHashName | undefined);
    const data = {
      store: store.uri,
      prefix,
      package_id: sealed.packageId,
      root_digest: sealed.rootDigest,
      files: sealed.files.length,
      resumed_files: sealed.resumedFiles,
    };
    return { data, text: `sealed ${data.files} files, root ${data.root_digest}\n${store.uri} ${prefix}`.trimEnd() };
  },
};

async function sealWhole(context: CommandContext, at: PartsInput, signer: ModelSigner, leafHash?: LeafHashName) {
  const signed = await signedBy(context, at.root, signer);
  const { random, progress, signal } = context;
  const watched = { random, progress, signal, ...(leafHash === undefined ? {} : { leafHash }) };
  return sealModel({ ...signed, ...at, signer, ...watched });
}

/** The signature that is there, else a new one over every file; either way of the key that seals. */
async function signedBy(context: CommandContext, root: string, signer: ModelSigner) {
  const signature = await signatureOf(root);
  const isThere = await files.lstat(signature).catch(() => undefined);
  const bundle = isThere
    ? await readFileBounded(signature, SIGNING_LIMITS.bundleBytes)
    : (await signModel({ root, signer, ignore: [basename(signature)], progress: context.progress })).bundle;
  try {
    return { bundle, manifest: verifyBundle(bundle, pinKeys([signer.publicKeyPem])) };
  } catch (error) {
    const another = error instanceof ModelkeepError && error.code === "SIGNER_NOT_TRUSTED";
    throw another ? sealingError("SEALER_NOT_SIGNER", { detail: signature }) : error;
  }
}

export const open: Command = {
  name: "open",
  about: "Verify and decrypt a sealed model into a new folder. Its plaintext is on the disk then: `run` avoids that.",
  examples: [
    {
      line: "modelkeep open ./sealed --kms file:///etc/modelkeep/models.kek --trust signer.pub --output ./my-model",
      about: "a folder of mode 0700 that appears whole or not at all",
    },
    {
      line: "modelkeep open ./sealed --kms URI --trust signer.pub --hf-cache ~/.cache/huggingface/hub --hf-repo acme/model",
      about: "where transformers find it offline",
    },
    {
      line: "modelkeep open ./sealed --kms URI --ca ca.pem --subject CN=Signer,O=Example,C=US --output ./my-model",
      about: "sealed under an authority; --identity and --issuer for a keyless signer",
    },
  ],
  args: [SEALED],
  options: [
    { flag: "--kms", value: "URI", about: "key that opens it", repeatable: true, required: true },
    PASSPHRASE_FILE,
    { flag: "--trust", value: "PEM", about: "public key of a signer you trust", repeatable: true },
    ...TRUST_OPTIONS.filter(({ flag }) => flag !== "--public-key"),
    ...OUTPUT_OPTIONS,
    { flag: "--root-digest", value: "HEX", about: "the model that it must be; an older one is refused then" },
    PREFIX,
  ],
  async run(context, input) {
    const rootDigest = input.text("--root-digest");
    const { random, progress, signal } = context;
    const { opened, output } = await openInto(context, input, {
      ...(await sealedPlace(context, input)),
      trust: await readTrust(context, input, "--trust"),
      wrappers: await openWrappers(context, input),
      random,
      progress,
      signal,
      ...(rootDigest === undefined ? {} : { rootDigest: rootDigest.toLowerCase() }),
    });
    const { manifest, packageId } = opened;
    const data = {
      verdict: "verified",
      findings: [],
      output,
      package_id: packageId,
      root_digest: manifest.rootDigest,
      key_id: manifest.keyId,
      signer: signerData(manifest.signer),
      files: opened.files.length,
    };
    return { data, text: `verified and opened ${data.files} files, root ${data.root_digest}\n${output}` };
  },
};

export const rewrap: Command = {
  name: "rewrap",
  about: "Wrap a sealed model's key for other KMS keys; who is not named can no longer open it. The payload stays.",
  examples: [
    {
      line: "modelkeep rewrap ./sealed --from-kms file:///etc/modelkeep/old.kek --kms file:///etc/modelkeep/new.kek",
      about: "moves to a new key",
    },
  ],
  args: [SEALED],
  options: [
    { flag: "--kms", value: "URI", about: "key that may open it from now on", repeatable: true, required: true },
    PASSPHRASE_FILE,
    FROM_KMS,
    FROM_PASSPHRASE_FILE,
    PREFIX,
  ],
  async run(context, input) {
    const { store, prefix } = await sealedPlace(context, input);
    const to = await openWrappers(context, input);
    const from = (await openFormerWrappers(context, input)) ?? to;
    const { package_id, recipients } = await rewrapSealed(store, prefix, from, to);
    const data = { package_id, recipients: recipients.map(({ ciphertext: _, ...shown }) => shown) };
    return { data, text: `wrapped for ${recipients.map(({ kms }) => kms).join(", ")}` };
  },
};

export const shred: Command = {
  name: "shred",
  about: "Delete the wrapped keys of a sealed model: without a copy of them elsewhere nobody can ever read it again.",
  examples: [{ line: "modelkeep shred ./sealed --yes", about: "without --yes nothing happens" }],
  args: [SEALED],
  options: [YES, PREFIX],
  async run(context, input) {
    const { store, prefix } = await sealedPlace(context, input);
    const place = `${input.args[0]}${prefix === "" ? "" : ` --prefix ${prefix}`}`;
    requireYes(input, "this cannot be undone", `modelkeep shred ${place}`);
    const { packageId } = await inspectSealed(store, prefix);
    const shredded = await shredSealed(store, prefix);
    const text = shredded
      ? `shredded ${packageId}; copies of the envelope elsewhere still open it`
      : "there was no key";
    return { data: { package_id: packageId, shredded }, text };
  },
};
