/** Finds programs: the operating system's tools, and the one that is to be started. */
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { childProcess, files, fsSync, processInfo } from "../host/index.ts";
import { loaderError } from "./errors.ts";
import { LOADER_LIMITS } from "./limits.ts";

const SYSTEM_FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/** A tool of the operating system; the folders of the system come before PATH. Fails with TOOL_MISSING. */
export async function findTool(name: string): Promise<string> {
  const folders = [...SYSTEM_FOLDERS, ...(processInfo().env.PATH ?? "").split(delimiter).filter(isAbsolute)];
  for (const folder of folders) if (await isExecutable(join(folder, name))) return join(folder, name);
  throw loaderError("TOOL_MISSING", { detail: name });
}

/** The absolute path of the program that a shell would start. Fails with PROGRAM_NOT_FOUND. */
export async function findProgram(word: string, path: string | undefined, cwd: string): Promise<string> {
  const places = word.includes("/")
    ? [resolve(cwd, word)]
    : (path ?? SYSTEM_FOLDERS.join(delimiter)).split(delimiter).map((folder) => join(resolve(cwd, folder), word));
  for (const place of word === "" ? [] : places) if (await isExecutable(place)) return place;
  throw loaderError("PROGRAM_NOT_FOUND", { detail: word.slice(0, 200) });
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await files.access(path, fsSync.constants.X_OK);
    return (await files.stat(path)).isFile();
  } catch {
    return false;
  }
}

/** Runs a tool to its end, without input. */
export function runTool(path: string, words: readonly string[]): Promise<{ code: number; stderr: string }> {
  return new Promise((done) => {
    const options = {
      timeout: LOADER_LIMITS.toolMilliseconds,
      env: { PATH: SYSTEM_FOLDERS.join(delimiter), LC_ALL: "C" },
    };
    childProcess.execFile(path, [...words], options, (error, _stdout, stderr) => {
      const code = error ? (typeof error.code === "number" ? error.code : 1) : 0;
      done({ code, stderr: String(stderr).trim().split("\n")[0]?.slice(0, 300) ?? "" });
    });
  });
}
