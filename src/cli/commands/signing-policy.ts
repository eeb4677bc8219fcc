/** modelkeep verify by a signer policy, and with required statements: whom it believes, and how that is told. */
import { basename, resolve } from "node:path";
import { EXIT } from "../../base/index.ts";
import { modelRef } from "../../contract/index.ts";
import {
  checkStatements,
  judgeByPolicy,
  loadTrustedKey,
  type PolicyFinding,
  readSignatureSet,
  readSignerPolicy,
  type SignatureSet,
  type SignerPolicy,
  STATEMENT_TYPE_NAMES,
  type StatementFinding,
  type StatementType,
  type Trust,
  type TrustedKey,
  verifyBundle,
} from "../../signing/index.ts";
import type { CommandContext, CommandInput, CommandOption, CommandResult } from "../command.ts";
import { cliError } from "../errors.ts";
import { readPem, readTrust, timeOf } from "./signing-trust.ts";

export const POLICY_OPTIONS: readonly CommandOption[] = [
  { flag: "--policy", value: "FILE", about: "who may sign which model, in place of --public-key, --ca or --identity" },
  {
    flag: "--model",
    value: "NAME@VERSION",
    about: "with --policy: which model this is; version 1 of the folder's name when absent",
  },
  {
    flag: "--require",
    value: "TYPES",
    about: `statements that must be there: ${STATEMENT_TYPE_NAMES.join(",")}`,
    repeatable: true,
  },
];

type Asked =
  | { readonly by: "trust"; readonly trust: Trust; readonly required: readonly StatementType[] }
  | {
      readonly by: "policy";
      readonly policy: SignerPolicy;
      readonly model: string;
      readonly keys: readonly TrustedKey[];
      readonly atMs: number;
      readonly required: readonly StatementType[];
    };

export interface Judgement {
  readonly policy?: {
    readonly model: string;
    readonly signers: readonly string[];
    readonly rules: readonly PolicyFinding[];
  };
  readonly findings: readonly StatementFinding[];
  readonly statements: readonly StatementType[];
}

const IN_POLICY = [
  "--ca",
  "--subject",
  "--any-subject",
  "--identity",
  "--issuer",
  "--trusted-root",
  "--tsa",
  "--crl",
  "--require-revocation-check",
];

/** With --policy, --public-key only holds keys that the policy names by their id. */
export async function readAsked(context: CommandContext, input: CommandInput, root: string): Promise<Asked> {
  const required = input.all("--require").flatMap((words) => words.split(",").map(typeOf));
  const file = input.text("--policy");
  if (file === undefined) {
    if (input.text("--model") !== undefined) throw cliError("USAGE", { detail: "--model belongs to --policy" });
    return { by: "trust", trust: await readTrust(context, input), required };
  }
  for (const flag of IN_POLICY)
    if (input.on(flag) || input.all(flag).length > 0)
      throw cliError("USAGE", { detail: `${flag} stands in the policy` });
  return {
    by: "policy",
    policy: await readSignerPolicy(resolve(context.cwd, file)),
    model: modelOf(input, root),
    keys: await Promise.all(
      input.all("--public-key").map(async (path) => loadTrustedKey(await readPem(context, path))),
    ),
    atMs: timeOf(input.text("--at")) ?? context.clock.now(),
    required,
  };
}

function typeOf(word: string): StatementType {
  const type = STATEMENT_TYPE_NAMES.find((name) => name === word);
  if (type) return type;
  throw cliError("USAGE", { detail: `--require ${word.slice(0, 100)}: there are ${STATEMENT_TYPE_NAMES.join(", ")}` });
}

/** What publish would call it. */
function modelOf(input: CommandInput, root: string): string {
  const model = input.text("--model") ?? `${basename(root).toLowerCase()}@1`;
  if (modelRef.safeParse(model).success) return model;
  throw cliError("USAGE", { detail: `${model.slice(0, 100)} is not NAME@VERSION: say which model it is with --model` });
}

/** The signature to verify the files with, unless none is accepted. */
export async function judgeSignatures(
  asked: Asked,
  signature: string,
): Promise<{ signed?: { readonly bundle: Uint8Array; readonly trust: Trust }; judgement: Judgement }> {
  const set = await readSignatureSet(signature);
  if (asked.by === "policy") return judgePolicy(asked, set);
  const [own] = set.signatures;
  const bundle = bytesOf(own?.bytes);
  if (asked.required.length === 0) return { signed: { bundle, trust: asked.trust }, judgement: NOTHING };
  const { rootDigest, signerKey } = verifyBundle(bundle, asked.trust);
  const keys = [signerKey, ...asked.trust.publicKeys];
  const { present, findings } = checkStatements(set.statements, { rootDigest, keys, required: asked.required });
  return { signed: { bundle, trust: asked.trust }, judgement: { findings, statements: present } };
}

const NOTHING: Judgement = { findings: [], statements: [] };

function judgePolicy(asked: Extract<Asked, { by: "policy" }>, set: SignatureSet) {
  const { policy, model, required } = asked;
  const verdict = judgeByPolicy(policy, { ...asked, ...set, required });
  const { signers, rules, base, statements } = verdict;
  const judgement: Judgement = { policy: { model, signers, rules }, findings: [], statements };
  if (verdict.verdict === "refused" || !base) return { judgement };
  return { signed: { bundle: bytesOf(base.bundle), trust: base.trust }, judgement };
}

function bytesOf(bundle: Uint8Array | string | undefined): Uint8Array {
  return typeof bundle === "string" || bundle === undefined ? new TextEncoder().encode(bundle ?? "") : bundle;
}

/** Nothing of the files was looked at: they are not worth it under no accepted signature. */
export function refusedResult({ policy }: Judgement): CommandResult {
  const rules = policy?.rules ?? [];
  const findings = rules.filter(isFault).map(({ id, message }) => ({ rule: `policy-${id}`, path: ".", message }));
  const { model, signers } = policy ?? {};
  return {
    data: { verdict: "failed", findings, findings_total: findings.length, policy: { model, signers, rules } },
    text: [`failed: the policy does not accept ${model ?? ""}`, ...rules.map(ruleText)],
    exit: EXIT.verificationFailed,
  };
}

const isFault = ({ id, result }: PolicyFinding) => id !== "signature" && result !== "passed";

function ruleText({ id, result, message }: PolicyFinding): string {
  return `${result}: ${id}: ${message}`;
}

/** The verdict on the files, and what was judged beside them. */
export function withJudgement(result: CommandResult, { policy, findings, statements }: Judgement): CommandResult {
  const data = typeof result.data === "object" && result.data !== null ? { ...result.data } : {};
  const found = "findings" in data && Array.isArray(data.findings) ? [...data.findings, ...findings] : findings;
  const before = "findings_total" in data && typeof data.findings_total === "number" ? data.findings_total : 0;
  const total = before + findings.length;
  const text = [result.text ?? []].flat();
  const told = findings.map(({ rule, path, message }) => `${rule}: ${path} ${message}`);
  const first = before === 0 && total > 0 ? [`failed: ${total} findings`] : text;
  return {
    data: {
      ...data,
      ...(total > 0 ? { verdict: "failed" } : {}),
      findings: found,
      findings_total: total,
      ...(statements.length > 0 ? { statements } : {}),
      ...(policy ? { policy } : {}),
    },
    text: [...first, ...told, ...(policy?.rules ?? []).map(ruleText)],
    exit: total > 0 ? EXIT.verificationFailed : (result.exit ?? EXIT.done),
  };
}
