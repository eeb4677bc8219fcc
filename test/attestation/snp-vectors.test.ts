/** Every recorded SEV-SNP case with its verdict at its time, and the traps that recorded evidence can show. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { parseSnpReport } from "../../src/attestation/snp/evidence.ts";
import { kdsUrl } from "../../src/attestation/snp/kds.ts";
import { readTcb } from "../../src/attestation/snp/products.ts";
import { snpProfile } from "../../src/attestation/snp/profile.ts";
import { createSnpVerifier, parseSnpEvidence } from "../../src/attestation/snp/verifier.ts";
import { verifySnp } from "../../src/attestation/snp/verify.ts";
import { ModelkeepError, parseJson, utf8 } from "../../src/base/index.ts";
import { parseCertificate } from "../../src/codec/index.ts";
import { ABSENT, CASES, ROOTS, readCertificates, readKbsEvidence, type SnpCase } from "./support/snp-vectors.ts";

const skip = ABSENT;
const day = (text: string) => Date.parse(`${text}T00:00:00Z`);

/** No AMD revocation list was recorded, and the recorded platforms have all kinds of firmware. */
const recorded = { require_crl: false, allow_any_tcb: true } as const;

function judge(evidence: SnpCase, at: string, profile: object = {}, expectedReportData?: Uint8Array) {
  const options = expectedReportData ? { expectedReportData } : {};
  const verdict = verifySnp({
    ...evidence,
    crls: [],
    profile: snpProfile.parse({ ...recorded, ...profile }),
    now: day(at),
    ...options,
  });
  return { ...verdict, failed: verdict.rules.filter(({ result }) => result === "failed").map(({ id }) => id) };
}

function accepted(evidence: SnpCase, at: string, profile: object = {}): void {
  const { verdict, failed } = judge(evidence, at, profile);
  assert.deepEqual(failed, []);
  assert.equal(verdict, "accepted");
}

function refused(evidence: SnpCase, at: string, rules: readonly string[], profile: object = {}): void {
  const { verdict, failed } = judge(evidence, at, profile);
  assert.deepEqual(failed, rules);
  assert.equal(verdict, "refused");
}

const milan = { products: ["Milan"], required_platform: [] };
const vlek = {
  products: ["Milan"],
  vlek_csp_ids: ["CN=cc-us-east-2.amazonaws.com"],
  allow_masked_chip_id: true,
  vmpl: [1],
};

test("milan-v2-debug: refused as a debug guest; accepted at 2023-01-01 when debugging is allowed", { skip }, () => {
  refused(CASES.milanDebug(), "2023-01-01", ["snp.policy.debug"], milan);
  accepted(CASES.milanDebug(), "2023-01-01", { ...milan, allow_debug: true });
  assert.equal(judge(CASES.milanDebug(), "2023-01-01", milan).claims?.debug, true);
});

test("milan-v2-azure: accepted at 2024-01-01 where Milan is named", { skip }, () => {
  accepted(CASES.milanAzure(), "2024-01-01", milan);
  const withoutName = ["snp.product.allowed", "snp.platform.required.alias_check_complete"];
  refused(CASES.milanAzure(), "2024-01-01", withoutName);
});

test("milan-v3-aws-vlek-vmpl1: accepted at 2025-06-01 only with provider, masked chip and VMPL 1", { skip }, () => {
  accepted(CASES.milanVlek(), "2025-06-01", vlek);
  refused(CASES.milanVlek(), "2025-06-01", ["snp.vmpl"], { ...vlek, vmpl: [0] });
  refused(CASES.milanVlek(), "2025-06-01", ["snp.vek.provider"], { ...vlek, vlek_csp_ids: ["CN=other"] });
  refused(CASES.milanVlek(), "2025-06-01", ["snp.vek.provider", "snp.chip.masked", "snp.vmpl"], {
    products: ["Milan"],
  });
});

