// Answers the HTTP routes of the engine: health, the model list and chat completions, whole or streamed.
import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { LIMITS } from "./limits.mjs";
import { ApiError, parseChatRequest } from "./request.mjs";

/** Returns an HTTP server that is not listening yet; keyDigest is the SHA-256 of the only key, or undefined for no key. */
export function createApi(model, keyDigest) {
  const server = createServer((req, res) => {
    answer(model, keyDigest, req, res).catch((error) => sendError(res, error));
  });
  server.headersTimeout = LIMITS.headersTimeoutMs;
  server.requestTimeout = LIMITS.requestTimeoutMs;
  return server;
}

async function answer(model, keyDigest, req, res) {
  const route = `${req.method} ${req.url.split("?", 1)[0]}`;
  if (route === "GET /health") return sendJson(res, 200, { status: "ok" });
  if (keyDigest) checkKey(req.headers.authorization, keyDigest);
  if (route === "GET /v1/models") return sendJson(res, 200, { object: "list", data: [describeModel(model)] });
  if (route === "POST /v1/chat/completions") return completeChat(model, req, res);
  throw new ApiError(404, "not_found", "no such route");
}

function checkKey(header, keyDigest) {
  const key = /^Bearer (.+)$/i.exec(header ?? "")?.[1] ?? "";
  const digest = createHash("sha256").update(key, "utf8").digest();
  if (!timingSafeEqual(digest, keyDigest))
    throw new ApiError(401, "invalid_api_key", "the API key is missing or wrong");
}

function describeModel(model) {
  return { id: model.name, object: "model", created: model.created, owned_by: "modelkeep-example-engine" };
}

async function completeChat(model, req, res) {
  const request = parseChatRequest(await readBody(req));
  const prompt = model.tokenizeChat(request.messages);
  const options = fitToContext(model, prompt.length, request);
  const sequence = model.takeSequence();
  if (!sequence) throw new ApiError(429, "too_many_requests", "all sequences are in use", "rate_limit_error");
  const abort = new AbortController();
  res.once("close", () => abort.abort());
  try {
    const pieces = model.generate(sequence, prompt, { ...options, signal: abort.signal });
    const reply = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: model.name };
    if (request.stream) await sendStream(res, reply, pieces, prompt.length, request.includeUsage);
    else await sendWhole(res, reply, pieces, prompt.length);
  } finally {
    model.giveBack(sequence);
  }
}

function fitToContext(model, promptTokens, request) {
  const limit = Math.min(LIMITS.promptTokens, model.contextTokens - 1);
  if (promptTokens > limit) {
    const message = `the prompt has ${promptTokens} tokens; at most ${limit} fit`;
    throw new ApiError(400, "context_length_exceeded", message);
  }
  const maxTokens = Math.min(request.maxTokens, LIMITS.maxTokens, model.contextTokens - promptTokens);
  return { ...request, maxTokens };
}

async function readBody(req) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of req) {
    bytes += chunk.length;
    if (bytes > LIMITS.bodyBytes)
      throw new ApiError(413, "body_too_large", `the body is over ${LIMITS.bodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

async function sendWhole(res, reply, pieces, promptTokens) {
  let content = "";
  let step = await pieces.next();
  for (; !step.done; step = await pieces.next()) content += step.value;
  const message = { role: "assistant", content, refusal: null };
  sendJson(res, 200, {
    ...reply,
    object: "chat.completion",
    choices: [{ index: 0, message, logprobs: null, finish_reason: step.value.finishReason }],
    usage: countUsage(promptTokens, step.value.completionTokens),
  });
}

async function sendStream(res, reply, pieces, promptTokens, includeUsage) {
  const send = (choices, usage = null) => {
    const chunk = { ...reply, object: "chat.completion.chunk", choices, ...(includeUsage ? { usage } : {}) };
    res.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  const sendDelta = (delta, finish_reason = null) => send([{ index: 0, delta, logprobs: null, finish_reason }]);
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  sendDelta({ role: "assistant", content: "", refusal: null });
  let step = await pieces.next();
  for (; !step.done; step = await pieces.next()) sendDelta({ content: step.value });
  sendDelta({}, step.value.finishReason);
  if (includeUsage) send([], countUsage(promptTokens, step.value.completionTokens));
  res.end("data: [DONE]\n\n");
}

function countUsage(promptTokens, completionTokens) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

function sendJson(res, status, body) {
  const text = JSON.stringify(body);
  res.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  res.end(text);
}

function sendError(res, error) {
  const known = error instanceof ApiError;
  if (!known) process.stderr.write(`${error?.stack ?? error}\n`);
  // A stream that has begun cannot change its status; cutting it is how the client learns that it is not whole.
  if (res.headersSent) return res.destroy();
  const internal = new ApiError(500, "internal", "internal error", "server_error");
  if (error.status === 413) res.setHeader("connection", "close");
  const { status, body } = known ? error : internal;
  sendJson(res, status, body);
}
