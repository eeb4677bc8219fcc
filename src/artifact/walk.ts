/** The files of a model: every regular file below a folder, in code-point order; anything else is refused. */
import { join } from "node:path";
import { files, systemErrorCode } from "../host/index.ts";
import { artifactError } from "./errors.ts";
import { ARTIFACT_LIMITS } from "./limits.ts";

export interface ModelFile {
  /** POSIX, relative to the root, byte for byte as on the disk. */
  readonly path: string;
  readonly bytes: number;
}

export interface WalkOptions {
  /** Exact relative paths; a folder takes everything below with it. */
  readonly ignore?: readonly string[];
  /** Told of links, devices and sockets instead of MODEL_FILE_REFUSED; `what` is a few words. */
  readonly onRefused?: (path: string, what: string) => void;
  /** Returns nothing instead of MODEL_EMPTY. */
  readonly allowEmpty?: boolean;
}

/** Always left out, at the top level only (OMS, default exclusions). */
export const DEFAULT_IGNORE = [".git", ".gitattributes", ".github", ".gitignore"] as const;

/** Throws MODEL_FILE_REFUSED for links, devices and sockets that are not ignored, MODEL_EMPTY when nothing is left. */
export async function walkModel(root: string, options: WalkOptions = {}): Promise<ModelFile[]> {
  const stat = await statRoot(root);
  if (stat.isFile()) return [{ path: ".", bytes: stat.size }];
  if (!stat.isDirectory()) throw artifactError("MODEL_FILE_REFUSED", { detail: root });
  const refuse = (path: string, what: string) => {
    throw artifactError("MODEL_FILE_REFUSED", { detail: `${path} is ${what}` });
  };
  const ignored = new Set<string>([...DEFAULT_IGNORE, ...(options.ignore ?? [])]);
  const walk: Walk = { root, ignored, onRefused: options.onRefused ?? refuse, found: [] };
  await walkFolder(walk, "", 0);
  if (walk.found.length === 0 && !options.allowEmpty) throw artifactError("MODEL_EMPTY", { detail: root });
  return walk.found.sort((a, b) => compareCodePoints(a.path, b.path));
}

interface Walk {
  readonly root: string;
  readonly ignored: ReadonlySet<string>;
  readonly onRefused: (path: string, what: string) => void;
  readonly found: ModelFile[];
}

async function statRoot(root: string) {
  try {
    return await files.stat(root);
  } catch (error) {
    throw notReadable(root, error);
  }
}

async function walkFolder(walk: Walk, folder: string, depth: number): Promise<void> {
  if (depth > ARTIFACT_LIMITS.depth)
    throw artifactError("MODEL_PATH_INVALID", { detail: `folders are nested deeper than ${ARTIFACT_LIMITS.depth}` });
  for (const entry of await readFolder(join(walk.root, folder))) {
    const name = decodeName(entry.name);
    const path = folder === "" ? name : `${folder}/${name}`;
    if (walk.ignored.has(path)) continue;
    if (Buffer.byteLength(path) > ARTIFACT_LIMITS.pathBytes)
      throw artifactError("MODEL_PATH_INVALID", {
        detail: `${path.slice(0, 80)}… is over ${ARTIFACT_LIMITS.pathBytes} bytes`,
      });
    if (entry.isDirectory()) await walkFolder(walk, path, depth + 1);
    else if (entry.isFile()) walk.found.push({ path, bytes: await sizeOf(join(walk.root, path)) });
    else walk.onRefused(path, entry.isSymbolicLink() ? "a symbolic link" : "not a regular file");
    if (walk.found.length > ARTIFACT_LIMITS.files)
      throw artifactError("MODEL_PATH_INVALID", { detail: `over ${ARTIFACT_LIMITS.files} files` });
  }
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
