/** The manual holds: every transcript is played with the real command, and every command has one. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { suite, test } from "node:test";
import { commands } from "../../src/cli/commands/index.ts";
import { Stage } from "./stage.ts";
import { compare, parseTranscript, type Step, type Transcript } from "./transcript.ts";

const transcripts = globSync(`${import.meta.dirname}/transcripts/*.txt`)
  .sort()
  .map((path) => ({ name: basename(path, ".txt"), text: readFileSync(path, "utf8") }));

async function play({ needs, steps }: Transcript): Promise<number> {
  const stage = new Stage();
  try {
    await stage.setUp(needs);
    for (const step of steps) compare(step, await stage.play(step), stage.names);
    return steps.length;
  } finally {
    await stage.end();
  }
}

suite("transcripts", { concurrency: 3 }, () => {
  for (const { name, text } of transcripts) {
    test(name, async () => {
      const played = await play(parseTranscript(text));
      assert.equal(played, text.match(/^ {4}(?:\$ |\^C$)/gm)?.length);
    });
  }
});

function commandsIn(line: string): string[] {
  const names = commands.map(({ name }) => name).sort((a, b) => b.length - a.length);
  return line
    .split(/[;|&(]+/)
    .map((part) => /^\s*modelkeep (.*)$/.exec(part)?.[1] ?? "")
    .flatMap((words) => names.find((name) => `${words} `.startsWith(`${name} `)) ?? []);
}

test("every command has a transcript", () => {
  const shown = new Set(
    transcripts.flatMap(({ text }) => parseTranscript(text).steps.flatMap((s) => commandsIn(s.command))),
  );
  assert.deepEqual(
    commands.map(({ name }) => name).filter((name) => !shown.has(name)),
    [],
  );
});

test("a transcript that shows nothing, or is not indented, is no transcript", () => {
  for (const text of [
    "",
    "Title\n",
    "Title\n\nprose only\n",
    "Title\n$ true\n",
    "Title\n\n    true\n",
    "Title\n  $ true\n",
  ])
    assert.throws(() => parseTranscript(text), Error, JSON.stringify(text));
});

const stepOf = (terminal: string): Step => {
  const step = parseTranscript(`Title\n\n${terminal.replace(/^/gm, "    ")}\n`).steps[0];
  assert.ok(step);
  return step;
};

test("a transcript that says something else does not pass", () => {
  const said = { code: 4, stdout: "one 0123456789ab\n\ntwo\n", stderr: "error: x\n" };
  const right = "$ x\none <hex>\n\ntwo\n! error: x\n? 4";
  compare(stepOf(right), said, new Map());
  const wrong = [
    right.replace("two", "tw."),
    right.replace("two", "two\nthree"),
    right.replace("\n\n", "\n"),
    right.replace("two", ""),
    right.replace("error: x", "error"),
    right.replace("! error: x\n", ""),
    right.replace("? 4", "? 5"),
    right.replace("\n? 4", ""),
    right.replace("<hex>", "<n>"),
    right.replace("<hex>", "<nothing>"),
    "$ x\n...\none\n! ...\n? 4",
  ];
  for (const text of wrong) assert.throws(() => compare(stepOf(text), said, new Map()), Error, text);
  compare(stepOf("$ x\n...\ntwo\n! ...\n? 4"), said, new Map());
});

test("a name means the same text everywhere", () => {
  const names = new Map();
  compare(stepOf("$ x\n<a=n> <a>"), { code: 0, stdout: "7 7\n", stderr: "" }, names);
  assert.equal(names.get("a"), "7");
  assert.throws(() => compare(stepOf("$ x\n<a>"), { code: 0, stdout: "8\n", stderr: "" }, names));
  assert.throws(() => compare(stepOf("$ x\n<b=n> <b>"), { code: 0, stdout: "7 8\n", stderr: "" }, names));
});
