/** BLAKE3, which Node does not have: by an optional native package, loaded when the first hash is. */

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
export async function loadBlake3(): Promise<(() => StreamHash) | undefined> {
  for (const name of PACKAGES) {
    const Hasher = await hasherOf(name);
    if (Hasher) return () => new Hasher();
  }
  return undefined;
}

async function hasherOf(name: string): Promise<Blake3Package["Blake3Hasher"] | undefined> {
  try {
    const loaded = (await import(name)) as Partial<Blake3Package> & { readonly default?: Partial<Blake3Package> };
    return loaded.Blake3Hasher ?? loaded.default?.Blake3Hasher;
  } catch {
    return undefined;
  }
}
