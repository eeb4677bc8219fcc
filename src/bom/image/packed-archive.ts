/** A tar archive that may be packed as a whole, as `docker save | gzip` makes it. */
import { join } from "node:path";
import { type FileSource, openFileSource } from "../../artifact/index.ts";
import { ModelkeepError } from "../../base/index.ts";
import { files, tempDirectory } from "../../host/index.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { chunksOf, isTooFar, unpackerOf } from "./unpack.ts";

/**
 * The archive itself, or what it unpacks to: in a file that only this user can read, and that has no name any more when
 * this resolves. Throws IMAGE_INVALID for what unpacks too far, BOM_STOPPED.
 */
export async function openTarSource(path: string, signal?: AbortSignal): Promise<FileSource> {
  const source = await openFileSource(path);
  try {
    if (!unpackerOf(source.read(0, 4))) return source;
  } catch (error) {
    source.close();
    throw error;
  }
  const folder = await files.mkdtemp(join(tempDirectory(), "modelkeep-image-"));
  try {
    const place = join(folder, "image.tar");
    await unpackTo(place, source, signal);
    return await openFileSource(place);
  } catch (error) {
    if (error instanceof ModelkeepError) throw error;
    throw bomError("IMAGE_INVALID", { detail: `${path} cannot be unpacked`, cause: error });
  } finally {
    source.close();
    await files.rm(folder, { recursive: true, force: true });
  }
}

async function unpackTo(place: string, source: FileSource, signal: AbortSignal | undefined): Promise<void> {
  const handle = await files.open(place, "wx", 0o600);
  let out = 0;
  let packed = 0;
  async function* counted() {
    for await (const chunk of chunksOf(source, 0, source.bytes)) {
      packed += chunk.length;
      yield chunk;
    }
  }
  try {
    for await (const chunk of unpackerOf(source.read(0, 4))?.(counted()) ?? []) {
      if (signal?.aborted) throw bomError("BOM_STOPPED");
      out += chunk.length;
      if (isTooFar(out, packed, BOM_LIMITS.archiveRatio) || out > BOM_LIMITS.imageUnpackedBytes)
        throw bomError("IMAGE_INVALID", { detail: "the archive unpacks too far" });
      await handle.writeFile(chunk);
    }
  } finally {
    await handle.close();
  }
}
