/** Every record of a table, page by page. */
import type { RecordStore, StoredRecord } from "../store/index.ts";
import { SECRET_LIMITS } from "./limits.ts";

export async function* eachRecord(store: RecordStore, table: string): AsyncGenerator<StoredRecord> {
  let after: string | undefined;
  do {
    const page = await store.list(table, { limit: SECRET_LIMITS.pageRecords, ...(after ? { after } : {}) });
    yield* page.records;
    after = page.next;
  } while (after);
}
