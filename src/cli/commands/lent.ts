/** How a secret that is checked out reaches a program: a descriptor, a file, or the environment if somebody insists. */
import { join } from "node:path";
import { files, fsSync, processInfo, tempDirectory } from "../../host/index.ts";
import type { CheckedOut } from "../../sdk/index.ts";
import type { CommandContext } from "../command.ts";

/** What the program is started with, and what is left to do when it has ended. */
export interface Lent {
  readonly env: Readonly<Record<string, string>>;
  readonly descriptors: readonly number[];
  end(): Promise<void>;
}

const FIRST_DESCRIPTOR = 3;
const PREFIX = "modelkeep-lent";
const MEMORY = "/dev/shm";

/**
 * The file has no name any more when the program starts: it is gone with the last process that has it open, also when
 * this one is killed. `/dev/fd/3` opens it anew each time.
 */
export async function lendByDescriptor(context: CommandContext, name: string, secret: CheckedOut): Promise<Lent> {
  const { folder, path, writer } = await writeSecret(context, secret);
  const reader = fsSync.openSync(path, "r");
  await files.rm(folder, { recursive: true, force: true });
  const env = {
    MODELKEEP_SECRET_FD: String(FIRST_DESCRIPTOR),
    [`MODELKEEP_SECRET_FD_${variableOf(name)}`]: String(FIRST_DESCRIPTOR),
    MODELKEEP_SECRET_FILE: `/dev/fd/${FIRST_DESCRIPTOR}`,
  };
  return {
    env,
    descriptors: [reader],
    async end() {
      fsSync.closeSync(reader);
      overwrite(writer);
    },
  };
}

/** For programs that want a path of their own and close what they inherit. */
export async function lendByFile(context: CommandContext, secret: CheckedOut): Promise<Lent> {
  const { folder, path, writer } = await writeSecret(context, secret);
  return {
    env: { MODELKEEP_SECRET_FILE: path },
    descriptors: [],
    async end() {
      overwrite(writer);
      await files.rm(folder, { recursive: true, force: true });
    },
  };
}

/** Whoever may look at the program's /proc/PID/environ reads it, and so does everything that the program starts. */
export function lendInsecurely(variable: string, secret: CheckedOut): Lent {
  return { env: { [variable]: secret.insecureText() }, descriptors: [], end: async () => undefined };
}

/** `openai/prod` is OPENAI_PROD. */
export function variableOf(name: string): string {
  return name.toUpperCase().replace(/[^A-Z0-9]/g, "_");
}

/** A folder of 0700 in memory where the machine has one, named after this process; in it the value, mode 0600. */
async function writeSecret(context: CommandContext, secret: CheckedOut) {
  const start = `${PREFIX}-${processInfo().pid}-`;
  const folder = await files.mkdtemp(join(MEMORY, start)).catch(() => {
    context.talk(`this machine has no ${MEMORY}: the secret is on a disk while the program runs`);
    return files.mkdtemp(join(tempDirectory(), start));
  });
  const path = join(folder, "secret");
  const writer = fsSync.openSync(path, "wx", 0o600);
  secret.use((bytes) => {
    for (let at = 0; at < bytes.length; ) at += fsSync.writeSync(writer, bytes, at, bytes.length - at, at);
  });
  return { folder, path, writer };
}

/** In memory it is gone then, also for what the program left running; on a disk as far as its file system allows. */
function overwrite(writer: number): void {
  const { size } = fsSync.fstatSync(writer);
  fsSync.writeSync(writer, new Uint8Array(size), 0, size, 0);
  fsSync.closeSync(writer);
}

/** What a process that was killed left behind; its lease has ended or ends by its time. */
export async function removeAbandoned(): Promise<void> {
  const names = await files.readdir(MEMORY).catch(() => []);
  for (const name of names) {
    const pid = new RegExp(`^${PREFIX}-(\\d{1,10})-`).exec(name)?.[1];
    if (pid === undefined || fsSync.existsSync(`/proc/${pid}`)) continue;
    const folder = join(MEMORY, name);
    const stat = await files.lstat(folder).catch(() => undefined);
    if (stat?.isDirectory() && stat.uid === processInfo().uid) await files.rm(folder, { recursive: true, force: true });
  }
}
