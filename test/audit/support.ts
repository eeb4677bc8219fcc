/** A naive tree that follows the words of RFC 6962, stores to log into, and small helpers for the tests of the audit log. */
import { hash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type AuditLog, openAuditLog } from "../../src/audit/index.ts";
import { type AuditEvent, silentLog } from "../../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../../src/host/index.ts";
import { openStore, type RecordStore } from "../../src/store/index.ts";
import { FakeClock } from "../secrets/support.ts";

export const ORIGIN = "keep.example.org/audit";
const sha256 = (...parts: Uint8Array[]) => new Uint8Array(hash("sha256", Buffer.concat(parts), "buffer"));

/** MTH(D[n]) of RFC 6962, section 2.1, word for word. */
export function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (!first) return sha256();
  if (leaves.length === 1) return sha256(Uint8Array.of(0), first);
  const k = largestPowerBelow(leaves.length);
  return sha256(Uint8Array.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

/** PATH(m, D[n]) of RFC 6962, section 2.1.1. */
export function naivePath(m: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length <= 1) return [];
  const k = largestPowerBelow(leaves.length);
  return m < k
    ? [...naivePath(m, leaves.slice(0, k)), naiveRoot(leaves.slice(k))]
    : [...naivePath(m - k, leaves.slice(k)), naiveRoot(leaves.slice(0, k))];
}

/** PROOF(m, D[n]) of RFC 6962, section 2.1.2. */
export function naiveProof(m: number, leaves: readonly Uint8Array[], whole = true): Uint8Array[] {
  if (m === leaves.length) return whole ? [] : [naiveRoot(leaves)];
  const k = largestPowerBelow(leaves.length);
  return m <= k
    ? [...naiveProof(m, leaves.slice(0, k), whole), naiveRoot(leaves.slice(k))]
    : [...naiveProof(m - k, leaves.slice(k), false), naiveRoot(leaves.slice(0, k))];
}

function largestPowerBelow(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

export const rootKey = () => GuardedBytes.take(new Uint8Array(32).fill(7));

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-audit-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export async function openTestStore(t: TestContext, url?: string): Promise<{ store: RecordStore; path: string }> {
  const path = url ?? `sqlite:${join(temporaryFolder(t), "audit.db")}`;
  const ports = { clock: systemClock, random: systemRandom, log: silentLog };
  const store = await openStore({ url: path, rootKey: rootKey(), ...ports });
  t.after(() => store.close());
  return { store, path: path.replace(/^sqlite:/, "") };
}

export function openTestLog(store: RecordStore, origin = ORIGIN): Promise<AuditLog> {
  return openAuditLog({ store, clock: new FakeClock(), random: systemRandom, log: silentLog, origin });
}

export function event(n: number, more: Partial<AuditEvent> = {}): AuditEvent {
  return {
    action: "token.issue",
    outcome: "allowed",
    principal: 'Workload::"demo"',
    resource: 'Server::"local"',
    data: { n },
    ...more,
  };
}

export async function record(log: AuditLog, from: number, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, i) => log.record(event(from + i))));
}

/** The lines of an export, without newlines. */
export async function exportedLines(log: AuditLog): Promise<string[]> {
  const chunks: Uint8Array[] = [];
  for await (const line of log.exportLines()) chunks.push(line);
  return Buffer.concat(chunks).toString("utf8").split("\n").slice(0, -1);
}

export async function* bytesOf(lines: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const line of lines) yield new Uint8Array(Buffer.from(line));
}
