/** An S3 object out of others of its bucket, whose bytes stay there: copied in parts, the small ones by way of this machine. */
import { concatBytes } from "../../base/index.ts";
import { storeError } from "../objects/errors.ts";
import type { StoreLimits } from "../objects/limits.ts";
import type { ObjectPiece } from "../objects/service.ts";
import type { S3 } from "./s3.ts";

export interface CopiedPart {
  readonly name: string;
  readonly tag: string;
  readonly start: number;
  readonly end: number;
}

export type JoinedPart = { readonly bytes: Uint8Array } | CopiedPart;

/** S3 wants every part but the last to have a least length, so what is shorter takes the beginning of what follows. */
export async function* joinedParts(
  s3: S3,
  pieces: readonly ObjectPiece[],
  limits: StoreLimits,
): AsyncGenerator<JoinedPart> {
  let ours: Uint8Array = new Uint8Array(0);
  for (const [index, piece] of pieces.entries()) {
    if ("bytes" in piece) {
      ours = concatBytes(ours, piece.bytes);
      continue;
    }
    const isLast = index === pieces.length - 1;
    const taken = ours.length === 0 ? 0 : Math.min(piece.length, Math.max(0, limits.leastPartBytes - ours.length));
    const rest = piece.length - taken;
    const staysShort = rest > 0 && rest < limits.leastPartBytes && !isLast;
    const end = staysShort ? piece.length : taken;
    if (end > 0) ours = concatBytes(ours, await head(s3, piece, end));
    if (end === piece.length) continue;
    if (ours.length > 0) yield { bytes: ours };
    ours = new Uint8Array(0);
    yield* cut(piece, end, limits.copyPartBytes);
  }
  if (ours.length > 0) yield { bytes: ours };
}

/** Of about one length, so that none is short. */
function* cut({ name, tag, length }: Exclude<ObjectPiece, { bytes: Uint8Array }>, from: number, most: number) {
  const count = Math.ceil((length - from) / most);
  const size = Math.ceil((length - from) / count);
  for (let start = from; start < length; start += size) yield { name, tag, start, end: Math.min(length, start + size) };
}

async function head(s3: S3, { name, tag }: { name: string; tag: string }, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end);
  if ((await s3.read(name, tag, { start: 0, end }, bytes)) === end) return bytes;
  throw storeError("BLOB_CHANGED", { detail: name });
}
