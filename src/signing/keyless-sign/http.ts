/** One request to a service of keyless signing: bounded in size and time, no redirects, repeated only where that is safe. */
import { type Clock, concatBytes, type Fetch, type Random, wipe } from "../../base/index.ts";
import { keylessError } from "./errors.ts";
import { KEYLESS_LIMITS, type KeylessLimits } from "./limits.ts";

export interface KeylessPorts {
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal?: AbortSignal;
  /** Instead of those of KEYLESS_LIMITS. */
  readonly limits?: Partial<KeylessLimits>;
}

export interface ServiceRequest {
  /** What people call it, for errors. */
  readonly service: string;
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly milliseconds: number;
  /** `harmless`: repeated after any failure. `unheard`: only when the service says that it did not take it. */
  readonly repeat: "harmless" | "unheard";
}

export interface ServiceAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

type Outcome = { readonly answer: ServiceAnswer } | { readonly failure: Error };

const UNHEARD = new Set([429, 503]);
const LATER = new Set([429, 500, 502, 503, 504]);

export function limitsOf(ports: KeylessPorts): KeylessLimits {
  return { ...KEYLESS_LIMITS, ...ports.limits };
}

/** Whatever its status, redirects excepted. Throws KEYLESS_UNREACHABLE, KEYLESS_SERVICE_REFUSED, KEYLESS_ANSWER_INVALID. */
export async function askService(ports: KeylessPorts, request: ServiceRequest): Promise<ServiceAnswer> {
  const { attempts, backoffMilliseconds } = limitsOf(ports);
  for (let attempt = 1; ; attempt++) {
    const outcome = await once(ports, request);
    const last = attempt >= attempts || ports.signal?.aborted === true || !mayRepeat(outcome, request);
    if (last && "failure" in outcome) throw outcome.failure;
    if (last && "answer" in outcome) return outcome.answer;
    await new Promise((resolve) => setTimeout(resolve, backoffMilliseconds * 2 ** (attempt - 1)));
  }
}

/** The body of an answer of status 2xx. */
export async function askForBody(ports: KeylessPorts, request: ServiceRequest): Promise<Uint8Array> {
  const { status, body } = await askService(ports, request);
  if (status >= 200 && status < 300) return body;
  throw keylessError("KEYLESS_SERVICE_REFUSED", { detail: `${whereOf(request)}: status ${status}` });
}

/** The service and its origin: paths and queries stay out of errors. */
export function whereOf({ service, url }: Pick<ServiceRequest, "service" | "url">): string {
  return `${service} ${new URL(url).origin}`;
}

function mayRepeat(outcome: Outcome, { repeat }: ServiceRequest): boolean {
  if ("answer" in outcome) return (repeat === "harmless" ? LATER : UNHEARD).has(outcome.answer.status);
  return repeat === "harmless" && "code" in outcome.failure && outcome.failure.code === "KEYLESS_UNREACHABLE";
}

async function once(ports: KeylessPorts, request: ServiceRequest): Promise<Outcome> {
  const timeout = AbortSignal.timeout(request.milliseconds);
  const signal = ports.signal ? AbortSignal.any([ports.signal, timeout]) : timeout;
  const { method, headers } = request;
  const body = request.body && new Uint8Array(request.body);
  try {
    const init: RequestInit = { method, headers, redirect: "manual", signal };
    if (body) init.body = body;
    const response = await ports.fetch(request.url, init);
    if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
      await response.body?.cancel();
      return refused(request, "it redirects, which is not followed");
    }
    const bytes = await readBounded(response, limitsOf(ports).answerBytes);
    if (!bytes) return { failure: keylessError("KEYLESS_ANSWER_INVALID", { detail: `${whereOf(request)}: too long` }) };
    return { answer: { status: response.status, body: bytes } };
  } catch {
    const why = timeout.aborted ? "no answer in time" : "no connection, or it broke off";
    return { failure: keylessError("KEYLESS_UNREACHABLE", { detail: `${whereOf(request)}: ${why}` }) };
  } finally {
    if (body) wipe(body);
  }
}

function refused(request: ServiceRequest, why: string): Outcome {
  return { failure: keylessError("KEYLESS_SERVICE_REFUSED", { detail: `${whereOf(request)}: ${why}` }) };
}

async function readBounded(response: Response, maxBytes: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}
