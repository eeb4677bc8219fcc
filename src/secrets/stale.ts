/** What changed in the store while no message told of it: leases that were ended, secrets that have another version. */
import type { RecordStore } from "../store/index.ts";
import { decodeSecret, TABLES } from "./records.ts";
import type { LeaseInfo } from "./secrets.ts";

export interface Stale {
  readonly ended: readonly string[];
  /** Names of secrets of which no held lease has the current version. */
  readonly changed: readonly string[];
}

export async function findStale(
  store: Pick<RecordStore, "get">,
  held: readonly Pick<LeaseInfo, "id" | "secretName" | "version">[],
): Promise<Stale> {
  const [ended, changed]: [string[], string[]] = [[], []];
  const newest = new Map<string, number>();
  for (const { id, secretName, version } of held) {
    if (!(await store.get(TABLES.leases, id))) ended.push(id);
    newest.set(secretName, Math.max(version, newest.get(secretName) ?? 0));
  }
  for (const [name, version] of newest) {
    const record = await store.get(TABLES.secrets, name);
    if (!record || decodeSecret(record.value).current !== version) changed.push(name);
  }
  return { ended, changed };
}
