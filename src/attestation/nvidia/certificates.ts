/** The device's chain: from the key of its firmware over the chip and its factory to NVIDIA's pinned root. */
import { toHex } from "../../base/index.ts";
import {
  type Certificate,
  type DerNode,
  derOctets,
  derOid,
  derSequence,
  isContext,
  nameToText,
  parseDer,
  type VerifiedPath,
} from "../../codec/index.ts";
import type { Rules } from "../verdict.ts";
import { findPath, type PathInput } from "./cache.ts";
import type { FwidClaim } from "./claims.ts";
import type { GpuEvidence, NvidiaArch } from "./evidence.ts";

const SERIAL_NUMBER = "2.5.4.5";
/** TCG DICE: CompositeDeviceID, which ends with the FWID, and DiceTcbInfo, which lists them. */
const DICE_COMPOSITE = "2.23.133.5.4.1";
const DICE_TCB_INFO = "2.23.133.5.4.1.1";
const TCB_INFO_FWIDS = 6;
const SHA384 = "2.16.840.1.101.3.4.2.2";
/** The identity of the chip's links follows one octet that says what kind of chip it is. */
const PDI = /^[0-9A-F]{2}([0-9A-F]{16})$/i;

const CHIPS: readonly (readonly [RegExp, NvidiaArch])[] = [
  [/^GH100 /, "HOPPER"],
  [/^GB10[0-9] /, "BLACKWELL"],
  [/^GB20[0-9] /, "BLACKWELL"],
  [/^LS_10 /, "LS10"],
];

/** The path from the leaf to the pin, every certificate valid at `now`; undefined when there is none. */
export function checkDeviceChain(rules: Rules, input: PathInput): VerifiedPath | undefined {
  const result = findPath(input);
  rules.check("nvidia.device.chain", result.ok, {
    passed: "the device's key chains to NVIDIA's pinned root",
    failed: result.ok ? "" : `the device's chain fails: ${result.rule} at ${result.certificate}`,
    have: nameToText(input.certificates[0].subject),
  });
  return result.ok ? result.path : undefined;
}

/** The chip says in its certificate what it is; the label of the evidence must agree. */
export function checkArch(rules: Rules, evidence: GpuEvidence, accepted: readonly NvidiaArch[]): void {
  const model = hardwareModel(evidence);
  const arch = archOfModel(model);
  rules.check("nvidia.device.arch", arch === evidence.arch && accepted.includes(evidence.arch), {
    passed: "the device is of an architecture that is accepted",
    failed:
      arch === evidence.arch ? "the profile does not accept this architecture" : "the certificate says another chip",
    have: `${evidence.arch}, ${model}`.slice(0, 200),
    need: accepted.join(" or "),
  });
}

/** By the name of the chip in its certificate; undefined for a chip that is not known. */
export function archOfModel(model: string): NvidiaArch | undefined {
  return CHIPS.find(([pattern]) => pattern.test(model))?.[1];
}

export function hardwareModel({ certificates }: GpuEvidence): string {
  return certificates[0]?.subject.commonName ?? "";
}

/** Decimal, as NVIDIA's tokens write it. */
export function ueidOf({ certificates }: GpuEvidence): string {
  return (certificates[0]?.serialNumber ?? 0n).toString();
}

/** Lower-case hex of eight bytes; from the chip's own certificate, one above the leaf. */
export function pdiOf({ certificates }: GpuEvidence): string | undefined {
  const serial = certificates[1]?.subject.attributes.find(({ oid }) => oid === SERIAL_NUMBER)?.value;
  return PDI.exec(serial ?? "")?.[1]?.toLowerCase();
}

/** Compares the firmware's identity in the report with the one that the chip certified. */
export function readFwid({ report, certificates }: GpuEvidence): FwidClaim {
  const stated = report.opaque.fwid;
  if (stated === undefined) return "absent";
  const certified = certifiedFwid(certificates[0]);
  return certified !== undefined && toHex(certified) === stated ? "match" : "mismatch";
}

function certifiedFwid(leaf: Certificate | undefined): Uint8Array | undefined {
  try {
    const tcbInfo = leaf?.extensions.get(DICE_TCB_INFO);
    if (tcbInfo) return readTcbInfo(parseDer(tcbInfo.value));
    const composite = leaf?.extensions.get(DICE_COMPOSITE);
    return composite && readFwidPair(derSequence(parseDer(composite.value)).at(-1));
  } catch {
    return undefined;
  }
}

/** The first FWID is that of the code which made the leaf's key. */
function readTcbInfo(info: DerNode): Uint8Array | undefined {
  const list = derSequence(info).find((field) => isContext(field, TCB_INFO_FWIDS));
  return readFwidPair(list?.children[0]);
}

function readFwidPair(node: DerNode | undefined): Uint8Array | undefined {
  if (!node) return undefined;
  const [algorithm, digest, ...more] = derSequence(node);
  if (!algorithm || !digest || more.length > 0 || derOid(algorithm) !== SHA384) return undefined;
  return derOctets(digest);
}
