/** The certificate table that a host hands to its guest (GHCB specification, SNP extended guest request). */
import { toHex } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { SNP_LIMITS } from "./limits.ts";

export type CertificateKind = "VCEK" | "VLEK" | "ASK" | "ARK" | "CRL" | "other";

export interface TableEntry {
  readonly kind: CertificateKind;
  /** As text, lower case. */
  readonly guid: string;
  readonly data: Uint8Array;
}

const KINDS: Readonly<Record<string, CertificateKind>> = {
  "63da758d-e664-4564-adc5-f4b93be8accd": "VCEK",
  "a8074bc2-a25a-483e-aae6-39c045a0b8a1": "VLEK",
  "4ab7b379-bbac-4fe4-a02f-05aef327c782": "ASK",
  "c0b406a4-a803-4952-9743-3fb6014cd0ae": "ARK",
  "92f81bc3-5811-4d3d-97ff-d19f88dc67ea": "CRL",
};
const ENTRY_BYTES = 24;

/**
 * Reads {guid, offset, length} entries up to the zero entry. Empty bytes are an empty table.
 * Throws EVIDENCE_REFUSED with `snp.table.format`: no end, data outside the table or inside its head, a kind twice.
 */
export function parseCertificateTable(table: Uint8Array): TableEntry[] {
  if (table.length === 0) return [];
  if (table.length > SNP_LIMITS.tableBytes) throw evidenceRefused("snp.table.size");
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const heads: { guid: string; offset: number; length: number }[] = [];
  for (let place = 0; ; place += ENTRY_BYTES) {
    if (place + ENTRY_BYTES > table.length || heads.length > SNP_LIMITS.tableEntries) throw malformed();
    const entry = table.subarray(place, place + ENTRY_BYTES);
    if (entry.every((byte) => byte === 0)) return heads.map((head) => cut(table, head, place + ENTRY_BYTES, heads));
    const [offset, length] = [view.getUint32(place + 16, true), view.getUint32(place + 20, true)];
    heads.push({ guid: guidText(entry), offset, length });
  }
}

function cut(
  table: Uint8Array,
  { guid, offset, length }: { guid: string; offset: number; length: number },
  headBytes: number,
  heads: readonly { guid: string }[],
): TableEntry {
  const fits = offset >= headBytes && length > 0 && offset + length <= table.length;
  if (!fits || heads.filter((other) => other.guid === guid).length > 1) throw malformed();
  return { kind: KINDS[guid] ?? "other", guid, data: table.subarray(offset, offset + length) };
}

const malformed = () => evidenceRefused("snp.table.format");

/** The table of the GHCB writes GUIDs in the order of their text, except for Linux's UUID_LE fields: both are read. */
function guidText(entry: Uint8Array): string {
  const mixed = Uint8Array.from([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15], (index) => entry[index] ?? 0);
  const straight = hyphenate(toHex(entry.subarray(0, 16)));
  const swapped = hyphenate(toHex(mixed));
  return KINDS[swapped] === undefined ? straight : swapped;
}

function hyphenate(hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
