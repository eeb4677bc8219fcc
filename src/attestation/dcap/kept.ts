/** What was read before is not read again: by the digest of its bytes, the most recent only. Nothing of it is trusted for that. */
import { hash } from "node:crypto";
import { DCAP_LIMITS } from "./limits.ts";

/** A reader that gives the same frozen object for the same input; what it throws for is not kept, nor what is large. */
export function keepRead<Input extends Uint8Array | string, T extends object>(
  read: (input: Input) => T,
): (input: Input) => T {
  const kept = new Map<string, T>();
  return (input) => {
    if (input.length > DCAP_LIMITS.keptBytes) return read(input);
    const key = hash("sha256", input, "base64");
    const value = kept.get(key) ?? Object.freeze(read(typeof input === "string" ? input : (input.slice() as Input)));
    kept.delete(key);
    kept.set(key, value);
    const [oldest] = kept.size > DCAP_LIMITS.keptItems ? kept.keys() : [];
    if (oldest !== undefined) kept.delete(oldest);
    return value;
  };
}
