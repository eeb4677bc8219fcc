/** Where the parts of an image lie: a folder in the OCI layout, or a tar archive of `docker save` and its kin. */
import { createHash } from "node:crypto";
import { posix } from "node:path";
import { checkModelPath, type FileSource, modelFilePath, openFileSource } from "../../artifact/index.ts";
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { files } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, type Unknown } from "../plain.ts";
import { openTarSource } from "./packed-archive.ts";
import { readTarStream } from "./tar-stream.ts";
import { chunksOf, isTooFar, unpackerOf } from "./unpack.ts";

export interface ImageArchive {
  has(path: string): Promise<boolean>;
  /** Throws IMAGE_INVALID when it is missing or too long. */
  bytes(path: string, maxBytes: number): Promise<Uint8Array>;
  /** The bytes as they lie there. */
  stream(path: string): AsyncGenerator<Uint8Array>;
  close(): void;
}

/** Throws IMAGE_INVALID. */
export async function openImageArchive(path: string, signal?: AbortSignal): Promise<ImageArchive> {
  const stat = await files.stat(path).catch((error: unknown) => {
    throw invalid(`${path} is not there`, error);
  });
  return stat.isDirectory() ? new FolderArchive(path) : TarArchive.open(await files.realpath(path), signal);
}

class FolderArchive implements ImageArchive {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async has(path: string): Promise<boolean> {
    const stat = await files.lstat(this.#place(path)).catch(() => undefined);
    return stat?.isFile() ?? false;
  }

  async bytes(path: string, maxBytes: number): Promise<Uint8Array> {
    const source = await this.#open(path);
    try {
      if (source.bytes > maxBytes) throw invalid(`${path} is over ${maxBytes} bytes`);
      return source.read(0, source.bytes);
    } finally {
      source.close();
    }
  }

  async *stream(path: string): AsyncGenerator<Uint8Array> {
    const source = await this.#open(path);
    try {
      yield* chunksOf(source, 0, source.bytes);
    } finally {
      source.close();
    }
  }

  close(): void {}

  #place(path: string): string {
    return modelFilePath(this.#root, checkModelPath(path));
  }

  async #open(path: string): Promise<FileSource> {
    if (!(await this.has(path))) throw invalid(`${path} is missing`);
    return openFileSource(this.#place(path));
  }
}

interface Member {
  readonly start: number;
  readonly bytes: number;
  readonly link?: string;
}

class TarArchive implements ImageArchive {
  readonly #source: FileSource;
  readonly #members: ReadonlyMap<string, Member>;

  private constructor(source: FileSource, members: ReadonlyMap<string, Member>) {
    this.#source = source;
    this.#members = members;
  }

  static async open(path: string, signal?: AbortSignal): Promise<TarArchive> {
    const source = await openTarSource(path, signal);
    const members = new Map<string, Member>();
    try {
      await readTarStream(chunksOf(source, 0, source.bytes), (entry) => {
        const { kind, start, bytes, target } = entry;
        if (members.size > BOM_LIMITS.archiveMembers) throw invalid(`over ${BOM_LIMITS.archiveMembers} members`);
        if (kind === "file") members.set(entry.path, { start, bytes });
        if (kind === "symlink")
          members.set(entry.path, { start, bytes: 0, link: posix.join(posix.dirname(entry.path), target) });
        if (kind === "hardlink") members.set(entry.path, { start, bytes: 0, link: posix.normalize(target) });
        return undefined;
      });
      return new TarArchive(source, members);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  async has(path: string): Promise<boolean> {
    return this.#find(path) !== undefined;
  }

  async bytes(path: string, maxBytes: number): Promise<Uint8Array> {
    const { start, bytes } = this.#get(path);
    if (bytes > maxBytes) throw invalid(`${path} is over ${maxBytes} bytes`);
    return this.#source.read(start, bytes);
  }

  async *stream(path: string): AsyncGenerator<Uint8Array> {
    const { start, bytes } = this.#get(path);
    yield* chunksOf(this.#source, start, start + bytes);
  }

  close(): void {
    this.#source.close();
  }

  #find(path: string): Member | undefined {
    let member = this.#members.get(path);
    for (let hops = 0; member?.link !== undefined && hops < BOM_LIMITS.linkHops; hops++)
      member = this.#members.get(member.link);
    return member?.link === undefined ? member : undefined;
  }

  #get(path: string): Member {
    const member = this.#find(path);
    if (!member) throw invalid(`${path.slice(0, 120)} is missing`);
    return member;
  }
}

export async function readImageJson(archive: ImageArchive, path: string): Promise<Unknown> {
  return asObject(await readImageValue(archive, path)) ?? {};
}

export async function readImageValue(archive: ImageArchive, path: string): Promise<unknown> {
  const bytes = await archive.bytes(path, BOM_LIMITS.imageManifestBytes);
  const digest = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
  if (digest !== undefined && createHash("sha256").update(bytes).digest("hex") !== digest) throw changed(path);
  try {
    return parseJson(bytes, {
      maxBytes: BOM_LIMITS.imageManifestBytes,
      maxDepth: BOM_LIMITS.lockfileDepth,
      what: path,
    });
  } catch (error) {
    if (error instanceof ModelkeepError) throw invalid(error.message, error);
    throw error;
  }
}

export interface LayerLimits {
  /** Bytes that may still come out of the layers. */
  left: number;
  /** SHA-256 of the unpacked layer, hex; undefined when nobody stated one. */
  readonly diffId: string | undefined;
}

/** A layer unpacked, with its digests checked at the end. Throws IMAGE_INVALID, also for what unpacks too far. */
export async function* readLayer(archive: ImageArchive, path: string, limits: LayerLimits): AsyncGenerator<Uint8Array> {
  const packed = countBytes(archive, path);
  const head = await packed.chunks.next();
  const first: Uint8Array = head.done ? new Uint8Array() : head.value;
  const whole = joined(first, packed.chunks);
  const unpacked = createHash("sha256");
  let out = 0;
  try {
    for await (const chunk of unpackerOf(first)?.(whole) ?? whole) {
      out += chunk.length;
      limits.left -= chunk.length;
      if (isTooFar(out, packed.count()) || limits.left < 0) throw invalid(`${path.slice(0, 80)} unpacks too far`);
      unpacked.update(chunk);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof ModelkeepError) throw error;
    throw invalid(`${path.slice(0, 80)} cannot be unpacked`, error);
  }
  if (limits.diffId !== undefined && unpacked.digest("hex") !== limits.diffId) throw changed(path);
}

function countBytes(archive: ImageArchive, path: string) {
  let count = 0;
  async function* read(): AsyncGenerator<Uint8Array> {
    const expected = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
    const hash = createHash("sha256");
    for await (const chunk of archive.stream(path)) {
      count += chunk.length;
      hash.update(chunk);
      yield chunk;
    }
    if (expected !== undefined && hash.digest("hex") !== expected) throw changed(path);
  }
  return { chunks: read(), count: () => count };
}

async function* joined(first: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}

function changed(path: string) {
  return invalid(`${path.slice(0, 80)} is not what its digest says`);
}

function invalid(detail: string, cause?: unknown) {
  return bomError("IMAGE_INVALID", cause === undefined ? { detail } : { detail, cause });
}
