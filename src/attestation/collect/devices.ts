/** Evidence of every NVIDIA device of this machine as one document, with what the guest says of confidential computing. */
import { z } from "zod";
import { fromUtf8, parseJson, utf8 } from "../../base/index.ts";
import type { DeviceCollector } from "../attestation.ts";
import { attestationError } from "../errors.ts";
import { ATTESTATION_LIMITS } from "../limits.ts";
import type { GuestCcState } from "../nvidia/evidence.ts";
import { COLLECT_LIMITS } from "./limits.ts";
import { createNvattestCollector } from "./nvattest.ts";
import { runProgram } from "./program.ts";

export const DEVICE_CLASSES = ["gpu", "nvswitch"] as const;
export type DeviceClass = (typeof DEVICE_CLASSES)[number];

export interface DeviceCollectorOptions {
  readonly classes: readonly DeviceClass[];
  /** NVIDIA's `nvattest`; default: found in PATH. */
  readonly nvattest?: string;
  /** NVIDIA's `nvidia-smi`; default: found in PATH. */
  readonly nvidiaSmi?: string;
  readonly signal?: AbortSignal;
}

const collected = z.looseObject({ evidences: z.array(z.unknown()).min(1), result_code: z.literal(0) });

/** Throws COLLECT_UNAVAILABLE without NVIDIA's programs, COLLECT_FAILED when one of them does not give what it should. */
export function createDeviceCollector(options: DeviceCollectorOptions): DeviceCollector {
  return {
    async collect(nonce) {
      if (nonce.length !== ATTESTATION_LIMITS.deviceNonceBytes) throw failed(`a nonce of ${nonce.length} bytes`);
      const list: unknown[] = [];
      for (const device of options.classes) list.push(...(await collectClass(options, device, nonce)));
      const document = utf8(JSON.stringify({ device_evidence_list: list, cc_state: await readCcState(options) }));
      if (document.length > ATTESTATION_LIMITS.deviceEvidenceBytes)
        throw failed(`${document.length} bytes of evidence`);
      return document;
    },
  };
}

async function collectClass(
  { nvattest, signal }: DeviceCollectorOptions,
  device: DeviceClass,
  nonce: Uint8Array,
): Promise<readonly unknown[]> {
  const program = nvattest === undefined ? {} : { program: nvattest };
  const { data } = await createNvattestCollector({ device, ...program, ...(signal ? { signal } : {}) }).collect(nonce);
  try {
    const limits = { maxBytes: COLLECT_LIMITS.deviceEvidenceBytes, maxDepth: 8, what: "evidence" };
    return collected.parse(parseJson(data, limits)).evidences;
  } catch (cause) {
    throw failed(`nvattest gave no evidence of ${device}`, cause);
  }
}

const SWITCH = ["ON", "OFF"] as const;
const ENVIRONMENTS = ["PRODUCTION", "SIM", "UNAVAILABLE"] as const;

/** `nvidia-smi conf-compute` answers each question with one line that ends in the word. */
async function readCcState({ nvidiaSmi = "nvidia-smi", signal }: DeviceCollectorOptions): Promise<GuestCcState> {
  const ask = async <Word extends string>(flag: string, words: readonly Word[]): Promise<Word> => {
    const limits = { maxBytes: COLLECT_LIMITS.answerBytes, ...(signal ? { signal } : {}) };
    const told = fromUtf8(await runProgram(nvidiaSmi, ["conf-compute", flag], limits));
    const found = words.find((word) => new RegExp(`^[^:\\n]*:[ \\t]*${word}[ \\t]*$`, "im").test(told));
    if (!found) throw failed(`${nvidiaSmi} conf-compute ${flag} says none of ${words.join(", ")}`);
    return found;
  };
  const feature = await ask("-f", SWITCH);
  const devtools = await ask("-d", SWITCH);
  const environment = await ask("-e", ENVIRONMENTS);
  return { cc_feature: feature, devtools_mode: devtools, environment };
}

const failed = (detail: string, cause?: unknown) =>
  attestationError("COLLECT_FAILED", { detail, ...(cause ? { cause } : {}) });
