/** The body of a request: read whole up to a limit, its model found, and renamed without touching any other byte. */
import { ModelkeepError as KeepError, type ModelkeepError, parseJson } from "../base/index.ts";
import type { http } from "../host/index.ts";
import { gatewayError } from "./errors.ts";
import { GATEWAY_INTERNALS, type GatewayLimits, PROVIDER_LIMITS } from "./limits.ts";

type Limits = Pick<GatewayLimits, "requestBytes" | "requestBodyMilliseconds">;

export async function readBody(req: http.IncomingMessage, limits: Limits): Promise<Buffer> {
  checkMediaType(req);
  const announced = Number(req.headers["content-length"] ?? 0);
  if (announced > limits.requestBytes) throw tooLarge(limits);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => finish(gatewayError("REQUEST_TIMEOUT")), limits.requestBodyMilliseconds);
    const finish = (error?: ModelkeepError): void => {
      clearTimeout(timer);
      req.off("data", onData).off("end", onEnd).off("close", onClose);
      if (error) reject(error);
      else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    };
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > limits.requestBytes) finish(tooLarge(limits));
      else chunks.push(chunk);
    };
    const onEnd = (): void => finish();
    const onClose = (): void => finish(gatewayError("REQUEST_INVALID", { detail: "it ended early" }));
    req.on("data", onData).on("end", onEnd).on("close", onClose);
  });
}

function tooLarge(limits: Limits): ModelkeepError {
  return gatewayError("REQUEST_TOO_LARGE", { detail: `requestBytes is ${limits.requestBytes}` });
}

function checkMediaType(req: http.IncomingMessage): void {
  const type = (req.headers["content-type"] ?? "application/json").split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json" || req.headers["content-encoding"] !== undefined) {
    throw gatewayError("REQUEST_MEDIA_TYPE");
  }
}

/**
 * Readers that ignore case (Go's) take `Model` for the model; OpenRouter tries `models`, LiteLLM `fallbacks`. Policy is
 * asked about `model` alone.
 */
const namesModel = new Set(["model", "models", "fallbacks"]);

/** The `model` member; throws REQUEST_INVALID. Duplicate keys are refused: two readers could take different ones. */
export function modelOf(body: Uint8Array, limits: Pick<GatewayLimits, "requestBytes">): string {
  let parsed: unknown;
  try {
    parsed = parseJson(body, {
      what: "body",
      maxBytes: limits.requestBytes,
      maxValues: GATEWAY_INTERNALS.requestValues,
    });
  } catch (error) {
    throw gatewayError("REQUEST_INVALID", error instanceof KeepError && error.detail ? { detail: error.detail } : {});
  }
  const members = typeof parsed === "object" && parsed !== null ? Object.entries(parsed) : [];
  const other = members.find(([name]) => name !== "model" && namesModel.has(name.toLowerCase()));
  if (other) throw gatewayError("REQUEST_INVALID", { detail: `${other[0]} could name another model` });
  const model = members.find(([name]) => name === "model")?.[1];
  if (typeof model !== "string" || model === "" || model.length > PROVIDER_LIMITS.modelCharacters * 2) {
    throw gatewayError("REQUEST_INVALID", { detail: "model is missing" });
  }
  return model;
}

/** The same body with another model. Only valid JSON may come in; parsing and printing it again would change numbers. */
export function replaceModel(body: Buffer, model: string): Buffer {
  const span = findModelValue(body);
  if (!span) throw gatewayError("REQUEST_INVALID", { detail: "model is missing" });
  return Buffer.concat([body.subarray(0, span.start), Buffer.from(JSON.stringify(model)), body.subarray(span.end)]);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function findModelValue(body: Buffer): { readonly start: number; readonly end: number } | undefined {
  let depth = 0;
  let key = "";
  for (let i = 0; i < body.length; i++) {
    const byte = body[i];
    if (byte === 0x7b || byte === 0x5b) depth++;
    else if (byte === 0x7d || byte === 0x5d) depth--;
    else if (byte === 0x2c) key = "";
    else if (byte === QUOTE) {
      const end = endOfString(body, i);
      if (depth === 1 && key === "model") return { start: i, end };
      if (depth === 1 && key === "") key = JSON.parse(body.toString("utf8", i, end)) as string;
      i = end - 1;
    }
  }
  return undefined;
}

function endOfString(body: Buffer, start: number): number {
  for (let i = start + 1; i < body.length; i++) {
    if (body[i] === BACKSLASH) i++;
    else if (body[i] === QUOTE) return i + 1;
  }
  return body.length;
}
