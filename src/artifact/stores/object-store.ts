/** A blob store in a bucket, whoever runs it: pinned reads, writes in parts with bounded memory, nothing seen before it is whole. */
import {
  type ObjectPiece,
  type ObjectService,
  type PutCondition,
  type StoreLimits,
  storeError,
} from "../../backends/index.ts";
import { baseError } from "../../base/index.ts";
import type {
  BlobChunks,
  BlobPiece,
  BlobStat,
  BlobStore,
  JoinOptions,
  WriteOptions,
  WrittenBlob,
} from "../blob-store.ts";
import { compareCodePoints } from "../walk.ts";
import { checkBlobName, isBlobName } from "./blob-name.ts";
import { type Part, partBytesFor, partsOf } from "./parts.ts";
import { type PinnedBlob, PinnedReads } from "./pinned-reads.ts";

export interface ObjectStoreOptions {
  readonly uri: string;
  readonly service: ObjectService;
  /** What every key begins with: empty, or with a slash at its end. */
  readonly base: string;
  readonly limits: StoreLimits;
}

export class ObjectStore extends PinnedReads implements BlobStore {
  override readonly uri: string;
  readonly #service: ObjectService;
  readonly #base: string;
  readonly #limits: StoreLimits;
  readonly join?: NonNullable<BlobStore["join"]>;

  constructor({ uri, service, base, limits }: ObjectStoreOptions) {
    super();
    this.uri = uri;
    this.#service = service;
    this.#base = base;
    this.#limits = limits;
    if (service.join) this.join = (name, pieces, options) => this.#join(name, pieces, options);
  }

  async stat(name: string): Promise<BlobStat | undefined> {
    return this.#service.stat(this.#key(name));
  }

  protected override async pin(name: string): Promise<PinnedBlob | undefined> {
    const key = this.#key(name);
    const info = await this.#service.stat(key);
    return info && { bytes: info.bytes, fill: (range, buffer) => this.#service.read(key, info.tag, range, buffer) };
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

  /** A service may not hold a condition on what it copies: the pieces are looked at first. */
  async #join(name: string, pieces: readonly BlobPiece[], options: JoinOptions): Promise<WrittenBlob | undefined> {
    const parts: ObjectPiece[] = [];
    let bytes = 0;
    for (const piece of pieces) {
      bytes += piece instanceof Uint8Array ? piece.length : piece.bytes;
      parts.push(piece instanceof Uint8Array ? { bytes: piece } : await this.#unchanged(piece));
    }
    const key = this.#key(name);
    const isDone = await this.#service.join?.(key, parts, conditionOf(options), this.#base + options.scratch);
    if (!isDone) return undefined;
    const made = await this.#service.stat(key);
    if (made?.bytes === bytes) return { bytes, confirmed: false };
    throw storeError("BLOB_DAMAGED", { detail: `${name} is ${made?.bytes ?? 0} bytes instead of ${bytes}` });
  }

  async #unchanged({ name, tag, bytes }: Exclude<BlobPiece, Uint8Array>): Promise<ObjectPiece> {
    const key = this.#key(name);
    const now = await this.#service.stat(key);
    if (now?.tag !== tag || now.bytes !== bytes) throw storeError("BLOB_CHANGED", { detail: name });
    return { name: key, tag, length: bytes };
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
