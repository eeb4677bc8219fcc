/** Evidence of NVIDIA devices in files: JSON of the collectors, or one report with its chain in another file. */
import { type Certificate, toPem } from "../codec/index.ts";
import { evidenceRefused } from "./errors.ts";
import { makeGpuEvidence, type NvidiaArch, type NvidiaEvidence, parseGpuEvidence } from "./nvidia/evidence.ts";

const OPENING = [0x7b, 0x5b];

const CHIPS: readonly (readonly [RegExp, NvidiaArch])[] = [
  [/^GB/, "BLACKWELL"],
  [/^LS/, "LS10"],
];

/** Throws EVIDENCE_REFUSED with `nvidia.chain.missing` for a report that comes without its chain. */
export function nvidiaEvidenceOf(data: Uint8Array, chains: readonly (readonly Certificate[])[]): NvidiaEvidence {
  const first = data.find((byte) => byte > 0x20) ?? 0;
  if (OPENING.includes(first)) return parseGpuEvidence(data);
  const chain = chains.find(([leaf]) => leaf !== undefined && !isRoot(leaf));
  const [leaf] = chain ?? [];
  if (!chain || !leaf) throw evidenceRefused("nvidia.chain.missing");
  const pem = chain.map(({ raw }) => toPem("CERTIFICATE", raw)).join("");
  return { devices: [makeGpuEvidence(archOf(leaf), data, pem)] };
}

const isRoot = ({ subject, issuer }: Certificate) => subject.commonName === issuer.commonName;

/** A label; that the certificate says the same is a rule of the judgement. */
function archOf({ subject }: Certificate): NvidiaArch {
  return CHIPS.find(([pattern]) => pattern.test(subject.commonName ?? ""))?.[1] ?? "HOPPER";
}
