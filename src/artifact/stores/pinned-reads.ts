/** Reading from a store over the network: a blob is found once, and every read is of what was found. */
import { storeError } from "../../backends/index.ts";
import { baseError } from "../../base/index.ts";
import type { OpenBlob } from "../blob-store.ts";
import { artifactError } from "../errors.ts";

export interface PinnedBlob {
  readonly bytes: number;
  /** Bytes [start, end), which lie inside, into the buffer; the count of them, undefined when the blob is gone. */
  fill(range: { readonly start: number; readonly end: number }, buffer: Uint8Array): Promise<number | undefined>;
}

export abstract class PinnedReads {
  abstract readonly uri: string;

  /** Undefined when there is none of this name. */
  protected abstract pin(name: string): Promise<PinnedBlob | undefined>;

  async open(name: string): Promise<OpenBlob> {
    const blob = await this.pin(name);
    if (!blob) throw this.#notFound(name);
    return {
      bytes: blob.bytes,
      read: (start, end, buffer) => this.#read(name, blob, { start, end }, buffer),
      close: async () => undefined,
    };
  }

  async read(name: string, start: number, end: number): Promise<Uint8Array> {
    return (await this.open(name)).read(start, end);
  }

  async readAll(name: string, maxBytes: number): Promise<Uint8Array> {
    const blob = await this.open(name);
    if (blob.bytes > maxBytes) throw baseError("LIMIT_EXCEEDED", { detail: `${name} is over ${maxBytes} bytes` });
    return blob.read(0, blob.bytes);
  }

  #notFound(name: string): Error {
    return artifactError("BLOB_NOT_FOUND", { detail: `${name} in ${this.uri}` });
  }

  async #read(name: string, blob: PinnedBlob, range: { start: number; end: number }, given?: Uint8Array) {
    const start = Math.max(0, Math.min(range.start, blob.bytes));
    const end = Math.min(range.end, blob.bytes);
    const wanted = Math.max(0, end - start);
    const buffer = given && given.length >= wanted ? given.subarray(0, wanted) : new Uint8Array(wanted);
    if (wanted === 0) return buffer;
    const read = await blob.fill({ start, end }, buffer);
    if (read === undefined) throw this.#notFound(name);
    if (read !== wanted) throw storeError("BLOB_DAMAGED", { detail: `${name} is shorter than the store says` });
    return buffer;
  }
}
