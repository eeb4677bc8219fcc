/** modelkeep login|logout|whoami: enrols a key of this machine, forgets it, and says whom the server sees. */
import { entityText } from "../../base/index.ts";
import { revokeToken, whoAmI } from "../../contract/index.ts";
import type { Command } from "../command.ts";
import { connectWithCredentials, enrolAndStore } from "../connect.ts";
import { deleteCredentials, readCredentials } from "../credentials.ts";
import { cliError } from "../errors.ts";
import { readOneTimeCode } from "./code-input.ts";

export const login: Command = {
  name: "login",
  about: "Log in with a one-time code, from a prompt without echo or from stdin; a key stays in a file of mode 0600.",
  examples: [
    { line: "modelkeep login", about: "to the server on this machine; asks for the code" },
    { line: "modelkeep login --server https://keep.example.com < code.txt", about: "reads the code from stdin" },
  ],
  options: [{ flag: "--server", value: "URL", about: "default: MODELKEEP_SERVER, or http://127.0.0.1:8420" }],
  async run(context, input) {
    const code = await readOneTimeCode(context, { stdin: true });
    if (!code || code.length === 0) throw cliError("CODE_INVALID");
    const serverUrl = input.text("--server");
    const { env, signal } = context;
    const to = serverUrl === undefined ? {} : { serverUrl };
    const { principal, serverUrl: server } = await enrolAndStore({ env, signal, ...to }, code);
    return { data: { server, principal }, text: `logged in to ${server} as ${principal}` };
  },
};

export const logout: Command = {
  name: "logout",
  about: "End this machine's login at the server, and delete its key here.",
  examples: [{ line: "modelkeep logout", about: "the key is worth nothing afterwards" }],
  async run(context) {
    const { env, signal } = context;
    if (!(await readCredentials(env))) throw cliError("NOT_LOGGED_IN");
    let ended = true;
    try {
      const api = await connectWithCredentials(env, signal);
      const { token } = await api.call(whoAmI, {});
      await api.call(revokeToken, { body: { token } });
    } catch {
      ended = false;
      context.talk("the server could not be told; an administrator can end the key with `modelkeep token revoke`");
    }
    await deleteCredentials(env);
    return { data: { ended_at_server: ended }, text: "logged out" };
  },
};

export const whoami: Command = {
  name: "whoami",
  about: "Whom the server takes you for.",
  examples: [{ line: "modelkeep whoami", about: "principal, groups and the end of the token" }],
  async run(context) {
    const data = await (await context.client()).call(whoAmI, {});
    const groups = data.groups.length > 0 ? ` in ${data.groups.join(", ")}` : "";
    return { data, text: `${entityText(data.principal)}${groups}, token ${data.token} until ${data.expires_at}` };
  },
};
