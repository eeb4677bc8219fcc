/** modelkeep attest collect: evidence of the machine that it is typed on; and which TEE that machine has. */
import { resolve } from "node:path";
import {
  AZURE_SNP_KIND,
  AZURE_TDX_KIND,
  createAzureCollector,
  createDeviceCollector,
  createGramineCollector,
  createNvattestCollector,
  createTsmCollector,
  DEVICE_CLASSES,
  type DeviceCollector,
  type EvidenceCollector,
  findGramine,
  findTsm,
  type TsmPorts,
} from "../../attestation/index.ts";
import { fromHex, type Random, toBase64, toHex } from "../../base/index.ts";
import { systemFetch, writeFileAtomic } from "../../host/index.ts";
import type { Command, CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

const REPORT_DATA_BYTES = 64;
const NONCE_BYTES = 32;
const SOURCES = ["kernel", "gramine", "azure", "nvattest"] as const;

export const attestCollect: Command = {
  name: "attest collect",
  about: "Collect evidence of this machine, bound to a nonce: from the kernel, from Gramine, or of its GPUs.",
  examples: [
    { line: "modelkeep attest collect --nonce 00ff... --output evidence.bin", about: "inside the guest" },
    {
      line: "modelkeep attest collect --from nvattest --output gpus.json",
      about: "of the GPUs, with a nonce of its own",
    },
  ],
  options: [
    { flag: "--nonce", value: "HEX", about: "at most 64 bytes, zeros are added; 32 random ones when absent" },
    { flag: "--output", value: "FILE", about: "where the evidence goes; base64 on stdout when absent" },
    {
      flag: "--from",
      value: "SOURCE",
      about:
        "kernel: SEV-SNP and TDX; gramine: SGX; azure: its virtual TPM; nvattest: GPUs; kernel or gramine when absent",
      choices: SOURCES,
    },
    { flag: "--folder", value: "DIR", about: "where kernel or Gramine have their files, if not in the usual place" },
    { flag: "--program", value: "FILE", about: "NVIDIA's nvattest, if it is not in PATH" },
    { flag: "--tpm-tools", value: "DIR", about: "where tpm2-tools are, if they are not in PATH" },
    { flag: "--tcti", value: "TCTI", about: "how tpm2-tools reach the TPM, if not in their own way" },
    { flag: "--metadata", value: "URL", about: "in place of Azure's address in the guest" },
  ],
  async run(context, input) {
    const collector = await chooseCollector(context, input);
    const nonce = readNonce(input.text("--nonce"), context.random, collector.kind);
    const { kind, data } = await collector.collect(nonce);
    const output = input.text("--output");
    const told = { kind, report_data: toHex(nonce), bytes: data.length };
    if (output === undefined) return { data: { ...told, evidence: toBase64(data) }, text: toBase64(data) };
    const path = resolve(context.cwd, output);
    await writeFileAtomic(path, data);
    const next = `modelkeep attest verify ${output} --kind ${kind} --report-data ${toHex(nonce)}`;
    return { data: { ...told, output: path }, text: [`${kind}: ${data.length} bytes in ${path}`, next] };
  },
};

export const DEVICE_OPTIONS: readonly CommandOption[] = [
  {
    flag: "--device",
    value: "CLASS",
    about: "show NVIDIA's devices of this machine too, bound into its evidence: gpu, and nvswitch where it has some",
    choices: DEVICE_CLASSES,
    repeatable: true,
  },
  { flag: "--nvattest", value: "FILE", about: "NVIDIA's nvattest, if it is not in PATH" },
  { flag: "--nvidia-smi", value: "FILE", about: "NVIDIA's nvidia-smi, if it is not in PATH" },
];

/** Nothing when no class of devices is named. */
export function devicesOf(context: CommandContext, input: CommandInput): { readonly devices?: DeviceCollector } {
  const named = input.all("--device");
  const classes = DEVICE_CLASSES.filter((word) => named.includes(word));
  const [nvattest, nvidiaSmi] = [input.text("--nvattest"), input.text("--nvidia-smi")];
  if (classes.length === 0) {
    if (nvattest !== undefined || nvidiaSmi !== undefined)
      throw cliError("USAGE", { detail: "--nvattest and --nvidia-smi belong to --device" });
    return {};
  }
  const programs = {
    ...(nvattest === undefined ? {} : { nvattest }),
    ...(nvidiaSmi === undefined ? {} : { nvidiaSmi }),
  };
  return { devices: createDeviceCollector({ classes, signal: context.signal, ...programs }) };
}

async function chooseCollector(context: CommandContext, input: CommandInput): Promise<EvidenceCollector> {
  const [source, given, program] = [input.text("--from"), input.text("--folder"), input.text("--program")];
  const folder = given === undefined ? {} : { folder: resolve(context.cwd, given) };
  if (source === "nvattest")
    return createNvattestCollector({ signal: context.signal, ...(program === undefined ? {} : { program }) });
  if (source === "azure") return openAzure(context, input);
  if (source === "gramine" || (source === undefined && (await findGramine(folder))))
    return createGramineCollector(folder);
  return createTsmCollector({ ...tsmPorts(context.random), ...folder });
}

function openAzure(context: CommandContext, input: CommandInput): Promise<EvidenceCollector> {
  const [tools, tcti, metadata] = [input.text("--tpm-tools"), input.text("--tcti"), input.text("--metadata")];
  return createAzureCollector({
    ...{ fetch: systemFetch, signal: context.signal },
    ...(tools === undefined ? {} : { toolsFolder: resolve(context.cwd, tools) }),
    ...(tcti === undefined ? {} : { tcti }),
    ...(metadata === undefined ? {} : { metadata: metadata.replace(/\/+$/, "") }),
  });
}

/** Kinds of evidence that a guest can collect of itself. */
export const GUEST_KINDS = ["snp", "tdx", "sgx", AZURE_SNP_KIND, AZURE_TDX_KIND] as const;

/** Asks only the source that has this kind. */
export function openGuestCollector({ random, signal }: CommandContext, kind: string): Promise<EvidenceCollector> {
  if (kind === "sgx") return createGramineCollector();
  if (kind === AZURE_SNP_KIND || kind === AZURE_TDX_KIND) return createAzureCollector({ fetch: systemFetch, signal });
  return createTsmCollector(tsmPorts(random));
}

export function tsmPorts(random: Random): TsmPorts {
  return { random, wait: (ms) => new Promise((done) => setTimeout(done, ms)) };
}

function readNonce(text: string | undefined, random: Random, kind: string): Uint8Array {
  const nonce = text === undefined ? random.bytes(NONCE_BYTES) : fromHex(text);
  const fewest = kind === "nvidia" ? NONCE_BYTES : 1;
  if (!nonce || nonce.length < fewest || nonce.length > REPORT_DATA_BYTES)
    throw cliError("USAGE", { detail: `--nonce: ${fewest} to ${REPORT_DATA_BYTES} bytes in hex` });
  const padded = new Uint8Array(REPORT_DATA_BYTES);
  padded.set(nonce);
  return padded;
}

/** For `doctor`: the kind of TEE and where its evidence comes from; undefined where there is none. */
export async function findTee(random: Random): Promise<{ kind: string; source: string } | undefined> {
  if (await findGramine()) return { kind: "sgx", source: "Gramine" };
  const found = await findTsm(tsmPorts(random));
  return found && { kind: found.kind, source: `the kernel's ${found.provider}` };
}
