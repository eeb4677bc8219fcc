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
}

/** Always left out, at the top level only (OMS, default exclusions). */
export const DEFAULT_IGNORE = [".git", ".gitattributes", ".github", ".gitignore", ".gitmodules"] as const;

/** Throws MODEL_FILE_REFUSED for links, devices and sockets that are not ignored, MODEL_EMPTY when nothing is left. */
export async function walkModel(root: string, options: WalkOptions = {}): Promise<ModelFile[]> {
  const stat = await statRoot(root);
  if (stat.isFile()) return [{ path: ".", bytes: stat.size }];
  const found: ModelFile[] = [];
  await walkFolder(root, "", new Set([...DEFAULT_IGNORE, ...(options.ignore ?? [])]), 0, found);
  if (found.length === 0) throw artifactError("MODEL_EMPTY", { detail: root });
  return found.sort((a, b) => compareCodePoints(a.path, b.path));
}

async function statRoot(root: string) {
  try {
    return await files.stat(root);
  } catch (error) {
    throw artifactError("MODEL_NOT_READABLE", {
      detail: `${root} (${systemErrorCode(error) ?? "unknown"})`,
      cause: error,
    });
  }
}

async function walkFolder(
  root: string,
  folder: string,
  ignored: ReadonlySet<string>,
  depth: number,
  found: ModelFile[],
): Promise<void> {
  if (depth > ARTIFACT_LIMITS.depth)
    throw artifactError("MODEL_PATH_INVALID", { detail: `folders are nested deeper than ${ARTIFACT_LIMITS.depth}` });
  const entries = await files.readdir(join(root, folder), { withFileTypes: true, encoding: "buffer" });
  for (const entry of entries) {
    const name = decodeName(entry.name);
    const path = folder === "" ? name : `${folder}/${name}`;
    if (ignored.has(path)) continue;
    if (Buffer.byteLength(path) > ARTIFACT_LIMITS.pathBytes)
      throw artifactError("MODEL_PATH_INVALID", {
        detail: `${path.slice(0, 80)}… is over ${ARTIFACT_LIMITS.pathBytes} bytes`,
      });
    if (entry.isDirectory()) await walkFolder(root, path, ignored, depth + 1, found);
    else if (entry.isFile()) found.push({ path, bytes: (await files.lstat(join(root, path))).size });
    else
      throw artifactError("MODEL_FILE_REFUSED", {
        detail: `${path} is ${entry.isSymbolicLink() ? "a symbolic link" : "not a regular file"}`,
      });
    if (found.length > ARTIFACT_LIMITS.files)
      throw artifactError("MODEL_PATH_INVALID", { detail: `over ${ARTIFACT_LIMITS.files} files` });
  }
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
