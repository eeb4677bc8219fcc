/** modelkeep sign and verify: OMS signatures of a model on disk. */
import { basename, join, relative, resolve, sep } from "node:path";
import { EXIT, ModelkeepError } from "../../base/index.ts";
import { files, writeFileAtomic } from "../../host/index.ts";
import { listSiblings, signModel, type VerifyReport, verifyModel } from "../../signing/index.ts";
import type { Command, CommandContext, CommandInput, CommandOption, CommandResult } from "../command.ts";
import { cliError } from "../errors.ts";
import {
  ATTACH_OPTIONS,
  furtherSignature,
  mustBeOfModel,
  mustBeSigned,
  placesOf,
  readAttachments,
  writeAttachments,
} from "./attach.ts";
import { CONTENT_OPTIONS, HASH_OPTIONS, hashingOf, readContent } from "./signing-content.ts";
import { judgeSignatures, POLICY_OPTIONS, readAsked, refusedResult, withJudgement } from "./signing-policy.ts";
import { ANY_SIGNER_OPTIONS, readSigner } from "./signing-signer.ts";
import { seenData, seenText, signerData, signerText, TRUST_OPTIONS } from "./signing-trust.ts";

export { KEY_ABOUT } from "./signing-signer.ts";
export { readPem as readPublicKey } from "./signing-trust.ts";

const SIGNATURE_FILE = "model.sig";
const SKILL_SIGNATURE_FILE = "skill.oms.sig";

const IGNORE: CommandOption = {
  flag: "--ignore",
  value: "PATH",
  about: "file or folder to leave out, relative to the model",
  repeatable: true,
};

/** The model's real path: what was checked does not move when a link on the way does. */
export async function modelRoot(context: CommandContext, input: CommandInput): Promise<string> {
  const path = resolve(context.cwd, input.args[0] ?? "");
  return files.realpath(path).catch(() => path);
}

/** Paths as the signature names them; the files of the signature itself are among them. */
export function ignoredPaths(root: string, input: CommandInput, signatures: readonly string[]): string[] {
  const given = input.all("--ignore").map((path) => {
    const clean = path.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
    if (clean === "" || clean.startsWith("/") || clean.split("/").some((part) => ["", ".", ".."].includes(part)))
      throw cliError("USAGE", { detail: `--ignore ${path}: it is a path inside the model, without . and ..` });
    return clean;
  });
  return [...new Set([...given, ...signatures.flatMap((path) => inside(root, path))])];
}

function inside(root: string, path: string): string[] {
  const inner = relative(root, path);
  return inner === "" || inner.startsWith("..") ? [] : [inner.split(sep).join("/")];
}

/** Where a model's own signature lies: in the folder, or beside a single file. Agent skills have a name of their own. */
export async function signatureOf(root: string): Promise<string> {
  const isFile = async (path: string) => (await files.stat(path).catch(() => undefined))?.isFile() === true;
  if (await isFile(root)) return `${root}.sig`;
  return join(root, (await isFile(join(root, "SKILL.md"))) ? SKILL_SIGNATURE_FILE : SIGNATURE_FILE);
}

export const sign: Command = {
  name: "sign",
  about:
    "Sign a model with an EC key, alone or with its certificate, or with an identity, as an OpenSSF Model Signing bundle.",
  examples: [
    { line: "modelkeep sign ./my-model --key signer.pem", about: "writes ./my-model/model.sig" },
    { line: "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signer.pem", about: "makes a key" },
    { line: "openssl pkey -in signer.pem -pubout -out signer.pub", about: "the public half, for who verifies" },
    {
      line: "modelkeep sign ./my-model --key signer.pem --attach bom=bom.json --attach slsa=training.yaml",
      about: "with statements beside the signature",
    },
    {
      line: "modelkeep sign ./my-model --key signer.pem --certificate signer.crt --chain chain.pem",
      about: "for who trusts the authority",
    },
    {
      line: "modelkeep sign ./my-model --key signer.pem --certificate signer.crt --timestamp https://tsa.example.com",
      about: "still verifies when the certificate has expired",
    },
    {
      line: "modelkeep sign ./my-model --keyless",
      about: "with the identity of a CI job, logged in public; --signing-config and --trusted-root for an own Sigstore",
    },
  ],
  args: [{ name: "MODEL", about: "folder, or a single file" }],
  options: [
    ...ANY_SIGNER_OPTIONS,
    {
      flag: "--output",
      value: "FILE",
      about: "where the signature goes; model.sig in the model when absent, skill.oms.sig in an agent skill",
    },
    ...ATTACH_OPTIONS,
    IGNORE,
    ...HASH_OPTIONS,
    ...CONTENT_OPTIONS,
  ],
  async run(context, input) {
    const root = await modelRoot(context, input);
    const given = input.text("--output");
    const main = given === undefined ? await signatureOf(root) : resolve(context.cwd, given);
    if (input.on("--add")) await mustBeSigned(main);
    const attachments = await readAttachments(context, input);
    const { signer, keyless } = await readSigner(context, input);
    const siblings = new Set([...(await listSiblings(main)), ...placesOf(main, attachments)]);
    const output = input.on("--add") ? furtherSignature(main, signer) : main;
    const ignore = ignoredPaths(root, input, [main, output, ...siblings]);
    const hashed = await signModel({
      ...hashingOf(input),
      root: await readContent(input, root),
      signer,
      ignore,
      allowSymlinks: input.on("--allow-symlinks"),
      progress: context.progress,
      signal: context.signal,
    });
    const { bundle, rootDigest, files: signed } = hashed;
    if (input.on("--add")) await mustBeOfModel(main, rootDigest);
    const statements = await writeAttachments(main, attachments, { rootDigest, name: basename(root), signer });
    await writeFileAtomic(output, bundle);
    const data = { signature: output, root_digest: rootDigest, key_id: signer.keyId, files: signed.length, statements };
    const identity = keyless?.identity;
    const by = identity ? { signer: signerData(identity) } : {};
    const text = [`signed ${signed.length} files as ${rootDigest}`, output, ...statements];
    return { data: { ...data, ...by }, text: identity ? [...text, `signed by ${signerText(identity)}`] : text };
  },
};

