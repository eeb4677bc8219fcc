/** modelkeep attest verify and explain: what evidence of a TEE proves, rule by rule, without a network. */
import { createPublicKey } from "node:crypto";
import { resolve } from "node:path";
import {
  APPRAISAL_LIMITS,
  type AppraisalProfile,
  type AppraisalRequest,
  appraise,
  attestationError,
  EAR_PROFILES,
  earKeySet,
  explainVerdict,
  explanationLines,
  isEvidence,
  isGoodAt,
  loadCollateral,
  makeEar,
  openReferenceValues,
  parseAppraisalProfile,
  type Rule,
  TEE_KINDS,
  type TeeKind,
  type Verdict,
  verdictToJson,
  withReferenceValues,
} from "../../attestation/index.ts";
import { EXIT, fromHex, utf8 } from "../../base/index.ts";
import { readFileBounded, writeFileAtomic } from "../../host/index.ts";
import { loadTrustedKey, openSigner } from "../../signing/index.ts";
import type { Command, CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";
import { KEY_ABOUT, readPublicKey } from "./signing.ts";

const EVIDENCE = { name: "EVIDENCE", about: "file, or - for stdin: a report, a quote, or the JSON of a collector" };

const EAR_OPTIONS: readonly CommandOption[] = [
  { flag: "--ear-key", value: "KEY", about: `sign the result as a token (EAR, ES256): ${KEY_ABOUT}` },
  { flag: "--ear-output", value: "FILE", about: "where the token goes; in the JSON when absent" },
  {
    flag: "--ear-profile",
    value: "NAME",
    about: "which reader the token is for",
    choices: Object.keys(EAR_PROFILES),
    default: "veraison",
  },
  { flag: "--ear-issuer", value: "URL", about: "who says so", default: "modelkeep" },
];

const OPTIONS: readonly CommandOption[] = [
  { flag: "--kind", value: "KIND", about: "the TEE that made it", choices: TEE_KINDS, required: true },
  {
    flag: "--chain",
    value: "FILE|DIR",
    about: "certificates that did not come with the evidence, PEM or DER",
    repeatable: true,
  },
  {
    flag: "--collateral",
    value: "FILE|DIR",
    about: "what the vendor signs: TCB info, identities, revocation lists, OCSP answers, manifests",
    repeatable: true,
  },
  { flag: "--profile", value: "FILE", about: "what is accepted, YAML; without it nothing but the evidence is judged" },
  {
    flag: "--reference",
    value: "FILE",
    about: "with --profile: signed reference values, added to its lists",
    repeatable: true,
  },
  { flag: "--reference-key", value: "PEM", about: "who may sign reference values", repeatable: true },
  { flag: "--at", value: "TIME", about: "judge as of this time, for example 2026-01-31T12:00:00Z; now when absent" },
  {
    flag: "--report-data",
    value: "HEX",
    about: "what the evidence must be bound to: 64 bytes, of which devices sign 32; zeros are added to fewer",
  },
];

export const attestVerify: Command = {
  name: "attest verify",
  about:
    "Judge evidence of a TEE, rule by rule; nothing is fetched. Exit 4 when it is refused, 1 when it was not judged.",
  examples: [
    {
      line: "modelkeep attest verify report.bin --kind snp --chain vcek.der --chain ask_ark.pem",
      about: "AMD SEV-SNP",
    },
    {
      line: "modelkeep attest verify quote.bin --kind tdx --collateral ./intel --profile profile.yaml",
      about: "Intel TDX",
    },
    {
      line: "modelkeep attest verify gpus.json --kind nvidia --collateral ./rims --json",
      about: "every GPU of a machine",
    },
  ],
  args: [EVIDENCE],
  options: [...OPTIONS, ...EAR_OPTIONS],
  async run(context, input) {
    const request = await readRequest(context, input);
    const verdict = await appraise(request);
    const ear = await writeToken(context, input, request, verdict);
    return {
      data: { ...verdictToJson(verdict, request.now), ...(ear === undefined ? {} : { ear }) },
      text: describe(verdict, request.now),
      exit: verdict.verdict === "accepted" ? EXIT.done : EXIT.verificationFailed,
    };
  },
};

/** A refusal is a result too: its token says contraindicated. */
async function writeToken(
  context: CommandContext,
  input: CommandInput,
  { kind, evidence, profile, expectedReportData }: AppraisalRequest,
  verdict: Verdict<unknown>,
): Promise<string | undefined> {
  const reference = input.text("--ear-key");
  const output = input.text("--ear-output");
  if (reference === undefined) {
    if (output !== undefined) throw cliError("USAGE", { detail: "--ear-output belongs to --ear-key" });
    return undefined;
  }
  if (!isEvidence(evidence)) throw cliError("USAGE", { detail: "--ear-key: this file is no evidence of a machine" });
  if (output === undefined && !context.json)
    throw cliError("USAGE", { detail: "--ear-key needs --ear-output FILE, or --json" });
  const [tee, earProfile] = [kind === "nvidia" ? "gpu0" : "cpu0", input.text("--ear-profile")];
  const token = await makeEar(
    {
      submodules: { [tee]: { tee: kind, verdict } },
      issuer: input.need("--ear-issuer"),
      version: context.version,
      policyId: profile?.name ?? "inspection",
      profile: earProfile === "trustee" ? "trustee" : "veraison",
      now: context.clock.now(),
      ...(expectedReportData ? { nonce: signedPart(kind, expectedReportData) } : {}),
    },
    await openSigner(reference, context),
  );
  if (output !== undefined) await writeFileAtomic(resolve(context.cwd, output), utf8(token));
  return token;
}

/** Devices sign a part of it; the token names no more. */
const signedPart = (kind: TeeKind, reportData: Uint8Array) =>
  kind === "nvidia" ? reportData.subarray(0, NONCE_BYTES) : reportData;

export const attestKeys: Command = {
  name: "attest keys",
  about: "Print the key set (JWKS) that verifies tokens of attest verify: the key in use, and the ones before it.",
  examples: [{ line: "modelkeep attest keys new.pub old.pub > jwks.json", about: "when the key is changed" }],
  args: [{ name: "PEM", about: "public keys on P-256, the one in use first", variadic: true }],
  async run(context, input) {
    if (input.args.length === 0) throw cliError("USAGE", { detail: "PEM is missing" });
    const keys = input.args.map(async (path) => createPublicKey(Buffer.from(await readPublicKey(context, path))));
    const data = earKeySet(await Promise.all(keys));
    return { data, text: JSON.stringify(data) };
  },
};

export const attestExplain: Command = {
  name: "attest explain",
  about: "Say in plain words why evidence is refused: what is wrong, why it matters, what to do. Exit 4 when refused.",
  examples: [
    { line: "modelkeep attest explain quote.bin --kind tdx --collateral ./intel", about: "for whoever meets it first" },
  ],
  args: [EVIDENCE],
  options: OPTIONS,
  async run(context, input) {
    const verdict = await appraise(await readRequest(context, input));
    return {
      data: { verdict: verdict.verdict, explanations: explainVerdict(verdict) },
      text: [describe(verdict, 0)[0] ?? "", ...explanationLines(verdict)],
      exit: verdict.verdict === "accepted" ? EXIT.done : EXIT.verificationFailed,
    };
  },
};

async function readRequest(context: CommandContext, input: CommandInput): Promise<AppraisalRequest> {
  const kind = TEE_KINDS.find((word): word is TeeKind => word === input.need("--kind"));
  if (!kind) throw cliError("USAGE", { detail: `--kind ${input.need("--kind")}` });
  const path = (name: string) => resolve(context.cwd, name);
  const profile = await readProfile(context, input);
  const bound = reportData(input.text("--report-data"), kind);
  return {
    kind,
    evidence: await readEvidence(context, input),
    collateral: await loadCollateral([...input.all("--chain"), ...input.all("--collateral")].map(path)),
    now: timeOf(input.text("--at")) ?? context.clock.now(),
    ...(profile ? { profile } : {}),
    ...(bound ? { expectedReportData: bound } : {}),
  };
}

async function readProfile(context: CommandContext, input: CommandInput): Promise<AppraisalProfile | undefined> {
  const read = (name: string) => readFileBounded(resolve(context.cwd, name), APPRAISAL_LIMITS.profileBytes);
  const [file, references] = [input.text("--profile"), input.all("--reference")];
  if (file === undefined) {
    if (references.length > 0) throw cliError("USAGE", { detail: "--reference belongs to --profile" });
    return undefined;
  }
  const pems = await Promise.all(input.all("--reference-key").map((name) => readPublicKey(context, name)));
  const keys = pems.map((pem) => loadTrustedKey(pem));
  let profile = parseAppraisalProfile(await read(file));
  const at = timeOf(input.text("--at")) ?? context.clock.now();
  for (const name of references) {
    const values = openReferenceValues(await read(name), keys);
    if (!isGoodAt(values, at))
      throw attestationError("REFERENCE_EXPIRED", { detail: `${name}: ${values.issued_at} to ${values.expires_at}` });
    profile = withReferenceValues(profile, values, at);
  }
  return profile;
}

function readEvidence(context: CommandContext, input: CommandInput): Promise<Uint8Array> {
  const file = input.args[0];
  if (file === undefined) throw cliError("USAGE", { detail: "EVIDENCE is missing" });
  if (file === "-") return context.stdin(APPRAISAL_LIMITS.evidenceBytes);
  return readFileBounded(resolve(context.cwd, file), APPRAISAL_LIMITS.evidenceBytes);
}

const REPORT_DATA_BYTES = 64;
const NONCE_BYTES = 32;

function reportData(text: string | undefined, kind: TeeKind): Uint8Array | undefined {
  if (text === undefined) return undefined;
  const given = fromHex(text);
  const fewest = kind === "nvidia" ? NONCE_BYTES : 1;
  if (!given || given.length < fewest || given.length > REPORT_DATA_BYTES)
    throw cliError("USAGE", { detail: `--report-data: ${fewest} to ${REPORT_DATA_BYTES} bytes in hex` });
  const padded = new Uint8Array(REPORT_DATA_BYTES);
  padded.set(given);
  return padded;
}

const TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d))?$/;

