/** Scans graph files: protocol buffers of TensorFlow and ONNX, HDF5 of Keras. */
import { type ByteSource, Cursor } from "../artifact/index.ts";
import { ModelkeepError } from "../base/index.ts";
import { type Inspection, shorten } from "./inspection.ts";
import { SCAN_LIMITS } from "./limits.ts";

/** Operations that touch files or run Python (TensorFlow core ops), and how bad they are. */
const TENSORFLOW_OPERATIONS: Readonly<Record<string, "malicious" | "suspicious">> = {
  WriteFile: "malicious",
  PyFunc: "malicious",
  PyFuncStateless: "malicious",
  EagerPyFunc: "malicious",
  ReadFile: "suspicious",
  MatchingFiles: "suspicious",
  PrintV2: "suspicious",
};
/** ONNX TensorProto.external_data: key "location" (field 1), then the value (field 2) with its length. */
const ONNX_LOCATION = "\n\x08location\x12";

/** Walks the fields of the outermost message: every byte must belong to one, of a type that exists. */
export function looksLikeProtobuf(source: ByteSource): boolean {
  if (source.bytes < 2) return false;
  const cursor = new Cursor(source);
  try {
    while (cursor.left > 0) readField(cursor);
    return true;
  } catch (error) {
    if (error instanceof ModelkeepError || error instanceof RangeError) return false;
    throw error;
  }
}

function readField(cursor: Cursor): void {
  const tag = readVarint(cursor);
  const field = Math.floor(tag / 8);
  if (field < 1 || field > 536_870_911) throw new RangeError("field");
  const type = tag % 8;
  if (type === 0) readVarint(cursor);
  else if (type === 1) cursor.skip(8);
  else if (type === 2) cursor.skip(readVarint(cursor));
  else if (type === 5) cursor.skip(4);
  else throw new RangeError("type");
}

function readVarint(cursor: Cursor): number {
  let value = 0;
  for (let index = 0; index < 10; index++) {
    const byte = cursor.u8();
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return value;
  }
  throw new RangeError("varint");
}

export function scanProtobuf(source: ByteSource, inspection: Inspection): void {
  if (source.bytes > SCAN_LIMITS.protobufBytes) {
    inspection.report("graph-size", "unscannable", `a graph of ${source.bytes} bytes`);
    return;
  }
  searchWindows(source, (text) => {
    for (const [name, severity] of Object.entries(TENSORFLOW_OPERATIONS)) {
      if (text.includes(operationField(name)))
        inspection.report("tensorflow-operation", severity, `the graph uses ${name}`);
    }
    checkLocations(text, inspection);
    scanKerasText(text, inspection);
  });
}

/** NodeDef.op is field 2: the same word in a vocabulary stands in another field. */
function operationField(name: string): string {
  return `\x12${String.fromCharCode(name.length)}${name}`;
}

function checkLocations(text: string, inspection: Inspection): void {
  for (let at = text.indexOf(ONNX_LOCATION); at !== -1; at = text.indexOf(ONNX_LOCATION, at + 1)) {
    const start = at + ONNX_LOCATION.length + 1;
    const path = text.slice(start, start + text.charCodeAt(start - 1));
    if (path.split(/[/\\]/).includes("..") || /^(?:[/\\]|[A-Za-z]:)/.test(path)) {
      inspection.report("onnx-external-path", "malicious", `external data lies at ${shorten(path)}, outside the model`);
    }
  }
}

export function looksLikeHdf5(source: ByteSource): boolean {
  return Buffer.from(source.read(0, 8)).toString("latin1") === "\x89HDF\r\n\x1a\n";
}

export function scanHdf5(source: ByteSource, inspection: Inspection): void {
  if (source.bytes > SCAN_LIMITS.hdf5Bytes)
    inspection.report("graph-size", "unscannable", `${source.bytes} bytes of HDF5`);
  else searchWindows(source, (text) => scanKerasText(text, inspection));
}

/** Keras keeps the layers as JSON text in an attribute. */
function scanKerasText(text: string, inspection: Inspection): void {
  if (/"class_name"\s*:\s*"(?:Lambda|__lambda__)"/.test(text)) {
    inspection.report("keras-lambda", "malicious", "a Lambda layer carries Python code");
  }
}

/** Calls `visit` with overlapping windows of the file as latin-1 text. */
function searchWindows(source: ByteSource, visit: (text: string) => void): void {
  const step = SCAN_LIMITS.searchWindowBytes - SCAN_LIMITS.searchOverlapBytes;
  for (let start = 0; start < source.bytes; start += step) {
    visit(Buffer.from(source.read(start, SCAN_LIMITS.searchWindowBytes)).toString("latin1"));
  }
}
