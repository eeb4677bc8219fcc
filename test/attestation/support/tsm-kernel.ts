/** A folder that behaves like the kernel's configfs-tsm: entries fill themselves, writes count, answers follow the question. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import fsp from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

export interface Behaviour {
  readonly provider?: string;
  /** The answer to a question of 64 bytes. */
  readonly report?: (question: Uint8Array) => Uint8Array;
  readonly table?: Uint8Array;
  /** Called at each write of a question, from 1: what else happens then. */
  readonly onQuestion?: (count: number, entry: string) => "busy" | "stranger" | "refused" | undefined;
}

export interface Kernel {
  readonly folder: string;
  /** Entries that are still there. */
  entries(): string[];
  readonly levels: string[];
  end(): void;
}

const { mkdir, open, rmdir } = fsp;
const systemError = (code: string) => Object.assign(new Error(code), { code });

export function startKernel(behaviour: Behaviour = {}): Kernel {
  const { provider = "sev_guest", report = (question) => question, table } = behaviour;
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-tsm-"));
  const levels: string[] = [];
  let questions = 0;
  const isOurs = (path: unknown) => typeof path === "string" && path.startsWith(folder);
  const count = (entry: string) => {
    const file = join(entry, "generation");
    writeFileSync(file, `${Number(readFileSync(file, "utf8")) + 1}\n`);
  };
  const ask = (entry: string, question: Uint8Array) => {
    questions += 1;
    const event = behaviour.onQuestion?.(questions, entry);
    if (event === "busy") throw systemError("EBUSY");
    if (event === "refused") throw systemError("EINVAL");
    if (question.length === 0 || question.length > 64) throw systemError("EINVAL");
    count(entry);
    writeFileSync(join(entry, "outblob"), report(event === "stranger" ? new Uint8Array(64) : question));
    if (event === "stranger") count(entry);
  };
  const patched = {
    async mkdir(path: string) {
      await mkdir(path);
      if (!isOurs(path)) return;
      writeFileSync(join(path, "provider"), `${provider}\n`);
      writeFileSync(join(path, "generation"), "7\n");
      if (table) writeFileSync(join(path, "auxblob"), table);
    },
    async open(path: string, flags: string, mode?: number) {
      const handle = await open(path, flags, mode);
      const [entry, name] = [dirname(path), basename(path)];
      if (!isOurs(path) || flags !== "w") return handle;
      const write = async (data: Uint8Array, from: number, length: number) => {
        const value = data.subarray(from, from + length);
        if (name === "inblob") ask(entry, value);
        if (name === "privlevel") {
          levels.push(Buffer.from(value).toString("latin1"));
          count(entry);
        }
        return { bytesWritten: value.length, buffer: data };
      };
      return { write, close: () => handle.close() };
    },
    async rmdir(path: string) {
      if (!isOurs(path)) return rmdir(path);
      rmSync(path, { recursive: true });
    },
  };
  Object.assign(fsp, patched);
  syncBuiltinESMExports();
  return {
    folder,
    levels,
    entries: () => readdirSync(folder),
    end() {
      Object.assign(fsp, { mkdir, open, rmdir });
      syncBuiltinESMExports();
      rmSync(folder, { recursive: true });
    },
  };
}
