/** What a service answered, read strictly; its words stay out of errors, since they may repeat what it was sent. */
import type { z } from "zod";
import { parseJson } from "../../base/index.ts";
import { keylessError } from "./errors.ts";
import { KEYLESS_LIMITS } from "./limits.ts";

/** Throws KEYLESS_ANSWER_INVALID. */
export function parseAnswer<T extends z.ZodType>(body: Uint8Array, schema: T, where: string): z.output<T> {
  const parsed = schema.safeParse(jsonOf(body, where));
  if (parsed.success) return parsed.data;
  const place = parsed.error.issues[0]?.path
    .join(".")
    .replace(/[^\w.]/g, "?")
    .slice(0, 100);
  throw keylessError("KEYLESS_ANSWER_INVALID", { detail: `${where}: ${place || "its keys"}` });
}

function jsonOf(body: Uint8Array, where: string): unknown {
  try {
    return parseJson(body, { maxBytes: KEYLESS_LIMITS.answerBytes, maxDepth: 16, what: "answer" });
  } catch {
    throw keylessError("KEYLESS_ANSWER_INVALID", { detail: `${where}: it is not JSON` });
  }
}
