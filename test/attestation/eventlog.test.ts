/** Event logs: the recorded ones lead to the recorded registers, and a log that was touched does not. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { parseQuote } from "../../src/attestation/dcap/evidence.ts";
import { parseCcel } from "../../src/attestation/eventlog/ccel.ts";
import { DSTACK_RUNTIME_EVENT, parseDstackEventLog, runtimeDigest } from "../../src/attestation/eventlog/dstack.ts";
import type { MeasuredEvent } from "../../src/attestation/eventlog/event.ts";
import { EVENT_LOG_LIMITS } from "../../src/attestation/eventlog/limits.ts";
import { checkEventLog, checkNamedEvents, replayEventLog } from "../../src/attestation/eventlog/replay.ts";
import { Rules } from "../../src/attestation/verdict.ts";
import { concatBytes, ModelkeepError, toHex, utf8 } from "../../src/base/index.ts";
import { ABSENT, bytesOf, dstackReport, hasVectors, quote, textOf } from "./support/dcap-vectors.ts";

const refused = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;

function registersOf(bytes: Uint8Array) {
  const { report } = parseQuote(bytes);
  if (report.tee !== "tdx") throw new Error("no trust domain");
  return report.rtmrs;
}

test("gcp cos-113: the log of 43 events leads to RTMR0 to RTMR2 of the quote, and RTMR3 is zero", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const events = parseCcel(bytesOf("tdx/gcp-v4-00806f-cos113/ccel_data.dat"));
  assert.equal(events.length, 43);
  const registers = registersOf(bytesOf("tdx/gcp-v4-00806f-cos113/quote.bin"));
  assert.deepEqual(replayEventLog(events).map(toHex), registers.map(toHex));
  assert.deepEqual(registers[3], new Uint8Array(48));
});

test("ovmf: digests of three registers, and the events that others read in the same log", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const events = parseCcel(bytesOf("tdx/eventlogs/CCEL_data_ovmf"));
  const heads = replayEventLog(events).map((register) => toHex(register).slice(0, 16));
  assert.deepEqual(heads, ["8566f998798db094", "775b9f6bfe99f8a3", "94eaf7a7bf398ed8", "0000000000000000"]);
  const others = JSON.parse(textOf("tdx/eventlogs/CCEL_data_ovmf_out.json")).uefi_event_logs as {
    index: number;
    digests: { digest: string }[];
  }[];
  assert.deepEqual(
    events.map(({ register, digest }) => [register, toHex(digest)]),
    others.map(({ index, digests }) => [index - 1, digests[0]?.digest]),
  );
});

test("dstack: boot and run-time events lead to all four registers of the quote", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const events = parseDstackEventLog(dstackReport().event_log);
  const rules = new Rules();
  assert.equal(checkEventLog(rules, events, registersOf(quote.dstack())), true);
  assert.equal(rules.verdict, "accepted");
});

test("dstack: a payload that is not what its digest says is refused, and so is one event less or another order", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const text = dstackReport().event_log;
  const changed = text.replace(
    "3763bc34552cf3a27ff71ad5f7a90471562a1a2df5",
    "3763bc34552cf3a27ff71ad5f7a90471562a1a2df6",
  );
  assert.notEqual(changed, text);
  assert.throws(() => parseDstackEventLog(changed), refused("eventlog.digest"));
  const renamed = text.replace('"compose-hash"', '"compose-hasH"');
  assert.throws(() => parseDstackEventLog(renamed), refused("eventlog.digest"));
  const events = parseDstackEventLog(text);
  const registers = registersOf(quote.dstack());
  for (const touched of [events.slice(0, -1), [...events].reverse(), [...events, ...events.slice(-1)]])
    assert.equal(checkEventLog(new Rules(), touched, registers), false);
});

const named = (name: string, payload: string): MeasuredEvent => {
  const data = utf8(payload);
  return { register: 3, type: DSTACK_RUNTIME_EVENT, digest: runtimeDigest(name, data), name, data };
};

test("a named event has to be there exactly once with an accepted payload", () => {
  const accepted = { "compose-hash": [toHex(utf8("right"))] };
  const verdictOf = (...events: readonly MeasuredEvent[]) => {
    const rules = new Rules();
    checkNamedEvents(rules, events, accepted);
    return rules.verdict;
  };
  assert.equal(verdictOf(named("compose-hash", "right")), "accepted");
  assert.equal(verdictOf(), "refused");
  assert.equal(verdictOf(named("compose-hash", "wrong")), "refused");
  assert.equal(verdictOf(named("compose-hash", "right"), named("compose-hash", "right")), "refused");
  assert.equal(verdictOf(named("compose-hash", "right"), named("compose-hash", "wrong")), "refused");
});

test("a wrong event cannot be hidden: not as one without a name, not under a name cut elsewhere, not in another register", () => {
  const accepted = { "compose-hash": [toHex(utf8("right"))] };
  const wrong = named("compose-hash", "wr:ng");
  const entry = (event: MeasuredEvent, changes: object = {}) => ({
    imr: 3,
    event_type: DSTACK_RUNTIME_EVENT,
    digest: toHex(event.digest),
    event: event.name,
    event_payload: toHex(event.data),
    ...changes,
  });
  const right = entry(named("compose-hash", "right"));
  const failuresOf = (...log: readonly object[]) => {
    const rules = new Rules();
    const events = parseDstackEventLog(JSON.stringify(log));
    const registers = replayEventLog([wrong, named("compose-hash", "right")]);
    const leads = log.length === 1 || checkEventLog(new Rules(), events, registers);
    assert.equal(leads, true);
    checkNamedEvents(rules, events, accepted);
    return rules.list.filter(({ result }) => result === "failed").map(({ id }) => id);
  };
  assert.deepEqual(failuresOf(right), []);
  assert.deepEqual(failuresOf(entry(wrong), right), ["eventlog.event.compose-hash"]);
  assert.deepEqual(failuresOf(entry(wrong, { event_type: 1 }), right), ["eventlog.run-time"]);
  const cut = { event: "compose-hash:wr", event_payload: toHex(utf8("ng")) };
  assert.deepEqual(failuresOf(entry(wrong, cut), right), ["eventlog.event.compose-hash"]);
  assert.deepEqual(failuresOf({ ...right, imr: 2 }), ["eventlog.event.compose-hash"]);
});

test("a boot event cannot take the name of a run-time event", () => {
  const digest = "00".repeat(48);
  const log = JSON.stringify([{ imr: 3, event_type: 4, digest, event: "compose-hash", event_payload: "00" }]);
  assert.deepEqual(
    parseDstackEventLog(log).map(({ name }) => name),
    [undefined],
  );
});

test("trap 31: a key that comes twice is refused", () => {
  const log = `[{"imr":3,"imr":2,"event_type":4,"digest":"${"00".repeat(48)}","event":"","event_payload":""}]`;
  assert.throws(() => parseDstackEventLog(log), refused("eventlog.format"));
});

/** A log in the form of the TCG with SHA-384 alone. */
function writeCcel(events: readonly { register: number; type: number; digest: Uint8Array; data: Uint8Array }[]) {
  const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  const u16 = (value: number) => new Uint8Array(Uint16Array.of(value).buffer);
  const id = concatBytes(utf8("Spec ID Event03\0"), new Uint8Array(8), u32(1), u16(0x0c), u16(48), Uint8Array.of(0));
  const header = concatBytes(u32(1), u32(3), new Uint8Array(20), u32(id.length), id);
  const rest = events.flatMap(({ register, type, digest, data }) => [
    u32(register),
    u32(type),
    u32(1),
    u16(0x0c),
    digest,
    u32(data.length),
    data,
  ]);
  return concatBytes(header, ...rest);
}