test("untrusted-vcek: refused with every report", { skip }, () => {
  const stranger = readCertificates("untrusted-vcek/vcek-invalid-legacy.der");
  const cases = [
    [CASES.milanDebug(), "2023-01-01"],
    [CASES.milanAzure(), "2024-01-01"],
    [CASES.genoa(), "2026-06-01"],
    [CASES.turin(), "2026-06-01"],
  ] as const;
  for (const [{ report, certificates }, at] of cases) {
    const { failed } = judge({ report, certificates: [...stranger, ...certificates.slice(1)] }, at, milan);
    assert.ok(failed.some((rule) => rule.startsWith("snp.chain.")));
    assert.ok(failed.includes("snp.report.signature"));
  }
});

test("genoa-v3-kbs-json: accepted at 2025-08-01 after it was put together again", { skip }, () => {
  const { report, certificates } = parseSnpEvidence(readKbsEvidence());
  accepted({ report, certificates: [...certificates, ...readCertificates(ROOTS.genoa)] }, "2025-08-01");
});

test("genoa-v5: accepted at 2026-06-01", { skip }, () => {
  accepted(CASES.genoa(), "2026-06-01");
  const { claims } = judge(CASES.genoa(), "2026-06-01");
  assert.match(Buffer.from(claims?.reportData ?? []).toString("latin1"), /^hello-attest/);
  assert.deepEqual(claims?.tcb.reported, { bootloader: 10, tee: 0, snp: 27, microcode: 27 });
  assert.deepEqual(claims?.mitigations, { launch: 11n, current: 11n });
});

test("turin-v5: accepted at 2026-06-01", { skip }, () => {
  accepted(CASES.turin(), "2026-06-01");
  assert.equal(judge(CASES.turin(), "2026-06-01").claims?.product, "Turin");
});

test("roots: the chains of VCEK and VLEK end at the pins, and at those of their own product alone", { skip }, () => {
  const others = { ...CASES.genoa(), certificates: [...CASES.genoa().certificates.slice(0, 1)] };
  for (const root of [ROOTS.milan, ROOTS.turin]) {
    const { failed } = judge(
      { ...others, certificates: [...others.certificates, ...readCertificates(root)] },
      "2026-06-01",
    );
    assert.deepEqual(failed, ["snp.chain.no-path"]);
  }
});

test("with nothing named, every recorded case is refused", { skip }, () => {
  const cases = [
    [CASES.milanDebug(), "2023-01-01"],
    [CASES.milanAzure(), "2024-01-01"],
    [CASES.milanVlek(), "2025-06-01"],
    [CASES.genoa(), "2026-06-01"],
    [CASES.turin(), "2026-06-01"],
  ] as const;
  for (const [evidence, at] of cases) {
    const verdict = verifySnp({ ...evidence, crls: [], profile: snpProfile.parse({}), now: day(at) });
    const failed = verdict.rules.filter(({ result }) => result === "failed").map(({ id }) => id);
    assert.equal(verdict.verdict, "refused");
    assert.ok(failed.includes("snp.crl.present") && failed.includes("snp.tcb.minimum"));
  }
});

test("a swapped VCEK is noticed by signature, firmware and chip", { skip }, () => {
  const [azureVcek = new Uint8Array()] = CASES.milanAzure().certificates;
  const { report, certificates } = CASES.milanDebug();
  const swapped = { report, certificates: [azureVcek, ...certificates.slice(1)] };
  const rules = ["snp.report.signature", "snp.vek.tcb", "snp.vek.chip"];
  refused(swapped, "2024-01-01", rules, { ...milan, allow_debug: true });
});

test("the dates of every certificate count", { skip }, () => {
  refused(CASES.genoa(), "2033-02-18", ["snp.chain.expired"]);
  refused(CASES.genoa(), "2026-02-17", ["snp.chain.not-yet-valid"]);
  refused(CASES.genoa(), "2050-01-01", ["snp.chain.expired"]);
  refused(CASES.turin(), "2026-02-01", ["snp.chain.not-yet-valid"]);
});

