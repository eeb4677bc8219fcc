/** modelkeep checkout NAME -- CMD: lends a secret to one program, as a file that only it can read. */
import { join } from "node:path";
import { EXIT, ModelkeepError, wipe } from "../../base/index.ts";
import { type ApiClient, checkInLease, checkoutSecret } from "../../contract/index.ts";
import { files, spawnProcess, tempDirectory } from "../../host/index.ts";
import { createReceiver } from "../../secrets/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";

const HINT = "modelkeep checkout db-password -- ./migrate.sh";

interface CheckedOut {
  readonly leaseId: string;
  readonly expiresAt: string;
  readonly value: Uint8Array;
}

async function checkOut(api: ApiClient, name: string, ttlSeconds: number | undefined): Promise<CheckedOut> {
  const receiver = await createReceiver();
  const { lease, sealed } = await api.call(checkoutSecret, {
    params: { name },
    body: {
      key_id: receiver.key.keyId,
      public_key: receiver.key.publicKey,
      ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
    },
  });
  const wire = { keyId: sealed.key_id, enc: sealed.enc, ciphertext: sealed.ciphertext };
  const value = await receiver.open(wire, { direction: "checkout", name });
  return { leaseId: lease.id, expiresAt: lease.expires_at, value };
}

/** A folder of 0700 in memory where the machine has one; elsewhere in the folder for temporary files. */
async function makeFolder(context: CommandContext): Promise<string> {
  try {
    return await files.mkdtemp("/dev/shm/modelkeep-");
  } catch {
    context.talk("this machine has no /dev/shm: the secret is on a disk while the program runs");
    return files.mkdtemp(join(tempDirectory(), "modelkeep-"));
  }
}

/** Overwrites before it unlinks: a file in memory is gone then, one on a disk as far as its file system allows. */
async function removeSecret(folder: string, path: string, length: number): Promise<void> {
  await files.writeFile(path, new Uint8Array(length), { flag: "r+" }).catch(() => undefined);
  await files.rm(folder, { recursive: true, force: true });
}

function runProgram(context: CommandContext, words: readonly string[], path: string): Promise<number> {
  const [program, ...args] = words;
  if (program === undefined) throw cliError("USAGE", { detail: "the program is missing", hint: HINT });
  const child = spawnProcess(program, args, {
    stdio: "inherit",
    cwd: context.cwd,
    env: { ...context.env, MODELKEEP_SECRET_FILE: path },
  });
  const stop = (): void => void child.kill("SIGTERM");
  context.signal.addEventListener("abort", stop, { once: true });
  return new Promise<number>((resolve, reject) => {
    child.on("error", () => reject(cliError("USAGE", { detail: `${program} cannot be started`, hint: HINT })));
    child.on("exit", (code) => resolve(context.signal.aborted ? EXIT.interrupted : (code ?? EXIT.failed)));
  }).finally(() => context.signal.removeEventListener("abort", stop));
}

export const checkout: Command = {
  name: "checkout",
  about: "Lend a secret to one program: MODELKEEP_SECRET_FILE names a file of mode 0600 that is gone when it ends.",
  examples: [
    { line: "modelkeep checkout db-password -- ./migrate.sh", about: 'the script reads "$MODELKEEP_SECRET_FILE"' },
  ],
  args: [{ name: "NAME", about: "name of the secret" }],
  options: [{ flag: "--ttl", value: "SECONDS", about: "longest time of the lease, at most 3600" }],
  takesProgram: true,
  async run(context, input) {
    const name = input.args[0];
    if (name === undefined || input.rest.length === 0)
      throw cliError("USAGE", { detail: "the program is missing", hint: HINT });
    const ttlSeconds = readTtl(input);
    const api = await context.client();
    const out = await checkOut(api, name, ttlSeconds);
    const folder = await makeFolder(context);
    const path = join(folder, "secret");
    const length = out.value.length;
    try {
      await files.writeFile(path, out.value, { mode: 0o600, flag: "wx" }).finally(() => wipe(out.value));
      const exit = await runProgram(context, input.rest, path);
      return { data: undefined, exit };
    } finally {
      await removeSecret(folder, path, length);
      await checkIn(context, api, out);
    }
  },
};

/** Somebody may have ended the lease in the meantime: then there is nothing to say. */
async function checkIn(context: CommandContext, api: ApiClient, { leaseId, expiresAt }: CheckedOut): Promise<void> {
  try {
    await api.call(checkInLease, { params: { id: leaseId } });
  } catch (error) {
    if (error instanceof ModelkeepError && error.code === "LEASE_NOT_FOUND") return;
    context.talk(`the lease could not be checked in; it ends by itself at ${expiresAt}`);
  }
}

function readTtl(input: CommandInput): number | undefined {
  const text = input.text("--ttl");
  if (text !== undefined && !/^[1-9][0-9]{0,8}$/.test(text))
    throw cliError("USAGE", { detail: `--ttl ${text.slice(0, 20)} is not a number of seconds` });
  return text === undefined ? undefined : Number(text);
}
