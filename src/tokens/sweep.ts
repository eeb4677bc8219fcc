/** Deletes codes, tokens and assertions that have ended, of principals that nobody touches any more. */
import type { Clock } from "../base/index.ts";
import type { RecordStore } from "../store/index.ts";
import { pruneAssertions, prunePrincipal } from "./ledger.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import { readPrincipal, TABLES } from "./records.ts";

/** One short transaction for each principal, so that nobody waits for the sweep. */
export async function sweepEnded(store: RecordStore, clock: Clock): Promise<void> {
  let after: string | undefined;
  do {
    const page = await store.list(TABLES.principals, {
      limit: TOKEN_LIMITS.pageRecords,
      ...(after ? { after } : {}),
    });
    for (const record of page.records) {
      const { principal } = readPrincipal(record.value);
      await store.transaction((tx) => prunePrincipal(tx, principal, clock.now()));
    }
    after = page.next;
  } while (after);
  while ((await store.transaction((tx) => pruneAssertions(tx, clock.now()))) > 0);
}
