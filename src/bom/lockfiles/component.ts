/** A library that a lockfile, a list of requirements or an installation names. */
import type { Ecosystem } from "../packages.ts";

export interface LibraryHash {
  readonly algorithm: "MD5" | "SHA-256" | "SHA-384" | "SHA-512";
  /** Lower-case hex. */
  readonly hex: string;
}

export interface Library {
  readonly ecosystem: Ecosystem;
  readonly name: string;
  /** Absent when the file asks for a range: then nothing can be matched. */
  readonly version?: string;
  /** What was asked for, when it is not one version. */
  readonly requirement?: string;
  readonly hashes: readonly LibraryHash[];
  /** Names of the libraries it needs, as the file has them. */
  readonly needs: readonly string[];
  /** The source package of a distribution, where it has another name or version. */
  readonly source?: { readonly name: string; readonly version: string };
  readonly architecture?: string;
  /** As the package itself states it. */
  readonly license?: string;
  /** Further facts, in order: name and value. */
  readonly facts?: readonly (readonly [string, string])[];
}

/** One reader per kind of file: the text to libraries; throws LOCKFILE_INVALID. */
export type LockfileReader = (text: string, path: string) => readonly Library[];
