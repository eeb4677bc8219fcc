/** The two engines that every test of the store runs on, and how to reach behind their backs. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ModelkeepError, silentLog } from "../../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../../src/host/index.ts";
import { openStore, type RecordStore } from "../../src/store/index.ts";
import { type Cluster, POSTGRES_MISSING, startCluster } from "../support/postgres.ts";

export interface Engine {
  readonly name: "SQLite" | "PostgreSQL";
  /** URL of a new, empty database. */
  fresh(): string;
  /** Runs a statement as somebody who has the database and not the root key. */
  tamper(url: string, statement: string): void;
  /** A blob as this engine's SQL writes it. */
  blob(bytes: Uint8Array): string;
  /** Value of a row, as stored. */
  stored(url: string, table: string, id: string): { version: number; value: Uint8Array };
  /** Every byte that the database keeps. */
  everything(url: string): Buffer;
}

export const code = (error: unknown) => (error instanceof ModelkeepError ? error.code : String(error));
export const failsWith = (wanted: string) => (error: unknown) => code(error) === wanted;

export const rootKey = (fill = 7) => GuardedBytes.take(new Uint8Array(32).fill(fill));

export function open(url: string, key = rootKey()): Promise<RecordStore> {
  return openStore({ url, rootKey: key, clock: systemClock, random: systemRandom, log: silentLog });
}

export class Engines {
  readonly folder = mkdtempSync(join(tmpdir(), "modelkeep-store-"));
  #cluster: Cluster | undefined;
  #count = 0;

  get cluster(): Cluster | undefined {
    return this.#cluster;
  }

  async start(): Promise<void> {
    this.#cluster = await startCluster();
  }

  async stop(): Promise<void> {
    await this.#cluster?.destroy();
    rmSync(this.folder, { recursive: true, force: true });
  }

  sqlite(): Engine {
    const pathOf = (url: string) => url.slice("sqlite:".length);
    const query = (url: string, statement: string) => {
      const db = new DatabaseSync(pathOf(url));
      try {
        return db.prepare(statement).all();
      } finally {
        db.close();
      }
    };
    return {
      name: "SQLite",
      fresh: () => `sqlite:${join(this.folder, `${++this.#count}`, "store.db")}`,
      tamper: (url, statement) => void query(url, statement),
      blob: (bytes) => `x'${Buffer.from(bytes).toString("hex")}'`,
      stored(url, table, id) {
        const [row] = query(url, `SELECT version, value FROM records WHERE tbl = '${table}' AND id = '${id}'`);
        return { version: Number(row?.version), value: row?.value as Uint8Array };
      },
      everything: (url) => readFolder(join(pathOf(url), "..")),
    };
  }

  /** Undefined where there is none; the reason is POSTGRES_MISSING. */
  postgres(): Engine | undefined {
    const cluster = this.#cluster;
    if (!cluster) return undefined;
    return {
      name: "PostgreSQL",
      fresh: () => cluster.createDatabase(),
      tamper: (url, statement) => void cluster.sql(url, statement),
      blob: (bytes) => `'\\x${Buffer.from(bytes).toString("hex")}'::bytea`,
      stored(url, table, id) {
        const where = `tbl = '${table}' AND id = '${id}'`;
        const [version, hex] = cluster
          .sql(url, `SELECT version, encode(value, 'hex') FROM records WHERE ${where}`)
          .trim()
          .split("|");
        return { version: Number(version), value: new Uint8Array(Buffer.from(hex ?? "", "hex")) };
      },
      everything(url) {
        cluster.sql(url, "CHECKPOINT");
        return Buffer.concat([Buffer.from(cluster.dump(url)), readFolder(cluster.dataFolder)]);
      },
    };
  }
}

export { POSTGRES_MISSING };

/** Every byte of every file below. */
function readFolder(folder: string): Buffer {
  const files = readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  return Buffer.concat(files.map((path) => readFileSync(path)));
}
