/** What the clients of key services need of the outside world. */
import type { Clock, Random } from "../base/index.ts";
import { processInfo, systemClock } from "../host/index.ts";
import { BACKEND_LIMITS } from "./limits.ts";

/** Milliseconds and counts of one call to a service over the network. */
export interface CallLimits {
  readonly connectMilliseconds: number;
  readonly answerMilliseconds: number;
  readonly callMilliseconds: number;
  readonly attempts: number;
  readonly backoffMilliseconds: number;
  readonly backoffMaxMilliseconds: number;
}

export interface BackendPorts {
  readonly random: Random;
  readonly clock?: Clock;
  /** Where credentials and settings are looked up; the environment of the process when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Instead of those of BACKEND_LIMITS. */
  readonly limits?: Partial<CallLimits>;
}

export interface FullPorts {
  readonly random: Random;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly limits: CallLimits;
}

export function fullPorts(ports: BackendPorts): FullPorts {
  return {
    random: ports.random,
    clock: ports.clock ?? systemClock,
    env: ports.env ?? processInfo().env,
    limits: { ...BACKEND_LIMITS, ...ports.limits },
  };
}
