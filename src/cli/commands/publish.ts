/** modelkeep publish MODEL: scan, bill of materials, advisories, signature, seal, push, register; in one command that can be repeated. */
import { basename, relative, resolve, sep } from "node:path";
import { ModelkeepError } from "../../base/index.ts";
import { type AdvisoryIndex, defaultAdvisoriesPath, openAdvisories } from "../../bom/index.ts";
import { files, homeDirectory } from "../../host/index.ts";
import { publishSealed } from "../../publisher/index.ts";
import {
  listSiblings,
  readSignatureSet,
  readSignerPolicy,
  type SignatureSet,
  type SignerPolicy,
} from "../../signing/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { readVexFiles } from "./bom-match.ts";
import { foundText } from "./model.ts";
import { openPlace } from "./sealing.ts";
import { modelRoot, signatureOf } from "./signing.ts";
import { ANY_SIGNER_OPTIONS, readSigner } from "./signing-signer.ts";
import { openWrappers, PASSPHRASE_FILE } from "./wrappers.ts";

export const publish: Command = {
  name: "publish",
  about:
    "Scan a model, list what it is made of, match that against advisories, sign, seal, push and register it. Goes on where it stopped.",
  examples: [
    {
      line: "modelkeep publish ./my-model --to file:///srv/models --key signer.pem --kms file:///etc/modelkeep/models.kek",
      about: "as my-model@1",
    },
    {
      line: "modelkeep publish ./my-model --name chat --version 7 --lockfile uv.lock --to file:///srv/models --key signer.pem --kms URI",
      about: "as chat@7, with the libraries it is served by",
    },
  ],
  args: [{ name: "MODEL", about: "folder, or a single file" }],
  options: [
    { flag: "--to", value: "STORE", about: "where the sealed model goes: file:///FOLDER", required: true },
    ...ANY_SIGNER_OPTIONS,
    {
      flag: "--kms",
      value: "URI",
      about: "key that may open it; the server must have it",
      repeatable: true,
      required: true,
    },
    PASSPHRASE_FILE,
    { flag: "--name", value: "NAME", about: "name of the model; that of the folder when absent" },
    { flag: "--version", value: "VERSION", about: "version of the model", default: "1" },
    {
      flag: "--lockfile",
      value: "FILE",
      about: "a lockfile outside the folder; those inside are found",
      repeatable: true,
    },
    { flag: "--advisories", value: "FILE", about: "an index of advisories instead of what was imported" },
    { flag: "--vex", value: "FILE", about: "what you say of weaknesses: OpenVEX, CycloneDX or CSAF", repeatable: true },
    {
      flag: "--signer-policy",
      value: "FILE",
      about: "who may sign which model: what it would not accept is not published",
    },
    { flag: "--allow-findings", about: "go on when the scan is not clean; the server's policy decides" },
  ],
  async run(context, input) {
    const api = await context.client();
    const root = await modelRoot(context, input);
    const { signer } = await readSigner(context, input);
    const wrappers = await openWrappers(context, input);
    const policy = await policyFor(context, input);
    const advisories = await advisoriesFor(context, input);
    try {
      const done = await publishSealed({
        root,
        name: input.text("--name") ?? basename(root).toLowerCase(),
        version: input.text("--version") ?? "1",
        signer,
        wrappers,
        store: await openPlace(context, input.need("--to")),
        lockfiles: input.all("--lockfile").map((path) => resolve(context.cwd, path)),
        ...(advisories ? { advisories } : {}),
        vex: await readVexFiles(context, input.all("--vex")),
        ...(await readBeside(root)),
        ...(policy ? { signers: { policy, atMs: context.clock.now() } } : {}),
        allowFindings: input.on("--allow-findings"),
        api,
        random: context.random,
        progress: context.progress,
        signal: context.signal,
        onStep: (step, about) => context.talk(`${step.padEnd(8)}  ${about}`),
      });
      const { model, already, packages, matches } = done;
      const ref = `${model.name}@${model.version}`;
      return {
        data: { ...model, already, packages, matches },
        text: `${already ? "was published before" : "published"}: ${ref}, ${model.scan_verdict}, ${foundText(model)}\nroot ${model.root_digest}`,
      };
    } finally {
      advisories?.close();
    }
  },
};

async function policyFor(context: CommandContext, input: CommandInput): Promise<SignerPolicy | undefined> {
  const file = input.text("--signer-policy");
  return file === undefined ? undefined : readSignerPolicy(resolve(context.cwd, file));
}

/** The signatures and statements that lie in the model are published with it, and are no part of it. */
async function readBeside(root: string): Promise<{ ignore: string[]; beside?: SignatureSet }> {
  const signature = await signatureOf(root);
  const inside = (path: string) => relative(root, path).split(sep).join("/");
  const ignore = [signature, ...(await listSiblings(signature))].map(inside).filter((path) => !path.startsWith(".."));
  const signed = await files.stat(signature).catch(() => undefined);
  return signed?.isFile() ? { ignore, beside: await readSignatureSet(signature) } : { ignore };
}

/** What was imported on this machine; nothing when nobody imported any, which the findings statement then says. */
async function advisoriesFor(context: CommandContext, input: CommandInput): Promise<AdvisoryIndex | undefined> {
  const given = input.text("--advisories");
  if (given !== undefined) return openAdvisories(resolve(context.cwd, given));
  try {
    return await openAdvisories(defaultAdvisoriesPath(context.env, homeDirectory()));
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code !== "ADVISORIES_MISSING") throw error;
    context.talk("no advisories were imported, so nothing is matched: modelkeep advisories import all.zip");
    return undefined;
  }
}
