/** Logs: no secret by value and no token by shape, at any level, in any field, message or error. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog, redactLine } from "../../src/server/log.ts";

const canary = "canary-8f41c9d2-not-shaped-like-a-token";
const findCanary = (line: Buffer) => {
  const found: { start: number; end: number }[] = [];
  for (let at = line.indexOf(canary); at !== -1; at = line.indexOf(canary, at + 1))
    found.push({ start: at, end: at + canary.length });
  return found;
};

test("a held secret is found by its value wherever it stands", () => {
  const lines: string[] = [];
  const log = createLog({ level: "debug", write: (line) => void lines.push(line), findSecrets: findCanary });
  log.debug(`message ${canary}`);
  log.info("field", { nested: { deep: [canary] }, [`key-${canary}`]: 1 });
  log.warn("url", { url: `https://x.example/?key=${canary}` });
  log.error("error", { error: new Error(`upstream said ${canary}`, { cause: new Error(canary) }) });
  assert.equal(lines.length, 4);
  for (const line of lines) {
    assert.ok(!line.includes(canary), line);
    JSON.parse(line);
  }
});

test("tokens are found by their shape even when nobody knows them", () => {
  const shapes = [
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    "sk-proj-abcdefghijklmnop1234",
    "hf_abcdefghijklmnopqrstuv",
    "AIzaSyA-abcdefghijklmnopqrs",
    "Bearer abcdefgh12345678",
    "DPoP abcdefgh.12345678",
  ];
  for (const shape of shapes) {
    const line = redactLine(JSON.stringify({ msg: `got ${shape} from the client` }));
    assert.ok(!line.includes(shape), line);
    JSON.parse(line);
  }
  const url = redactLine(JSON.stringify({ store: "postgres://keep:hunter2hunter2@db/keep" }));
  assert.ok(!url.includes("hunter2") && url.includes("@db/keep"), url);
});

test("an over-long line is cut, not dropped", () => {
  const lines: string[] = [];
  createLog({ level: "info", write: (line) => void lines.push(line) }).info("long", { text: "x".repeat(200_000) });
  assert.ok((lines[0]?.length ?? 0) < 70_000 && lines[0]?.endsWith("\n"));
});

test("levels below the chosen one are not written", () => {
  const lines: string[] = [];
  const log = createLog({ level: "warn", write: (line) => void lines.push(line) });
  log.debug("a");
  log.info("b");
  log.warn("c");
  assert.equal(lines.length, 1);
});