/** A day alone is its first moment in UTC. */
function timeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw cliError("USAGE", { detail: `--at ${text}: write it like 2026-01-31T12:00:00Z` });
  return ms;
}

function describe(verdict: Verdict<unknown>, now: number): string[] {
  const { rules, tcbStatus, advisories } = verdict;
  const of = (result: Rule["result"]) => rules.filter((rule) => rule.result === result);
  const { collateral } = verdictToJson(verdict, now);
  const status = tcbStatus === undefined ? "" : `, platform ${tcbStatus}`;
  const passed = of("passed").length;
  return [
    `${verdict.verdict}${status}: ${passed} rules passed, ${of("failed").length} failed, ${of("unchecked").length} unchecked`,
    ...(advisories.length > 0 ? [`advisories: ${advisories.join(", ")}`] : []),
    ...(collateral ? [`collateral: issued ${collateral.issuedAt}, next ${collateral.nextUpdateAt}`] : []),
    ...[...of("failed"), ...of("unchecked")].map(ruleLine),
  ];
}

function ruleLine({ id, result, have, need, message }: Rule): string {
  const facts = [have === undefined ? [] : [`have ${have}`], need === undefined ? [] : [`need ${need}`]].flat();
  return `${result.padEnd(9)}  ${id}: ${message}${facts.length > 0 ? ` (${facts.join(", ")})` : ""}`;
}