test("trap 1: Turin counts its firmware in another order, and its chip has 8 bytes", { skip }, () => {
  const report = parseSnpReport(CASES.turin().report);
  assert.deepEqual(report.tcb.reported, { fmc: 1, bootloader: 1, tee: 1, snp: 4, microcode: 0x51 });
  const naive = readTcb(report.raw.subarray(0x180, 0x188), 0x19);
  assert.deepEqual(naive, { bootloader: 1, tee: 1, snp: 0, microcode: 0x51 });
  assert.match(kdsUrl(report), /\/Turin\/[0-9a-f]{16}\?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=81$/);
});

test("trap 2: family 0x19, model 0xA0 belongs to Genoa", { skip }, () => {
  const report = parseSnpReport(CASES.genoa().report);
  assert.equal(report.cpuid?.model, 0xa0);
  assert.equal(report.product, "Genoa");
});

test("trap 3: a serial number of zero is legal, and the salt of the signature has 48 bytes", { skip }, () => {
  const [vcek] = CASES.milanDebug().certificates.map((der) => parseCertificate(der));
  assert.equal(vcek?.serialNumber, 0n);
  assert.deepEqual(vcek?.signatureAlgorithm, { kind: "rsa-pss", hash: "sha384", saltBytes: 48 });
  accepted(CASES.milanDebug(), "2023-01-01", { ...milan, allow_debug: true });
});

test("trap 4: the hardware id stands in its extension as it is", { skip }, () => {
  const hardwareIdOf = ({ certificates }: SnpCase) =>
    certificates[0] && parseCertificate(certificates[0]).extensions.get("1.3.6.1.4.1.3704.1.4")?.value;
  const genoa = parseSnpReport(CASES.genoa().report);
  assert.deepEqual(hardwareIdOf(CASES.genoa()), genoa.chipId.slice());
  assert.deepEqual(hardwareIdOf(CASES.turin()), parseSnpReport(CASES.turin().report).chipId.slice(0, 8));
});

test("trap 5: the signature is little-endian, and its padding is zero", { skip }, () => {
  const { report, certificates } = CASES.genoa();
  for (const place of [0x2a0 + 48, 0x2a0 + 71, 0x2a0 + 120, 0x2a0 + 143, 0x2a0 + 144, 0x49f]) {
    const changed = report.slice();
    changed[place] = 1;
    refused({ report: changed, certificates }, "2026-06-01", ["snp.report.signature-padding"]);
  }
  const turned = report.slice();
  turned.set(report.slice(0x2a0, 0x2a0 + 48).reverse(), 0x2a0);
  refused({ report: turned, certificates }, "2026-06-01", ["snp.report.signature"]);
});

test("trap 6: the JSON of a report becomes exactly the bytes that were signed", { skip }, () => {
  const value = parseJson(readKbsEvidence()) as { attestation_report: Record<string, unknown> };
  const { report, certificates } = parseSnpEvidence(readKbsEvidence());
  const all = [...certificates, ...readCertificates(ROOTS.genoa)];
  assert.deepEqual(parseSnpReport(report).tcb.reported, { bootloader: 10, tee: 0, snp: 23, microcode: 25 });
  for (const change of [{ guest_svn: 1 }, { plat_info: 36 }, { vmpl: 1 }, { cpuid_step: 1 }, { key_info: 1 }]) {
    const changed = { ...value, attestation_report: { ...value.attestation_report, ...change } };
    const other = parseSnpEvidence(utf8(JSON.stringify(changed)));
    const { failed } = judge({ report: other.report, certificates: all }, "2025-08-01");
    assert.ok(failed.includes("snp.report.signature"), JSON.stringify(change));
  }
});

