/** Cuts a stream of bytes into lines of bounded length. */
import { baseError, concatBytes } from "../base/index.ts";
import { AUDIT_LIMITS } from "./limits.ts";

const NEWLINE = 0x0a;

/** Lines without their newline; a last line without one counts. Throws LIMIT_EXCEEDED. */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = new Uint8Array(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : concatBytes(rest, chunk);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE, rest.length); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
      yield bounded(bytes.subarray(start, end));
      start = end + 1;
    }
    rest = new Uint8Array(bounded(bytes.subarray(start)));
  }
  if (rest.length > 0) yield rest;
}

function bounded(line: Uint8Array): Uint8Array {
  if (line.length > AUDIT_LIMITS.lineBytes)
    throw baseError("LIMIT_EXCEEDED", { detail: `a line is over ${AUDIT_LIMITS.lineBytes} bytes` });
  return line;
}
