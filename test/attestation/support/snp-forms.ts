/** Writes the forms in which SEV-SNP evidence travels: the certificate table of a host, and the JSON of the KBS protocol. */
import { concatBytes } from "../../../src/base/index.ts";

/** Entries of {guid, offset, length}, a zero entry, then the data. */
export function writeTable(entries: readonly (readonly [string, Uint8Array])[], mixedGuids = false): Uint8Array {
  const head = Buffer.alloc((entries.length + 1) * 24);
  let offset = head.length;
  for (const [index, [guid, { length }]] of entries.entries()) {
    const bytes = Buffer.from(guid.replaceAll("-", ""), "hex");
    if (mixedGuids)
      for (const [from, to] of [
        [0, 4],
        [4, 6],
        [6, 8],
      ] as const)
        bytes.subarray(from, to).reverse();
    bytes.copy(head, index * 24);
    head.writeUInt32LE(offset, index * 24 + 16);
    head.writeUInt32LE(length, index * 24 + 20);
    offset += length;
  }
  return concatBytes(head, ...entries.map(([, data]) => data));
}

/** A report taken apart, as text: its 64-bit numbers are written in full. */
export function reportToKbs(raw: Uint8Array, more: { readonly cert_chain: unknown }): string {
  const bytes = Buffer.from(raw);
  const list = (from: number, length: number) => [...bytes.subarray(from, from + length)];
  const wide = (place: number) => `<${bytes.readBigUInt64LE(place)}>`;
  const version = bytes.readUInt32LE(0);
  const turin = version >= 3 && bytes[0x188] === 0x1a;
  const tcb = (place: number) => {
    const [bootloader, tee, snp] = turin ? [1, 2, 3] : [0, 1, 6];
    const at = (part = 0) => bytes[place + part];
    return { fmc: turin ? at(0) : null, bootloader: at(bootloader), tee: at(tee), snp: at(snp), microcode: at(7) };
  };
  const firmware = (place: number) => ({ major: bytes[place + 2], minor: bytes[place + 1], build: bytes[place] });
  const cpuid = (place: number) => (version >= 3 ? bytes[place] : null);
  const attestation_report = {
    version,
    guest_svn: bytes.readUInt32LE(4),
    policy: wide(8),
    family_id: list(0x10, 16),
    image_id: list(0x20, 16),
    vmpl: bytes.readUInt32LE(0x30),
    sig_algo: bytes.readUInt32LE(0x34),
    current_tcb: tcb(0x38),
    plat_info: wide(0x40),
    key_info: bytes.readUInt32LE(0x48),
    report_data: list(0x50, 64),
    measurement: list(0x90, 48),
    host_data: list(0xc0, 32),
    id_key_digest: list(0xe0, 48),
    author_key_digest: list(0x110, 48),
    report_id: list(0x140, 32),
    report_id_ma: list(0x160, 32),
    reported_tcb: tcb(0x180),
    cpuid_fam_id: cpuid(0x188),
    cpuid_mod_id: cpuid(0x189),
    cpuid_step: cpuid(0x18a),
    chip_id: list(0x1a0, 64),
    committed_tcb: tcb(0x1e0),
    current: firmware(0x1e8),
    committed: firmware(0x1ec),
    launch_tcb: tcb(0x1f0),
    ...(version >= 5 ? { launch_mit_vector: wide(0x1f8), current_mit_vector: wide(0x200) } : {}),
    signature: { r: list(0x2a0, 72), s: list(0x2e8, 72) },
  };
  return JSON.stringify({ attestation_report, ...more }).replace(/"<(\d+)>"/g, "$1");
}
