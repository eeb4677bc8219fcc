/** What drivers of other keepers have in common: references, values into guarded memory, and what their refusals mean. */
import type { LentLease } from "../../backends/index.ts";
import { ModelkeepError, wipe } from "../../base/index.ts";
import { GuardedBytes } from "../../host/index.ts";
import type { DriverValue, SecretDriver } from "../driver.ts";
import { secretError } from "../errors.ts";
import { SECRET_LIMITS } from "../limits.ts";

/** `PATH[?name=value&…][#FIELD]`, taken apart and unescaped. */
export interface KeeperReference {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly field: string | undefined;
}

/** What the references of a keeper may hold. */
export interface ReferenceGrammar {
  readonly path: RegExp;
  /** By name; the one named `*` stands for all others. */
  readonly query: Readonly<Record<string, RegExp>>;
  readonly hasField: boolean;
}

export interface FoundSecret {
  /** Wiped. */
  readonly value: Uint8Array;
  readonly lease?: LentLease;
}

/** Undefined from `read` stands for nothing there; errors are those of `backends`. */
export interface Keeper {
  readonly grammar: ReferenceGrammar;
  /** True where a value is made for each reader and not looked for again. */
  readonly makes?: boolean;
  read(reference: KeeperReference, wanted: { readonly ttlSeconds: number }): Promise<FoundSecret | undefined>;
  renew?(leaseId: string, ttlSeconds: number): Promise<number>;
  revoke?(leaseId: string): Promise<void>;
}

type Code = Parameters<typeof secretError>[0];

const CODE_OF: Readonly<Record<string, Code>> = {
  KMS_CREDENTIALS_MISSING: "KEEPER_LOGIN_MISSING",
  KMS_CREDENTIALS_REFUSED: "KEEPER_LOGIN_REFUSED",
  KMS_WRAPPING_USED: "WRAPPING_TOKEN_USED",
  KMS_DENIED: "KEEPER_DENIED",
  KMS_KEY_DISABLED: "KEEPER_DISABLED",
  KMS_KEY_NOT_FOUND: "SECRET_NOT_FOUND",
  KMS_THROTTLED: "KEEPER_THROTTLED",
  KMS_UNREACHABLE: "KEEPER_UNREACHABLE",
  KMS_SEALED: "KEEPER_UNREACHABLE",
  KMS_TLS_REFUSED: "KEEPER_TLS_REFUSED",
  KMS_ANSWER_INVALID: "KEEPER_ANSWER_INVALID",
  KMS_REFUSED: "KEEPER_REFUSED",
  KMS_KEY_UNFIT: "KEEPER_REFUSED",
  KMS_URI_UNKNOWN: "KEEPER_UNKNOWN",
};
/** Hints that are right for secrets too: how to log in, whom to trust. */
const KEEPS_HINT = new Set<Code>(["KEEPER_LOGIN_MISSING", "KEEPER_TLS_REFUSED"]);

export function keeperDriver(kind: string, keeper: Keeper): SecretDriver {
  const { renew, revoke } = keeper;
  return {
    kind,
    check: (reference) => void parseReference(reference, keeper.grammar),
    async read(reference, wanted) {
      const place = parseReference(reference, keeper.grammar);
      const found = await asSecretErrors(() => keeper.read(place, wanted));
      if (!found) throw secretError("SECRET_NOT_FOUND", { detail: `${kind}: ${place.path}` });
      return guardFound(found, keeper);
    },
    ...(renew ? { renew: (id: string, seconds: number) => asSecretErrors(() => renew.call(keeper, id, seconds)) } : {}),
    ...(revoke ? { revoke: (id: string) => asSecretErrors(() => revoke.call(keeper, id)) } : {}),
  };
}

/** Throws SECRET_VALUE_INVALID for a value that is empty or too long; what was lent is given back then. */
async function guardFound({ value, lease }: FoundSecret, keeper: Keeper): Promise<DriverValue> {
  const { length } = value;
  if (length > 0 && length <= SECRET_LIMITS.valueBytes) {
    const key = GuardedBytes.take(value);
    if (lease) return { key, lease };
    return keeper.makes ? { key } : { key, freshSeconds: SECRET_LIMITS.keeperFreshSeconds };
  }
  wipe(value);
  if (lease) await keeper.revoke?.(lease.id).catch(() => undefined);
  throw secretError("SECRET_VALUE_INVALID", {
    detail: `${length} bytes, 1 to ${SECRET_LIMITS.valueBytes} are possible`,
  });
}

/** The clients of keepers speak of key services; whoever wants a secret is told of its keeper. */
export async function asSecretErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof ModelkeepError ? CODE_OF[error.code] : undefined;
    if (!(error instanceof ModelkeepError) || code === undefined) throw error;
    const { detail, hint } = error;
    throw secretError(code, {
      ...(detail === undefined ? {} : { detail }),
      ...(hint !== undefined && KEEPS_HINT.has(code) ? { hint } : {}),
      cause: error,
    });
  }
}

/** Throws SECRET_REFERENCE_INVALID. */
export function parseReference(text: string, grammar: ReferenceGrammar): KeeperReference {
  const hash = text.indexOf("#");
  const field = hash === -1 ? undefined : text.slice(hash + 1);
  const [path = "", ...queries] = (hash === -1 ? text : text.slice(0, hash)).split("?");
  const pairs = [...new URLSearchParams(queries[0] ?? "")];
  const query = Object.fromEntries(pairs);
  const odd =
    queries.length > 1 ||
    pairs.length !== Object.keys(query).length ||
    pairs.some(([name, value]) => !(grammar.query[name] ?? grammar.query["*"])?.test(value));
  if (odd) throw invalid("what stands behind the question mark");
  if (!grammar.path.test(path) || path.split("/").some((part) => part === "." || part === ".."))
    throw invalid("the path");
  if (field !== undefined && (!grammar.hasField || field === "" || field.length > 256)) throw invalid("the field");
  return { path, query, field };
}

function invalid(detail: string): Error {
  return secretError("SECRET_REFERENCE_INVALID", { detail });
}
