/** BLAKE3, which Node does not have: by an optional native package, loaded when the first hash is. */
import { createRequire } from "node:module";

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

/** Undefined where neither package is there. Threads load this file, so it leaves out what they have no use for. */
export function loadBlake3(): (() => StreamHash) | undefined {
  for (const name of PACKAGES) {
    const Hasher = hasherOf(name);
    if (Hasher) return () => new Hasher();
  }
  return undefined;
}

/** By `require`: an import of a native file would warn that it is new. */
function hasherOf(name: string): Blake3Package["Blake3Hasher"] | undefined {
  try {
    return (createRequire(import.meta.url)(name) as Partial<Blake3Package>).Blake3Hasher;
  } catch {
    return undefined;
  }
}
