// Asks the model one question with the unmodified OpenAI client; address and key come from the environment, set by `modelkeep agent`.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });
const stream = await client.chat.completions.create({
  model: process.argv[2] ?? "keeper",
  messages: [{ role: "user", content: process.argv[3] ?? "Who keeps the lighthouse?" }],
  max_tokens: 60,
  temperature: 0.2,
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
process.stdout.write("\n");
