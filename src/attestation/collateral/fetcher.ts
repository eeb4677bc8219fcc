/** Asks the services of vendors: once at a time for the same thing, with patience, and never for more than was agreed. */
import type { Clock, Fetch } from "../../base/index.ts";
import { attestationError } from "../errors.ts";
import { COLLATERAL_LIMITS } from "./limits.ts";

export interface FetcherPorts {
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** In milliseconds. */
  readonly wait: (ms: number) => Promise<void>;
  readonly signal?: AbortSignal;
}

export interface Question {
  readonly url: string;
  readonly maxBytes?: number;
  /** Sent as POST. */
  readonly body?: Uint8Array;
  readonly contentType?: string;
}

export interface Answer {
  readonly bytes: Uint8Array;
  /** Text of a header; undefined when the service did not send it. */
  header(name: string): string | undefined;
}

export interface Fetcher {
  /** Throws COLLATERAL_UNREACHABLE with the address and what was answered. */
  ask(question: Question): Promise<Answer>;
}

export function createFetcher(ports: FetcherPorts): Fetcher {
  const running = new Map<string, Promise<Answer>>();
  return {
    ask(question) {
      const key = `${question.url} ${Buffer.from(question.body ?? new Uint8Array()).toString("base64")}`;
      const known = running.get(key);
      if (known) return known;
      const asked = askPatiently(ports, question).finally(() => running.delete(key));
      running.set(key, asked);
      return asked;
    },
  };
}

const unreachable = (detail: string, cause?: unknown) =>
  attestationError("COLLATERAL_UNREACHABLE", { detail, ...(cause ? { cause } : {}) });

/** Too many requests and failures of the service are asked again; an answer that says no is final. */
async function askPatiently(ports: FetcherPorts, question: Question): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const { answer, retryAfterMs, why } = await askOnce(ports, question);
    if (answer) return answer;
    if (retryAfterMs === undefined || attempt >= COLLATERAL_LIMITS.attempts)
      throw unreachable(`${question.url}: ${why}`);
    const backOff = COLLATERAL_LIMITS.backOffMs * 2 ** (attempt - 1);
    await ports.wait(Math.min(Math.max(backOff, retryAfterMs), COLLATERAL_LIMITS.longestWaitMs));
    if (ports.signal?.aborted) throw unreachable(`${question.url}: interrupted`);
  }
}

interface Outcome {
  readonly answer?: Answer;
  /** Present when it may be asked again. */
  readonly retryAfterMs?: number;
  readonly why?: string;
}

async function askOnce(ports: FetcherPorts, question: Question): Promise<Outcome> {
  const timeout = AbortSignal.timeout(COLLATERAL_LIMITS.requestMs);
  const signal = ports.signal ? AbortSignal.any([ports.signal, timeout]) : timeout;
  try {
    const response = await ports.fetch(question.url, { ...requestOf(question), signal, redirect: "error" });
    if (response.ok) return { answer: await readAnswer(response, question.maxBytes ?? COLLATERAL_LIMITS.fileBytes) };
    await response.body?.cancel();
    const why = `the service answers ${response.status}`;
    if (response.status !== 429 && response.status < 500) return { why };
    return { why, retryAfterMs: retryAfter(response.headers.get("retry-after")) };
  } catch (error) {
    if (error instanceof TooLarge) throw unreachable(`${question.url}: over ${error.maxBytes} bytes`);
    if (ports.signal?.aborted) return { why: "interrupted" };
    return { retryAfterMs: 0, why: "no connection" };
  }
}

function requestOf({ body, contentType }: Question): RequestInit {
  if (!body) return { method: "GET" };
  return {
    method: "POST",
    body: Buffer.from(body),
    headers: { "content-type": contentType ?? "application/octet-stream" },
  };
}

function retryAfter(text: string | null): number {
  return text !== null && /^\d{1,6}$/.test(text) ? Number(text) * 1000 : 0;
}

class TooLarge extends Error {
  readonly maxBytes: number;
  constructor(maxBytes: number) {
    super("too large");
    this.maxBytes = maxBytes;
  }
}

async function readAnswer(response: Response, maxBytes: number): Promise<Answer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > maxBytes) throw new TooLarge(maxBytes);
    parts.push(part);
  }
  return { bytes: new Uint8Array(Buffer.concat(parts)), header: (name) => response.headers.get(name) ?? undefined };
}
