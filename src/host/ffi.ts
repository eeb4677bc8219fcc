/** Calls into shared libraries by an optional package, which is loaded when the first library is. */
import type * as Koffi from "koffi";
import { hostError } from "./errors.ts";

export type ForeignFunctions = (typeof Koffi)["default"];
export type ForeignFunction = Koffi.KoffiFunc<(...args: unknown[]) => unknown>;
export type ForeignLibrary = Koffi.LibraryHandle;

/** Throws FOREIGN_FUNCTIONS_MISSING where the optional package is not installed or has no build for this machine. */
export async function loadForeignFunctions(): Promise<ForeignFunctions> {
  try {
    return (await import("koffi")).default;
  } catch (error) {
    throw hostError("FOREIGN_FUNCTIONS_MISSING", { cause: error });
  }
}
