/** BLAKE3, which Node does not have: by an optional native package, loaded when the first hash is. */
import { hostError } from "./errors.ts";

/** A hash that bytes go into and whose hex comes out once. */
export interface StreamHash {
  update(bytes: Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

interface Blake3Package {
  readonly Blake3Hasher: new () => StreamHash;
}

/** The package for every machine first, then its build for this one alone. */
const PACKAGES: readonly string[] = ["@napi-rs/blake-hash", "@napi-rs/blake-hash-linux-x64-gnu"];

/** Throws BLAKE3_MISSING where neither package is there. */
export async function loadBlake3(): Promise<() => StreamHash> {
  for (const name of PACKAGES) {
    const Hasher = await hasherOf(name);
    if (Hasher) return () => new Hasher();
  }
  throw hostError("BLAKE3_MISSING");
}

async function hasherOf(name: string): Promise<Blake3Package["Blake3Hasher"] | undefined> {
  try {
    const loaded = (await import(name)) as Partial<Blake3Package> & { readonly default?: Partial<Blake3Package> };
    return loaded.Blake3Hasher ?? loaded.default?.Blake3Hasher;
  } catch {
    return undefined;
  }
}
