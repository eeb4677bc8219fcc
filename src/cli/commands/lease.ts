/** modelkeep lease list|revoke: who holds which secret now. */
import { listLeases, revokeLease } from "../../contract/index.ts";
import type { Command } from "../command.ts";

export const leaseList: Command = {
  name: "lease list",
  about: "The open leases: secret, holder, end.",
  examples: [{ line: "modelkeep lease list", about: "one line each" }],
  async run(context) {
    const data = await (await context.client()).call(listLeases, {});
    const lines = data.leases.map(
      (lease) => `${lease.id}  ${lease.secret}  ${lease.holder}  until ${lease.expires_at}`,
    );
    return { data, text: lines };
  },
};

export const leaseRevoke: Command = {
  name: "lease revoke",
  about: "End a lease at once; a key in the server is wiped, one that was handed out should be rotated.",
  examples: [{ line: "modelkeep lease revoke lease_0f3a…", about: "the id is in `modelkeep lease list`" }],
  args: [{ name: "ID", about: "id of the lease" }],
  async run(context, input) {
    const id = input.arg(0);
    const data = await (await context.client()).call(revokeLease, { params: { id } });
    return { data, text: `ended ${data.ended}` };
  },
};
