/** The scorecard of a bill of materials: each element with its evidence, or with what to do about it. */
import type { Unknown } from "../plain.ts";
import type { ElementState } from "./element.ts";
import { ELEMENTS } from "./elements.ts";
import { factsOfBom } from "./facts.ts";

export interface ScoredElement {
  readonly id: string;
  readonly title: string;
  readonly state: ElementState;
  /** Where it stands, or why it follows; empty when it is missing. */
  readonly evidence: string;
  /** The next step when it is missing, else empty. */
  readonly todo: string;
}

export interface Scorecard {
  readonly elements: readonly ScoredElement[];
  readonly counts: Readonly<Record<ElementState, number>>;
  /** Elements that are there, in whole percent. */
  readonly percent: number;
}

const EVIDENCE_CHARACTERS = 200;

/** `isSigned` is for the caller to know: a signature over these very bytes was verified. */
export function scoreBom(bom: Unknown, isSigned = false): Scorecard {
  const facts = factsOfBom(bom, isSigned);
  const counts = { filled: 0, derived: 0, declared: 0, missing: 0 };
  const elements = ELEMENTS.map(({ id, title, find, todo }): ScoredElement => {
    const [state, evidence] = find(facts) ?? (["missing", ""] as const);
    counts[state]++;
    return {
      id,
      title,
      state,
      evidence: evidence.slice(0, EVIDENCE_CHARACTERS),
      todo: state === "missing" ? todo : "",
    };
  });
  return { elements, counts, percent: Math.round((100 * (ELEMENTS.length - counts.missing)) / ELEMENTS.length) };
}
