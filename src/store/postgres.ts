/** The shared engine: PostgreSQL, serialisable transactions, LISTEN/NOTIFY between replicas. */
import pg from "pg";
import type { Clock, Log } from "../base/index.ts";
import { systemErrorCode } from "../host/index.ts";
import { type Engine, type EngineTransaction, type Row, SCHEMA_VERSION } from "./engine.ts";
import { storeError } from "./errors.ts";
import { STORE_LIMITS } from "./limits.ts";

const MIGRATIONS: readonly string[] = [
  `CREATE TABLE records (
     tbl text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, version bigint NOT NULL, value bytea NOT NULL,
     PRIMARY KEY (tbl, id)
   )`,
];

/** An arbitrary number that servers lock while they migrate. */
const MIGRATION_LOCK = 7_264_001;
/** An arbitrary number: transactions that met a conflict lock it one after the other, the others share it. */
const TURN_LOCK = 7_264_002;
const BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE";
const BEGIN_BESIDE = `${BEGIN}; SELECT pg_try_advisory_xact_lock_shared(${TURN_LOCK}) AS free`;
const CHANNEL_PREFIX = "modelkeep_";
/** Pauses between tries to listen again after the connection was lost, in milliseconds. */
const RELISTEN_MS = [50, 100, 200, 500, 1_000] as const;
/** serialization_failure and deadlock_detected. */
const RETRY_CODES = new Set(["40001", "40P01"]);

export interface PostgresPorts {
  readonly clock: Clock;
  readonly log: Log;
}

export async function openPostgresEngine(url: string, ports: PostgresPorts): Promise<Engine> {
  const settings = {
    connectionString: url,
    connectionTimeoutMillis: STORE_LIMITS.connectTimeoutMs,
    statement_timeout: STORE_LIMITS.statementTimeoutMs,
    keepAlive: true,
  };
  const pool = new pg.Pool({ ...settings, max: STORE_LIMITS.connections });
  pool.on("error", (error) => ports.log.warn("a connection to PostgreSQL was lost", { code: systemErrorCode(error) }));
  try {
    await migrate(pool);
  } catch (error) {
    await pool.end();
    throw postgresError(error);
  }
  return new PostgresEngine(pool, settings, ports);
}

async function migrate(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
    await client.query("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)");
    const { rows } = await client.query<{ version: number }>("SELECT max(version) AS version FROM schema_version");
    const version = rows[0]?.version ?? 0;
    if (version > SCHEMA_VERSION)
      throw storeError("STORE_TOO_NEW", { detail: `schema ${version}, this version knows ${SCHEMA_VERSION}` });
    for (let next = version; next < SCHEMA_VERSION; next++) {
      await client.query(MIGRATIONS[next] ?? "");
      await client.query("INSERT INTO schema_version (version) VALUES ($1)", [next + 1]);
    }
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}

class PostgresEngine implements Engine {
  readonly #pool: pg.Pool;
  readonly #settings: pg.ClientConfig;
  readonly #ports: PostgresPorts;
  readonly #listeners = new Map<string, Set<{ onMessage: (message: string) => void; onGap: () => void }>>();
  readonly reader: EngineTransaction;
  #listening: pg.Client | undefined;
  /** The connection that is being made, so that not two are. */
  #starting: Promise<void> | undefined;
  #closed = false;

  constructor(pool: pg.Pool, settings: pg.ClientConfig, ports: PostgresPorts) {
    this.#pool = pool;
    this.#settings = settings;
    this.#ports = ports;
    this.reader = rowsOf(pool);
  }

  /** The first try runs beside others; who met a conflict waits in line and then runs alone, so that all get their turn. */
  async transaction<T>(work: (tx: EngineTransaction) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    let broken: Error | undefined;
    try {
      const beside = await attempt(client, BEGIN_BESIDE, work);
      return beside.done ? beside.result : await inTurn(client, work);
    } catch (error) {
      broken = await probe(client);
      throw postgresError(error);
    } finally {
      client.release(broken);
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw postgresError(error);
    }
  }

