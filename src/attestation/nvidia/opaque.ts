/** The opaque data of a measurement response: what the device says about itself, signed with its measurements. */
import { toHex } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { NVIDIA_LIMITS } from "./limits.ts";

/** Types of the fields that are read; others are signed and passed over. */
const FIELD = {
  driverVersion: 3,
  vbiosVersion: 6,
  nvdec0Status: 11,
  measurementCounts: 12,
  chipSku: 15,
  project: 17,
  projectSku: 18,
  fwid: 20,
  protectedPcie: 21,
  switchPdi: 22,
  switchGpuPdis: 26,
  chipInfo: 35,
  featureFlag: 36,
} as const;

const PDI_BYTES = 8;
/** Behind the identities of eight GPUs stands which port leads to which. */
const SWITCH_GPUS = 8;
const FWID_BYTES = 48;
const NOT_CONNECTED = "00".repeat(PDI_BYTES);
const OFF = 0x55;
const ON = 0xaa;

export type CcMode = "SPT" | "MPT" | "PPCIE";
const MODES: readonly CcMode[] = ["SPT", "MPT", "PPCIE"];

export interface OpaqueData {
  readonly driverVersion?: string;
  /** Dotted upper-case hex, for example `96.00.5E.00.01`. */
  readonly vbiosVersion?: string;
  readonly project?: string;
  readonly projectSku?: string;
  readonly chipSku?: string;
  readonly chipInfo?: string;
  /** `unknown` is a value that NVIDIA has not defined. */
  readonly nvdec0?: "enabled" | "disabled" | "unknown";
  readonly protectedPcie?: "on" | "off" | "unknown";
  readonly ccMode?: CcMode | "unknown";
  /** SHA-384 of the device's first mutable code, lower-case hex; old drivers and switches do not say it. */
  readonly fwid?: string;
  /** Of a GPU: the switches it is linked to, bytes reversed. Of a switch: itself. Lower-case hex, unique. */
  readonly switchPdis: readonly string[];
  /** Of a switch: the GPUs it is linked to. */
  readonly gpuPdis: readonly string[];
  readonly measurementCounts: readonly number[];
}

/** Throws EVIDENCE_REFUSED `nvidia.report.opaque` for lengths that do not fit and fields that come twice. */
export function parseOpaque(bytes: Uint8Array): OpaqueData {
  const fields = splitFields(bytes);
  const optional = <K extends keyof OpaqueData>(key: K, value: OpaqueData[K] | undefined) =>
    value === undefined ? {} : { [key]: value };
  const text = (type: number) => readText(fields.get(type));
  return {
    ...optional("driverVersion", text(FIELD.driverVersion)),
    ...optional("vbiosVersion", readVbiosVersion(fields.get(FIELD.vbiosVersion))),
    ...optional("project", text(FIELD.project)),
    ...optional("projectSku", text(FIELD.projectSku)),
    ...optional("chipSku", text(FIELD.chipSku)),
    ...optional("chipInfo", text(FIELD.chipInfo)),
    ...optional("nvdec0", readSwitch(fields.get(FIELD.nvdec0Status), "enabled", "disabled")),
    ...optional("protectedPcie", readSwitch(fields.get(FIELD.protectedPcie), "on", "off")),
    ...optional("ccMode", readMode(fields.get(FIELD.featureFlag))),
    ...optional("fwid", readFwid(fields.get(FIELD.fwid))),
    switchPdis: readPdis(fields.get(FIELD.switchPdi)),
    gpuPdis: readPdis(fields.get(FIELD.switchGpuPdis)?.subarray(0, SWITCH_GPUS * PDI_BYTES)),
    measurementCounts: readCounts(fields.get(FIELD.measurementCounts)),
  };
}

function splitFields(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const fields = new Map<number, Uint8Array>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = 0; offset < bytes.length; ) {
    if (offset + 4 > bytes.length) throw malformed("ends inside the head of a field");
    const type = view.getUint16(offset, true);
    const end = offset + 4 + view.getUint16(offset + 2, true);
    if (end > bytes.length) throw malformed(`ends inside field ${type}`);
    if (fields.has(type)) throw malformed(`field ${type} comes twice`);
    fields.set(type, bytes.subarray(offset + 4, end));
    if (fields.size > NVIDIA_LIMITS.opaqueFields) throw malformed("too many fields");
    offset = end;
  }
  return fields;
}

/** Printable ASCII, ended by zeros. An empty text is as good as none. */
function readText(field: Uint8Array | undefined): string | undefined {
  if (!field || field.length === 0) return undefined;
  if (field.length > NVIDIA_LIMITS.opaqueTextBytes) throw malformed(`a text of ${field.length} bytes`);
  const match = /^([\x20-\x7e]*)\0*$/.exec(String.fromCharCode(...field));
  if (!match) throw malformed("a text that is not ASCII");
  return match[1] || undefined;
}

/** Of a GPU eight bytes, little-endian: the upper four, then the last byte of the lower four. Of a switch a text. */
function readVbiosVersion(field: Uint8Array | undefined): string | undefined {
  if (!field) return undefined;
  if (field.length !== 8) return readText(field)?.toUpperCase();
  const reversed = field.toReversed();
  return [...reversed.subarray(4), reversed[3] ?? 0]
    .map((byte) => byte.toString(16).padStart(2, "0").toUpperCase())
    .join(".");
}

function readSwitch<On extends string, Off extends string>(field: Uint8Array | undefined, on: On, off: Off) {
  if (!field) return undefined;
  if (field.length !== 1) throw malformed(`a status of ${field.length} bytes`);
  if (field[0] === ON) return on;
  return field[0] === OFF ? off : ("unknown" as const);
}

function readMode(field: Uint8Array | undefined): CcMode | "unknown" | undefined {
  if (!field) return undefined;
  if (field.length !== 2) throw malformed(`a feature flag of ${field.length} bytes`);
  return MODES[(field[0] ?? 0) | ((field[1] ?? 0) << 8)] ?? "unknown";
}

function readFwid(field: Uint8Array | undefined): string | undefined {
  if (!field) return undefined;
  if (field.length !== FWID_BYTES) throw malformed(`a FWID of ${field.length} bytes`);
  return toHex(field);
}

function readPdis(field: Uint8Array | undefined): readonly string[] {
  if (!field) return [];
  if (field.length % PDI_BYTES !== 0) throw malformed(`device identities of ${field.length} bytes`);
  const all = Array.from({ length: field.length / PDI_BYTES }, (_, i) =>
    toHex(field.subarray(i * PDI_BYTES, (i + 1) * PDI_BYTES)),
  );
  return [...new Set(all)].filter((pdi) => pdi !== NOT_CONNECTED);
}

function readCounts(field: Uint8Array | undefined): readonly number[] {
  if (!field) return [];
  if (field.length % 4 !== 0) throw malformed(`measurement counts of ${field.length} bytes`);
  const view = new DataView(field.buffer, field.byteOffset, field.byteLength);
  return Array.from({ length: field.length / 4 }, (_, i) => view.getUint32(i * 4, true));
}

function malformed(place: string): Error {
  return evidenceRefused("nvidia.report.opaque", new Error(place));
}
