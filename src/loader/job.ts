/** What the outer and the inner half of the loader tell each other, over pipes: nothing of it is in argv or environment. */
import { z } from "zod";
import { concatBytes, ModelkeepError, parseJson, uint32be, utf8 } from "../base/index.ts";
import { loaderError } from "./errors.ts";
import { LOADER_LIMITS } from "./limits.ts";

/** File descriptors of the inner program. */
export const JOB_FD = 3;
export const STATUS_FD = 4;

const jobSchema = z.strictObject({
  store_uri: z.string(),
  prefix: z.string(),
  public_keys: z.array(z.string()).min(1),
  root_digest: z.string().optional(),
  /** Empty folder over which the memory file system is mounted. */
  folder: z.string(),
  /** Absolute path of the program, then its words; `{model}` still in place. */
  command: z.array(z.string()).min(1).max(LOADER_LIMITS.commandWords),
  env: z.record(z.string(), z.string()),
  /** `user`: the capabilities of the user namespace are dropped before the program starts. */
  namespace: z.enum(["root", "user"]),
  allow_swap: z.boolean(),
  tools: z.strictObject({ mount: z.string(), setpriv: z.string() }),
});

export type Job = z.output<typeof jobSchema>;

/** Length of the job (4 bytes), the job as JSON; the package key follows it on the wire. */
export function encodeJob(job: Job): Uint8Array {
  const body = utf8(JSON.stringify(job));
  if (body.length > LOADER_LIMITS.jobBytes) throw loaderError("JOB_INVALID", { detail: `${body.length} bytes` });
  return concatBytes(uint32be(body.length), body);
}

export function decodeJob(body: Uint8Array): Job {
  const parsed = jobSchema.safeParse(parseJson(body, { maxBytes: LOADER_LIMITS.jobBytes, what: "job" }));
  if (parsed.success) return parsed.data;
  throw loaderError("JOB_INVALID", { detail: parsed.error.issues[0]?.path.join(".") ?? "" });
}

const statusSchema = z.union([
  z.strictObject({
    ready: z.strictObject({
      files: z.number(),
      bytes: z.number(),
      root_digest: z.string(),
      key_id: z.string(),
      no_swap: z.boolean(),
    }),
  }),
  z.strictObject({
    error: z.strictObject({
      code: z.string().max(80),
      title: z.string(),
      status: z.number(),
      exit: z.number(),
      detail: z.string().optional(),
      hint: z.string().optional(),
    }),
  }),
]);

export type Status = z.output<typeof statusSchema>;

export function encodeStatus(status: Status): Uint8Array {
  return utf8(`${JSON.stringify(status)}\n`);
}

export function errorStatus(error: ModelkeepError): Status {
  const { code, title, status, exit, detail, hint } = error;
  const optional = { ...(detail === undefined ? {} : { detail }), ...(hint === undefined ? {} : { hint }) };
  return { error: { code, title, status, exit, ...optional } };
}

/** Undefined when the inner program ended without a word. */
export function decodeStatus(bytes: Uint8Array): Status | undefined {
  if (bytes.length === 0) return undefined;
  return statusSchema.safeParse(parseJson(bytes, { maxBytes: LOADER_LIMITS.statusBytes, what: "status" })).data;
}

export function toError(status: Extract<Status, { error: unknown }>): ModelkeepError {
  const { code, title, status: http, exit, detail, hint } = status.error;
  return new ModelkeepError(
    code,
    { title, status: http, exit },
    {
      ...(detail === undefined ? {} : { detail }),
      ...(hint === undefined ? {} : { hint }),
    },
  );
}
