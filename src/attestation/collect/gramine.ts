/** Evidence of an SGX enclave under Gramine: two files of its own (Gramine, Attestation and Secret Provisioning). */
import { join } from "node:path";
import { readFileBounded } from "../../host/index.ts";
import type { EvidenceCollector } from "../attestation.ts";
import { attestationError } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";
import { SGX_KIND } from "../sgx/verifier.ts";
import { collectFailed, readWhole, writeOnce } from "./device-files.ts";
import { COLLECT_LIMITS } from "./limits.ts";

export interface GramineOptions {
  /** Default: `/dev/attestation`. */
  readonly folder?: string;
}

export const GRAMINE_FOLDER = "/dev/attestation";

export async function findGramine({ folder = GRAMINE_FOLDER }: GramineOptions = {}): Promise<boolean> {
  const type = await readFileBounded(join(folder, "attestation_type"), COLLECT_LIMITS.wordBytes).catch(() => undefined);
  return type !== undefined && Buffer.from(type).toString("latin1").trim() === "dcap";
}

/** Throws COLLECT_UNAVAILABLE outside an enclave that is attested by DCAP. */
export async function createGramineCollector({
  folder = GRAMINE_FOLDER,
}: GramineOptions = {}): Promise<EvidenceCollector> {
  if (!(await findGramine({ folder }))) throw attestationError("COLLECT_UNAVAILABLE", { detail: folder });
  return {
    kind: SGX_KIND,
    async collect(reportData) {
      if (reportData.length !== ATTESTATION_LIMITS.reportDataBytes)
        throw attestationError("COLLECT_FAILED", { detail: `report data of ${reportData.length} bytes` });
      try {
        await writeOnce(join(folder, "user_report_data"), reportData);
        return { kind: SGX_KIND, data: await readWhole(join(folder, "quote"), COLLECT_LIMITS.outblobBytes) };
      } catch (error) {
        throw collectFailed(error);
      }
    },
  };
}
