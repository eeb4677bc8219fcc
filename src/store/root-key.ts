/** The root key: 32 bytes in a file of mode 0600, apart from the database, made on first use. */

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { fromHex, type Random, toHex, utf8, wipe } from "../base/index.ts";
import { files, GuardedBytes, processInfo, readFileBounded, systemErrorCode } from "../host/index.ts";
import { storeError } from "./errors.ts";

const KEY_BYTES = 32;
const MAX_FILE_BYTES = 1_024;
const PREFIX = "modelkeep-root-key-v1:";

/** `file://PATH`. Refuses a file that others may read, that is a link, or that somebody else owns. */
export async function openRootKey(uri: string, random: Random): Promise<GuardedBytes> {
  if (!uri.startsWith("file://")) {
    throw storeError("ROOT_KEY_INVALID", {
      detail: `${uri.split(":")[0]}: is not a known kind`,
      hint: "use file:///PATH",
    });
  }
  const path = fileURLToPath(uri);
  await createMissing(path, random);
  await checkMode(path);
  const text = await readFileBounded(path, MAX_FILE_BYTES);
  const key = parseKey(text);
  wipe(text);
  if (!key) throw storeError("ROOT_KEY_INVALID", { detail: `${path} does not hold a root key` });
  return GuardedBytes.take(key);
}

function parseKey(text: Uint8Array): Uint8Array | undefined {
  const line = Buffer.from(text.buffer, text.byteOffset, text.length).toString("latin1").trim();
  const key = line.startsWith(PREFIX) ? fromHex(line.slice(PREFIX.length)) : undefined;
  return key?.length === KEY_BYTES ? key : undefined;
}

/** Two servers that start at once must not both make a key: the file is written aside and linked into place. */
async function createMissing(path: string, random: Random): Promise<void> {
  if (await files.lstat(path).catch(() => undefined)) return;
  await files.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const aside = `${path}.${toHex(random.bytes(8))}.new`;
  const handle = await files.open(aside, "wx", 0o600);
  try {
    await handle.writeFile(utf8(`${PREFIX}${toHex(random.bytes(KEY_BYTES))}\n`));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await files.link(aside, path).catch((error: unknown) => {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  });
  await files.rm(aside, { force: true });
}

async function checkMode(path: string): Promise<void> {
  const stat = await files.lstat(path);
  const { uid } = processInfo();
  if (!stat.isFile()) throw storeError("ROOT_KEY_INVALID", { detail: `${path} is not a regular file` });
  if ((stat.mode & 0o077) !== 0) {
    throw storeError("ROOT_KEY_INVALID", {
      detail: `${path} may be read by others (mode ${(stat.mode & 0o777).toString(8)})`,
      hint: `chmod 600 ${path}`,
    });
  }
  if (uid !== -1 && stat.uid !== uid)
    throw storeError("ROOT_KEY_INVALID", { detail: `${path} belongs to another user`, hint: `chown ${uid} ${path}` });
}
