/** Remembers the last checkpoint of each server, so that a log that was cut or forked since is found. */
import { dirname, join } from "node:path";
import { z } from "zod";
import { parseJson, utf8 } from "../../base/index.ts";
import { files, readFileBounded, systemErrorCode, writeFileAtomic } from "../../host/index.ts";
import { configFolder } from "../../server/index.ts";
import { cliError } from "../errors.ts";

export interface SeenLog {
  /** Verifier key of the log. */
  readonly key: string;
  /** Signed note. */
  readonly checkpoint: string;
}

type Env = Readonly<Record<string, string | undefined>>;

const MAX_FILE_BYTES = 1024 * 1024;
const seenFile = z.record(z.string(), z.object({ key: z.string(), checkpoint: z.string() }));

export async function readSeen(env: Env, serverUrl: string): Promise<SeenLog | undefined> {
  return (await readAll(env))[serverUrl];
}

export async function rememberSeen(env: Env, serverUrl: string, seen: SeenLog): Promise<void> {
  await writeAll(env, { ...(await readAll(env)), [serverUrl]: seen });
}

export async function forgetSeen(env: Env, serverUrl: string): Promise<void> {
  const { [serverUrl]: _forgotten, ...others } = await readAll(env);
  await writeAll(env, others);
}

function pathOf(env: Env): string {
  return join(configFolder(env), "audit-seen.json");
}

async function readAll(env: Env): Promise<z.output<typeof seenFile>> {
  const path = pathOf(env);
  try {
    await files.access(path);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return {};
    throw error;
  }
  const parsed = seenFile.safeParse(parseJson(await readFileBounded(path, MAX_FILE_BYTES), { what: path }));
  if (!parsed.success) {
    throw cliError("USAGE", {
      detail: `${path} is damaged`,
      hint: "remove it, and compare the log with an older checkpoint",
    });
  }
  return parsed.data;
}

async function writeAll(env: Env, all: z.output<typeof seenFile>): Promise<void> {
  const path = pathOf(env);
  await files.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFileAtomic(path, utf8(`${JSON.stringify(all, null, 2)}\n`), { mode: 0o600 });
}
