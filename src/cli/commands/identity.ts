/** modelkeep identity keys|rotate: the keys by which other services believe the server's own tokens. */
import { getIdentityKeys, rotateIdentityKey } from "../../contract/index.ts";
import type { Command } from "../command.ts";

export const identityKeys: Command = {
  name: "identity keys",
  about: "Print the key set (JWKS) of the server as an identity provider: keys in use, and those with valid tokens.",
  examples: [{ line: "modelkeep identity keys > jwks.json", about: "for a provider that cannot reach the server" }],
  async run(context) {
    const data = await (await context.client()).call(getIdentityKeys, {});
    return { data, text: JSON.stringify(data) };
  },
};

export const identityRotate: Command = {
  name: "identity rotate",
  about: "Take other keys of the server as an identity provider into use; tokens under the old ones end by their time.",
  examples: [{ line: "modelkeep identity rotate", about: "at once, on every replica, one key of each algorithm" }],
  async run(context) {
    const { keys } = await (await context.client()).call(rotateIdentityKey, { body: {} });
    const inUse = keys.filter(({ alg }, at) => keys.findIndex((other) => other.alg === alg) === at);
    const named = inUse.map(({ alg, kid }) => `${alg} ${kid}`).join(", ");
    return { data: { keys }, text: `in use: ${named}; published: ${keys.length}` };
  },
};
