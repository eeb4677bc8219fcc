/** modelkeep policy check|test|explain|show|set: who may do what, tried before it counts. */
import { resolve } from "node:path";
import { EXIT, fromUtf8, type PolicyRequest, parseJson } from "../../base/index.ts";
import { type CurrentPolicy, getPolicy, setPolicy } from "../../contract/index.ts";
import { readFileBounded } from "../../host/index.ts";
import {
  checkPolicy,
  explain,
  POLICY_LIMITS,
  PolicyEngine,
  type PolicyProblem,
  parseCases,
  parseEntity,
  policyError,
  testPolicy,
} from "../../policy/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";

const FILE = { name: "FILE", about: "policies in Cedar" };

function argument(input: CommandInput, at: number, name: string): string {
  const value = input.args[at];
  if (value === undefined) throw cliError("USAGE", { detail: `${name} is missing` });
  return value;
}

async function readPolicyFile(context: CommandContext, file: string): Promise<string> {
  const bytes = await readFileBounded(resolve(context.cwd, file), POLICY_LIMITS.textBytes);
  try {
    return fromUtf8(bytes);
  } catch (error) {
    throw policyError("POLICY_INVALID", { detail: `${file} is not UTF-8`, cause: error });
  }
}

export const policyCheck: Command = {
  name: "policy check",
  about: "Checks a file of policies: syntax, ids, and types against the schema; needs no server.",
  examples: [{ line: "modelkeep policy check policy.cedar", about: "each problem with its line" }],
  args: [FILE],
  async run(context, input) {
    const file = argument(input, 0, "FILE");
    const check = checkPolicy(await readPolicyFile(context, file));
    const lines = [
      ...check.errors.map((problem) => problemLine(file, "error", problem)),
      ...check.warnings.map((problem) => problemLine(file, "warning", problem)),
      `${check.policies.length} policies, ${check.errors.length} errors, ${check.warnings.length} warnings`,
    ];
    return { data: check, text: lines, exit: check.ok ? EXIT.done : EXIT.failed };
  },
};

function problemLine(file: string, kind: string, { line, column, policy, message }: PolicyProblem): string {
  return `${file}:${line}:${column}: ${kind}: ${policy === undefined ? "" : `${policy}: `}${message}`;
}

export const policyTest: Command = {
  name: "policy test",
  about: "Runs a file of cases against a file of policies: what must be allowed, and what must not; needs no server.",
  examples: [{ line: "modelkeep policy test policy.cedar cases.yaml", about: "fails when one case ends otherwise" }],
  args: [FILE, { name: "CASES", about: "list of cases in YAML or JSON" }],
  async run(context, input) {
    const text = await readPolicyFile(context, argument(input, 0, "FILE"));
    const file = resolve(context.cwd, argument(input, 1, "CASES"));
    const test = testPolicy(text, parseCases(await readFileBounded(file, POLICY_LIMITS.caseFileBytes)));
    const failed = test.results.filter(({ passed }) => !passed);
    const lines = [
      ...test.results.map(({ name, passed, expected, decision }) =>
        passed ? `passed  ${name}` : `failed  ${name}: expected ${expected}; ${decision.summary}`,
      ),
      `${test.results.length - failed.length} passed, ${failed.length} failed`,
    ];
    return { data: test, text: lines, exit: test.ok ? EXIT.done : EXIT.failed };
  },
};

export const policyExplain: Command = {
  name: "policy explain",
  about: "Says whether a request would be allowed, by which policies, and which spoke of it and did not hold.",
  examples: [
    {
      line: `modelkeep policy explain --principal 'Workload::"demo"' --action useModel --resource 'ProviderModel::"openai/gpt-5"'`,
      about: "under the policy of the server",
    },
    {
      line: `modelkeep policy explain --file policy.cedar --principal 'Admin::"ada"' --group admins --action readAudit --resource 'Server::"local"'`,
      about: "under a file, without a server",
    },
  ],
  options: [
    { flag: "--principal", value: "ENTITY", about: 'who asks, for example Workload::"demo"', required: true },
    { flag: "--group", value: "NAME", about: "a group of the principal", repeatable: true },
    { flag: "--action", value: "ACTION", about: "what is asked, for example useModel", required: true },
    { flag: "--resource", value: "ENTITY", about: 'for what, for example Secret::"openai"', required: true },
    { flag: "--context", value: "JSON", about: "what else the policy may look at" },
    { flag: "--file", value: "FILE", about: "a file of policies in place of the server's" },
  ],
  async run(context, input) {
    const request = toRequest(input);
    const file = input.text("--file");
    const text =
      file === undefined
        ? (await (await context.client()).call(getPolicy, {})).text
        : await readPolicyFile(context, file);
    const explanation = explain(PolicyEngine.load(text), request);
    const others = explanation.didNotHold.map(({ id, line }) => `did not hold: ${id} (line ${line})`);
    return { data: explanation, text: [explanation.summary, ...explanation.errors, ...others] };
  },
};

function toRequest(input: CommandInput): PolicyRequest {
  const text = input.text("--context");
  const context = text === undefined ? {} : parseJson(text, { what: "--context" });
  if (typeof context !== "object" || context === null || Array.isArray(context))
    throw cliError("USAGE", { detail: "--context is not a JSON object" });
  return {
    principal: entityOf(input, "--principal"),
    groups: input.all("--group"),
    action: input.need("--action"),
    resource: entityOf(input, "--resource"),
    context: context as Record<string, unknown>,
  };
}

function entityOf(input: CommandInput, flag: string) {
  try {
    return parseEntity(input.need(flag));
  } catch {
    throw cliError("USAGE", { detail: `${flag} ${input.need(flag).slice(0, 80)} is not Type::"id"` });
  }
}

export const policyShow: Command = {
  name: "policy show",
  about: "The policy of the server.",
  examples: [{ line: "modelkeep policy show > policy.cedar", about: "a file to change, check, test and set" }],
  async run(context) {
    const data = await (await context.client()).call(getPolicy, {});
    context.talk(about(data));
    return { data, text: data.text };
  },
};

export const policySet: Command = {
  name: "policy set",
  about: "Replaces the policy of the server; it counts on every replica at once.",
  examples: [
    { line: "modelkeep policy set policy.cedar", about: "fails when somebody else changed it at the same moment" },
  ],
  args: [FILE],
  options: [
    { flag: "--if-version", value: "N", about: "only when the server still has this version" },
    { flag: "--allow-lockout", about: "also when you could not change the policy again" },
  ],
  async run(context, input) {
    const text = await readPolicyFile(context, argument(input, 0, "FILE"));
    const check = checkPolicy(text);
    const [problem] = check.errors;
    if (problem) throw policyError("POLICY_INVALID", { detail: `line ${problem.line}: ${problem.message}` });
    const version = input.text("--if-version");
    if (version !== undefined && !/^[0-9]{1,15}$/.test(version))
      throw cliError("USAGE", { detail: `--if-version ${version.slice(0, 20)} is not a number` });
    const data = await (await context.client()).call(setPolicy, {
      body: {
        text,
        ...(version === undefined ? {} : { if_version: Number(version) }),
        ...(input.on("--allow-lockout") ? { allow_lockout: true } : {}),
      },
    });
    return { data, text: about(data) };
  },
};

function about({ version, digest, set_by: by, set_at: at }: CurrentPolicy): string {
  const who = by === undefined ? "the default policy" : `set by ${by}${at === undefined ? "" : ` at ${at}`}`;
  return `version ${version}, sha256 ${digest}, ${who}`;
}
