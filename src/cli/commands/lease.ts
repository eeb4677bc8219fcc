/** modelkeep lease list|revoke: who holds which secret now. */
import { listLeases, revokeLease, revokeLeases } from "../../contract/index.ts";
import type { Command, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";
import { parsePrincipal } from "./token.ts";

export const leaseList: Command = {
  name: "lease list",
  about: "The open leases: secret, holder, end, purpose.",
  examples: [{ line: "modelkeep lease list", about: "one line each" }],
  async run(context) {
    const data = await (await context.client()).call(listLeases, {});
    const lines = data.leases.map(
      ({ id, secret, holder, expires_at: end, purpose }) =>
        `${id}  ${secret}  ${holder}  until ${end}${purpose === undefined ? "" : `  ${purpose}`}`,
    );
    return { data, text: lines };
  },
};

const FILTERS = ["--principal", "--secret", "--prefix"] as const;

export const leaseRevoke: Command = {
  name: "lease revoke",
  about: "End leases at once; a key in the server is wiped, one that was handed out should be rotated.",
  examples: [
    { line: "modelkeep lease revoke lease_0f3a…", about: "the id is in `modelkeep lease list`" },
    { line: "modelkeep lease revoke --principal billing", about: "everything that a workload holds" },
    { line: "modelkeep lease revoke --prefix openai/", about: "of every secret whose name begins so" },
  ],
  args: [{ name: "ID", about: "id of the lease", optional: true }],
  options: [
    { flag: "--principal", value: "NAME", about: 'a workload, or Type::"id"' },
    { flag: "--secret", value: "NAME", about: "every lease of a secret" },
    { flag: "--prefix", value: "TEXT", about: "every lease of the secrets whose names begin so" },
  ],
  async run(context, input) {
    const id = input.args[0];
    const given = FILTERS.filter((flag) => input.text(flag) !== undefined);
    if (given.length + (id === undefined ? 0 : 1) !== 1)
      throw cliError("USAGE", {
        detail: `an id, or one of ${FILTERS.join(", ")}`,
        hint: "modelkeep lease revoke --help",
      });
    const api = await context.client();
    if (id !== undefined) {
      const data = await api.call(revokeLease, { params: { id } });
      return { data, text: `ended ${data.ended}` };
    }
    const data = await api.call(revokeLeases, { body: filterOf(input) });
    return { data, text: data.ended.map((ended) => `ended ${ended}`) };
  },
};

function filterOf(input: CommandInput) {
  const [principal, secret, prefix] = FILTERS.map((flag) => input.text(flag));
  if (principal !== undefined) return { principal: parsePrincipal(principal) };
  return secret === undefined ? { prefix: prefix ?? "" } : { secret };
}
