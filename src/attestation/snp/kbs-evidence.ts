/** SEV-SNP evidence as the KBS protocol carries it: the report taken apart into JSON, put together again byte by byte. */
import { z } from "zod";
import { fromUtf8, parseJson } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { SNP_LIMITS } from "./limits.ts";
import { writeTcb } from "./products.ts";

const byte = z.int().min(0).max(255);
const bytes = (length: number) => z.array(byte).length(length);
const u32 = z.int().min(0).max(0xffff_ffff);
const u64 = z
  .union([z.int().min(0), z.bigint().min(0n)])
  .transform(BigInt)
  .refine((value) => value < 1n << 64n);

const tcb = z.strictObject({
  fmc: byte.nullish(),
  bootloader: byte,
  tee: byte,
  snp: byte,
  microcode: byte,
});
const firmware = z.strictObject({ major: byte, minor: byte, build: byte });

const report = z.strictObject({
  version: u32,
  guest_svn: u32,
  policy: u64,
  family_id: bytes(16),
  image_id: bytes(16),
  vmpl: u32,
  sig_algo: u32,
  current_tcb: tcb,
  plat_info: u64,
  key_info: u32,
  report_data: bytes(64),
  measurement: bytes(48),
  host_data: bytes(32),
  id_key_digest: bytes(48),
  author_key_digest: bytes(48),
  report_id: bytes(32),
  report_id_ma: bytes(32),
  reported_tcb: tcb,
  cpuid_fam_id: byte.nullish(),
  cpuid_mod_id: byte.nullish(),
  cpuid_step: byte.nullish(),
  chip_id: bytes(64),
  committed_tcb: tcb,
  current: firmware,
  committed: firmware,
  launch_tcb: tcb,
  launch_mit_vector: u64.nullish(),
  current_mit_vector: u64.nullish(),
  signature: z.strictObject({ r: bytes(72), s: bytes(72) }),
});

const certificate = z.strictObject({
  cert_type: z.union([z.enum(["VCEK", "VLEK", "ASK", "ARK", "CRL", "Empty"]), z.strictObject({ OTHER: z.string() })]),
  data: z.array(byte).max(SNP_LIMITS.certificateBytes),
});

const kbsEvidence = z.strictObject({
  attestation_report: report,
  cert_chain: z.array(certificate).max(SNP_LIMITS.tableEntries).nullish(),
});

type KbsReport = z.output<typeof report>;

/** Names of members whose 64 bits do not fit a double. */
const WIDE = new Set(["policy", "plat_info", "launch_mit_vector", "current_mit_vector"]);

/** Throws EVIDENCE_REFUSED with `snp.evidence.format`. */
export function parseKbsEvidence(data: Uint8Array): { report: Uint8Array; certificates: Uint8Array[] } {
  const parsed = kbsEvidence.safeParse(readJson(data));
  if (!parsed.success) throw evidenceRefused("snp.evidence.format", parsed.error);
  const { attestation_report, cert_chain } = parsed.data;
  const known = (cert_chain ?? []).filter(({ cert_type }) => /^(VCEK|VLEK|ASK|ARK)$/.test(String(cert_type)));
  return { report: writeReport(attestation_report), certificates: known.map((entry) => Uint8Array.from(entry.data)) };
}

/** Strict JSON first; then once more with the text of the wide numbers, which a double would round. */
function readJson(data: Uint8Array): unknown {
  try {
    parseJson(data, { maxBytes: SNP_LIMITS.jsonBytes, maxDepth: 8, what: "evidence" });
    const reviver = (key: string, value: unknown, context?: { source?: string }) =>
      WIDE.has(key) && typeof value === "number" && !Number.isSafeInteger(value)
        ? BigInt(context?.source ?? "")
        : value;
    return JSON.parse(fromUtf8(data), reviver);
  } catch (error) {
    throw evidenceRefused("snp.evidence.format", error);
  }
}

/** What the JSON does not hold is reserved and zero in every report that was signed; if it was not, the signature fails. */
function writeReport(value: KbsReport): Uint8Array {
  const out = new Uint8Array(SNP_LIMITS.reportBytes);
  const view = new DataView(out.buffer);
  const family = value.version >= 3 ? (value.cpuid_fam_id ?? undefined) : undefined;
  for (const [offset, number] of numbersOf(value)) view.setUint32(offset, number, true);
  for (const [offset, number] of wideNumbersOf(value)) view.setBigUint64(offset, number, true);
  for (const [offset, list] of byteStringsOf(value)) out.set(list, offset);
  for (const [offset, level] of [
    [0x38, value.current_tcb],
    [0x180, value.reported_tcb],
    [0x1e0, value.committed_tcb],
    [0x1f0, value.launch_tcb],
  ] as const) {
    if ((level.fmc ?? 0) !== 0 && family !== 0x1a) throw evidenceRefused("snp.evidence.format");
    out.set(writeTcb({ ...level, fmc: level.fmc ?? 0 }, family), offset);
  }
  return out;
}

function numbersOf(value: KbsReport): (readonly [number, number])[] {
  return [
    [0x00, value.version],
    [0x04, value.guest_svn],
    [0x30, value.vmpl],
    [0x34, value.sig_algo],
    [0x48, value.key_info],
  ];
}

function wideNumbersOf(value: KbsReport): (readonly [number, bigint])[] {
  return [
    [0x08, value.policy],
    [0x40, value.plat_info],
    [0x1f8, value.launch_mit_vector ?? 0n],
    [0x200, value.current_mit_vector ?? 0n],
  ];
}

function byteStringsOf(value: KbsReport): (readonly [number, readonly number[]])[] {
  const { current, committed } = value;
  return [
    [0x10, value.family_id],
    [0x20, value.image_id],
    [0x50, value.report_data],
    [0x90, value.measurement],
    [0xc0, value.host_data],
    [0xe0, value.id_key_digest],
    [0x110, value.author_key_digest],
    [0x140, value.report_id],
    [0x160, value.report_id_ma],
    [0x188, [value.cpuid_fam_id ?? 0, value.cpuid_mod_id ?? 0, value.cpuid_step ?? 0]],
    [0x1a0, value.chip_id],
    [0x1e8, [current.build, current.minor, current.major]],
    [0x1ec, [committed.build, committed.minor, committed.major]],
    [0x2a0, value.signature.r],
    [0x2e8, value.signature.s],
  ];
}
