/** Reads the tokens that a reply says it used, from the last bytes of it: a stream is never held back for that. */
import { GATEWAY_INTERNALS } from "./limits.ts";

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export class UsageMeter {
  readonly #window = Buffer.alloc(GATEWAY_INTERNALS.usageWindowBytes);
  #length = 0;

  push(chunk: Uint8Array): void {
    const window = this.#window;
    const tail = chunk.subarray(Math.max(0, chunk.length - window.length));
    const keep = Math.min(this.#length, window.length - tail.length);
    window.copyWithin(0, this.#length - keep, this.#length);
    window.set(tail, keep);
    this.#length = keep + tail.length;
  }

  /** Undefined when the provider did not say, or was not left the time to. */
  read(): Usage | undefined {
    return readUsage(this.#window.toString("latin1", 0, this.#length));
  }
}

/** Chat, completions and embeddings say prompt and completion, responses say input and output. */
export function readUsage(text: string): Usage | undefined {
  // Inside a JSON string the quotes are escaped, so a model's words cannot be taken for the usage.
  const at = /.*(?<!\\)"usage"\s*:\s*\{/s.exec(text)?.[0].length;
  if (at === undefined) return undefined;
  const rest = text.slice(at);
  const prompt = /"(?:prompt|input)_tokens"\s*:\s*(\d{1,12})/.exec(rest)?.[1];
  const completion = /"(?:completion|output)_tokens"\s*:\s*(\d{1,12})/.exec(rest)?.[1];
  if (prompt === undefined) return undefined;
  return { promptTokens: Number(prompt), completionTokens: Number(completion ?? 0) };
}
