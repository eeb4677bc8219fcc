/** Opens a store: the engine that the URL names, behind the barrier. */
import { baseError, type Clock, type Log, type Random } from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { type Barrier, createBarrier, unwrapDataKey, wrapDataKey } from "./barrier.ts";
import type { Engine, EngineTransaction } from "./engine.ts";
import { storeError } from "./errors.ts";
import { STORE_LIMITS } from "./limits.ts";
import { openPostgresEngine } from "./postgres.ts";
import { openSqliteEngine } from "./sqlite.ts";
import type { RecordPage, RecordStore, RecordTransaction, StoredRecord, WriteCondition } from "./store.ts";

export interface StoreOptions {
  /** `sqlite:PATH` or `postgres://…`. */
  readonly url: string;
  /** The caller keeps it and may wipe it afterwards. */
  readonly rootKey: GuardedBytes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Clear rows of the barrier itself: nothing but the wrapped data key. */
const KEY_TABLE = "barrier";
const KEY_ID = "data-key";
const DATA_KEY_BYTES = 32;
/** The engines end a prefix with it. */
const LAST_CHARACTER = "\u{10ffff}";

export async function openStore(options: StoreOptions): Promise<RecordStore> {
  const engine = await openEngine(options);
  try {
    const dataKey = await openDataKey(engine, options);
    return new BarrierStore(engine, createBarrier(dataKey, options.random));
  } catch (error) {
    await engine.close();
    throw error;
  }
}

function openEngine(options: StoreOptions): Promise<Engine> {
  if (options.url.startsWith("sqlite:")) return openSqliteEngine(options.url.slice("sqlite:".length));
  if (/^postgres(ql)?:\/\//.test(options.url)) return openPostgresEngine(options.url, options);
  throw storeError("STORE_URL_INVALID", { detail: options.url.split(":")[0]?.slice(0, 40) ?? "" });
}

async function openDataKey(engine: Engine, { rootKey, random }: StoreOptions): Promise<GuardedBytes> {
  const wrapped = await engine.transaction(async (tx) => {
    const row = await tx.get(KEY_TABLE, KEY_ID);
    if (row) return row.value;
    const fresh = GuardedBytes.take(random.bytes(DATA_KEY_BYTES));
    const value = wrapDataKey(rootKey, fresh, random);
    fresh.wipe();
    await tx.put(KEY_TABLE, { id: KEY_ID, version: 1, value });
    return value;
  });
  return unwrapDataKey(rootKey, wrapped);
}

class BarrierStore implements RecordStore {
  readonly #engine: Engine;
  readonly #barrier: Barrier;

  constructor(engine: Engine, barrier: Barrier) {
    this.#engine = engine;
    this.#barrier = barrier;
  }

  get(table: string, id: string): Promise<StoredRecord | undefined> {
    return getRecord(this.#engine.reader, this.#barrier, table, id);
  }

  list(table: string, options: ListOptions = {}): Promise<RecordPage> {
    return listRecords(this.#engine.reader, this.#barrier, table, options);
  }

  put(table: string, id: string, value: Uint8Array, condition?: WriteCondition): Promise<number> {
    return this.transaction((tx) => tx.put(table, id, value, condition));
  }

  delete(table: string, id: string): Promise<boolean> {
    return this.transaction((tx) => tx.delete(table, id));
  }

  transaction<T>(work: (tx: RecordTransaction) => Promise<T>): Promise<T> {
    return this.#engine.transaction((tx) => work(behind(tx, this.#barrier)));
  }

  async notify(channel: string, message: string): Promise<void> {
    if (Buffer.byteLength(message) > STORE_LIMITS.messageBytes)
      throw new RangeError(`a message is over ${STORE_LIMITS.messageBytes} bytes`);
    await this.#engine.notify(channel, message);
  }

  subscribe(channel: string, onMessage: (message: string) => void, onGap: () => void): Promise<() => void> {
    return this.#engine.subscribe(channel, onMessage, onGap);
  }

  ping(): Promise<void> {
    return this.#engine.ping();
  }

  async close(): Promise<void> {
    await this.#engine.close();
    this.#barrier.wipe();
  }
}

type ListOptions = { readonly prefix?: string; readonly after?: string; readonly limit?: number };

function behind(tx: EngineTransaction, barrier: Barrier): RecordTransaction {
  return {
    get: (table, id) => getRecord(tx, barrier, table, id),
    list: (table, options = {}) => listRecords(tx, barrier, table, options),
    async put(table, id, value, condition) {
      checkName(table, id);
      if (value.length > STORE_LIMITS.valueBytes)
        throw new RangeError(`a value is over ${STORE_LIMITS.valueBytes} bytes`);
      const before = (await tx.get(table, id))?.version ?? 0;
      if (condition?.ifVersion !== undefined && condition.ifVersion !== before) {
        throw storeError("VERSION_CONFLICT", { detail: `${table}/${id} is at version ${before}` });
      }
      await tx.put(table, { id, version: before + 1, value: barrier.seal(table, id, before + 1, value) });
      return before + 1;
    },
    async delete(table, id) {
      checkName(table, id);
      return tx.delete(table, id);
    },
  };
}

async function getRecord(
  tx: Pick<EngineTransaction, "get">,
  barrier: Barrier,
  table: string,
  id: string,
): Promise<StoredRecord | undefined> {
  checkName(table, id);
  const row = await tx.get(table, id);
  return row && { id, version: row.version, value: barrier.open(table, id, row.version, row.value) };
}

async function listRecords(
  tx: Pick<EngineTransaction, "list">,
  barrier: Barrier,
  table: string,
  options: ListOptions,
): Promise<RecordPage> {
  checkName(table, "x");
  const limit = Math.min(options.limit ?? STORE_LIMITS.pageRecords, STORE_LIMITS.pageRecords);
  if (!Number.isInteger(limit) || limit < 1) throw new RangeError("a page has at least one record");
  for (const id of [options.prefix, options.after])
    if (id && !isId(id))
      throw baseError("INVALID_INPUT", { detail: "what a list begins with or goes on from is no id" });
  const rows = await tx.list(table, options.prefix ?? "", options.after, limit + 1);
  const records = rows
    .slice(0, limit)
    .map((row) => ({ id: row.id, version: row.version, value: barrier.open(table, row.id, row.version, row.value) }));
  const last = records.at(-1);
  return rows.length > limit && last ? { records, next: last.id } : { records };
}

function checkName(table: string, id: string): void {
  if (table === KEY_TABLE || !/^[a-z][a-z0-9._-]*$/.test(table) || table.length > STORE_LIMITS.tableCharacters) {
    throw new RangeError(`${table} is not the name of a table`);
  }
  if (!isId(id)) throw new RangeError(`an id has 1 to ${STORE_LIMITS.idBytes} bytes of UTF-8, no NUL and no U+10FFFF`);
}

function isId(id: string): boolean {
  const odd = id.includes("\0") || id.includes(LAST_CHARACTER) || !id.isWellFormed();
  return id.length > 0 && !odd && Buffer.byteLength(id) <= STORE_LIMITS.idBytes;
}
