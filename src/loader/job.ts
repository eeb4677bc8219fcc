/** What the outer and the inner half of the loader tell each other, over pipes: nothing of it is in argv or environment. */
import { z } from "zod";
import { STORE_LIMITS } from "../backends/index.ts";
import { concatBytes, ModelkeepError, parseJson, uint32be, utf8 } from "../base/index.ts";
import { loaderError } from "./errors.ts";
import { LOADER_LIMITS } from "./limits.ts";

/** File descriptors of the inner program. */
export const JOB_FD = 3;
export const STATUS_FD = 4;

/** Bytes of the length before the job. */
export const JOB_LENGTH_BYTES = 4;

const jobSchema = z.strictObject({
  store_uri: z.string(),
  prefix: z.string(),
  public_keys: z.array(z.string()).min(1),
  /** Of the seal that the outer half has verified; the inner half verifies again and refuses another one. */
  root_digest: z.string(),
  files_digest: z.string(),
  package_id: z.string(),
  /** Size of the memory file system. */
  mount_bytes: z.int().positive(),
  /** Empty folder over which it is mounted. */
  folder: z.string(),
  allow_swap: z.boolean(),
  mount_tool: z.string(),
  /** What a store over the network is asked with: the inner half has no environment. */
  store_settings: z.record(z.string().max(64), z.string().max(STORE_LIMITS.credentialBytes)).optional(),
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
  z.strictObject({ progress: z.strictObject({ done: z.number(), total: z.number() }) }),
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
export type ReadyStatus = Extract<Status, { ready: unknown }>["ready"];

/** One line. */
export function encodeStatus(status: Status): Uint8Array {
  return utf8(`${JSON.stringify(status)}\n`);
}

export function errorStatus(error: ModelkeepError): Status {
  const { code, title, status, exit, detail, hint } = error;
  const optional = { ...(detail === undefined ? {} : { detail }), ...(hint === undefined ? {} : { hint }) };
  return { error: { code, title, status, exit, ...optional } };
}

/** Undefined for a line that is no status. */
function decodeStatus(line: Uint8Array): Status | undefined {
  try {
    return statusSchema.safeParse(parseJson(line, { maxBytes: LOADER_LIMITS.statusBytes, what: "status" })).data;
  } catch {
    return undefined;
  }
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

/** Calls `onStatus` for each whole line of a stream of chunks; what is no status, or too long, ends the listening. */
export function statusReader(onStatus: (status: Status) => void): (chunk: Uint8Array) => void {
  let held = new Uint8Array(0);
  let broken = false;
  return (chunk) => {
    if (broken) return;
    held = new Uint8Array(concatBytes(held, chunk));
    for (let end = held.indexOf(10); end !== -1; end = held.indexOf(10)) {
      const status = decodeStatus(held.subarray(0, end));
      held = held.slice(end + 1);
      if (!status) broken = true;
      if (broken || !status) return;
      onStatus(status);
    }
    broken = held.length > LOADER_LIMITS.statusBytes;
  };
}
