/** Structured logs whose lines are searched for secrets by value, and by the shape of tokens, before they are written. */
import pino from "pino";
import type { Log, LogFields } from "../base/index.ts";

/** Returns the positions where a secret that is held right now stands in the line. */
export type FindSecrets = (line: Buffer) => readonly { readonly start: number; readonly end: number }[];

export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly write: (line: string) => void;
  readonly findSecrets?: FindSecrets;
}

const REDACTED = "[redacted]";

/** Shapes of tokens and keys: JWTs, own codes, keys of providers, credentials in URLs and headers. */
const TOKEN_SHAPES = [
  /eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g,
  /\b(?:mk[a-z]*[-_]|sk-|sk_|gsk_|xai-|hf_|AIza)[A-Za-z0-9_-]{16,}/g,
  /\b(?:Bearer|DPoP|Basic) +[A-Za-z0-9._~+/=-]{8,}/gi,
  /(?<=:\/\/[^\s/:@"]{0,64}:)[^\s/@"]{1,256}(?=@)/g,
];

/** Longest line, in characters; what is over is cut. */
const MAX_LINE_CHARACTERS = 64 * 1024;

export function createLog(options: LogOptions): Log {
  const destination = { write: (line: string) => options.write(redactLine(line, options.findSecrets)) };
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: serializeError },
    },
    destination,
  );
  const at = (level: "debug" | "info" | "warn" | "error") => (message: string, fields?: LogFields) =>
    logger[level](fields ?? {}, message);
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

export function redactLine(line: string, findSecrets?: FindSecrets): string {
  let out = line.length > MAX_LINE_CHARACTERS ? `${line.slice(0, MAX_LINE_CHARACTERS)}…"}\n` : line;
  for (const shape of TOKEN_SHAPES) out = out.replace(shape, REDACTED);
  if (!findSecrets) return out;
  const bytes = Buffer.from(out);
  const found = findSecrets(bytes);
  if (found.length === 0) return out;
  for (const { start, end } of found) bytes.fill(0x2a, start, end);
  return bytes.toString();
}

function serializeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: "not an Error" };
  const cause = error.cause instanceof Error ? { cause: serializeError(error.cause) } : {};
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  return {
    name: error.name,
    message: error.message,
    ...code,
    stack: error.stack?.split("\n").slice(0, 12).join("\n"),
    ...cause,
  };
}
