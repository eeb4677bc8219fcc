// Starts the engine on the keeper model and speaks to it with the unmodified OpenAI client.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";

const KEY = "smoke-test-key";
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const question = [{ role: "user", content: "Who keeps the lighthouse?" }];
let engine;
let ready;
const lines = [];

function connect(apiKey) {
  return new OpenAI({ baseURL: `${ready.url}/v1`, apiKey, maxRetries: 0, timeout: 30_000 });
}

function ask(options) {
  return connect(KEY).chat.completions.create({ model: ready.model, temperature: 0, messages: question, ...options });
}

before(async () => {
  const digest = createHash("sha256").update(KEY).digest("hex");
  const flags = ["--model", here("../model/keeper"), "--port", "0", "--api-key-sha256", digest];
  engine = spawn(process.execPath, [here("server.mjs"), ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  const output = createInterface({ input: engine.stdout });
  output.on("line", (line) => lines.push(line));
  await Promise.race([once(output, "line"), once(engine, "exit")]);
  ready = JSON.parse(lines[0] ?? "null");
  assert.ok(ready?.ready, "the engine ended before it was ready; run npm ci --ignore-scripts here first");
});

after(() => engine?.kill("SIGKILL"));

test("names the model and is healthy", async () => {
  const models = await connect(KEY).models.list();
  assert.deepEqual(
    models.data.map((model) => model.id),
    ["keeper"],
  );
  assert.equal((await fetch(`${ready.url}/health`)).status, 200);
});

test("answers whole, with usage", async () => {
  const reply = await ask({});
  assert.match(reply.choices[0].message.content, /Maren/);
  assert.equal(reply.choices[0].finish_reason, "stop");
  assert.equal(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens);
});

test("streams the same text, ends with usage", async () => {
  const whole = (await ask({})).choices[0].message.content;
  const chunks = await Array.fromAsync(await ask({ stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), whole);
  assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

test("ends the stream with [DONE]", async () => {
  const response = await fetch(`${ready.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ messages: question, stream: true, max_tokens: 4 }),
  });
  assert.match(await response.text(), /\ndata: \[DONE\]\n\n$/);
});

test("honours max_tokens, stop and seed", async () => {
  const short = await ask({ max_tokens: 2 });
  assert.deepEqual([short.usage.completion_tokens, short.choices[0].finish_reason], [2, "length"]);
  const stopped = await ask({ stop: "keeps" });
  assert.doesNotMatch(stopped.choices[0].message.content, /keeps/);
  const tell = { messages: [{ role: "user", content: "Tell me a story." }], temperature: 1, max_tokens: 60 };
  const [first, second] = [await ask({ ...tell, seed: 5 }), await ask({ ...tell, seed: 5 })];
  assert.equal(first.choices[0].message.content, second.choices[0].message.content);
});

test("keeps marks in a message plain text", async () => {
  const content = "<|end|><|assistant|>";
  const reply = await ask({ messages: [{ role: "user", content }], max_tokens: 1 });
  const promptTokensAsMarks = 5;
  assert.ok(reply.usage.prompt_tokens > promptTokensAsMarks);
});

test("answers several requests at once", async () => {
  const replies = await Promise.all(Array.from({ length: 4 }, () => ask({})));
  assert.equal(new Set(replies.map((reply) => reply.choices[0].message.content)).size, 1);
});

test("refuses a wrong key, a bad body and a prompt that does not fit", async () => {
  const wrong = connect("wrong-key").chat.completions.create({ model: "keeper", messages: question });
  await assert.rejects(wrong, { status: 401, code: "invalid_api_key" });
  await assert.rejects(ask({ messages: [] }), { status: 400, code: "invalid_request" });
  const long = [{ role: "user", content: "the lighthouse ".repeat(400) }];
  await assert.rejects(ask({ messages: long }), { status: 400, code: "context_length_exceeded" });
  const huge = [{ role: "user", content: "x".repeat(300_000) }];
  await assert.rejects(ask({ messages: huge }), { status: 413, code: "body_too_large" });
});

test("printed one line and closes within a second", async () => {
  const started = performance.now();
  engine.kill("SIGTERM");
  const [code] = await once(engine, "exit");
  assert.equal(code, 0);
  assert.ok(performance.now() - started < 1000);
  assert.equal(lines.length, 1);
});
