/** What the clients of keepers of secrets give back. */
import { ModelkeepError } from "../base/index.ts";

/** A keeper that lends ends the lease by itself, or when it is told. */
export interface LentLease {
  readonly id: string;
  readonly ttlSeconds: number;
  readonly renewable: boolean;
}

export interface FoundValue {
  /** The caller wipes it. */
  readonly value: Uint8Array;
  readonly lease?: LentLease;
}

/** What is not there is no error for who reads. */
export async function orNothing<T>(work: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "KMS_KEY_NOT_FOUND") return undefined;
    throw error;
  }
}
