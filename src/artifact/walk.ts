/** The files of a model: every regular file below a folder, in code-point order; anything else is refused. */
import { dirname, join, sep } from "node:path";
import { files, systemErrorCode } from "../host/index.ts";
import { artifactError } from "./errors.ts";
import { hubBlobsOf } from "./hub-cache.ts";
import { ARTIFACT_LIMITS } from "./limits.ts";

export interface ModelFile {
  /** POSIX, relative to the root, byte for byte as on the disk. */
  readonly path: string;
  readonly bytes: number;
  /** Where the bytes lie, when a link leads to them. */
  readonly source?: string;
}

export interface WalkOptions {
  /** Exact relative paths; a folder takes everything below with it. */
  readonly ignore?: readonly string[];
  /** Told of links, devices and sockets instead of MODEL_FILE_REFUSED; `what` is a few words. */
  readonly onRefused?: (path: string, what: string) => void;
  /** Returns nothing instead of MODEL_EMPTY. */
  readonly allowEmpty?: boolean;
  /** A link to a file or folder of the model counts as that; one out of the model, to nowhere or in a circle never does. */
  readonly followLinks?: boolean;
}

/** Always left out, at the top level only (OMS, default exclusions). */
export const DEFAULT_IGNORE = [".git", ".gitattributes", ".github", ".gitignore"] as const;

/** Throws MODEL_FILE_REFUSED for links that are not followed, devices and sockets unless they are ignored, MODEL_EMPTY when nothing is left. */
export async function walkModel(root: string, options: WalkOptions = {}): Promise<ModelFile[]> {
  const stat = await statRoot(root);
  if (stat.isFile()) return [{ path: ".", bytes: stat.size }];
  if (!stat.isDirectory()) throw artifactError("MODEL_FILE_REFUSED", { detail: root });
  const refuse = (path: string, what: string) => {
    throw artifactError("MODEL_FILE_REFUSED", { detail: `${path} is ${what}` });
  };
  const ignored = new Set<string>([...DEFAULT_IGNORE, ...(options.ignore ?? [])]);
  const onRefused = options.onRefused ?? refuse;
  const links = options.followLinks ? { realRoot: await files.realpath(root), folders: 0 } : undefined;
  const hubBlobs = await hubBlobsOf(root);
  const walk: Walk = { root, ignored, onRefused, found: [], links, hubBlobs };
  await walkFolder(walk, { path: "", place: root, depth: 0, trail: [] });
  if (walk.found.length === 0 && !options.allowEmpty) throw artifactError("MODEL_EMPTY", { detail: root });
  return walk.found.sort((a, b) => compareCodePoints(a.path, b.path));
}

interface Walk {
  readonly root: string;
  readonly ignored: ReadonlySet<string>;
  readonly onRefused: (path: string, what: string) => void;
  readonly found: ModelFile[];
  readonly links: Links | undefined;
  /** Where the links of a snapshot in the hub's cache lead; such links count as the files they lead to. */
  readonly hubBlobs: string | undefined;
}

interface Links {
  readonly realRoot: string;
  /** How many were entered so far. */
  folders: number;
}

interface Folder {
  readonly path: string;
  /** On the disk. */
  readonly place: string;
  readonly depth: number;
  /** The real folders of the links that were followed on the way here. */
  readonly trail: readonly string[];
}

async function statRoot(root: string) {
  try {
    return await files.stat(root);
  } catch (error) {
    throw notReadable(root, error);
  }
}

async function walkFolder(walk: Walk, folder: Folder): Promise<void> {
  if (folder.depth > ARTIFACT_LIMITS.depth)
    throw artifactError("MODEL_PATH_INVALID", { detail: `folders are nested deeper than ${ARTIFACT_LIMITS.depth}` });
  for (const entry of await readFolder(folder.place)) {
    const name = decodeName(entry.name);
    const path = folder.path === "" ? name : `${folder.path}/${name}`;
    if (walk.ignored.has(path)) continue;
    if (Buffer.byteLength(path) > ARTIFACT_LIMITS.pathBytes)
      throw artifactError("MODEL_PATH_INVALID", {
        detail: `${path.slice(0, 80)}… is over ${ARTIFACT_LIMITS.pathBytes} bytes`,
      });
    const place = join(folder.place, name);
    const inner: Folder = { path, place, depth: folder.depth + 1, trail: folder.trail };
    if (entry.isDirectory()) await walkFolder(walk, inner);
    else if (entry.isFile()) addFile(walk, path, place, await sizeOf(place));
    else if (!entry.isSymbolicLink()) walk.onRefused(path, "not a regular file");
    else if (await addHubFile(walk, inner)) continue;
    else if (walk.links) await followLink(walk, walk.links, inner);
    else walk.onRefused(path, "a symbolic link");
  }
}

