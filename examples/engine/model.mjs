// Loads a GGUF model with node-llama-cpp and generates text from chat messages, one sequence of the context per request.
import { statSync } from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { LIMITS } from "./limits.mjs";

const ROLES = ["system", "user", "assistant"];
const END = "<|end|>";
const TOP_K = 40;
const ONE_THREAD_MODEL_BYTES = 64 * 1024 * 1024;
const INCOMPLETE_CHARACTER = "\ufffd";

/** Loads the file; rejects when no prebuilt CPU binary fits this machine or the model's chat marks are not single tokens. */
export async function loadModel(file, name) {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
    logger: (level, text) => process.stderr.write(`llama ${level}: ${text}\n`),
  });
  const model = await llama.loadModel({ modelPath: file });
  const contextTokens = Math.min(model.trainContextSize ?? LIMITS.contextTokens, LIMITS.contextTokens);
  const context = await model.createContext({
    contextSize: contextTokens,
    sequences: LIMITS.concurrentRequests,
    threads: chooseThreads(file),
  });
  const idle = Array.from({ length: LIMITS.concurrentRequests }, () => context.getSequence());
  const marks = readMarks(model);
  const created = Math.floor(Date.now() / 1000);
  return {
    name,
    created,
    contextTokens,
    tokenizeChat: (messages) => tokenizeChat(model, marks, messages),
    /** Lends a sequence, or returns null when all are in use. */
    takeSequence: () => idle.pop() ?? null,
    giveBack: (sequence) => idle.push(sequence),
    generate: (sequence, prompt, options) => generate(model, sequence, prompt, options),
    close: () => llama.dispose(),
  };
}

/** Threads wait for each other by spinning; for a small model on a busy machine that costs more than it saves. */
function chooseThreads(file) {
  return statSync(file).size < ONE_THREAD_MODEL_BYTES ? 1 : undefined;
}

function readMarks(model) {
  const marks = {};
  for (const text of [...ROLES.map((role) => `<|${role}|>`), END]) {
    const tokens = model.tokenize(text, true);
    if (tokens.length !== 1) throw new Error(`this model has no token ${text}, so its chat format is another`);
    marks[text] = tokens[0];
  }
  return marks;
}

/** Only the marks become special tokens: a mark typed by a user stays plain text and cannot end its message. */
function tokenizeChat(model, marks, messages) {
  const tokens = messages.flatMap(({ role, content }) => [
    marks[`<|${role}|>`],
    ...model.tokenize(content, false),
    marks[END],
  ]);
  return [...tokens, marks["<|assistant|>"]];
}

/** Yields pieces of text; returns { finishReason, completionTokens }. */
async function* generate(model, sequence, prompt, { maxTokens, temperature, topP, seed, stop, signal }) {
  await sequence.clearHistory();
  const tokens = [];
  let sent = 0;
  let text = "";
  for await (const token of sequence.evaluate(prompt, { temperature, topP, topK: TOP_K, seed, yieldEogToken: true })) {
    if (signal.aborted) return { finishReason: "stop", completionTokens: tokens.length };
    const ended = model.isEogToken(token);
    if (!ended) tokens.push(token);
    text = model.detokenize(tokens);
    const cut = findStop(text, stop);
    const last = ended || cut >= 0 || tokens.length >= maxTokens;
    const safe = cut >= 0 ? cut : last ? text.length : text.length - countHeldBack(text, stop);
    if (safe > sent) yield text.slice(sent, safe);
    sent = Math.max(sent, safe);
    if (last) return { finishReason: ended || cut >= 0 ? "stop" : "length", completionTokens: tokens.length };
  }
  return { finishReason: "length", completionTokens: tokens.length };
}

function findStop(text, stop) {
  const places = stop.map((word) => text.indexOf(word)).filter((place) => place >= 0);
  return places.length > 0 ? Math.min(...places) : -1;
}

/** Counts the characters at the end that may still become a stop word, or are half of a multi-byte character. */
function countHeldBack(text, stop) {
  let held = text.endsWith(INCOMPLETE_CHARACTER) ? 1 : 0;
  for (const word of stop) {
    for (let length = word.length - 1; length > held; length--) {
      if (text.endsWith(word.slice(0, length))) held = length;
    }
  }
  return held;
}
