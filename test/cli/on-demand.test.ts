/** A command that is loaded alone is the one of the whole table. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { commands } from "../../src/cli/commands/index.ts";
import { commandsFor } from "../../src/cli/commands/on-demand.ts";

/** Loads every other command, since it prints them. */
const WHOLE = "completion";

test("every command is loaded alone, by its own name", async () => {
  for (const command of commands) {
    const words = command.name.split(" ");
    const loaded = await commandsFor([...words, "--json"]);
    if (command.name === WHOLE) assert.deepEqual(loaded, commands);
    else assert.deepEqual(loaded, [command], command.name);
  }
});

test("what names no command, a group, or help gets the whole table", async () => {
  for (const words of [[], ["help"], ["--help"], ["secret"], ["secret", "nothing"], ["nothing"], ["--json", "sign"]])
    assert.equal(await commandsFor(words), commands, words.join(" "));
  assert.deepEqual(await commandsFor(["--version"]), []);
});
