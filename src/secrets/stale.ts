/** What changed in the store while no message told of it: secrets that have another version. */
import type { RecordStore } from "../store/index.ts";
import { decodeSecret, TABLES } from "./records.ts";
import type { LeaseInfo } from "./secrets.ts";

/** Names of secrets of which no held lease has the current version. */
export async function findChanged(
  store: Pick<RecordStore, "get">,
  held: readonly Pick<LeaseInfo, "secretName" | "version">[],
): Promise<readonly string[]> {
  const newest = new Map<string, number>();
  for (const { secretName, version } of held) newest.set(secretName, Math.max(version, newest.get(secretName) ?? 0));
  const changed: string[] = [];
  for (const [name, version] of newest) {
    const record = await store.get(TABLES.secrets, name);
    if (!record || decodeSecret(record.value).current !== version) changed.push(name);
  }
  return changed;
}
