/** A blob store in a bucket, whoever runs it: pinned reads, writes in parts with bounded memory, nothing seen before it is whole. */
import {
  type ObjectInfo,
  type ObjectService,
  type PutCondition,
  type StoreLimits,
  storeError,
} from "../../backends/index.ts";
import { baseError } from "../../base/index.ts";
import type { BlobChunks, BlobStat, BlobStore, OpenBlob, WriteOptions, WrittenBlob } from "../blob-store.ts";
import { artifactError } from "../errors.ts";
import { compareCodePoints } from "../walk.ts";
import { checkBlobName, isBlobName } from "./blob-name.ts";
import { type Part, partBytesFor, partsOf } from "./parts.ts";

export interface ObjectStoreOptions {
  readonly uri: string;
  readonly service: ObjectService;
  /** What every key begins with: empty, or with a slash at its end. */
  readonly base: string;
  readonly limits: StoreLimits;
}

export class ObjectStore implements BlobStore {
  readonly uri: string;
  readonly #service: ObjectService;
  readonly #base: string;
  readonly #limits: StoreLimits;

  constructor({ uri, service, base, limits }: ObjectStoreOptions) {
    this.uri = uri;
    this.#service = service;
    this.#base = base;
    this.#limits = limits;
  }

  async stat(name: string): Promise<BlobStat | undefined> {
    return this.#service.stat(this.#key(name));
  }

  async open(name: string): Promise<OpenBlob> {
    const key = this.#key(name);
    const info = await this.#service.stat(key);
    if (!info) throw this.#notFound(name);
    return {
      bytes: info.bytes,
      read: (start, end, buffer) => this.#read(name, info, { start, end }, buffer),
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

  async write(name: string, chunks: BlobChunks, options: WriteOptions = {}): Promise<WrittenBlob> {
    const key = this.#key(name);
    const parts = partsOf(chunks, partBytesFor(options.bytes, this.#limits));
    try {
      const first = await parts.next();
      const bytes = first.done ? new Uint8Array(0) : first.value.bytes;
      if (first.done || first.value.isLast)
        return { bytes: bytes.length, ...(await this.#service.put(key, bytes, conditionOf(options))) };
      return await this.#writeParts(key, first.value, parts, conditionOf(options));
    } finally {
      await parts.return();
    }
  }

  delete(name: string): Promise<boolean> {
    return this.#service.delete(this.#key(name));
  }

  /** Not every service sorts its lists, and none by code points in all of them. */
  async *list(prefix: string): AsyncGenerator<string> {
    const names = new Set<string>();
    for await (const key of this.#keys(this.#base + prefix)) {
      const name = key.slice(this.#base.length);
      if (key.startsWith(this.#base + prefix) && isBlobName(name)) names.add(name);
    }
    yield* [...names].sort(compareCodePoints);
  }

  async *#keys(prefix: string): AsyncGenerator<string> {
    let from: string | undefined;
    let seen = 0;
    let pages = 0;
    do {
      if (++pages > this.#limits.listPages)
        throw baseError("LIMIT_EXCEEDED", { detail: `${this.uri}, a list of over ${this.#limits.listPages} pages` });
      const page = await this.#service.list(prefix, from);
      seen += page.names.length;
      if (seen > this.#limits.listNames)
        throw baseError("LIMIT_EXCEEDED", { detail: `${this.uri} holds over ${this.#limits.listNames} names` });
      if (page.next !== undefined && page.next === from)
        throw storeError("STORE_ANSWER_INVALID", { detail: `${this.uri}, a list that does not go on` });
      yield* page.names;
      from = page.next;
    } while (from !== undefined);
  }

  discardUnfinished(prefix: string): Promise<void> {
    return this.#service.discardUnfinished(this.#base + prefix);
  }

  #key(name: string): string {
    return this.#base + checkBlobName(name);
  }

  #notFound(name: string) {
    return artifactError("BLOB_NOT_FOUND", { detail: `${name} in ${this.uri}` });
  }

  async #read(name: string, info: ObjectInfo, range: { start: number; end: number }, given?: Uint8Array) {
    const start = Math.max(0, Math.min(range.start, info.bytes));
    const end = Math.min(range.end, info.bytes);
    const wanted = Math.max(0, end - start);
    const buffer = given && given.length >= wanted ? given.subarray(0, wanted) : new Uint8Array(wanted);
    if (wanted === 0) return buffer;
    const read = await this.#service.read(this.#key(name), info.tag, { start, end }, buffer);
    if (read === undefined) throw this.#notFound(name);
    if (read !== wanted) throw storeError("BLOB_DAMAGED", { detail: `${name} is shorter than the store says` });
    return buffer;
  }

  /** At most `partsAtOnce` parts of `partBudgetBytes` are in memory beside the one that is being filled. */
  async #writeParts(
    key: string,
    first: Part,
    rest: AsyncGenerator<Part, void>,
    condition: PutCondition,
  ): Promise<WrittenBlob> {
    const upload = await this.#service.putParts(key, condition);
    const sending = new Set<Promise<void>>();
    const { partsAtOnce, partBudgetBytes } = this.#limits;
    const room = Math.floor(partBudgetBytes / first.bytes.length);
    const atOnce = upload.inOrder ? 1 : Math.max(1, Math.min(partsAtOnce, room));
    let total = 0;
    let number = 0;
    const send = async ({ bytes, isLast }: Part) => {
      if (++number > this.#limits.parts)
        throw baseError("LIMIT_EXCEEDED", { detail: `${key} has over ${this.#limits.parts} parts` });
      total += bytes.length;
      const sent: Promise<void> = upload.send(number, bytes, isLast).finally(() => sending.delete(sent));
      sent.catch(() => undefined);
      sending.add(sent);
      if (sending.size >= atOnce) await Promise.race(sending);
    };
    try {
      await send(first);
      for await (const part of rest) await send(part);
      await Promise.all(sending);
      return { bytes: total, ...(await upload.finish()) };
    } catch (error) {
      await Promise.allSettled(sending);
      await upload.abort();
      throw error;
    }
  }
}

function conditionOf({ absent, unchanged }: WriteOptions): PutCondition {
  if (absent) return { absent: true };
  return unchanged === undefined ? undefined : { tag: unchanged };
}