  async notify(channel: string, message: string): Promise<void> {
    await this.#pool.query("SELECT pg_notify($1, $2)", [CHANNEL_PREFIX + channel, message]).catch((error: unknown) => {
      throw postgresError(error);
    });
  }

  async subscribe(channel: string, onMessage: (message: string) => void, onGap: () => void): Promise<() => void> {
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners);
    const listener = { onMessage, onGap };
    listeners.add(listener);
    try {
      await this.#listenTo(channel);
    } catch (error) {
      listeners.delete(listener);
      throw postgresError(error);
    }
    return () => void listeners.delete(listener);
  }

  async #listenTo(channel: string): Promise<void> {
    if (!this.#listening) await this.#startListening();
    // The connection that was just made may have asked for its channels before this one was known.
    await this.#listening?.query(listenStatement(channel));
  }

  #startListening(): Promise<void> {
    this.#starting ??= this.#listen().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #listen(): Promise<void> {
    const client = new pg.Client(this.#settings);
    client.on("notification", ({ channel, payload }) => {
      for (const { onMessage } of this.#listeners.get(channel.slice(CHANNEL_PREFIX.length)) ?? [])
        onMessage(payload ?? "");
    });
    client.on("error", () => client.emit("end"));
    client.once("end", () => {
      if (this.#listening === client) void this.#listenAgain();
    });
    try {
      await client.connect();
      for (const channel of this.#listeners.keys()) await client.query(listenStatement(channel));
      if (this.#closed) throw storeError("STORE_UNREACHABLE", { detail: "the store is closed" });
      this.#listening = client;
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
  }

  /** What was said while nobody listened is lost: everyone is told at once, and again when messages come again. */
  async #listenAgain(): Promise<void> {
    this.#listening = undefined;
    this.#tellGap();
    for (let attempt = 0; !this.#closed; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, RELISTEN_MS[Math.min(attempt, RELISTEN_MS.length - 1)]));
      try {
        await this.#startListening();
        return this.#tellGap();
      } catch (error) {
        this.#ports.log.warn("cannot listen to PostgreSQL", { code: systemErrorCode(error) });
      }
    }
  }

  #tellGap(): void {
    for (const listeners of this.#listeners.values()) for (const { onGap } of listeners) onGap();
  }

  async ping(): Promise<void> {
    await this.#pool.query("SELECT 1").catch((error: unknown) => {
      throw postgresError(error);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const listening = this.#listening;
    this.#listening = undefined;
    await listening?.end().catch(() => undefined);
    await this.#pool.end();
  }
}

type Attempt<T> = { readonly done: true; readonly result: T } | { readonly done: false };

/** Not done: others were in the way, and it may be tried again. */
async function attempt<T>(
  client: pg.PoolClient,
  begin: string,
  work: (tx: EngineTransaction) => Promise<T>,
): Promise<Attempt<T>> {
  try {
    const begun: unknown = await client.query(begin);
    const othersWait = Array.isArray(begun) && begun[1]?.rows[0]?.free === false;
    if (othersWait) {
      await client.query("ROLLBACK");
      return { done: false };
    }
    const result = await work(rowsOf(client));
    // After an error that the work swallowed PostgreSQL answers COMMIT with ROLLBACK, and no error.
    const ended = await client.query("COMMIT");
    if (ended.command !== "COMMIT")
      throw storeError("STORE_UNREACHABLE", { detail: "the transaction was rolled back" });
    return { done: true, result };
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    if (RETRY_CODES.has(sqlState(error))) return { done: false };
    throw error;
  }
}

async function inTurn<T>(client: pg.PoolClient, work: (tx: EngineTransaction) => Promise<T>): Promise<T> {
  await client.query("SELECT pg_advisory_lock($1)", [TURN_LOCK]);
  try {
    for (let tries = 2; tries <= STORE_LIMITS.transactionTries; tries++) {
      const alone = await attempt(client, BEGIN, work);
      if (alone.done) return alone.result;
    }
    throw storeError("STORE_UNREACHABLE", { detail: "too many conflicts" });
  } finally {
    // Where this fails the connection is broken, and its locks are gone with it.
    await client.query("SELECT pg_advisory_unlock($1)", [TURN_LOCK]).catch(() => undefined);
  }
}

/** The error of a connection that must not be used again. */
async function probe(client: pg.PoolClient): Promise<Error | undefined> {
  try {
    await client.query("SELECT 1");
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error("the connection is broken");
  }
}

type Queryable = Pick<pg.PoolClient, "query">;

function rowsOf(client: Queryable): EngineTransaction {
  const query = async (text: string, values: unknown[]) => {
    try {
      return await client.query<{ id: string; version: string; value: Buffer }>(text, values);
    } catch (error) {
      throw RETRY_CODES.has(sqlState(error)) ? error : postgresError(error);
    }
  };
  return {
    get: async (table, id) =>
      toRow((await query("SELECT id, version, value FROM records WHERE tbl = $1 AND id = $2", [table, id])).rows[0]),
    async put(table, row) {
      await query(
        "INSERT INTO records (tbl, id, version, value) VALUES ($1, $2, $3, $4) ON CONFLICT (tbl, id) DO UPDATE SET version = excluded.version, value = excluded.value",
        [table, row.id, row.version, Buffer.from(row.value)],
      );
    },
    delete: async (table, id) =>
      ((await query("DELETE FROM records WHERE tbl = $1 AND id = $2", [table, id])).rowCount ?? 0) > 0,
    async list(table, prefix, after, limit) {
      const { rows } = await query(
        "SELECT id, version, value FROM records WHERE tbl = $1 AND id >= $2 AND id > $3 AND id < $4 ORDER BY id LIMIT $5",
        [table, prefix, after ?? "", `${prefix}\u{10ffff}`, limit],
      );
      return rows.map(toRow).filter((row) => row !== undefined);
    },
  };
}

function listenStatement(channel: string): string {
  return `LISTEN ${pg.escapeIdentifier(CHANNEL_PREFIX + channel)}`;
}

function toRow(row: { id: string; version: string; value: Buffer } | undefined): Row | undefined {
  if (!row) return undefined;
  return { id: row.id, version: Number(row.version), value: new Uint8Array(row.value) };
}

function sqlState(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** A database error has an SQLSTATE of five characters, a lost connection a system error code or a sentence of the driver. */
function postgresError(error: unknown): unknown {
  const state = sqlState(error);
  if (!(error instanceof Error) || error.name === "ModelkeepError") return error;
  if (state === "53100") return storeError("STORE_FULL", { cause: error });
  if (/^([0-9A-Z]{5}|E(?!RR_)[A-Z]+)$/.test(state) || error instanceof pg.DatabaseError)
    return storeError("STORE_UNREACHABLE", { detail: `PostgreSQL ${state}`, cause: error });
  return /timeout|terminat|ended|closed|not queryable|calling end/i.test(error.message) && state === ""
    ? storeError("STORE_UNREACHABLE", { cause: error })
    : error;
}
