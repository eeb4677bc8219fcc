/** A PostgreSQL cluster of its own for one test run: made in a temporary folder, on a Unix socket, gone afterwards. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const POSTGRES_MISSING =
  "no PostgreSQL server programs found: apt-get install postgresql, or put initdb and postgres on the PATH";

const READY_MS = 60_000;

export interface Cluster {
  /** Of an empty database, a new one at every call. */
  createDatabase(): string;
  /** Runs SQL in the database of the URL; returns what psql prints, unaligned. */
  sql(url: string, text: string): string;
  /** The text of `pg_dump`. */
  dump(url: string): string;
  /** Folder with every byte of the server's data. */
  readonly dataFolder: string;
  /** As `kill -9` does to the whole server. */
  crash(): Promise<void>;
  /** After `crash` or `stopFast`. */
  start(): Promise<void>;
  stopFast(): Promise<void>;
  destroy(): Promise<void>;
}

/** Undefined when this machine has no PostgreSQL server programs. */
export async function startCluster(): Promise<Cluster | undefined> {
  const bin = findPrograms();
  if (bin === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-pg-"));
  const user = serverUser();
  if (user) chownSync(folder, user.uid, user.gid);
  chmodSync(folder, 0o755);
  const cluster = new LocalCluster(bin, folder, user);
  try {
    cluster.init();
    await cluster.start();
    return cluster;
  } catch (error) {
    await cluster.destroy();
    throw error;
  }
}

function findPrograms(): string | undefined {
  const onPath = (process.env.PATH ?? "").split(":");
  const debian = globSync("/usr/lib/postgresql/*/bin").sort().reverse();
  return [...debian, ...onPath].find((folder) => folder !== "" && globSync(join(folder, "initdb")).length > 0);
}

interface User {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL does not run as root: then it runs as postgres, or as nobody. */
function serverUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (...args: string[]) => Number(spawnSync("id", args, { encoding: "utf8" }).stdout.trim() || Number.NaN);
  const name = Number.isInteger(id("-u", "postgres")) ? "postgres" : "nobody";
  return { uid: id("-u", name), gid: id("-g", name) };
}

class LocalCluster implements Cluster {
  readonly #bin: string;
  readonly #folder: string;
  readonly #user: User | undefined;
  #server: ChildProcess | undefined;
  #databases = 0;

  constructor(bin: string, folder: string, user: User | undefined) {
    this.#bin = bin;
    this.#folder = folder;
    this.#user = user;
  }

  get dataFolder(): string {
    return join(this.#folder, "data");
  }

  init(): void {
    this.#run("initdb", "-D", this.dataFolder, "-U", "modelkeep", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8");
  }

  #run(program: string, ...args: string[]): string {
    const done = spawnSync(join(this.#bin, program), args, { ...this.#user, encoding: "utf8", cwd: this.#folder });
    if (done.status !== 0) throw new Error(`${program}: ${done.stderr}${done.error ?? ""}`);
    return done.stdout;
  }

  async start(): Promise<void> {
    const settings = ["listen_addresses=", `unix_socket_directories=${this.#folder}`, "max_connections=60"];
    const args = ["-D", this.dataFolder, ...settings.flatMap((setting) => ["-c", setting])];
    this.#server = spawn(join(this.#bin, "postgres"), args, { ...this.#user, cwd: this.#folder, stdio: "ignore" });
    const until = Date.now() + READY_MS;
    while (spawnSync(join(this.#bin, "pg_isready"), ["-q", "-h", this.#folder], { ...this.#user }).status !== 0) {
      if (Date.now() > until || this.#server.exitCode !== null) throw new Error("PostgreSQL did not start");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  createDatabase(): string {
    const name = `t${++this.#databases}`;
    this.sql(this.#url("postgres"), `CREATE DATABASE ${name}`);
    return this.#url(name);
  }

  #url(database: string): string {
    return `postgres://modelkeep@/${database}?host=${encodeURIComponent(this.#folder)}`;
  }

  sql(url: string, text: string): string {
    return this.#run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text);
  }

  dump(url: string): string {
    return this.#run("pg_dump", "-d", url);
  }

  async crash(): Promise<void> {
    await this.#end("SIGKILL");
    // The children of a killed postmaster notice and leave; the next one refuses to start before that.
    await new Promise((resolve) => setTimeout(resolve, 500));
    rmSync(join(this.dataFolder, "postmaster.pid"), { force: true });
  }

  async stopFast(): Promise<void> {
    await this.#end("SIGINT");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#server;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill(signal);
    await ended;
  }

  async destroy(): Promise<void> {
    await this.#end("SIGQUIT");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
