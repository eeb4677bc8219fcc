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

/** Asks for a passphrase: a new one to wrap with, or the one that something was wrapped with. The caller wipes it. */
export type PassphraseSource = (use: "wrap" | "unwrap") => Promise<Uint8Array>;

export interface BackendPorts {
  readonly random: Random;
  readonly clock?: Clock;
  /** Where credentials and settings are looked up; the environment of the process when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Instead of those of BACKEND_LIMITS. */
  readonly limits?: Partial<CallLimits>;
  /** Ends what is under way, with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** For `passphrase:`; without it there is nobody to ask. */
  readonly passphrase?: PassphraseSource;
}

export interface FullPorts {
  readonly random: Random;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly limits: CallLimits;
  readonly signal?: AbortSignal | undefined;
}

export function fullPorts(ports: BackendPorts): FullPorts {
  return {
    random: ports.random,
    clock: ports.clock ?? systemClock,
    env: ports.env ?? processInfo().env,
    limits: { ...BACKEND_LIMITS, ...ports.limits },
    signal: ports.signal,
  };
}

/** Ports for a login: `near` is a service of the machine itself, which answers at once or is not there. */
export function metadataPorts(
  ports: Pick<FullPorts, "env" | "clock" | "random" | "signal">,
  where: "near" | "far",
): FullPorts {
  const milliseconds = BACKEND_LIMITS.metadataMilliseconds;
  const near = { connectMilliseconds: milliseconds, answerMilliseconds: milliseconds, attempts: 2 };
  const { env, clock, random, signal } = ports;
  return { env, clock, random, signal, limits: { ...BACKEND_LIMITS, ...(where === "near" ? near : {}) } };
}
