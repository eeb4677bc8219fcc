// Parses the body of a chat completion request: what comes from outside is checked once, here.
import { LIMITS } from "./limits.mjs";

export class ApiError extends Error {
  constructor(status, code, message, type = "invalid_request_error") {
    super(message);
    this.status = status;
    this.body = { error: { message, type, param: null, code } };
  }
}

/** Returns { messages, maxTokens, temperature, topP, seed, stop, stream, includeUsage }; throws ApiError 400. */
export function parseChatRequest(text) {
  const body = parseObject(text);
  if ((body.n ?? 1) !== 1) throw refuse("n must be 1");
  return {
    messages: parseMessages(body.messages),
    maxTokens: readNumber(
      "max_tokens",
      body.max_completion_tokens ?? body.max_tokens,
      { min: 1, max: Number.MAX_SAFE_INTEGER, whole: true },
      LIMITS.defaultMaxTokens,
    ),
    temperature: readNumber("temperature", body.temperature, { min: 0, max: 2 }, 0.7),
    topP: readNumber("top_p", body.top_p, { min: 0, max: 1 }, 1),
    seed: readNumber("seed", body.seed, { min: 0, max: 2 ** 32 - 1, whole: true }, undefined),
    stop: parseStop(body.stop),
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
  };
}

function refuse(message) {
  return new ApiError(400, "invalid_request", message);
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  } catch {}
  throw refuse("the body is not a JSON object");
}

function parseMessages(messages) {
  if (!Array.isArray(messages) || messages.length === 0)
    throw refuse("messages must be a list with at least one entry");
  if (messages.length > LIMITS.messages) throw refuse(`messages has more than ${LIMITS.messages} entries`);
  return messages.map((message) => ({ role: parseRole(message?.role), content: parseContent(message?.content) }));
}

function parseRole(role) {
  if (role === "developer") return "system";
  if (role === "system" || role === "user" || role === "assistant") return role;
  throw refuse("role must be system, developer, user or assistant");
}

function parseContent(content) {
  if (typeof content === "string") return content;
  const parts = Array.isArray(content) ? content : [null];
  if (parts.some((part) => part?.type !== "text" || typeof part.text !== "string"))
    throw refuse("content must be text");
  return parts.map((part) => part.text).join("");
}

function parseStop(stop) {
  const words = stop === undefined || stop === null ? [] : [stop].flat();
  const valid = words.every(
    (word) => typeof word === "string" && word.length > 0 && word.length <= LIMITS.stopCharacters,
  );
  if (!valid || words.length > LIMITS.stopStrings) {
    throw refuse(`stop takes up to ${LIMITS.stopStrings} strings of 1 to ${LIMITS.stopCharacters} characters`);
  }
  return words;
}

function readNumber(name, value, { min, max, whole = false }, fallback) {
  if (value === undefined || value === null) return fallback;
  const valid = typeof value === "number" && value >= min && value <= max && (!whole || Number.isInteger(value));
  if (!valid) throw refuse(`${name} must be a${whole ? " whole" : ""} number from ${min} to ${max}`);
  return value;
}
