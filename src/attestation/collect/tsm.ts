/** Evidence from the kernel: configfs-tsm, which is the same for SEV-SNP and TDX (Linux 6.7, ABI/testing/configfs-tsm-report). */
import { join } from "node:path";
import { concatBytes, type Random, toHex } from "../../base/index.ts";
import { files, systemErrorCode } from "../../host/index.ts";
import type { EvidenceCollector } from "../attestation.ts";
import { attestationError } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";
import { SNP_KIND } from "../snp/verifier.ts";
import { TDX_KIND } from "../tdx/verifier.ts";
import { collectFailed, readWhole, writeOnce } from "./device-files.ts";
import { COLLECT_LIMITS } from "./limits.ts";

export const TSM_FOLDER = "/sys/kernel/config/tsm/report";

const KINDS: Readonly<Record<string, string>> = { sev_guest: SNP_KIND, tdx_guest: TDX_KIND };

export interface TsmPorts {
  readonly random: Random;
  /** Default: where the kernel has it. */
  readonly folder?: string;
  /** Waits before the next attempt, in milliseconds. */
  readonly wait: (ms: number) => Promise<void>;
  /** SEV-SNP's VMPL: 0 or a number of lower privilege; absent: the kernel's own. */
  readonly privilegeLevel?: number;
}

/** The TEE that this machine is a guest of; undefined where the kernel has none. */
export async function findTsm(ports: TsmPorts): Promise<{ kind: string; provider: string } | undefined> {
  const folder = ports.folder ?? TSM_FOLDER;
  if (!(await files.stat(folder).catch(() => undefined))?.isDirectory()) return undefined;
  try {
    return await withEntry(ports, async (entry) => {
      const provider = await readWord(join(entry, "provider"));
      const kind = KINDS[provider];
      return kind === undefined ? undefined : { kind, provider };
    });
  } catch {
    return undefined;
  }
}

/** Throws COLLECT_UNAVAILABLE where the kernel has no TEE, COLLECT_FAILED when it gives no evidence. */
export async function createTsmCollector(ports: TsmPorts): Promise<EvidenceCollector> {
  const found = await findTsm(ports);
  if (!found) throw attestationError("COLLECT_UNAVAILABLE", { detail: ports.folder ?? TSM_FOLDER });
  const { kind } = found;
  return {
    kind,
    async collect(reportData) {
      if (reportData.length !== ATTESTATION_LIMITS.reportDataBytes)
        throw attestationError("COLLECT_FAILED", { detail: `report data of ${reportData.length} bytes` });
      return { kind, data: await collect(ports, reportData) };
    },
  };
}

/** What was written in between belongs to somebody else: begun again, in a folder of its own. */
async function collect(ports: TsmPorts, reportData: Uint8Array): Promise<Uint8Array> {
  let last: unknown;
  for (let attempt = 0; attempt < COLLECT_LIMITS.attempts; attempt++) {
    if (attempt > 0) await ports.wait(COLLECT_LIMITS.retryMs * attempt);
    try {
      const evidence = await withEntry(ports, (entry) => readEvidence(entry, reportData, ports.privilegeLevel));
      if (evidence) return evidence;
      last = new Error("somebody else wrote to the same entry");
    } catch (error) {
      if (!isRace(error)) throw collectFailed(error);
      last = error;
    }
  }
  throw collectFailed(last);
}

const isRace = (error: unknown) => ["EBUSY", "EWOULDBLOCK", "EAGAIN", "EINTR"].includes(systemErrorCode(error) ?? "");

/** Entries are folders: the kernel fills a new one with its files. */
async function withEntry<T>(ports: TsmPorts, work: (entry: string) => Promise<T>): Promise<T> {
  const entry = join(ports.folder ?? TSM_FOLDER, `modelkeep-${toHex(ports.random.bytes(16))}`);
  await files.mkdir(entry);
  try {
    return await work(entry);
  } finally {
    await files.rmdir(entry).catch(() => undefined);
  }
}

/** Undefined when the counter says that the answer is to another question. */
async function readEvidence(
  entry: string,
  reportData: Uint8Array,
  privilegeLevel: number | undefined,
): Promise<Uint8Array | undefined> {
  const before = await readGeneration(entry);
  if (privilegeLevel !== undefined) await writeOnce(join(entry, "privlevel"), Buffer.from(String(privilegeLevel)));
  await writeOnce(join(entry, "inblob"), reportData);
  const report = await readWhole(join(entry, "outblob"), COLLECT_LIMITS.outblobBytes);
  const provider = await readWord(join(entry, "provider"));
  const table = provider === "sev_guest" ? await readTable(entry) : new Uint8Array();
  const after = await readGeneration(entry);
  const writes = privilegeLevel === undefined ? 1n : 2n;
  if (after !== before + writes) return undefined;
  if (report.length === 0) throw new Error("the kernel gave no evidence");
  return concatBytes(report, table);
}

/** A host that hands out no certificates has no file, or an empty one. */
async function readTable(entry: string): Promise<Uint8Array> {
  try {
    return await readWhole(join(entry, "auxblob"), COLLECT_LIMITS.auxblobBytes);
  } catch (error) {
    if (["ENOENT", "EOPNOTSUPP", "EINVAL"].includes(systemErrorCode(error) ?? "")) return new Uint8Array();
    throw error;
  }
}

async function readWord(path: string): Promise<string> {
  return Buffer.from(await readWhole(path, COLLECT_LIMITS.wordBytes))
    .toString("latin1")
    .trim();
}

async function readGeneration(entry: string): Promise<bigint> {
  const text = await readWord(join(entry, "generation"));
  if (!/^\d{1,20}$/.test(text)) throw new Error("the counter is no number");
  return BigInt(text);
}