const event = fc.record({
  register: fc.integer({ min: 0, max: 4 }),
  type: fc.constantFrom(1, 3, 4, 0x80000001),
  digest: fc.uint8Array({ minLength: 48, maxLength: 48 }),
  data: fc.uint8Array({ maxLength: 40 }),
});

test("property: what is written is read, events without action and the launch change no register", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 12 }), fc.constantFrom(0, 255), (events, filler) => {
      // A log cannot end in an event that looks like the filler after it.
      const log = concatBytes(writeCcel([...events, { ...last, data: utf8("end") }]), new Uint8Array(64).fill(filler));
      const read = parseCcel(log);
      assert.equal(read.length, events.length + 1);
      const expected = [1, 2, 3, 4].map((register) =>
        [...events, last]
          .filter((one) => one.register === register && one.type !== 3)
          .reduce((old, { digest }) => createHash("sha384").update(old).update(digest).digest(), Buffer.alloc(48))
          .toString("hex"),
      );
      assert.deepEqual(replayEventLog(read).map(toHex), expected);
    }),
  );
});
const last = { register: 1, type: 4, digest: new Uint8Array(48).fill(7), data: utf8("end") };

test("truncated at any byte, a log is refused or is a shorter log, and never crashes", () => {
  const log = writeCcel([last, last, last]);
  for (let length = 0; length < log.length; length++) {
    try {
      assert.ok(parseCcel(log.subarray(0, length)).length < 3);
    } catch (error) {
      assert.ok(error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED");
    }
  }
});

test("trap 32: sizes and registers beyond the limits are refused", () => {
  assert.throws(() => parseCcel(new Uint8Array(EVENT_LOG_LIMITS.logBytes + 1)), refused("eventlog.size"));
  assert.throws(() => parseCcel(writeCcel([{ ...last, register: 5 }])), refused("eventlog.register"));
  const many = Array.from({ length: EVENT_LOG_LIMITS.events + 1 }, () => ({ ...last, data: new Uint8Array() }));
  assert.throws(() => parseCcel(writeCcel(many)), refused("eventlog.size"));
  assert.throws(
    () => parseCcel(concatBytes(writeCcel([last]), Uint8Array.of(0xff, 0xff, 0))),
    refused("eventlog.format"),
  );
});

test("property: bytes of any kind are refused or read, and nothing else happens", () => {
  const head = writeCcel([]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, withHead) => {
      try {
        parseCcel(withHead ? concatBytes(head, bytes) : bytes);
      } catch (error) {
        assert.ok(error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED");
      }
    }),
  );
});
