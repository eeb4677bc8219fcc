/** What the gateway counts, for /metrics. Labels are names that an admin chose: never anything that a client sent. */
import { GATEWAY_INTERNALS } from "./limits.ts";

export interface Counter {
  readonly name: string;
  readonly about: string;
  readonly samples: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];
}

const abouts = {
  modelkeep_gateway_requests_total: "Requests by model, status and error code.",
  modelkeep_gateway_prompt_tokens_total: "Tokens of prompts, as the providers counted them.",
  modelkeep_gateway_completion_tokens_total: "Tokens of completions, as the providers counted them.",
  modelkeep_gateway_unmetered_total: "Replies that did not say how many tokens they used.",
  modelkeep_gateway_echoed_total: "Reads from a provider with its key in them, which was masked.",
  modelkeep_gateway_scrubbed_total: "Times that a provider sent the key back in pieces and it was taken out.",
} as const;

export type CounterName = keyof typeof abouts;

export class Counters {
  readonly #values = new Map<CounterName, Map<string, { labels: Readonly<Record<string, string>>; value: number }>>();

  add(name: CounterName, labels: Readonly<Record<string, string>>, amount = 1): void {
    const samples = this.#values.get(name) ?? new Map();
    this.#values.set(name, samples);
    const id = Object.values(labels).join("\n");
    const sample = samples.get(id);
    if (sample) sample.value += amount;
    else if (samples.size < GATEWAY_INTERNALS.labelSets) samples.set(id, { labels, value: amount });
  }

  read(): readonly Counter[] {
    return [...this.#values].map(([name, samples]) => ({
      name,
      about: abouts[name],
      samples: [...samples.values()].map(({ labels, value }) => ({ labels, value })),
    }));
  }
}
