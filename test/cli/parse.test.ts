/** Words become a command and its input, or a usage error that names the next command to type. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ModelkeepError } from "../../src/base/index.ts";
import type { Command } from "../../src/cli/command.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";

const base = { about: "About.", examples: [], run: async () => ({ data: null }) };
const commands: Command[] = [
  {
    ...base,
    name: "seal",
    args: [{ name: "MODEL", about: "m" }],
    options: [
      { flag: "--kms", value: "URI", about: "k", required: true },
      { flag: "--yes", about: "y" },
    ],
  },
  {
    ...base,
    name: "scan files",
    args: [{ name: "PATH", about: "p", variadic: true }],
    options: [{ flag: "--fail-on", value: "V", about: "f", choices: ["a", "b"], default: "b" }],
  },
  { ...base, name: "scan keys", args: [] },
  {
    ...base,
    name: "run",
    takesProgram: true,
    args: [{ name: "REF", about: "r" }],
    options: [{ flag: "--trust", value: "PEM", about: "t", repeatable: true }],
  },
];
const parse = (line: string) => parseCommandLine(line === "" ? [] : line.split(" "), commands);
const failure = (line: string) => {
  try {
    parse(line);
  } catch (error) {
    if (error instanceof ModelkeepError) return { code: error.code, exit: error.exit, hint: error.hint };
    throw error;
  }
  return undefined;
};
const ran = (line: string) => {
  const parsed = parse(line);
  assert.equal(parsed.kind, "run");
  return parsed as Extract<typeof parsed, { kind: "run" }>;
};

test("options, defaults, switches, repeated values and the program after --", () => {
  const seal = ran("seal m --kms file:///k --yes --json");
  assert.equal(seal.input.need("--kms"), "file:///k");
  assert.ok(seal.input.on("--yes") && seal.json);
  assert.equal(ran("scan files a b").input.text("--fail-on"), "b");
  const run = ran("run r --trust a --trust=b -- prog --json --trust c");
  assert.deepEqual(
    [run.input.all("--trust"), run.input.rest, run.json],
    [["a", "b"], ["prog", "--json", "--trust", "c"], false],
  );
});

test("usage errors have exit code 2 and the next command", () => {
  for (const line of [
    "seal",
    "seal m",
    "seal m --kms",
    "seal m --kms a --kms b",
    "seal m n --kms a",
    "scan files a --fail-on c",
    "seal m --kms a --nope",
    "scan keys -- prog",
    "selas",
    "scan filse x",
  ]) {
    const error = failure(line);
    assert.deepEqual([error?.code, error?.exit], ["USAGE", 2], line);
    assert.match(error?.hint ?? "", /^modelkeep /, line);
  }
  assert.equal(failure("scan filse x")?.hint, "modelkeep scan files --help");
});

test("help of everything, of a group, of a command", () => {
  assert.equal(parse("").kind, "help");
  assert.deepEqual(parse("scan"), { kind: "help", group: "scan", json: false });
  const help = parse("help seal");
  assert.ok(help.kind === "help" && help.command?.name === "seal");
  assert.ok(parse("seal --help").kind === "help");
});

test("no words crash it", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom("seal", "scan", "files", "--kms", "--json", "--", "-", "--help", "--kms=", "--=", "-x", "--yes=1"),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (words) => {
      try {
        parseCommandLine(words, commands);
      } catch (error) {
        assert.ok(error instanceof ModelkeepError && error.code === "USAGE", String(error));
      }
    }),
  );
});
