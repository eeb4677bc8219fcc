/** Starts the modelkeep command as a user would, in surroundings of its own, and ends what it started. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../checks/source.ts";

const COMMAND = `${root}/bin/modelkeep.mjs`;
/** Longest time for one command, in milliseconds. */
const COMMAND_TIMEOUT_MS = 60_000;
/** Time between SIGTERM and SIGKILL at the end, in milliseconds. */
const END_TIMEOUT_MS = 5_000;

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A home folder of its own, and the processes that live in it. */
export class Surroundings {
  readonly folder = mkdtempSync(join(tmpdir(), "modelkeep-quickstart-"));
  readonly #children: ChildProcess[] = [];

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
      XDG_RUNTIME_DIR: home,
    };
  }

  /** Runs one command to its end; a wrong exit code is an error that shows what the command said. */
  async run(
    args: readonly string[],
    options: { expect?: number; input?: string | Uint8Array } = {},
  ): Promise<Finished> {
    const child = this.#spawn(args);
    child.stdin?.end(options.input ?? "");
    const output = collect(child);
    const timer = setTimeout(() => child.kill("SIGKILL"), COMMAND_TIMEOUT_MS);
    const [code] = (await once(child, "close")) as [number | null];
    clearTimeout(timer);
    const finished = { code: code ?? -1, ...output() };
    if (finished.code !== (options.expect ?? 0)) {
      throw new Error(
        `modelkeep ${args.join(" ")} ended with ${finished.code}, expected ${options.expect ?? 0}\n${finished.stdout}${finished.stderr}`,
      );
    }
    return finished;
  }

  async json(
    args: readonly string[],
    options: { expect?: number; input?: string | Uint8Array } = {},
  ): Promise<Record<string, unknown>> {
    const { stdout } = await this.run([...args, "--json"], options);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
  }

  /** Starts a command that stays, and resolves with the first line of JSON on its stdout for which `ready` is true. */
  async start(args: readonly string[]): Promise<{
    child: ChildProcess;
    ready: Record<string, unknown>;
    output: () => { stdout: string; stderr: string };
  }> {
    const child = this.#spawn(args);
    child.stdin?.end();
    const output = collect(child);
    const ready = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const fail = (why: string) =>
        reject(new Error(`modelkeep ${args.join(" ")}: ${why}\n${output().stdout}${output().stderr}`));
      const timer = setTimeout(() => fail(`not ready after ${COMMAND_TIMEOUT_MS / 1000} s`), COMMAND_TIMEOUT_MS);
      child.once("close", (code) => fail(`ended with ${code} before it was ready`));
      child.stdout?.on("data", () => {
        const found = readyLine(output().stdout);
        if (!found) return;
        clearTimeout(timer);
        resolve(found);
      });
    });
    return { child, ready, output };
  }

  async end(): Promise<void> {
    for (const child of [...this.#children].reverse()) await endChild(child);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #spawn(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [COMMAND, ...args], {
      cwd: root,
      env: this.env(),
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#children.push(child);
    return child;
  }
}

export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT_MS);
  await closed;
  clearTimeout(timer);
}

function collect(child: ChildProcess): () => { stdout: string; stderr: string } {
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  child.stdout?.on("data", (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => chunks.stderr.push(chunk));
  return () => ({ stdout: Buffer.concat(chunks.stdout).toString(), stderr: Buffer.concat(chunks.stderr).toString() });
}

function readyLine(stdout: string): Record<string, unknown> | undefined {
  for (const line of stdout.split("\n").slice(0, -1)) {
    if (!line.startsWith("{")) continue;
    const value = JSON.parse(line) as Record<string, unknown>;
    if (value.ready === true) return value;
  }
  return undefined;
}
