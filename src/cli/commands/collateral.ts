/** modelkeep collateral fetch|export|import: what vendors sign, kept for machines with and without a network. */
import { basename, join, resolve } from "node:path";
import {
  APPRAISAL_LIMITS,
  attestationError,
  createFetcher,
  fetchCollateral,
  loadCollateral,
  makeBundle,
  type NamedFile,
  openBundle,
  readCollateralFiles,
  readCollateralSet,
  TEE_KINDS,
} from "../../attestation/index.ts";
import { fromUtf8, utf8 } from "../../base/index.ts";
import { files, readFileBounded, systemFetch, writeFileAtomic } from "../../host/index.ts";
import { dataFolder } from "../../server/index.ts";
import { loadTrustedKey, openSigner } from "../../signing/index.ts";
import type { Command, CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";
import { KEY_ABOUT, readPublicKey } from "./signing.ts";

const BUNDLE_BYTES = 64 * 1024 * 1024;
/** In the folder: when the bundle was made that was imported last. Names with a dot in front are no collateral. */
const STAMP = ".imported";
const STAMP_BYTES = 64;
const PRODUCTS = ["Milan", "Genoa", "Turin"] as const;

const FOLDER: CommandOption = {
  flag: "--folder",
  value: "DIR",
  about: "where collateral is kept; in the data folder when absent",
};

function folderOf(context: CommandContext, input: CommandInput): string {
  const given = input.text("--folder");
  return given === undefined ? join(dataFolder(context.env), "collateral") : resolve(context.cwd, given);
}

export const collateralFetch: Command = {
  name: "collateral fetch",
  about: "Fetch what judging this evidence needs from its vendor: certificates, revocation lists, TCB info, manifests.",
  examples: [
    { line: "modelkeep collateral fetch quote.bin --kind tdx", about: "from Intel, into the data folder" },
    { line: "modelkeep collateral fetch quote.bin --kind tdx --pcs https://pccs.example:8081", about: "from a cache" },
  ],
  args: [{ name: "EVIDENCE", about: "file, as attest verify takes it" }],
  options: [
    { flag: "--kind", value: "KIND", about: "the TEE that made it", choices: TEE_KINDS, required: true },
    { flag: "--chain", value: "FILE", about: "for a GPU's report alone: its certificates", repeatable: true },
    { flag: "--product", value: "NAME", about: "for SEV-SNP reports of version 2", choices: PRODUCTS },
    FOLDER,
    { flag: "--kds", value: "URL", about: "in place of AMD's service" },
    { flag: "--pcs", value: "URL", about: "in place of Intel's service, for example a PCCS" },
    { flag: "--rim", value: "URL", about: "in place of NVIDIA's service of manifests" },
    { flag: "--ocsp", value: "URL", about: "in place of NVIDIA's OCSP responder" },
    { flag: "--nras", value: "URL", about: "in place of the key set of NVIDIA's attestation service" },
  ],
  async run(context, input) {
    const kind = TEE_KINDS.find((word) => word === input.need("--kind")) ?? "snp";
    const product = PRODUCTS.find((word) => word === input.text("--product"));
    const path = (name: string) => resolve(context.cwd, name);
    const evidence = input.args[0];
    if (evidence === undefined) throw cliError("USAGE", { detail: "EVIDENCE is missing" });
    const { chains } = await loadCollateral(input.all("--chain").map(path));
    const found = await fetchCollateral({
      ...{ kind, chains, services: servicesOf(input), fetcher: fetcherOf(context), random: context.random },
      evidence: await readFileBounded(path(evidence), APPRAISAL_LIMITS.evidenceBytes),
      ...(product === undefined ? {} : { product }),
    });
    readCollateralSet(found);
    const folder = folderOf(context, input);
    await writeFiles(folder, found);
    return told(folder, found, `modelkeep attest verify ${evidence} --kind ${kind} --collateral ${folder}`);
  },
};

function servicesOf(input: CommandInput) {
  const given = (["kds", "pcs", "rim", "ocsp", "nras"] as const).flatMap((name) => {
    const url = input.text(`--${name}`);
    if (url === undefined) return [];
    if (!/^https?:\/\/[^\s?#]+$/.test(url)) throw cliError("USAGE", { detail: `--${name} ${url} is no address` });
    return [[name, url.replace(/\/+$/, "")] as const];
  });
  return Object.fromEntries(given);
}

function fetcherOf({ clock, signal }: CommandContext) {
  return createFetcher({
    fetch: systemFetch,
    clock,
    signal,
    wait: (ms) => new Promise((done) => setTimeout(done, ms)),
  });
}

async function writeFiles(folder: string, found: readonly NamedFile[]): Promise<void> {
  await files.mkdir(folder, { recursive: true, mode: 0o755 });
  for (const { name, bytes } of found) await writeFileAtomic(join(folder, name), bytes);
}

function told(folder: string, found: readonly NamedFile[], next: string) {
  const names = found.map(({ name }) => name).sort();
  return { data: { folder, files: names }, text: [...names.map((name) => join(folder, name)), next] };
}

export const collateralExport: Command = {
  name: "collateral export",
  about: "Put all collateral of a folder into one signed file, to be carried to a server without a network.",
  examples: [
    { line: "modelkeep collateral export --key signer.pem --output collateral.json", about: "signs the bundle" },
  ],
  options: [
    { flag: "--key", value: "KEY", about: KEY_ABOUT, required: true },
    { flag: "--output", value: "FILE", about: "the bundle", required: true },
    FOLDER,
  ],
  async run(context, input) {
    const folder = folderOf(context, input);
    const all = await readCollateralFiles([folder]);
    const passed = new Set(readCollateralSet(all).passedOver);
    const found = all
      .filter(({ name }) => !passed.has(name))
      .map(({ name, bytes }) => ({ name: basename(name), bytes }));
    if (found.length === 0) throw attestationError("COLLATERAL_UNREADABLE", { detail: `${folder} holds none` });
    const signer = await openSigner(input.need("--key"), context);
    const output = resolve(context.cwd, input.need("--output"));
    await writeFileAtomic(output, utf8(await makeBundle({ createdAt: context.clock.now(), files: found }, signer)));
    const data = { bundle: output, files: found.length, key_id: signer.keyId };
    return { data, text: [`${found.length} files in ${output}`, `signed by ${signer.keyId}`] };
  },
};

export const collateralImport: Command = {
  name: "collateral import",
  about: "Take over a signed bundle of collateral. One that is older than the last is refused: it may hide news.",
  examples: [{ line: "modelkeep collateral import collateral.json --trust signer.pub", about: "on the server" }],
  args: [{ name: "FILE", about: "what collateral export wrote" }],
  options: [
    { flag: "--trust", value: "PEM", about: "a key whose bundles are taken", repeatable: true },
    { flag: "--allow-older", about: "take one that is older than the last" },
    FOLDER,
  ],
  async run(context, input) {
    const file = input.args[0];
    if (file === undefined) throw cliError("USAGE", { detail: "FILE is missing" });
    const paths = input.all("--trust");
    if (paths.length === 0) throw cliError("USAGE", { detail: "--trust is missing" });
    const keys = await Promise.all(paths.map(async (path) => loadTrustedKey(await readPublicKey(context, path))));
    const bundle = openBundle(await readFileBounded(resolve(context.cwd, file), BUNDLE_BYTES), keys);
    const folder = folderOf(context, input);
    if (!input.on("--allow-older")) await refuseOlder(folder, bundle.createdAt);
    await writeFiles(folder, bundle.files);
    await writeFileAtomic(join(folder, STAMP), utf8(`${bundle.createdAt}\n`));
    return told(folder, bundle.files, `made at ${new Date(bundle.createdAt).toISOString()}`);
  },
};

async function refuseOlder(folder: string, createdAt: number): Promise<void> {
  const stamp = join(folder, STAMP);
  if (!(await files.stat(stamp).catch(() => undefined))) return;
  const last = Number(fromUtf8(await readFileBounded(stamp, STAMP_BYTES)).trim());
  if (!Number.isSafeInteger(last)) throw attestationError("COLLATERAL_ROLLBACK", { detail: `${stamp} is damaged` });
  if (createdAt >= last) return;
  const [old, have] = [createdAt, last].map((time) => new Date(time).toISOString());
  throw attestationError("COLLATERAL_ROLLBACK", { detail: `it is of ${old}, the last one of ${have}` });
}
