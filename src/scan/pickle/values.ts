/** What lies on the symbolic stack of a pickle, and what is told about it. */
import { judgeGlobal, type Standing } from "./callables.ts";

/** A name that the pickle imports. */
export class Global {
  readonly module: string;
  readonly name: string;
  readonly standing: Standing;

  constructor(module: string, name: string) {
    this.module = module;
    this.name = name;
    this.standing = judgeGlobal(module, name);
  }
}

/** Any value that needs no name: numbers, containers, results of calls. */
export const OTHER = Symbol("value");

/** A short text, which may become a name; a global; or anything else. */
export type Value = string | Global | typeof OTHER;

/** What the real unpickler would do. */
export interface PickleEvents {
  /** An import; `undefined` when the name is computed at run time. */
  imported(global: Global | undefined): void;
  /** A call; `undefined` when what is called is not a plain import. */
  called(global: Global | undefined): void;
  /** Attributes or items of an import are changed. */
  tampered(global: Global): void;
  /** An extension code, whose meaning the reader's registry holds. */
  extension(): void;
  /** A text or bytes of the pickle, which may hold another pickle. */
  data(bytes: Uint8Array): void;
}

/** The pickle breaks a rule of the format: the real unpickler would stop here, too. */
export class PickleError extends Error {
  override readonly name = "PickleError";
}

/** Beyond a limit of the scanner; the rest was not seen. */
export class PickleLimit extends Error {
  override readonly name = "PickleLimit";
}
