/** Where advisories lie unless somebody says otherwise. */
import { join } from "node:path";

/** `modelkeep/advisories.idx` below XDG_DATA_HOME, or below ~/.local/share (XDG base directory specification). */
export function defaultAdvisoriesPath(env: Readonly<Record<string, string | undefined>>, home: string): string {
  const base = env.XDG_DATA_HOME?.startsWith("/") ? env.XDG_DATA_HOME : join(home, ".local", "share");
  return join(base, "modelkeep", "advisories.idx");
}

/** What is known of the use of weaknesses lies beside the index of advisories. */
export function exploitationPath(advisories: string): string {
  return `${advisories.replace(/\.idx$/, "")}.exploitation.idx`;
}
