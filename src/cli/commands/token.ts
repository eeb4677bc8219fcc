/** modelkeep token issue|show|revoke: one-time codes for workloads, the live tokens, and their end. */
import { type EntityRef, entityText } from "../../base/index.ts";
import { issueEnrolment, listTokens, revokeToken } from "../../contract/index.ts";
import type { Command, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";

export const tokenIssue: Command = {
  name: "token issue",
  about: "Make a one-time code by which a workload enrols its own key; the code is printed once and kept nowhere.",
  examples: [
    {
      line: "modelkeep token issue --for billing > code.txt",
      about: "then: agent --as billing --enrol-code-file code.txt",
    },
    { line: "modelkeep token issue --for grace --admin", about: "for a person who types it into `modelkeep login`" },
  ],
  options: [
    { flag: "--for", value: "WORKLOAD", about: "whom the code enrols", required: true },
    { flag: "--group", value: "GROUP", about: "a group that policy speaks of", repeatable: true },
    { flag: "--admin", about: "an administrator and not a workload" },
    { flag: "--ttl", value: "SECONDS", about: "how long the code is good", default: "900" },
  ],
  async run(context, input) {
    const groups = [...input.all("--group")];
    const data = await (await context.client()).call(issueEnrolment, {
      body: {
        workload: input.need("--for"),
        ttl_seconds: secondsOf(input),
        ...(groups.length > 0 ? { groups } : {}),
        ...(input.on("--admin") ? { admin: true } : {}),
      },
    });
    if (!context.json) context.talk(`a code for ${data.workload}, good once until ${data.expires_at}`);
    return { data, text: data.code };
  },
};

function secondsOf(input: CommandInput): number {
  const seconds = Number(input.need("--ttl"));
  if (Number.isInteger(seconds) && seconds > 0) return seconds;
  throw cliError("USAGE", { detail: "--ttl is a whole number of seconds", hint: "modelkeep token issue --help" });
}

export const tokenShow: Command = {
  name: "token show",
  about: "The live tokens: id, principal, end.",
  examples: [{ line: "modelkeep token show", about: "one line each; never a token itself" }],
  async run(context) {
    const data = await (await context.client()).call(listTokens, {});
    const lines = data.tokens.map((token) => `${token.id}  ${entityText(token.principal)}  until ${token.expires_at}`);
    return { data, text: lines };
  },
};

export const tokenRevoke: Command = {
  name: "token revoke",
  about:
    "End a token with the key it is bound to, or everything that a principal has, leases too; within a second everywhere.",
  examples: [
    { line: "modelkeep token revoke --token tok_0f3a…", about: "one instance of a workload" },
    { line: "modelkeep token revoke --principal billing", about: "all of its tokens, keys, open codes and leases" },
    { line: "modelkeep token revoke --principal 'Admin::\"grace\"'", about: "an administrator" },
  ],
  options: [
    { flag: "--token", value: "ID", about: "id of a token, from `modelkeep token show`" },
    { flag: "--principal", value: "NAME", about: 'a workload, or Type::"id"' },
  ],
  async run(context, input) {
    const [token, principal] = [input.text("--token"), input.text("--principal")];
    if ((token === undefined) === (principal === undefined)) {
      throw cliError("USAGE", { detail: "--token or --principal", hint: "modelkeep token revoke --help" });
    }
    const body = token === undefined ? { principal: parsePrincipal(principal ?? "") } : { token };
    const data = await (await context.client()).call(revokeToken, { body });
    const { tokens, keys, codes, leases } = data;
    const text = `${entityText(data.principal)}: ended ${tokens} tokens, ${keys} keys, ${codes} open codes, ${leases} leases`;
    return { data, text };
  },
};

/** Throws USAGE. */
export function parsePrincipal(text: string): EntityRef & { type: "Workload" | "Admin" } {
  const [, type, quoted] = /^(Workload|Admin)::"([^"\\]+)"$/.exec(text) ?? [];
  if ((type === "Workload" || type === "Admin") && quoted !== undefined) return { type, id: quoted };
  if (!text.includes('"') && !text.includes("::")) return { type: "Workload", id: text };
  throw cliError("USAGE", { detail: `--principal ${text.slice(0, 100)}: a workload, Workload::"id" or Admin::"id"` });
}
