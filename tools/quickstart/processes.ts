/** Starts the modelkeep command as a user would, in surroundings of its own, and ends what it started. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../checks/source.ts";

const COMMAND = `${root}/bin/modelkeep.mjs`;
/** Longest time for one command, and for one that stays to be ready, in milliseconds. */
const COMMAND_TIMEOUT_MS = 60_000;
/** Time between SIGTERM and SIGKILL at the end, in milliseconds. */
const END_TIMEOUT_MS = 5_000;

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Exit code that is right; 0 when absent. */
  readonly expect?: number;
  readonly input?: string | Uint8Array;
}

/** A command that stays: what it said so far, and a way to wait for more. */
export interface Staying {
  readonly child: ChildProcess;
  /** What it has written so far. */
  output(): { readonly stdout: string; readonly stderr: string };
  /** Resolves with what `find` finds in stdout; rejects when the command ends or takes too long. */
  until<T>(find: (stdout: string) => T | undefined): Promise<T>;
  /** Resolves when it has ended, with its exit code. */
  readonly ended: Promise<number>;
}

/** A home folder of its own, and the processes that live in it. */
export class Surroundings {
  readonly folder = mkdtempSync(join(tmpdir(), "modelkeep-quickstart-"));
  readonly #staying: Staying[] = [];
  /** Told of every command line before it starts, as a user would type it. */
  onCommand: (line: string) => void = () => undefined;

  constructor() {
    chmodSync(this.folder, 0o700);
    mkdirSync(join(this.folder, "home"), { mode: 0o700 });
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  env(): NodeJS.ProcessEnv {
    const home = this.path("home");
    const { PATH, LANG, TERM } = process.env;
    return {
      PATH,
      LANG,
      TERM,
      HOME: home,
      XDG_CONFIG_HOME: join(home, "config"),
      XDG_DATA_HOME: join(home, "data"),
      XDG_CACHE_HOME: join(home, "cache"),
      XDG_RUNTIME_DIR: home,
    };
  }

  /** Runs one command to its end; a wrong exit code is an error that shows what the command said. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    const staying = this.start(args, options.input ?? "");
    const timer = setTimeout(() => staying.child.kill("SIGKILL"), COMMAND_TIMEOUT_MS);
    const code = await staying.ended;
    clearTimeout(timer);
    const finished = { code, ...staying.output() };
    if (code !== (options.expect ?? 0)) {
      throw new Error(
        `modelkeep ${args.join(" ")} ended with ${code}, expected ${options.expect ?? 0}\n${finished.stdout}${finished.stderr}`,
      );
    }
    return finished;
  }

  async json(args: readonly string[], options: RunOptions = {}): Promise<Record<string, unknown>> {
    const { stdout } = await this.run(["--json", ...args], options);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
  }

  /** Starts a command that stays. Its standard input stays open unless `input` is given. */
  start(args: readonly string[], input?: string | Uint8Array): Staying {
    this.onCommand(typed(args, this.folder));
    const child = spawn(process.execPath, [COMMAND, ...args], {
      cwd: root,
      env: this.env(),
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin?.on("error", () => undefined);
    if (input !== undefined) child.stdin?.end(input);
    const output = collect(child);
    const ended = once(child, "close").then(([code]) => (typeof code === "number" ? code : -1));
    const staying: Staying = { child, output, ended, until: (find) => waitFor(staying, args, find) };
    this.#staying.push(staying);
    return staying;
  }

  async end(): Promise<void> {
    for (const staying of this.#staying.splice(0).reverse()) await endStaying(staying);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Without `--json`, which only this program needs, and with `…` for the folder that is gone afterwards. */
function typed(args: readonly string[], folder: string): string {
  const words = args
    .filter((word) => word !== "--json")
    .map((word) => word.replaceAll(folder, "…").replace(`${root}/`, ""));
  return ["modelkeep", ...words.map((word) => (/[\s?"]/.test(word) ? `'${word}'` : word))].join(" ");
}

export async function endStaying({ child, ended }: Staying): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}

function waitFor<T>(
  { child, output }: Staying,
  args: readonly string[],
  find: (stdout: string) => T | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      stop();
      reject(new Error(`modelkeep ${args.join(" ")}: ${why}\n${output().stdout}${output().stderr}`));
    };
    const look = () => {
      const found = find(output().stdout);
      if (found === undefined) return;
      stop();
      resolve(found);
    };
    const onClose = (code: number | null) => fail(`ended with ${code} before it said what was waited for`);
    const timer = setTimeout(() => fail(`nothing after ${COMMAND_TIMEOUT_MS / 1000} s`), COMMAND_TIMEOUT_MS);
    const stop = () => {
      clearTimeout(timer);
      child.off("close", onClose);
      child.stdout?.off("data", look);
    };
    child.once("close", onClose);
    child.stdout?.on("data", look);
    look();
  });
}

function collect(child: ChildProcess): () => { stdout: string; stderr: string } {
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout?.on("data", (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => chunks.stderr.push(chunk));
  return () => ({ stdout: Buffer.concat(chunks.stdout).toString(), stderr: Buffer.concat(chunks.stderr).toString() });
}

/** The first whole line of stdout that is a JSON object with `ready: true`. */
export function readyLine(stdout: string): Record<string, unknown> | undefined {
  for (const line of stdout.split("\n").slice(0, -1)) {
    if (!line.startsWith("{")) continue;
    const value = JSON.parse(line) as Record<string, unknown>;
    if (value.ready === true) return value;
  }
  return undefined;
}