test("trap 7: the certificate is of the reported firmware, not of the current", { skip }, () => {
  const { tcb } = parseSnpReport(CASES.milanAzure().report);
  assert.equal(tcb.reported.microcode, 0x73);
  assert.equal(tcb.current.microcode, 0xce);
  accepted(CASES.milanAzure(), "2024-01-01", milan);
  const url = kdsUrl(parseSnpReport(CASES.milanAzure().report), "Milan");
  assert.match(url, /\/vcek\/v1\/Milan\/[0-9a-f]{128}\?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115$/);
});

test("trap 8: a masked chip id, and a VLEK that lives a year", { skip }, () => {
  refused(CASES.milanVlek(), "2025-06-01", ["snp.chip.masked"], { ...vlek, allow_masked_chip_id: false });
  refused(CASES.milanVlek(), "2026-01-01", ["snp.chain.expired"], vlek);
  assert.throws(() => kdsUrl(parseSnpReport(CASES.milanVlek().report)), ModelkeepError);
});

test("trap 17: the debug bit of the policy is number 19", { skip }, () => {
  const { policy } = parseSnpReport(CASES.milanDebug().report);
  assert.equal(policy, 0xb0000n);
  refused(CASES.milanDebug(), "2023-01-01", ["snp.policy.debug"], milan);
});

test("trap 18: all 64 bytes of the report data count, its zeros too", { skip }, () => {
  const evidence = CASES.milanDebug();
  const profile = { ...milan, allow_debug: true };
  const bound = parseSnpReport(evidence.report).reportData.slice();
  assert.deepEqual([...bound.subarray(0, 6)], [1, 2, 3, 4, 5, 0]);
  assert.deepEqual(judge(evidence, "2023-01-01", profile, bound).failed, []);
  for (const place of [0, 5, 63]) {
    const other = bound.slice();
    other[place] = 9;
    assert.deepEqual(judge(evidence, "2023-01-01", profile, other).failed, ["snp.report-data"]);
  }
  const short = bound.subarray(0, 5);
  assert.deepEqual(judge(evidence, "2023-01-01", profile, short).failed, ["snp.report-data"]);
});

test("trap 30: Node alone would take the expired and the stranger; the chain does not", { skip }, () => {
  const [vlekDer = new Uint8Array(), asvkDer = new Uint8Array()] = CASES.milanVlek().certificates;
  assert.equal(new X509Certificate(vlekDer).verify(new X509Certificate(asvkDer).publicKey), true);
  refused(CASES.milanVlek(), "2026-01-01", ["snp.chain.expired"], vlek);
});

test("the verifier: report and table, report and configured chain, KBS JSON", { skip }, async () => {
  const profile = snpProfile.parse(recorded);
  const chain = [...readCertificates(ROOTS.genoa), ...readCertificates(ROOTS.turin)];
  const verifier = createSnpVerifier({ profile, chain });
  const data = readKbsEvidence();
  const bound = parseSnpReport(parseSnpEvidence(data).report).reportData.slice();
  const claims = await verifier.verify({ kind: "snp", data }, bound, day("2025-08-01"));
  assert.equal(claims.debug, false);
  assert.match(claims.measurement, /^[0-9a-f]{96}$/);
  assert.deepEqual(claims.reportData, bound);
  const other = bound.slice().fill(0, 63);
  other[0] = (other[0] ?? 0) ^ 1;
  const refusal = (rule: string) => (error: unknown) =>
    error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;
  await assert.rejects(verifier.verify({ kind: "snp", data }, other, day("2025-08-01")), refusal("snp.report-data"));
  const strict = createSnpVerifier({ profile: snpProfile.parse({ require_crl: false }), chain });
  await assert.rejects(strict.verify({ kind: "snp", data }, bound, day("2025-08-01")), refusal("snp.tcb.minimum"));
  await assert.rejects(verifier.verify({ kind: "tdx", data }, bound, day("2025-08-01")), refusal("evidence.kind"));
});
