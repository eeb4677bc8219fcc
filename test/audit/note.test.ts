/** Signed notes, verifier keys and checkpoints as C2SP writes them, and what a forger would try. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseCheckpoint, parseNote, parseVerifierKey, verifyCheckpoint, verifyNote } from "../../src/audit/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { ORIGIN, openTestLog, openTestStore, record } from "./support.ts";

const code = (work: () => unknown) => {
  try {
    work();
    return "none";
  } catch (error) {
    return error instanceof ModelkeepError ? error.code : String(error);
  }
};

/** The example of golang.org/x/mod/sumdb/note, whose format C2SP signed-note describes. */
const PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_NOTE =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n" +
  "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

test("a note that another implementation signed holds, and with one letter changed it does not", () => {
  const key = parseVerifierKey(PETER);
  assert.equal(key.name, "PeterNeumann");
  assert.equal(key.text, PETER);
  assert.ok(verifyNote(parseNote(PETER_NOTE), key));
  assert.equal(verifyNote(parseNote(PETER_NOTE.replace("answer", "Answer")), key), false);
});

test("a key whose hash, name or type is another's is refused", () => {
  for (const text of [
    PETER.replace("c74f20a3", "c74f20a4"),
    PETER.replace("PeterNeumann", "PeterNewmann"),
    PETER.replace("+ARpc", "+AhpC"),
    PETER.slice(0, -4),
    `${PETER}AAAA`,
    PETER.replace("PeterNeumann", "Peter Neumann"),
    "",
    "+c74f20a3+AQ==",
  ]) {
    assert.equal(
      code(() => parseVerifierKey(text)),
      "AUDIT_KEY_INVALID",
      text,
    );
  }
});

test("only one signature by the key counts, and those of strangers are passed over", () => {
  const key = parseVerifierKey(PETER);
  const line = PETER_NOTE.slice(PETER_NOTE.lastIndexOf("\u2014"));
  const stranger = line.replace("PeterNeumann", "Somebody");
  assert.ok(verifyNote(parseNote(PETER_NOTE + stranger), key));
  assert.equal(verifyNote(parseNote(PETER_NOTE.replace(line, stranger)), key), false);
  assert.equal(verifyNote(parseNote(PETER_NOTE + line), key), false);
  assert.equal(
    code(() => parseNote(PETER_NOTE + stranger.repeat(16))),
    "AUDIT_NOTE_INVALID",
  );
});

test("what is no note is refused", () => {
  for (const text of [
    "",
    "text only\n",
    "text\n\n",
    "text\n\n\u2014 a\n",
    "text\n\n- a AAAAAAAA\n",
    "text\n\n\u2014 a !!!!\n",
    "text\n\n\u2014 a AAAA\n",
    PETER_NOTE.slice(0, -1),
    `${PETER_NOTE}x`,
    PETER_NOTE.replace("answer", "ans\u0007wer"),
    PETER_NOTE.replace("\n", "\r\n"),
    `${"x".repeat(20_000)}${PETER_NOTE}`,
  ]) {
    assert.equal(
      code(() => parseNote(text)),
      "AUDIT_NOTE_INVALID",
      JSON.stringify(text.slice(0, 40)),
    );
  }
  assert.equal(
    code(() => parseNote(Uint8Array.of(0xff, 0xfe))),
    "AUDIT_NOTE_INVALID",
  );
});

test("a checkpoint says origin, size and root, and nothing looser", () => {
  const root = `${"A".repeat(43)}=`;
  assert.equal(parseCheckpoint(`log\n7\n${root}\nan extension\n`).size, 7);
  for (const text of [
    `log\n07\n${root}\n`,
    `log\n-1\n${root}\n`,
    `log\n1e3\n${root}\n`,
    `log\n9999999999999999\n${root}\n`,
    `\n7\n${root}\n`,
    `log\n7\nAAAA\n`,
    "log\n7\n",
  ]) {
    assert.equal(
      code(() => parseCheckpoint(text)),
      "AUDIT_NOTE_INVALID",
      JSON.stringify(text),
    );
  }
});

test("a note of the key that names another log is not its checkpoint", () => {
  assert.equal(
    code(() => verifyCheckpoint(PETER_NOTE, parseVerifierKey(PETER))),
    "AUDIT_NOTE_INVALID",
  );
});

test("no change of one character of a checkpoint is believed", async (t) => {
  const { store } = await openTestStore(t);
  const log = await openTestLog(store);
  await record(log, 0, 5);
  const { note } = await log.checkpoint();
  const key = parseVerifierKey(log.verifierKey);
  assert.equal(verifyCheckpoint(note, key)?.origin, ORIGIN);
  fc.assert(
    fc.property(fc.nat({ max: note.length - 1 }), fc.string({ minLength: 1, maxLength: 1 }), (at, letter) => {
      fc.pre(note[at] !== letter);
      const changed = note.slice(0, at) + letter + note.slice(at + 1);
      let believed: unknown;
      try {
        believed = verifyCheckpoint(changed, key);
      } catch (error) {
        assert.equal(error instanceof ModelkeepError && error.code, "AUDIT_NOTE_INVALID");
      }
      assert.equal(believed, undefined, JSON.stringify(changed));
    }),
    { numRuns: 500 },
  );
});
