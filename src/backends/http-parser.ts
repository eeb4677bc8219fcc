/** Takes out of the HTTP parser what it keeps of the last replies: it is given a reply of zeros that is longer than them. */
// undici's parser is WebAssembly, one for the process. It copies what it is given into one buffer, which grows by being freed
// as it is, and stays until something as long overwrites it. The first reply of zeros is longer than anything that is read
// at once, so that it never grows later.
import { Duplex } from "node:stream";
import { Client } from "undici";

/** More than is read from a connection at once: a block, what waited for it, and what a paused parser gave back. */
const ZEROS_BYTES = 256 * 1024;
const HEAD = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${ZEROS_BYTES}\r\n\r\n`, "latin1");

let grown: Promise<void> | undefined;
let client: Client | undefined;

/** A connection to nobody: every request gets the zeros. */
class ZerosConnection extends Duplex {
  readonly #reply = Buffer.concat([HEAD, Buffer.alloc(ZEROS_BYTES)]);

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (chunk.includes("\r\n\r\n")) this.push(this.#reply);
    done();
  }
}

/** To be awaited before the first secret is read. */
export function growHttpParser(): Promise<void> {
  grown ??= overwriteHttpParser();
  return grown;
}

/** When it is done nothing that was read before is in the parser any more. Costs some tenths of a millisecond. */
export async function overwriteHttpParser(): Promise<void> {
  client ??= new Client("http://zeros.invalid", {
    connect: (_options, callback) => setImmediate(callback, null, new ZerosConnection() as never),
    pipelining: 1,
  });
  const { body } = await client.request({ method: "GET", path: "/" });
  for await (const _chunk of body);
}
