/** The event log of confidential guests (ACPI table CCEL): TCG_PCR_EVENT2 with SHA-384 after a header in the old form. */
import { Cursor } from "../dcap/cursor.ts";
import { evidenceRefused } from "../errors.ts";
import { EV_NO_ACTION, type MeasuredEvent } from "./event.ts";
import { EVENT_LOG_LIMITS } from "./limits.ts";

const RULE = "eventlog.format";
const SIGNATURE = "Spec ID Event03\0";
const SHA_384 = 0x000c;
const SHA_384_BYTES = 48;
const REGISTERS = ["mrtd", 0, 1, 2, 3] as const;

/** The area may be larger than the log: what follows has to be all 0x00 or all 0xFF. Throws EVIDENCE_REFUSED. */
export function parseCcel(bytes: Uint8Array): MeasuredEvent[] {
  if (bytes.length > EVENT_LOG_LIMITS.logBytes) throw evidenceRefused("eventlog.size");
  const cursor = new Cursor(bytes, RULE);
  const sizes = readHeader(cursor);
  const events: MeasuredEvent[] = [];
  while (cursor.left > 0 && !isFiller(bytes.subarray(cursor.offset))) {
    if (events.length >= EVENT_LOG_LIMITS.events) throw evidenceRefused("eventlog.size");
    events.push(readEvent(cursor, sizes));
  }
  return events;
}

/** Digest sizes by algorithm. */
function readHeader(cursor: Cursor): ReadonlyMap<number, number> {
  cursor.u32();
  if (cursor.u32() !== EV_NO_ACTION) throw evidenceRefused(RULE);
  cursor.skip(20);
  const event = new Cursor(cursor.take(cursor.u32()), RULE);
  if (Buffer.from(event.take(16)).toString("latin1") !== SIGNATURE) throw evidenceRefused(RULE);
  event.skip(8);
  const count = event.u32();
  if (count > EVENT_LOG_LIMITS.algorithms) throw evidenceRefused("eventlog.size");
  const sizes = new Map<number, number>();
  for (let index = 0; index < count; index++) sizes.set(event.u16(), event.u16());
  event.skip(event.u8());
  if (event.left !== 0 || sizes.size !== count || sizes.get(SHA_384) !== SHA_384_BYTES) throw evidenceRefused(RULE);
  return sizes;
}

function readEvent(cursor: Cursor, sizes: ReadonlyMap<number, number>): MeasuredEvent {
  const register = REGISTERS[cursor.u32()];
  const type = cursor.u32();
  const digest = readDigest(cursor, sizes);
  const size = cursor.u32();
  if (size > EVENT_LOG_LIMITS.eventBytes) throw evidenceRefused("eventlog.size");
  const data = cursor.take(size);
  if (register === undefined) throw evidenceRefused("eventlog.register");
  return { register, type, digest, data };
}

function readDigest(cursor: Cursor, sizes: ReadonlyMap<number, number>): Uint8Array {
  const count = cursor.u32();
  if (count > sizes.size) throw evidenceRefused(RULE);
  let found: Uint8Array | undefined;
  for (let index = 0; index < count; index++) {
    const algorithm = cursor.u16();
    const size = sizes.get(algorithm);
    if (size === undefined || (algorithm === SHA_384 && found)) throw evidenceRefused(RULE);
    const digest = cursor.take(size);
    if (algorithm === SHA_384) found = digest;
  }
  if (!found) throw evidenceRefused(RULE);
  return found;
}

function isFiller(rest: Uint8Array): boolean {
  const [first] = rest;
  return (first === 0x00 || first === 0xff) && rest.every((byte) => byte === first);
}
