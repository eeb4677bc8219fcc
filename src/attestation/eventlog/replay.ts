/** Plays an event log again and compares what comes out with the registers of a quote. */
import { createHash } from "node:crypto";
import { equalBytes, toHex, utf8 } from "../../base/index.ts";
import type { Rules } from "../verdict.ts";
import { EV_NO_ACTION, type MeasuredEvent } from "./event.ts";

export type RuntimeRegisters = readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];

/** RTMR0 to RTMR3 as they are after all events: each is SHA-384 of itself and the digest, from zeros on. */
export function replayEventLog(events: readonly MeasuredEvent[]): RuntimeRegisters {
  const registers = [0, 1, 2, 3].map(() => new Uint8Array(48));
  for (const { register, type, digest } of events) {
    const old = register === "mrtd" ? undefined : registers[register];
    if (!old || register === "mrtd" || type === EV_NO_ACTION) continue;
    registers[register] = new Uint8Array(createHash("sha384").update(old).update(digest).digest());
  }
  const [first, second, third, fourth] = registers;
  if (!first || !second || !third || !fourth) throw new Error("four registers");
  return [first, second, third, fourth];
}

/** A log proves nothing of its own: it counts only where it leads to the registers that the quote signed. */
export function checkEventLog(rules: Rules, events: readonly MeasuredEvent[], registers: RuntimeRegisters): boolean {
  const replayed = replayEventLog(events);
  const results = registers.map((register, index) => {
    const have = replayed[index] ?? new Uint8Array();
    return rules.check(`eventlog.rtmr${index}`, equalBytes(have, register), {
      passed: `The event log leads to RTMR${index}.`,
      failed: `The event log does not lead to RTMR${index}: events are missing, changed or in another order.`,
      have: toHex(have),
      need: toHex(register),
    });
  });
  return results.every((holds) => holds);
}

/** Where events at run time go; what the boot measured is in the others, under no name. */
const RUN_TIME_REGISTER = 3;

/**
 * Named events have to be there once, with a payload that is accepted; call it for a log that was replayed. The log's
 * word alone says which events have a name, so one without could be any of them: the register may hold none.
 */
export function checkNamedEvents(
  rules: Rules,
  events: readonly MeasuredEvent[],
  accepted: Readonly<Record<string, readonly string[]>>,
): void {
  const extended = events.filter(({ register, type }) => register === RUN_TIME_REGISTER && type !== EV_NO_ACTION);
  const texts = extended.flatMap(measuredText);
  rules.check("eventlog.run-time", texts.length === extended.length, {
    passed: "Every event at run time shows what it measured.",
    failed: "An event at run time hides what it measured: it may be one that the profile names.",
    have: `${extended.length - texts.length} of ${extended.length} hidden`,
    need: "none",
  });
  for (const [name, payloads] of Object.entries(accepted)) {
    const head = toHex(utf8(`${name}:`));
    const found = texts.filter((text) => text.startsWith(head)).map((text) => text.slice(head.length));
    rules.check(`eventlog.event.${name}`, found.length === 1 && payloads.includes(found[0] ?? ""), {
      passed: `The event ${name} is one that the profile accepts.`,
      failed: `The event ${name} is missing, there more than once, or not one that the profile accepts.`,
      have: found.length === 1 ? (found[0] ?? "") : `${found.length} events`,
      need: `once, with one of ${payloads.length} accepted payloads`,
    });
  }
}

/** Hex of name, colon and payload as they were measured: where the one ends is the log's word, and a payload may hold a colon. */
function measuredText({ name, data }: MeasuredEvent): string[] {
  return name === undefined ? [] : [toHex(utf8(`${name}:`)) + toHex(data)];
}
