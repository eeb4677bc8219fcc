/** Which names a pickle may import: an allow-list; everything else blocks, and known dangers are named. */
import { ALLOWED, DANGEROUS_MODULES, DANGEROUS_NAME, HARMLESS_BUILTINS, RENAMED, STANDARD_LIBRARY } from "./names.ts";

/** `unknown` is not allowed either: it makes a file suspicious. */
export type Standing = "allowed" | "unknown" | "dangerous";

/** Standing of `module.name` as the unpickler would import it; names of Python 2 count as their successors. */
export function judgeGlobal(givenModule: string, name: string): Standing {
  const module = RENAMED.get(givenModule) ?? givenModule;
  if (ALLOWED.get(module)?.has(name)) return "allowed";
  if (module === "builtins") return HARMLESS_BUILTINS.has(name) ? "unknown" : "dangerous";
  if (isBelow(module, DANGEROUS_MODULES)) return "dangerous";
  if (STANDARD_LIBRARY.has(module.split(".")[0] ?? "")) return "dangerous";
  return DANGEROUS_NAME.test(`.${name}`) ? "dangerous" : "unknown";
}

function isBelow(module: string, roots: ReadonlySet<string>): boolean {
  for (let end = module.length; end > 0; end = module.lastIndexOf(".", end - 1)) {
    if (roots.has(module.slice(0, end))) return true;
  }
  return false;
}
