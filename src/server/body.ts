/** Reads the body of a request up to a limit, also one whose length nobody announced. */
import { concatBytes } from "../base/index.ts";

/** Undefined when it is larger; what lies beyond the limit is not read. `take` may throw: then the rest is not read either. */
export async function readBodyBounded(
  request: Request,
  maxBytes: number,
  take: (bytes: number) => void = () => undefined,
): Promise<Uint8Array | undefined> {
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) return undefined;
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body ?? []) {
    total += chunk.length;
    if (total > maxBytes) return undefined;
    take(chunk.length);
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}
