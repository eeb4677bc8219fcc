/** Evidence with a quote in it: the quote alone, or JSON that carries collateral and event logs along. */
import { z } from "zod";
import { fromBase64 } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { parseCcel } from "../eventlog/ccel.ts";
import { parseDstackEventLog } from "../eventlog/dstack.ts";
import type { MeasuredEvent } from "../eventlog/event.ts";
import { type Collateral, parseCollateral } from "./collateral.ts";
import { readJson } from "./documents.ts";
import { DCAP_LIMITS } from "./limits.ts";

export interface DcapEvidence {
  readonly quote: Uint8Array;
  /** What the machine brought along. Intel signed it; how new it has to be is for the profile to say. */
  readonly collateral?: Collateral;
  readonly events?: readonly MeasuredEvent[];
}

const OPENING_BRACE = 0x7b;

/** Members as in the KBS protocol; `collateral` and `event_log` are additions that others leave out. */
const schema = z.strictObject({
  /** Base64. */
  quote: z.string(),
  /** The area of the ACPI table CCEL, base64. */
  cc_eventlog: z.string().nullish(),
  /** The attestation agent's own log; it is not evaluated. */
  aa_eventlog: z.string().nullish(),
  /** The log of dstack: JSON in a string. */
  event_log: z.string().nullish(),
  collateral: z.record(z.string(), z.unknown()).nullish(),
});

/** Throws EVIDENCE_REFUSED with `dcap.evidence.format` or the rule of the part that cannot be read. */
export function parseDcapEvidence(data: Uint8Array): DcapEvidence {
  if (data[0] !== OPENING_BRACE) return { quote: data };
  const parsed = schema.safeParse(readJson(data, DCAP_LIMITS.evidenceBytes, "dcap.evidence.format"));
  if (!parsed.success) throw evidenceRefused("dcap.evidence.format", parsed.error);
  const { quote, cc_eventlog: ccel, event_log: dstack, collateral } = parsed.data;
  if (ccel && dstack) throw evidenceRefused("dcap.evidence.format");
  return {
    quote: base64(quote),
    ...(collateral ? { collateral: parseCollateral(collateral) } : {}),
    ...(ccel ? { events: parseCcel(base64(ccel)) } : {}),
    ...(dstack ? { events: parseDstackEventLog(dstack) } : {}),
  };
}

function base64(text: string): Uint8Array {
  const bytes = fromBase64(text);
  if (!bytes) throw evidenceRefused("dcap.evidence.format");
  return bytes;
}
