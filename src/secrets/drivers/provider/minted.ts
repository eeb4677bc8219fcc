/** Keys that a provider of models makes for a lease and deletes at its end, by the key of an administrator kept here. */
import { type AdminKey, type BackendPorts, openAiKeys, openRouterKeys } from "../../../backends/index.ts";
import type { GuardedBytes } from "../../../host/index.ts";
import { secretError } from "../../errors.ts";
import { SECRET_LIMITS } from "../../limits.ts";
import type { Keeper } from "../keeper.ts";

export interface MintingPorts extends BackendPorts {
  /** Opens a secret of this server for the time of the work. */
  readonly withSecret: <T>(name: string, work: (key: GuardedBytes) => Promise<T>) => Promise<T>;
}

const NAME = "modelkeep";
const ID = String.raw`[A-Za-z][\w-]{1,127}`;

/** `openai:?admin=SECRET`, with `PROJECT`, or `PROJECT/SERVICE-ACCOUNT[?scopes=a,b]`. */
export async function openOpenAiKeeper(uri: string, ports: MintingPorts): Promise<Keeper> {
  const { admin, at } = settingsOf(uri, ports);
  const keys = await openAiKeys(admin, ports, at);
  return {
    makes: true,
    grammar: {
      path: new RegExp(`^${ID}(?:/${ID})?$`),
      query: { scopes: /^[\w.:,-]{1,500}$/ },
      hasField: false,
    },
    read({ path, query }, { ttlSeconds }) {
      const [project = "", account] = path.split("/");
      return keys.mint({ project, account, scopes: query.scopes?.split(","), name: NAME }, lifeOf(ttlSeconds));
    },
    revoke: (leaseId) => keys.revoke(leaseId),
  };
}

/** `openrouter:?admin=SECRET`, with `NAME[?limit=DOLLARS]`. */
export async function openOpenRouterKeeper(uri: string, ports: MintingPorts): Promise<Keeper> {
  const { admin, at } = settingsOf(uri, ports);
  const keys = await openRouterKeys(admin, ports, at);
  return {
    makes: true,
    grammar: { path: /^[\w.-]{1,64}$/, query: { limit: /^\d{1,6}(?:\.\d{1,2})?$/ }, hasField: false },
    read: ({ path, query }, { ttlSeconds }) =>
      keys.mint(
        { name: `${NAME} ${path}`, limit: query.limit === undefined ? undefined : Number(query.limit) },
        lifeOf(ttlSeconds),
      ),
    revoke: (leaseId) => keys.revoke(leaseId),
  };
}

/** Long enough for the next who asks to share it; it is deleted with the last one who does. */
function lifeOf(ttlSeconds: number): number {
  return Math.min(ttlSeconds * 2, SECRET_LIMITS.leaseSeconds);
}

function settingsOf(uri: string, ports: MintingPorts): { readonly admin: AdminKey; readonly at: string | undefined } {
  const settings = new URLSearchParams(uri.slice(uri.indexOf("?") + 1));
  const name = settings.get("admin");
  const odd = [...settings.keys()].some((key) => key !== "admin" && key !== "at");
  if (!/^[a-z]+:\?/.test(uri) || !name || odd)
    throw secretError("KEEPER_UNKNOWN", {
      detail: "the key of an administrator is named",
      hint: `${uri.split(":")[0]}:?admin=SECRET, a secret of this server`,
    });
  return { admin: (work) => ports.withSecret(name, work), at: settings.get("at") ?? undefined };
}
