/** The event log of dstack: boot events as digests, and named events at run time whose digests are made here again. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { equalBytes, fromHex, ModelkeepError, parseJson, utf8 } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import type { MeasuredEvent } from "./event.ts";
import { EVENT_LOG_LIMITS } from "./limits.ts";

export const DSTACK_RUNTIME_EVENT = 0x08000001;

const schema = z
  .array(
    z.object({
      imr: z.union([z.literal(0), z.literal(1), z.literal(2), z.literal(3)]),
      event_type: z.number().int().min(0).max(0xffff_ffff),
      digest: z.string().regex(/^[0-9a-fA-F]{96}$/),
      event: z.string().max(1_024),
      event_payload: z
        .string()
        .max(EVENT_LOG_LIMITS.eventBytes * 2)
        .regex(/^(?:[0-9a-fA-F]{2})*$/),
    }),
  )
  .max(EVENT_LOG_LIMITS.events);

/** Throws EVIDENCE_REFUSED: `eventlog.format`, or `eventlog.digest` when an event is not what its digest says. */
export function parseDstackEventLog(input: Uint8Array | string): MeasuredEvent[] {
  const parsed = schema.safeParse(readJson(input));
  if (!parsed.success) throw evidenceRefused("eventlog.format", parsed.error);
  return parsed.data.map(({ imr, event_type: type, digest, event: name, event_payload: payload }) => {
    const event = { register: imr, type, digest: bytesOf(digest), data: bytesOf(payload) } as const;
    if (type !== DSTACK_RUNTIME_EVENT) return event;
    if (!equalBytes(event.digest, runtimeDigest(name, event.data))) throw evidenceRefused("eventlog.digest");
    return { ...event, name };
  });
}

/** SHA-384 of type (little-endian), name and payload, joined by colons. */
export function runtimeDigest(name: string, payload: Uint8Array): Uint8Array {
  const type = new Uint8Array(4);
  new DataView(type.buffer).setUint32(0, DSTACK_RUNTIME_EVENT, true);
  const hash = createHash("sha384").update(type).update(":").update(utf8(name)).update(":").update(payload);
  return new Uint8Array(hash.digest());
}

function readJson(input: Uint8Array | string): unknown {
  const { logBytes: maxBytes, jsonDepth: maxDepth } = EVENT_LOG_LIMITS;
  try {
    return parseJson(input, { maxBytes, maxDepth, what: "event log" });
  } catch (error) {
    if (error instanceof ModelkeepError) throw evidenceRefused("eventlog.format", error);
    throw error;
  }
}

function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array();
}
