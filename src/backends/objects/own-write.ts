/** A conditional write that was tried twice meets what its own first try wrote. */
import { equalBytes } from "../../base/index.ts";
import type { ObjectAnswer } from "./http.ts";
import type { ObjectService } from "./service.ts";

/** Whether the answer says that the condition does not hold any more, because the object holds these very bytes by now. */
export async function isOwnWrite(
  service: ObjectService,
  name: string,
  bytes: Uint8Array,
  { status, mayBeDone }: ObjectAnswer,
): Promise<boolean> {
  if (!mayBeDone || (status !== 412 && status !== 409)) return false;
  const info = await service.stat(name);
  if (info?.bytes !== bytes.length) return false;
  const there = new Uint8Array(bytes.length);
  const range = { start: 0, end: bytes.length };
  const read = bytes.length === 0 ? 0 : await service.read(name, info.tag, range, there);
  return read === bytes.length && equalBytes(there, bytes);
}
