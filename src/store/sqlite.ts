/** The embedded engine: one SQLite file, written through its log and synced at every commit. */
import { dirname } from "node:path";
import { files, openSqlite, type SqliteDatabase, systemErrorCode } from "../host/index.ts";
import { type Engine, type EngineTransaction, type Row, SCHEMA_VERSION } from "./engine.ts";
import { storeError } from "./errors.ts";
import { STORE_LIMITS } from "./limits.ts";

const SQLITE_BUSY = 5;
/** Between two tries to begin while another store writes, in milliseconds. */
const BUSY_PAUSE_MS = 3;

const MIGRATIONS: readonly string[] = [
  `CREATE TABLE records (
     tbl TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (tbl, id)
   ) STRICT, WITHOUT ROWID`,
];

/** The waiting time comes first: another process may be opening the same file. */
const PRAGMAS = [
  "PRAGMA busy_timeout = 5000",
  "PRAGMA journal_mode = WAL",
  "PRAGMA synchronous = FULL",
  "PRAGMA trusted_schema = OFF",
  "PRAGMA secure_delete = ON",
];

export async function openSqliteEngine(path: string): Promise<Engine> {
  await files.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const opened: SqliteDatabase[] = [];
  try {
    const [writer, reader] = [openDatabase(path, opened), openDatabase(path, opened)];
    await files.chmod(path, 0o600);
    migrate(writer);
    writer.exec("PRAGMA busy_timeout = 0");
    return new SqliteEngine(writer, reader);
  } catch (error) {
    for (const db of opened) db.close();
    const known = sqliteError(error);
    if (known !== error || isStoreError(error)) throw known;
    throw storeError("STORE_UNREACHABLE", { detail: `${path} (${systemErrorCode(error) ?? "unknown"})`, cause: error });
  }
}

function openDatabase(path: string, opened: SqliteDatabase[]): SqliteDatabase {
  const db = openSqlite(path);
  opened.push(db);
  for (const pragma of PRAGMAS) db.exec(pragma);
  return db;
}

/** The version is read under the lock: two processes may come at once. */
function migrate(db: SqliteDatabase): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    const version = Number(Object.values(db.prepare("PRAGMA user_version").get() ?? {})[0] ?? 0);
    if (version > SCHEMA_VERSION)
      throw storeError("STORE_TOO_NEW", { detail: `schema ${version}, this version knows ${SCHEMA_VERSION}` });
    for (let next = version; next < SCHEMA_VERSION; next++) {
      db.exec(`${MIGRATIONS[next]}; PRAGMA user_version = ${next + 1}`);
    }
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

class SqliteEngine implements Engine {
  readonly #db: SqliteDatabase;
  readonly #readDb: SqliteDatabase;
  readonly #writer: EngineTransaction;
  /** A connection of its own: a read outside a transaction must not see what is not committed. */
  readonly reader: EngineTransaction;
  /** One writer: transactions wait for each other here. */
  #tail: Promise<unknown> = Promise.resolve();
  readonly #listeners = new Map<string, Set<(message: string) => void>>();

  constructor(db: SqliteDatabase, readDb: SqliteDatabase) {
    this.#db = db;
    this.#readDb = readDb;
    this.#writer = rowsOf(db);
    this.reader = rowsOf(readDb);
  }

  transaction<T>(work: (tx: EngineTransaction) => Promise<T>): Promise<T> {
    const run = this.#tail.then(() => this.#run(work));
    this.#tail = run.catch(() => undefined);
    return run;
  }

  async #run<T>(work: (tx: EngineTransaction) => Promise<T>): Promise<T> {
    try {
      await this.#begin();
      const result = await work(this.#writer);
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#db.isOpen && this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw sqliteError(error);
    }
  }

  /** Another store may be writing. SQLite would wait too, but with the whole process: and the other may be in it. */
  async #begin(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return this.#db.exec("BEGIN IMMEDIATE");
      } catch (error) {
        if (sqliteCode(error) !== SQLITE_BUSY || tries >= STORE_LIMITS.busyTries) throw error;
        await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
      }
    }
  }

  /** One process owns the file, so all replicas are here. */
  async notify(channel: string, message: string): Promise<void> {
    for (const listener of this.#listeners.get(channel) ?? []) listener(message);
  }

  async subscribe(channel: string, onMessage: (message: string) => void): Promise<() => void> {
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners);
    listeners.add(onMessage);
    return () => void listeners.delete(onMessage);
  }

  async ping(): Promise<void> {
    mapped(() => this.#db.prepare("SELECT 1").get());
  }

  async close(): Promise<void> {
    await this.#tail;
    for (const db of [this.#readDb, this.#db]) if (db.isOpen) db.close();
  }
}

function rowsOf(db: SqliteDatabase): EngineTransaction {
  const get = db.prepare("SELECT id, version, value FROM records WHERE tbl = ? AND id = ?");
  const put = db.prepare(
    "INSERT INTO records (tbl, id, version, value) VALUES (?, ?, ?, ?) ON CONFLICT (tbl, id) DO UPDATE SET version = excluded.version, value = excluded.value",
  );
  const remove = db.prepare("DELETE FROM records WHERE tbl = ? AND id = ?");
  const list = db.prepare(
    "SELECT id, version, value FROM records WHERE tbl = ? AND id >= ? AND id <> ? AND id < ? ORDER BY id LIMIT ?",
  );
  return {
    get: async (table, id) => mapped(() => toRow(get.get(table, id))),
    put: async (table, row) => changed(db, () => void put.run(table, row.id, row.version, row.value)),
    delete: async (table, id) => changed(db, () => Number(remove.run(table, id).changes) > 0),
    list: async (table, prefix, after, limit) =>
      mapped(() =>
        list
          .all(table, lowest(prefix, after), after ?? "", `${prefix}\u{10ffff}`, limit)
          .map(toRow)
          .filter((row) => row !== undefined),
      ),
  };
}

/** One bound and not two: of two SQLite may search by the lower, and walk from there to every page. */
function lowest(prefix: string, after: string | undefined): string {
  return after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) > 0 ? after : prefix;
}

/** SQLite ends a transaction by itself when the disk is full: what came after would be written alone. */
function changed<T>(db: SqliteDatabase, work: () => T): T {
  if (db.isOpen && !db.isTransaction)
    throw storeError("STORE_UNREACHABLE", { detail: "the transaction was rolled back" });
  return mapped(work);
}

function mapped<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw sqliteError(error);
  }
}

function toRow(row: Record<string, unknown> | undefined): Row | undefined {
  if (!row) return undefined;
  return { id: String(row.id), version: Number(row.version), value: row.value as Uint8Array };
}

/** SQLite's own codes: 13 SQLITE_FULL, 10 SQLITE_IOERR, 11 SQLITE_CORRUPT, 26 SQLITE_NOTADB. */
function sqliteError(error: unknown): unknown {
  const code = sqliteCode(error);
  if (code === 13 || code === 10) return storeError("STORE_FULL", { cause: error });
  if (code === 11 || code === 26) return storeError("STORE_TAMPERED", { detail: `SQLite code ${code}`, cause: error });
  if (code !== undefined) return storeError("STORE_UNREACHABLE", { detail: `SQLite code ${code}`, cause: error });
  return systemErrorCode(error) === "ERR_INVALID_STATE"
    ? storeError("STORE_UNREACHABLE", { detail: "it is closed" })
    : error;
}

function sqliteCode(error: unknown): number | undefined {
  return error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : undefined;
}

function isStoreError(error: unknown): boolean {
  return error instanceof Error && error.name === "ModelkeepError";
}
