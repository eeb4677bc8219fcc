/** Compares versions as their ecosystem orders them; what is no version there is read as far as it goes. */
import { alpine } from "./versions/alpine.ts";
import { debian } from "./versions/debian.ts";
import { maven } from "./versions/maven.ts";
import type { VersionOrder } from "./versions/order.ts";
import { pypi } from "./versions/pypi.ts";
import { semantic } from "./versions/semantic.ts";

export { BEGINNING, type VersionOrder } from "./versions/order.ts";

const ORDERS: ReadonlyMap<string, VersionOrder> = new Map([
  ["PyPI", pypi],
  ["npm", semantic],
  ["crates.io", semantic],
  ["Go", semantic],
  ["Debian", debian],
  ["Alpine", alpine],
  ["Maven", maven],
]);

/** By the ecosystem's name without its release: `Debian:12` is ordered as Debian. */
export function versionOrder(ecosystem: string): VersionOrder | undefined {
  return ORDERS.get(ecosystem.split(":", 1)[0] ?? "");
}
