/** The guides' own examples hold: policies check, cases pass, and every command line that a page shows exists. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { commands } from "../../src/cli/commands/index.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";
import { checkPolicy, DEFAULT_POLICY, parseCases, testPolicy } from "../../src/policy/index.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const pages = ["README.md", ...globSync("docs/{guides,concepts}/*.md", { cwd: root })].map((path) => ({
  path,
  text: readFileSync(`${root}/${path}`, "utf8"),
}));

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map(([, body]) => body ?? "");
}

test("the policies that the pages show pass the check", () => {
  const policies = pages.flatMap(({ text }) => blocks(text, "cedar"));
  assert.ok(policies.length > 0);
  for (const text of policies) assert.deepEqual(checkPolicy(text).errors, []);
});

test("the policy cases that the pages show hold for the default policy", () => {
  const files = pages.flatMap(({ text }) => blocks(text, "yaml")).filter((text) => text.startsWith("- name:"));
  assert.ok(files.length > 0);
  for (const file of files) assert.deepEqual(testPolicy(DEFAULT_POLICY, parseCases(file)).ok, true);
});

test("every modelkeep line that the pages show is a command with these options", () => {
  let seen = 0;
  for (const { path, text } of pages) {
    for (const line of blocks(text, "sh").flatMap(commandLines)) {
      seen++;
      assert.doesNotThrow(() => parseCommandLine(line, commands), `${path}: modelkeep ${line.join(" ")}`);
    }
  }
  assert.ok(seen > 10, `${seen} lines seen`);
});

/** Words of the lines that start with `modelkeep`, without comments; quotes as a shell reads them. */
function commandLines(block: string): string[][] {
  return block
    .replaceAll("\\\n", " ")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("modelkeep "))
    .map((line) => {
      const words = [...line.matchAll(/'([^']*)'|"([^"]*)"|([^\s'"]+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? "");
      const end = words.findIndex((word) => word.startsWith("#") || word === ">" || word === "|" || word === "<");
      return words.slice(1, end === -1 ? undefined : end);
    });
}
