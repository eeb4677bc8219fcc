/** Takes a refused publication out of the store again: what this run sealed, and nothing that was there before. */
import type { BlobStore } from "../artifact/index.ts";
import { ModelkeepError } from "../base/index.ts";
import { SEALED_NAMES, type SealedPackage } from "../sealing/index.ts";

/**
 * The server's last word on this very package. After any other failure the next run goes on with what is there; a package
 * that no key service of the server opens can be rewrapped.
 */
const REFUSALS = new Set(["FORBIDDEN", "PUBLICATION_REFUSED", "SIGNER_POLICY_REFUSED", "PUBLISHED_OTHERWISE"]);

export function isRefusal(error: unknown): boolean {
  return error instanceof ModelkeepError && REFUSALS.has(error.code);
}

export interface Withdrawal {
  readonly store: BlobStore;
  readonly prefix: string;
  readonly files: SealedPackage["files"];
  /** Whole names of what was stored beside it. */
  readonly beside: readonly string[];
}

/** How many blobs are gone. The seal goes first: what an interrupted withdrawal leaves is no sealed model any more. */
export async function withdraw({ store, prefix, files, beside }: Withdrawal): Promise<number> {
  const { seal, envelope, bundle, bom, findings } = SEALED_NAMES;
  const own = [seal, envelope, bundle, bom, findings, ...files.flatMap(({ blob, leaves }) => [blob, leaves])];
  let gone = 0;
  for (const name of [...own.map((name) => `${prefix}/${name}`), ...beside]) if (await store.delete(name)) gone++;
  return gone;
}
