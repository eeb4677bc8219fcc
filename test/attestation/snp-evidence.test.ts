/** The forms in which SEV-SNP evidence arrives: report and certificate table, KBS JSON; and where its collateral lies. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseCertificateTable } from "../../src/attestation/snp/certificate-table.ts";
import { parseSnpReport } from "../../src/attestation/snp/evidence.ts";
import { kdsChainUrl, kdsCrlUrl, kdsUrl } from "../../src/attestation/snp/kds.ts";
import { productOfCpuid, readTcb, writeTcb } from "../../src/attestation/snp/products.ts";
import { snpProfile } from "../../src/attestation/snp/profile.ts";
import { createSnpVerifier, parseSnpEvidence } from "../../src/attestation/snp/verifier.ts";
import { concatBytes, ModelkeepError, utf8 } from "../../src/base/index.ts";
import {
  CHIP,
  makePlatform,
  makeReport,
  makeVek,
  NOW,
  type ReportOptions,
  signReport,
  TCB,
  TURIN_TCB,
  usualCrl,
  writeReport,
} from "./support/snp.ts";
import { reportToKbs, writeTable } from "./support/snp-forms.ts";

const refused = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;

const genoa = makePlatform();
const vcek = makeVek(genoa);
const bound = new Uint8Array(64).fill(0x11);
const verifier = createSnpVerifier({
  profile: snpProfile.parse({ minimum_tcb: { Genoa: TCB, Turin: TURIN_TCB } }),
  chain: [genoa.ark.der],
  crls: [usualCrl(genoa)],
  anchors: genoa.anchors,
});
const judge = (data: Uint8Array, expected = bound) => verifier.verify({ kind: "snp", data }, expected, NOW);

const VCEK = "63da758d-e664-4564-adc5-f4b93be8accd";
const VLEK = "a8074bc2-a25a-483e-aae6-39c045a0b8a1";
const ASK = "4ab7b379-bbac-4fe4-a02f-05aef327c782";
const OTHER = "00112233-4455-6677-8899-aabbccddeeff";

test("a report with the host's table is accepted; the root may come from the configuration", async () => {
  const table = writeTable([
    [VCEK, vcek.der],
    [ASK, genoa.ask.der],
    [OTHER, utf8("anything")],
  ]);
  const report = makeReport(vcek);
  const claims = await judge(concatBytes(report, table));
  assert.equal(claims.measurement, "22".repeat(48));
  assert.equal(claims.debug, false);
  await assert.rejects(judge(report), refused("snp.vek.present"));
  await assert.rejects(judge(concatBytes(report, table), new Uint8Array(64)), refused("snp.report-data"));
});

test("a certificate table: kinds by GUID, in both orders of bytes", () => {
  const entries = [
    [VCEK, Uint8Array.of(1, 2)],
    [OTHER, Uint8Array.of(3)],
  ] as const;
  for (const mixed of [false, true]) {
    const [first, second] = parseCertificateTable(writeTable(entries, mixed));
    assert.deepEqual([first?.kind, first?.data], ["VCEK", Uint8Array.of(1, 2)]);
    assert.equal(second?.kind, "other");
  }
  const others = (count: number) =>
    Array.from(
      { length: count },
      (_, index) => [`00112233-4455-6677-8899-${String(index).padStart(12, "0")}`, CHIP] as const,
    );
  assert.equal(parseCertificateTable(writeTable(others(16))).length, 16);
  assert.throws(() => parseCertificateTable(writeTable(others(17))), refused("snp.table.format"));
  assert.deepEqual(parseCertificateTable(new Uint8Array()), []);
  assert.deepEqual(parseCertificateTable(new Uint8Array(4096)), []);
});

test("a certificate table that points outside, into its head, nowhere, or names a kind twice is refused", () => {
  const good = writeTable([[VCEK, Uint8Array.of(1, 2)]]);
  const changed = (write: (view: DataView) => void) => {
    const bytes = good.slice();
    write(new DataView(bytes.buffer));
    return bytes;
  };
  const wrong = [
    changed((view) => view.setUint32(16, 0, true)),
    changed((view) => view.setUint32(16, 47, true)),
    changed((view) => view.setUint32(16, 0xffff_ffff, true)),
    changed((view) => view.setUint32(20, 0xffff_ffff, true)),
    changed((view) => view.setUint32(20, 3, true)),
    changed((view) => view.setUint32(20, 0, true)),
    writeTable([
      [VCEK, Uint8Array.of(1)],
      [VCEK, Uint8Array.of(2)],
    ]),
    new Uint8Array(4096).fill(1),
    good.subarray(0, 24),
    Uint8Array.of(0),
  ];
  for (const table of wrong) assert.throws(() => parseCertificateTable(table), refused("snp.table.format"));
  assert.throws(() => parseCertificateTable(new Uint8Array(64 * 1024 + 1)), refused("snp.table.size"));
});

test("a certificate table cut at any place never crashes", () => {
  const table = writeTable([
    [VCEK, vcek.der],
    [VLEK, utf8("x")],
  ]);
  for (let length = 1; length < table.length; length++)
    assert.throws(() => parseCertificateTable(table.subarray(0, length)), refused("snp.table.format"));
});

test("trap 6: JSON of a report becomes the report again, for every version and product (property)", () => {
  const variants: readonly ReportOptions[] = [
    { version: 2 },
    { version: 3 },
    { version: 5 },
    { version: 5, product: "Turin" },
  ];
  fc.assert(
    fc.property(fc.constantFrom(...variants), fc.uint8Array({ minLength: 0x20, maxLength: 0x20 }), (options, noise) => {
      const report = writeReport({ ...options, change: (out) => out.set(noise, 0x140) });
      const policy = report.readBigUInt64LE(8);
      report.writeBigUInt64LE(policy | ((noise[0] ?? 0) > 127 ? 1n << 63n : 0n), 8);
      const raw = signReport(report, vcek);
      const json = utf8(reportToKbs(raw, { cert_chain: null }));
      assert.deepEqual(parseSnpEvidence(json).report, raw);
    }),
    { numRuns: 60 },
  );
});

test("KBS evidence with the chain is accepted; other certificates in it are passed over", async () => {
  const cert_chain = [
    { cert_type: "VCEK", data: [...vcek.der] },
    { cert_type: { OTHER }, data: [1, 2, 3] },
    { cert_type: "ASK", data: [...genoa.ask.der] },
  ];
  const claims = await judge(utf8(reportToKbs(makeReport(vcek), { cert_chain })));
  assert.equal(claims.kind, "snp");
});

test("trap 31: JSON with a key twice, numbers out of range or members that nobody knows is refused", () => {
  const text = reportToKbs(makeReport(vcek), { cert_chain: null });
  const wrong = [
    text.replace('"vmpl":0', '"vmpl":0,"vmpl":0'),
    text.replace('"policy":196608', '"policy":1.5'),
    text.replace('"policy":196608', '"policy":-1'),
    text.replace('"policy":196608', '"policy":18446744073709551616'),
    text.replace('"policy":196608', '"policy":1e400'),
    text.replace('"policy":196608', '"policy":"196608"'),
    text.replace('"guest_svn":0', '"guest_svn":4294967296'),
    text.replace('"family_id":[0', '"family_id":[256'),
    text.replace('"family_id":[0,', '"family_id":['),
    text.replace('"vmpl":0', '"vmpl":0,"more":1'),
    text.replace('"fmc":null', '"fmc":1'),
    text.replace('"vmpl":0', '"__proto__":0,"vmpl":0'),
    text.slice(0, -1),
    `${text}x`,
    "{}",
    "{",
  ];
  for (const one of wrong) {
    assert.notEqual(one, text);
    assert.throws(() => parseSnpEvidence(utf8(one)), refused("snp.evidence.format"), one.slice(0, 80));
  }
});

test("trap 31: 64 bits of a policy survive, beyond what a double can hold", () => {
  const text = reportToKbs(makeReport(vcek), { cert_chain: null });
  const wide = text.replace('"policy":196608', '"policy":18446744073709551615');
  assert.equal(parseSnpReport(parseSnpEvidence(utf8(wide)).report).policy, (1n << 64n) - 1n);
  const odd = text.replace('"plat_info":37', '"plat_info":9007199254740993');
  assert.equal(parseSnpReport(parseSnpEvidence(utf8(odd)).report).platformInfo, 9007199254740993n);
});

test("addresses of AMD's key service", () => {
  const milan = parseSnpReport(
    makeReport(vcek, { product: "Milan", tcb: { bootloader: 3, tee: 0, snp: 8, microcode: 115 } }),
  );
  const chip = Buffer.from(CHIP).toString("hex");
  assert.equal(
    kdsUrl(milan),
    `https://kdsintf.amd.com/vcek/v1/Milan/${chip}?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115`,
  );
  const turin = parseSnpReport(makeReport(vcek, { product: "Turin" }));
  assert.equal(
    kdsUrl(turin),
    "https://kdsintf.amd.com/vcek/v1/Turin/0102030405060708?fmcSPL=01&blSPL=10&teeSPL=00&snpSPL=27&ucodeSPL=27",
  );
  assert.equal(kdsChainUrl("Genoa"), "https://kdsintf.amd.com/vcek/v1/Genoa/cert_chain");
  assert.equal(kdsChainUrl("Turin", "vlek"), "https://kdsintf.amd.com/vlek/v1/Turin/cert_chain");
  assert.equal(kdsCrlUrl("Milan"), "https://kdsintf.amd.com/vcek/v1/Milan/crl");
  const version2 = parseSnpReport(makeReport(vcek, { version: 2 }));
  assert.throws(() => kdsUrl(version2), refused("snp.product.known"));
  const masked = parseSnpReport(makeReport(vcek, { chip: new Uint8Array(64) }));
  assert.throws(() => kdsUrl(masked), refused("snp.chip.masked"));
});

test("trap 2: models and their products, at every border", () => {
  const cases = [
    [0x19, 0x00, "Milan"],
    [0x19, 0x0f, "Milan"],
    [0x19, 0x10, "Genoa"],
    [0x19, 0x1f, "Genoa"],
    [0x19, 0x20, undefined],
    [0x19, 0x9f, undefined],
    [0x19, 0xa0, "Genoa"],
    [0x19, 0xaf, "Genoa"],
    [0x19, 0xb0, undefined],
    [0x1a, 0x00, "Turin"],
    [0x1a, 0x11, "Turin"],
    [0x1a, 0x12, undefined],
    [0x17, 0x31, undefined],
  ] as const;
  for (const [family, model, product] of cases) assert.equal(productOfCpuid(family, model), product);
});

test("trap 1: firmware versions survive being written and read, in both orders (property)", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 5, maxLength: 5 }), ([bootloader, tee, snp, microcode, fmc]) => {
      const tcb = { bootloader, tee, snp, microcode } as Record<string, number>;
      const parts = { bootloader: 0, tee: 0, snp: 0, microcode: 0, ...tcb };
      assert.deepEqual(readTcb(writeTcb(parts, 0x19), 0x19), parts);
      assert.deepEqual(readTcb(writeTcb({ fmc: fmc ?? 0, ...parts }, 0x1a), 0x1a), { fmc, ...parts });
    }),
  );
});

test("the profile: strict values where nothing is said, and nothing that it does not know", () => {
  const profile = snpProfile.parse({});
  assert.deepEqual(profile.products, ["Genoa", "Turin"]);
  for (const key of ["allow_debug", "allow_any_tcb", "allow_provisional_firmware", "allow_masked_chip_id"] as const)
    assert.equal(profile[key], false);
  assert.equal(profile.require_crl, true);
  assert.deepEqual([profile.vmpl, profile.migration_agents, profile.vlek_csp_ids], [[0], [], []]);
  const wrong = [
    { allow_degub: true },
    { products: ["Naples"] },
    { measurements: ["22".repeat(47)] },
    { measurements: ["AB".repeat(48)] },
    { chip_ids: ["00".repeat(63)] },
    { vmpl: [4] },
    { minimum_tcb: { Genoa: { snp: 256 } } },
    { minimum_tcb: { Genua: {} } },
    { required_mitigations: "3" },
    { required_platform: ["everything"] },
  ];
  for (const one of wrong) assert.equal(snpProfile.safeParse(one).success, false, JSON.stringify(one));
  const [short] = snpProfile.parse({ chip_ids: ["0102030405060708"] }).chip_ids ?? [];
  assert.equal(short, "0102030405060708".padEnd(128, "0"));
});

test("any bytes as evidence end in a refusal, never in another error (property)", async () => {
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
  const text = reportToKbs(makeReport(vcek), { cert_chain: [{ cert_type: "VCEK", data: [...vcek.der] }] });
  const raw = concatBytes(makeReport(vcek), writeTable([[VCEK, vcek.der]]));
  const inputs = fc.oneof(
    fc.uint8Array({ maxLength: 3000 }),
    fc.tuple(fc.nat(raw.length - 1), fc.nat(255)).map(([at, value]) => {
      const changed = raw.slice();
      changed[at] = value;
      return changed;
    }),
    fc
      .tuple(fc.nat(text.length), fc.string(), fc.nat(20))
      .map(([at, insert, cut]) => utf8(text.slice(0, at) + insert + text.slice(at + cut + 1))),
  );
  await fc.assert(
    fc.asyncProperty(inputs, async (data) => {
      await assert.rejects(
        judge(data, new Uint8Array(64)),
        (error) => error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED",
      );
    }),
    seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 },
  );
});
