/** Scans weight files by their headers: safetensors, GGUF, NumPy arrays. */
import {
  type ByteSource,
  type GgufValue,
  readGgufHeader,
  readSafetensorsHeader,
  sliceSource,
} from "../artifact/index.ts";
import { ModelkeepError } from "../base/index.ts";
import { type Inspection, shorten } from "./inspection.ts";
import { SCAN_LIMITS } from "./limits.ts";
import { scanPickle } from "./pickle/scan-pickle.ts";
import { looksLikeTemplate, scanTemplate } from "./template.ts";

/** Text that is meant for a browser, a shell or an interpreter, not for a reader. */
const EXECUTABLE_TEXT =
  /<script\b|javascript:|\b(?:eval|exec|system|popen|__import__)\s*\(|\bimport\s+(?:os|subprocess|sys|socket)\b|\bsubprocess\.|\brm\s+-rf\b|\b(?:curl|wget)\s+(?:-\S+\s+)*https?:|powershell|^#!/i;
const FETCHING_KEY = /callback|download|webhook|hook|payload|update|config|script|endpoint/i;

export function scanSafetensors(source: ByteSource, inspection: Inspection): void {
  const header = readHeader(() => readSafetensorsHeader(source), inspection);
  for (const [key, text] of Object.entries(header?.metadata ?? {})) scanMetadata(key, text, inspection);
}

export function scanGguf(source: ByteSource, inspection: Inspection): void {
  const header = readHeader(() => readGgufHeader(source), inspection);
  for (const [key, value] of header?.metadata ?? []) scanGgufValue(key, value, inspection);
}

function readHeader<T>(read: () => T, inspection: Inspection): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    inspection.report("header-invalid", "malformed", error.message);
    return undefined;
  }
}

function scanGgufValue(key: string, value: GgufValue, inspection: Inspection): void {
  if (typeof value === "string") scanMetadata(key, value, inspection);
  else if (typeof value === "object" && !key.startsWith("tokenizer.ggml.")) {
    for (const item of value.items) scanGgufValue(key, item, inspection);
  }
}

function scanMetadata(key: string, text: string, inspection: Inspection): void {
  if (looksLikeTemplate(text) || /template/i.test(key)) scanTemplate(text, shorten(key), inspection);
  else if (EXECUTABLE_TEXT.test(text)) {
    inspection.report("metadata-code", "suspicious", `${shorten(key)} in the metadata looks like code`);
  } else if (FETCHING_KEY.test(key) && /https?:\/\//i.test(text)) {
    inspection.report("metadata-url", "suspicious", `${shorten(key)} in the metadata is an address to fetch from`);
  }
}

const NPY_MAGIC = "\x93NUMPY";

export function looksLikeNpy(source: ByteSource): boolean {
  return Buffer.from(source.read(0, NPY_MAGIC.length)).toString("latin1") === NPY_MAGIC;
}

/** An array of objects is a pickle behind the header; other arrays are only bytes. */
export function scanNpy(source: ByteSource, inspection: Inspection): void {
  const header = readNpyHeader(source);
  if (!header) inspection.report("npy-broken", "malformed", "the header of the array cannot be read");
  else if (/[|<>=]?O\b|object/.test(header.type)) {
    inspection.report("npy-object-array", "suspicious", "an array of Python objects, which loads a pickle");
    scanPickle(sliceSource(source, header.dataStart, source.bytes), inspection);
  }
}

/** NPY versions 1 to 3 (numpy/lib/format.py): the header is a Python literal; what stands after `descr` is the type. */
function readNpyHeader(source: ByteSource): { readonly type: string; readonly dataStart: number } | undefined {
  const head = source.read(0, 12);
  const major = head[6] ?? 0;
  if (head.length < 12 || major < 1 || major > 3) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const start = major === 1 ? 10 : 12;
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > SCAN_LIMITS.npyHeaderBytes || start + length > source.bytes) return undefined;
  const text = Buffer.from(source.read(start, length)).toString("latin1");
  const type = /['"]descr['"]\s*:\s*([^\n]*)/.exec(text)?.[1]?.split(/['"](?:fortran_order|shape)['"]/)[0];
  return type === undefined ? undefined : { type, dataStart: start + length };
}
