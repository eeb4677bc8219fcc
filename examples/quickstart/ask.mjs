// Asks the model with the unmodified OpenAI client; address and key come from the environment, set by `modelkeep agent`.
// usage: node ask.mjs MODEL QUESTION [QUESTION...]   before every further question it waits for a line on standard input
import { createInterface } from "node:readline/promises";
import OpenAI from "openai";

const [model, ...questions] = process.argv.slice(2);
const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const lines = createInterface({ input: process.stdin });
const typed = lines[Symbol.asyncIterator]();

async function ask(content) {
  const messages = [{ role: "user", content }];
  const stream = await client.chat.completions.create({
    model,
    messages,
    max_tokens: 60,
    temperature: 0,
    stream: true,
  });
  for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  process.stdout.write("\n");
}

let exit = 0;
try {
  for (const [index, question] of questions.entries()) {
    if (index > 0) await typed.next();
    await ask(question);
  }
} catch (error) {
  process.stdout.write(`refused: ${error.status ?? "no status"} ${error.code ?? error.name}\n`);
  exit = 1;
}
lines.close();
process.exit(exit);
