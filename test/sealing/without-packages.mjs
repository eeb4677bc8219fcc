/** Hides the optional native packages from the program that it is loaded before. */
import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, next) {
    if (/^(koffi|@napi-rs\/blake-hash)/.test(specifier)) throw new Error(`${specifier} is hidden`);
    return next(specifier, context);
  },
});
