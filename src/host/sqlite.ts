/** The SQLite that Node brings. */
import { DatabaseSync } from "node:sqlite";

export type { DatabaseSync as SqliteDatabase, StatementSync as SqliteStatement } from "node:sqlite";

export function openSqlite(path: string): DatabaseSync {
  return new DatabaseSync(path);
}
