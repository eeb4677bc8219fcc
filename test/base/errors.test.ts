/** One error class: codes are unique, unknown exceptions say nothing, documents hold what RFC 9457 asks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { baseError, defineErrors, EXIT, toModelkeepError, toProblem } from "../../src/base/index.ts";

test("a code cannot be defined twice", () => {
  assert.throws(() => defineErrors("again", { INTERNAL: { status: 500, exit: 1, title: "x" } }), /defined twice/);
});

test("an unknown exception tells the client nothing of itself", () => {
  const secret = "sk-not-for-the-client";
  const problem = JSON.stringify(toProblem(toModelkeepError(new Error(`upstream said ${secret}`))));
  assert.ok(!problem.includes(secret));
  assert.equal(toModelkeepError("a string").code, "INTERNAL");
});

test("extra members cannot overwrite the standard ones", () => {
  const problem = toProblem(baseError("INVALID_INPUT", { detail: "d", hint: "h", extra: { status: 200, more: 1 } }));
  assert.deepEqual(problem, {
    more: 1,
    type: "urn:modelkeep:error:INVALID_INPUT",
    title: "The input is not valid",
    status: 400,
    code: "INVALID_INPUT",
    detail: "d",
    hint: "h",
  });
});

test("exit codes that mean different things are different numbers", () => {
  const numbers = Object.values(EXIT);
  assert.equal(new Set(numbers).size, numbers.length);
});
