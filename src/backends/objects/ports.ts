/** What the clients of stores need of the outside world. */
import { type Clock, ModelkeepError, type Random } from "../../base/index.ts";
import { processInfo, systemClock, systemRandom } from "../../host/index.ts";
import type { AccessTokens } from "../access-tokens.ts";
import { storeError } from "./errors.ts";
import { STORE_LIMITS, type StoreLimits } from "./limits.ts";

export interface StorePorts {
  readonly random?: Random;
  readonly clock?: Clock;
  /** Where credentials and settings are looked up; the environment of the process when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Instead of those of STORE_LIMITS. */
  readonly limits?: Partial<StoreLimits>;
  /** Instead of the cloud's own login. */
  readonly tokens?: AccessTokens;
  /** Ends what is under way with its reason; what gives parts back is still tried once. */
  readonly signal?: AbortSignal | undefined;
}

export interface FullStorePorts {
  readonly random: Random;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly limits: StoreLimits;
  readonly tokens: AccessTokens | undefined;
  readonly signal: AbortSignal | undefined;
}

/** The login of the cloud; where it has none, the store says so and not the key service. */
export function withLogin(ports: FullStorePorts, open: (ports: FullStorePorts) => AccessTokens): AccessTokens {
  const tokens = ports.tokens ?? open(ports);
  return { token: (scope, signal) => tokens.token(scope, signal).catch(asStoreError) };
}

/** The errors of a login, under the names of stores. */
export function asStoreError(error: unknown): never {
  const code = error instanceof ModelkeepError ? LOGIN_ERRORS[error.code] : undefined;
  if (code === undefined || !(error instanceof ModelkeepError)) throw error;
  const { detail, hint } = error;
  throw storeError(code, {
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

const LOGIN_ERRORS: Readonly<Record<string, Parameters<typeof storeError>[0]>> = {
  KMS_CREDENTIALS_MISSING: "STORE_CREDENTIALS_MISSING",
  KMS_CREDENTIALS_REFUSED: "STORE_CREDENTIALS_REFUSED",
  KMS_ANSWER_INVALID: "STORE_ANSWER_INVALID",
  KMS_UNREACHABLE: "BLOBS_UNREACHABLE",
  KMS_TLS_REFUSED: "STORE_TLS_REFUSED",
  KMS_THROTTLED: "STORE_THROTTLED",
  KMS_SEALED: "STORE_REDIRECTED",
};

export function fullStorePorts(ports: StorePorts): FullStorePorts {
  return {
    random: ports.random ?? systemRandom,
    clock: ports.clock ?? systemClock,
    env: ports.env ?? processInfo().env,
    limits: { ...STORE_LIMITS, ...ports.limits },
    tokens: ports.tokens,
    signal: ports.signal,
  };
}