export const verify: Command = {
  name: "verify",
  about: "Verify a model against its signature: every file, and no other. Exit 4 when it is not what was signed.",
  examples: [
    {
      line: "modelkeep verify ./my-model --signature ./my-model/model.sig --public-key signer.pub",
      about: "lists every file that is changed, missing or extra",
    },
    {
      line: "modelkeep verify ./my-model --signature model.sig --ca ca.pem --subject CN=Signer,O=Example,C=US",
      about: "signed under an authority, by exactly this subject",
    },
    {
      line: "modelkeep verify ./my-model --ca ca.pem --subject CN=Signer --tsa tsa.pem --crl ca.crl --require-revocation-check",
      about: "signed before the certificate expired or was revoked",
    },
    {
      line: "modelkeep verify ./my-model --signature model.sig --identity me@example.com --issuer https://id.example.com",
      about: "signed with Sigstore; nothing is fetched",
    },
    {
      line: "modelkeep verify ./my-model --policy signers.yaml --model my-model@7",
      about: "by a policy: who may sign which model, how many of them, and with which statements",
    },
  ],
  args: [{ name: "MODEL", about: "folder, or a single file" }],
  options: [
    { flag: "--signature", value: "FILE", about: "the bundle; where sign puts it when absent" },
    ...TRUST_OPTIONS,
    ...POLICY_OPTIONS,
    IGNORE,
    { flag: "--ignore-unsigned", about: "files that the signature does not list are no failure" },
    ...CONTENT_OPTIONS,
  ],
  async run(context, input) {
    const root = await modelRoot(context, input);
    const given = input.text("--signature");
    const signature = given === undefined ? await signatureOf(root) : resolve(context.cwd, given);
    const asked = await readAsked(context, input, root);
    const real = await files.realpath(signature).catch(() => signature);
    const options = {
      root: await readContent(input, root),
      ignore: ignoredPaths(root, input, [signature, real, ...(await listSiblings(signature))]),
      ignoreUnsigned: input.on("--ignore-unsigned"),
      allowSymlinks: input.on("--allow-symlinks"),
      progress: context.progress,
      signal: context.signal,
    };
    return judged(context, async () => {
      const { signed, judgement } = await judgeSignatures(asked, signature);
      if (!signed) return refusedResult(judgement);
      return withJudgement(resultOf(await verifyModel({ ...options, ...signed })), judgement);
    });
  },
};

function resultOf({ verdict, manifest, findings, findingsTotal }: VerifyReport): CommandResult {
  const more = findingsTotal > findings.length ? [`and ${findingsTotal - findings.length} more`] : [];
  const failed = [...findings.map(({ rule, path, message }) => `${rule}: ${path} ${message}`), ...more];
  return {
    data: {
      verdict,
      findings,
      findings_total: findingsTotal,
      root_digest: manifest.rootDigest,
      key_id: manifest.keyId,
      signer: signerData(manifest.signer),
      ...(manifest.seenAt ? { seen_at: seenData(manifest.seenAt) } : {}),
      files: manifest.resources.length,
    },
    text:
      verdict === "verified"
        ? [
            `verified: ${manifest.resources.length} ${manifest.serialization.method}, root ${manifest.rootDigest}`,
            `signed by ${signerText(manifest.signer)}`,
            ...(manifest.seenAt ? [seenText(manifest.seenAt)] : []),
          ]
        : [`failed: ${findingsTotal} findings`, ...failed],
    exit: verdict === "verified" ? EXIT.done : EXIT.verificationFailed,
  };
}

/** Under --json a refusal has the shape of every other verdict; what could not be judged stays an error. */
async function judged(context: CommandContext, work: () => Promise<CommandResult>): Promise<CommandResult> {
  try {
    return await work();
  } catch (error) {
    const refused = error instanceof ModelkeepError && error.exit === EXIT.verificationFailed;
    if (!refused || !context.json) throw error;
    context.talk(`error: ${error.message}`);
    const finding = { rule: error.code.toLowerCase().replaceAll("_", "-"), path: ".", message: error.message };
    return { data: { verdict: "failed", findings: [finding], findings_total: 1 }, exit: error.exit };
  }
}
