/** Evidence of NVIDIA devices: what NVIDIA's own program `nvattest` collects. */
import { toHex } from "../../base/index.ts";
import type { EvidenceCollector } from "../attestation.ts";
import { attestationError } from "../errors.ts";
import { NVIDIA_KIND } from "../nvidia/evidence.ts";
import { NVIDIA_LIMITS } from "../nvidia/limits.ts";
import { COLLECT_LIMITS } from "./limits.ts";
import { runProgram } from "./program.ts";

export interface NvattestOptions {
  /** Default: found in PATH. */
  readonly program?: string;
  readonly device?: "gpu" | "nvswitch";
  readonly signal?: AbortSignal;
}

/** Devices sign the first 32 bytes of the report data. */
export function createNvattestCollector(options: NvattestOptions = {}): EvidenceCollector {
  const { program = "nvattest", device = "gpu", signal } = options;
  return {
    kind: NVIDIA_KIND,
    async collect(reportData) {
      if (reportData.length < NVIDIA_LIMITS.nonceBytes)
        throw attestationError("COLLECT_FAILED", { detail: `report data of ${reportData.length} bytes` });
      const nonce = toHex(reportData.subarray(0, NVIDIA_LIMITS.nonceBytes));
      const words = ["collect-evidence", "--device", device, "--nonce", nonce];
      const limits = { maxBytes: COLLECT_LIMITS.deviceEvidenceBytes, ...(signal ? { signal } : {}) };
      return { kind: NVIDIA_KIND, data: withoutLog(await runProgram(program, words, limits)) };
    },
  };
}

/** The JSON begins at its first brace: some versions tell first what they do. */
function withoutLog(output: Uint8Array): Uint8Array {
  const start = output.indexOf(0x7b);
  if (start === -1) throw attestationError("COLLECT_FAILED", { detail: "no JSON in what the program printed" });
  return output.subarray(start);
}
