/** modelkeep attest ask and attest ear: what the server says of evidence, and the keys that it says it with. */
import { resolve } from "node:path";
import { ATTESTATION_LIMITS } from "../../attestation/index.ts";
import { EXIT, fromHex, toBase64Url, utf8 } from "../../base/index.ts";
import { type AppraiseReply, appraiseEvidence, getEarKeys, rotateEarKey } from "../../contract/index.ts";
import { readFileBounded, writeFileAtomic } from "../../host/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";

const KINDS = ["snp", "tdx", "sgx", "nvidia"] as const;
const READERS = ["veraison", "trustee"] as const;

export const attestAsk: Command = {
  name: "attest ask",
  about: "Have the server judge evidence under its profile, and sign the result (EAR). Exit 4 when it is refused.",
  examples: [
    {
      line: "modelkeep attest ask quote.bin --kind tdx --report-data 00ff... --ear-output result.jwt",
      about: "a token",
    },
  ],
  args: [{ name: "EVIDENCE", about: "file: a report, a quote, or the JSON of a collector" }],
  options: [
    { flag: "--kind", value: "KIND", about: "the TEE that made it", choices: KINDS, required: true },
    { flag: "--devices", value: "FILE", about: "evidence of the NVIDIA devices of the same machine" },
    {
      flag: "--report-data",
      value: "HEX",
      about: "what the processor must have signed; zeros are added to fewer than 64 bytes",
    },
    { flag: "--device-nonce", value: "HEX", about: "what each device must have signed: 32 bytes" },
    { flag: "--ear-output", value: "FILE", about: "where the token goes; on stdout when absent" },
    {
      flag: "--ear-profile",
      value: "NAME",
      about: "which reader the token is for",
      choices: READERS,
      default: "veraison",
    },
  ],
  async run(context, input) {
    const api = await context.client();
    const reply = await api.call(appraiseEvidence, { body: await readAsked(context, input) });
    const output = input.text("--ear-output");
    if (output !== undefined) await writeFileAtomic(resolve(context.cwd, output), utf8(reply.ear));
    return {
      data: reply,
      text: [...describe(reply), ...(output === undefined ? [reply.ear] : [])],
      exit: reply.verdict === "accepted" ? EXIT.done : EXIT.verificationFailed,
    };
  },
};

async function readAsked(context: CommandContext, input: CommandInput) {
  const read = async (name: string, most: number) =>
    toBase64Url(await readFileBounded(resolve(context.cwd, name), most));
  const [file] = input.args;
  if (file === undefined) throw cliError("USAGE", { detail: "EVIDENCE is missing" });
  const { evidenceBytes, deviceEvidenceBytes, reportDataBytes, deviceNonceBytes } = ATTESTATION_LIMITS;
  const devices = input.text("--devices");
  const bound = hexOf(input, "--report-data", { least: 1, most: reportDataBytes });
  const nonce = hexOf(input, "--device-nonce", { least: deviceNonceBytes, most: deviceNonceBytes });
  return {
    kind: KINDS.find((kind) => kind === input.need("--kind")) ?? "snp",
    evidence: await read(file, evidenceBytes),
    ...(devices === undefined ? {} : { devices: await read(devices, deviceEvidenceBytes) }),
    ...(bound === undefined ? {} : { report_data: bound.padEnd(reportDataBytes * 2, "0") }),
    ...(nonce === undefined ? {} : { device_nonce: nonce }),
    ear_profile: input.text("--ear-profile") === "trustee" ? ("trustee" as const) : ("veraison" as const),
  };
}

function hexOf(input: CommandInput, flag: string, { least, most }: { readonly least: number; readonly most: number }) {
  const text = input.text(flag)?.toLowerCase();
  if (text === undefined) return undefined;
  const length = fromHex(text)?.length ?? 0;
  if (length >= least && length <= most) return text;
  throw cliError("USAGE", { detail: `${flag}: ${least === most ? most : `${least} to ${most}`} bytes in hex` });
}

function describe({ verdict, tcb_status: status, rules }: AppraiseReply): string[] {
  const failed = rules.filter(({ result }) => result === "failed");
  return [
    `${verdict}${status === undefined ? "" : `, platform ${status}`}`,
    ...failed.map(({ id, message }) => `failed     ${id}: ${message}`),
  ];
}

export const attestEarKeys: Command = {
  name: "attest ear keys",
  about: "Print the key set (JWKS) that verifies the server's results: the key in use, and those with valid tokens.",
  examples: [{ line: "modelkeep attest ear keys > jwks.json", about: "for whoever relies on the results" }],
  async run(context) {
    const data = await (await context.client()).call(getEarKeys, {});
    return { data, text: JSON.stringify(data) };
  },
};

export const attestEarRotate: Command = {
  name: "attest ear rotate",
  about: "Take another key for the server's results into use; tokens under the old one stay valid until they end.",
  examples: [{ line: "modelkeep attest ear rotate", about: "at once, on every replica" }],
  async run(context) {
    const { keys } = await (await context.client()).call(rotateEarKey, { body: {} });
    const [first] = keys;
    return { data: { keys }, text: `in use: ${first?.kid ?? ""}; published: ${keys.length}` };
  },
};
