/** Opens a sealed model into the cache of the Hugging Face hub, where its libraries find it without a network. */
import { join } from "node:path";
import { ModelkeepError, toHex, utf8 } from "../base/index.ts";
import { files, systemErrorCode, writeFileAtomic } from "../host/index.ts";
import { sealingError } from "./errors.ts";
import { openIntoFolder } from "./folder-output.ts";
import { discard } from "./leftovers.ts";
import type { OpenWithKmsOptions, VerifiedSeal } from "./open.ts";

/** What the hub calls it: `NAME` or `ORG/NAME`. */
const REPOSITORY =
  /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?(?:\/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?)?$/;
/** The hub names a revision by 40 hex characters, a commit; here they are the first ones of the root digest. */
const REVISION_CHARACTERS = 40;
/** Begins the names of folders that are on their way to be a snapshot. */
const OPENED = ".opened-";

export interface HubPlace {
  /** The folder that HF_HUB_CACHE names. */
  readonly cache: string;
  readonly repository: string;
}

export interface HubOutput {
  readonly seal: VerifiedSeal;
  /** The folder with the files under their names. */
  readonly snapshot: string;
  readonly revision: string;
}

/**
 * `models--ORG--NAME/blobs/SHA256`, `snapshots/REVISION/PATH` as links to them, `refs/main` with the revision. The
 * snapshot appears whole and verified, or not at all; then `main` is it. Throws OUTPUT_EXISTS for a snapshot that is
 * there, OUTPUT_UNWRITABLE, and what `openWithKms` throws.
 */
export async function openIntoHubCache(options: Omit<OpenWithKmsOptions, "into">, place: HubPlace): Promise<HubOutput> {
  if (!REPOSITORY.test(place.repository) || place.repository.includes("--") || place.repository.includes(".."))
    throw sealingError("OUTPUT_UNWRITABLE", { detail: `${place.repository.slice(0, 80)} is not NAME or ORG/NAME` });
  const model = join(place.cache, `models--${place.repository.replace("/", "--")}`);
  const opened = join(model, `${OPENED}${toHex(options.random.bytes(8))}`);
  try {
    await writing(model, () => files.mkdir(model, { recursive: true, mode: 0o700 }));
    for (const name of await files.readdir(model))
      if (name.startsWith(OPENED)) await discard(join(model, name)).catch(() => undefined);
    const seal = await openIntoFolder(options, opened);
    const revision = seal.manifest.rootDigest.slice(0, REVISION_CHARACTERS);
    return { seal, revision, snapshot: await writing(model, () => layOut({ model, opened, revision }, seal)) };
  } finally {
    await files.rm(opened, { recursive: true, force: true });
  }
}

async function layOut(at: { model: string; opened: string; revision: string }, seal: VerifiedSeal): Promise<string> {
  const snapshot = join(at.model, "snapshots", at.revision);
  if (await files.lstat(snapshot).catch(() => undefined)) throw sealingError("OUTPUT_EXISTS", { detail: snapshot });
  for (const name of ["blobs", "snapshots", "refs"]) await files.mkdir(join(at.model, name), { recursive: true });
  for (const { path, sha256 } of seal.files) {
    const name = path === "." ? "model" : path;
    const [place, blob] = [join(at.opened, name), join(at.model, "blobs", sha256)];
    await files.rename(place, blob);
    const up = "../".repeat(name.split("/").length + 1);
    await files.symlink(`${up}blobs/${sha256}`, place);
  }
  await files.rename(at.opened, snapshot);
  await writeFileAtomic(join(at.model, "refs", "main"), utf8(at.revision));
  return snapshot;
}

async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined || error instanceof ModelkeepError) throw error;
    throw sealingError("OUTPUT_UNWRITABLE", { detail: `${path} (${code})`, cause: error });
  }
}
