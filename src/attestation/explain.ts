/** Says a verdict in plain words: what is wrong, why it matters, what to do; the same cause is told once. */
import { TOPICS, type Topic } from "./explain-topics.ts";
import type { Rule, Verdict } from "./verdict.ts";

export interface Explanation {
  readonly what: string;
  readonly why: string;
  readonly todo: string;
  /** The failed rules that it is about. */
  readonly rules: readonly Rule[];
}

const UNKNOWN: Topic = {
  pattern: /./,
  what: "A rule failed.",
  why: "The verdict is over all rules: one that fails refuses the evidence.",
  todo: "Read its message.",
};

/** In the order in which somebody should look at them: causes of many failures first. Empty for accepted evidence. */
export function explainVerdict({ rules }: Verdict<unknown>): Explanation[] {
  const failed = rules.filter(({ result }) => result === "failed");
  const topics = new Map<Topic, Rule[]>();
  for (const rule of failed) {
    const topic = topicOf(rule.id);
    topics.set(topic, [...(topics.get(topic) ?? []), rule]);
  }
  return [...topics].map(([{ what, why, todo }, own]) => ({ what, why, todo, rules: own }));
}

export function topicOf(rule: string): Topic {
  return TOPICS.find(({ pattern }) => pattern.test(rule)) ?? UNKNOWN;
}

/** Lines for a terminal. */
export function explanationLines(verdict: Verdict<unknown>): string[] {
  const unchecked = verdict.rules.filter(({ result }) => result === "unchecked").length;
  if (verdict.verdict === "accepted")
    return [
      "The evidence is accepted: it is genuine, current, and in the state that was asked for.",
      ...(unchecked > 0
        ? [`${unchecked} rules were not checked, because nobody asked for them: see attest verify.`]
        : []),
    ];
  return explainVerdict(verdict).flatMap(({ what, why, todo, rules }, index) => [
    `${index + 1}. ${what}`,
    `   Why it matters: ${why}`,
    `   What to do: ${todo}`,
    ...rules.map(({ id, message, have, need }) => {
      const facts = [have && `have ${have}`, need && `need ${need}`].filter(Boolean).join(", ");
      return `   - ${id}: ${message}${facts ? ` (${facts})` : ""}`;
    }),
  ]);
}