function addFile(walk: Walk, path: string, place: string, bytes: number): void {
  walk.found.push(place === join(walk.root, path) ? { path, bytes } : { path, bytes, source: place });
  if (walk.found.length > ARTIFACT_LIMITS.files)
    throw artifactError("MODEL_PATH_INVALID", { detail: `over ${ARTIFACT_LIMITS.files} files` });
}

/** False for a link that leads to anything but a regular file among the cache's blobs of this model. */
async function addHubFile(walk: Walk, link: Folder): Promise<boolean> {
  if (walk.hubBlobs === undefined) return false;
  const real = await files.realpath(link.place).catch(() => "");
  if (dirname(real) !== walk.hubBlobs) return false;
  const stat = await statRoot(real);
  if (stat.isFile()) addFile(walk, link.path, real, stat.size);
  return stat.isFile();
}

/** A folder that a link leads to must not hold the link, or one that was followed on the way: that is the circle. */
async function followLink(walk: Walk, links: Links, link: Folder): Promise<void> {
  const real = await files.realpath(link.place).catch(() => undefined);
  if (real === undefined) return walk.onRefused(link.path, "a symbolic link to nowhere");
  const isInside = real.startsWith(links.realRoot.endsWith(sep) ? links.realRoot : links.realRoot + sep);
  if (!isInside && real !== links.realRoot) return walk.onRefused(link.path, "a symbolic link out of the model");
  const stat = await statRoot(real);
  if (stat.isFile()) return addFile(walk, link.path, real, stat.size);
  if (!stat.isDirectory()) return walk.onRefused(link.path, "a symbolic link to what is not a regular file");
  const trail = [...link.trail, await files.realpath(dirname(link.place))];
  if (trail.some((holder) => holder === real || holder.startsWith(real + sep)))
    return walk.onRefused(link.path, "a symbolic link in a circle");
  if (++links.folders > ARTIFACT_LIMITS.linkedFolders)
    throw artifactError("MODEL_PATH_INVALID", { detail: `links to over ${ARTIFACT_LIMITS.linkedFolders} folders` });
  await walkFolder(walk, { path: link.path, place: real, depth: link.depth, trail });
}

async function readFolder(path: string) {
  try {
    return await files.readdir(path, { withFileTypes: true, encoding: "buffer" });
  } catch (error) {
    throw notReadable(path, error);
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await files.lstat(path)).size;
  } catch (error) {
    throw notReadable(path, error);
  }
}

function notReadable(path: string, error: unknown) {
  return artifactError("MODEL_NOT_READABLE", {
    detail: `${path} (${systemErrorCode(error) ?? "unknown"})`,
    cause: error,
  });
}

function decodeName(name: Buffer): string {
  const text = name.toString("utf8");
  if (!Buffer.from(text, "utf8").equals(name))
    throw artifactError("MODEL_PATH_INVALID", { detail: `${text.slice(0, 80)} is not UTF-8` });
  return text;
}

/** JavaScript compares UTF-16 units, which differs from code points above U+FFFF: compare the UTF-8 bytes. */
export function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** A path that came from outside: relative, no `..`, no empty part, no NUL, no backslash. */
export function checkModelPath(path: string): string {
  const parts = path.split("/");
  const bad =
    path.includes("\0") || path.includes("\\") || parts.some((part) => part === "" || part === "." || part === "..");
  if (bad || Buffer.byteLength(path) > ARTIFACT_LIMITS.pathBytes)
    throw artifactError("MODEL_PATH_INVALID", { detail: JSON.stringify(path.slice(0, 80)) });
  return path;
}
