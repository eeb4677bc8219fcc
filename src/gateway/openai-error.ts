/** Errors on the wire as OpenAI's clients read them. */
import { ModelkeepError } from "../base/index.ts";
import type { http } from "../host/index.ts";
import { gatewayError } from "./errors.ts";

/** What is no error of the house says GATEWAY_FAILED and nothing else. */
export function toGatewayError(error: unknown): ModelkeepError {
  return error instanceof ModelkeepError ? error : gatewayError("GATEWAY_FAILED", { cause: error });
}

export function openaiErrorBody(error: ModelkeepError): Buffer {
  const message = error.detail === undefined ? error.title : `${error.title}: ${error.detail}`;
  return Buffer.from(
    JSON.stringify({ error: { message, type: typeOf(error.status), param: null, code: wireCode(error) } }),
  );
}

/** OpenAI's own word where it has one. */
function wireCode(error: ModelkeepError): string {
  return error.code === "PROVIDER_MODEL_NOT_FOUND" ? "model_not_found" : error.code.toLowerCase();
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** Answers with the error, or cuts the connection when the answer has begun: a cut stream must not look whole. */
export function sendError(res: http.ServerResponse, error: ModelkeepError): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const body = openaiErrorBody(error);
  const retryAfter = error.extra?.retryAfterSeconds;
  res.writeHead(error.status, {
    "content-type": "application/json",
    "content-length": body.length,
    "cache-control": "no-store",
    ...(error.status === 401 ? { "www-authenticate": 'DPoP realm="modelkeep", Bearer realm="modelkeep"' } : {}),
    ...(typeof retryAfter === "number" ? { "retry-after": String(retryAfter) } : {}),
    ...(error.status === 408 || error.status === 413 ? { connection: "close" } : {}),
  });
  res.end(body);
}
