/** An element of the scorecard: how it is found, and what to do when it is not. */
import type { BomFacts } from "./facts.ts";

/** `filled`: in the document and checkable; `derived`: follows from other facts; `declared`: somebody says so. */
export type ElementState = "filled" | "derived" | "declared" | "missing";
export type Found = readonly [Exclude<ElementState, "missing">, string] | undefined;

export interface Element {
  /** Cluster and number, as `MDL-7`. */
  readonly id: string;
  readonly title: string;
  readonly find: (facts: BomFacts) => Found;
  /** What to do when it is missing. */
  readonly todo: string;
}

export const filled = (evidence: string | undefined): Found =>
  evidence === undefined || evidence === "" ? undefined : ["filled", evidence];
export const derived = (evidence: string | undefined): Found =>
  evidence === undefined || evidence === "" ? undefined : ["derived", evidence];
export const declared = (evidence: string | undefined): Found =>
  evidence === undefined || evidence === "" ? undefined : ["declared", evidence];
export const count = (items: readonly unknown[], what: string): string | undefined =>
  items.length === 0 ? undefined : `${items.length} ${what}`;
export const property = (facts: BomFacts, name: string): string | undefined => facts.properties.get(name);
export const element = (id: string, title: string, find: Element["find"], todo: string): Element => ({
  id,
  title,
  find,
  todo,
});
