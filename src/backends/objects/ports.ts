/** What the clients of stores need of the outside world. */
import type { Clock, Random } from "../../base/index.ts";
import { processInfo, systemClock, systemRandom } from "../../host/index.ts";
import type { AccessTokens } from "../access-tokens.ts";
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
}

export interface FullStorePorts {
  readonly random: Random;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly limits: StoreLimits;
  readonly tokens: AccessTokens | undefined;
}

export function fullStorePorts(ports: StorePorts): FullStorePorts {
  return {
    random: ports.random ?? systemRandom,
    clock: ports.clock ?? systemClock,
    env: ports.env ?? processInfo().env,
    limits: { ...STORE_LIMITS, ...ports.limits },
    tokens: ports.tokens,
  };
}
