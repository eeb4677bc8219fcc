/** What nobody recorded, by a platform of our own: every rule of SEV-SNP broken alone, lists, look-alikes, flipped bits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SNP_PRODUCTS } from "../../src/attestation/snp/products.ts";
import { snpProfile } from "../../src/attestation/snp/profile.ts";
import { verifySnp } from "../../src/attestation/snp/verify.ts";
import { ia5String, makeAuthority, makeKeys, octets, type Party } from "../support/der-writer.ts";
import {
  amdName,
  CHIP,
  CSP,
  DAY,
  makeAmdCrl,
  makePlatform,
  makeReport,
  makeVek,
  NOW,
  type Platform,
  type ReportOptions,
  signReport,
  TCB,
  TURIN_CHIP,
  TURIN_TCB,
  usualCrl,
  writeReport,
} from "./support/snp.ts";

const minimum_tcb = { Milan: TCB, Genoa: TCB, Turin: TURIN_TCB };
const genoa = makePlatform();
const vcek = makeVek(genoa);

interface Scene {
  readonly platform?: Platform;
  readonly vek?: Party;
  readonly report?: ReportOptions;
  readonly reportBytes?: Uint8Array;
  readonly certificates?: readonly Uint8Array[];
  readonly crls?: readonly Uint8Array[];
  readonly profile?: object;
  readonly now?: number;
}

function judge(scene: Scene = {}) {
  const { platform = genoa, vek = vcek, now = NOW } = scene;
  const verdict = verifySnp({
    report: scene.reportBytes ?? makeReport(vek, { product: platform.product, ...scene.report }),
    certificates: scene.certificates ?? [vek.der, platform.ask.der, platform.ark.der],
    crls: scene.crls ?? [usualCrl(platform)],
    profile: snpProfile.parse({ minimum_tcb, ...scene.profile }),
    now,
    anchors: platform.anchors,
  });
  const failed = verdict.rules.filter(({ result }) => result === "failed").map(({ id }) => id);
  assert.equal(verdict.verdict, failed.length === 0 ? "accepted" : "refused");
  return { ...verdict, failed };
}

const failedRules = (scene: Scene) => judge(scene).failed;
const change = (write: (report: Buffer) => void): Scene => ({ report: { change: write } });

test("a sound guest is accepted on each product, with its key or its provider's", () => {
  for (const product of SNP_PRODUCTS) {
    const platform = product === "Genoa" ? genoa : makePlatform({ product });
    const vek = makeVek(platform, { productName: product === "Milan" ? "Milan-B0" : product });
    const { failed, claims, collateral } = judge({ platform, vek, profile: { products: [product] } });
    assert.deepEqual(failed, []);
    assert.equal(claims?.product, product);
    assert.equal(claims?.measurement, "22".repeat(48));
    assert.ok(collateral && collateral.issuedAt < NOW && collateral.nextUpdateAt > NOW);
  }
  const platform = makePlatform({ kind: "VLEK" });
  const vek = makeVek(platform, { kind: "VLEK" });
  const profile = { vlek_csp_ids: [CSP] };
  assert.deepEqual(failedRules({ platform, vek, report: { signingKey: 1 }, profile }), []);
  assert.equal(judge({ platform, vek, report: { signingKey: 1 }, profile }).claims?.cspId, CSP);
  assert.deepEqual(failedRules({ platform, vek, report: { signingKey: 1 } }), ["snp.vek.provider"]);
});

test("each rule of the guest refuses alone", () => {
  const policy = (value: bigint) => change((report) => report.writeBigUInt64LE(value, 8));
  const cases: readonly (readonly [string, Scene])[] = [
    ["snp.policy.debug", policy(0xb_0000n)],
    ["snp.policy.migration", policy(0x7_0000n)],
    ["snp.policy.reserved", policy(0x1_0000n)],
    ["snp.policy.reserved", policy(0x400_0000n | 0x3_0000n)],
    ["snp.policy.reserved", policy((1n << 63n) | 0x3_0000n)],
    ["snp.policy.smt", { profile: { allow_smt: false } }],
    ["snp.policy.single-socket", { profile: { require_single_socket: true } }],
    ["snp.policy.abi", { profile: { minimum_abi: { major: 0, minor: 1 } } }],
    ["snp.policy.abi", { ...policy(0x3_0136n), profile: { minimum_abi: { major: 2, minor: 0 } } }],
    ["snp.policy.migration", change((report) => report.fill(7, 0x160, 0x180))],
    ["snp.vmpl", change((report) => report.writeUInt32LE(1, 0x30))],
    ["snp.vmpl", change((report) => report.writeUInt32LE(0xffff_ffff, 0x30))],
    ["snp.guest-svn", { profile: { minimum_guest_svn: 1 } }],
    ["snp.measurement", { profile: { measurements: ["23".repeat(48)] } }],
    ["snp.measurement", { profile: { measurements: [] } }],
    ["snp.host-data", { profile: { host_data: ["01".repeat(32)] } }],
    ["snp.id-key", { profile: { id_key_digests: ["01".repeat(48)] } }],
    ["snp.author-key", { profile: { author_key_digests: ["00".repeat(48)] } }],
    ["snp.family-id", { profile: { family_ids: ["01".repeat(16)] } }],
    ["snp.image-id", { profile: { image_ids: ["01".repeat(16)] } }],
  ];
  for (const [rule, scene] of cases) assert.deepEqual(failedRules(scene), [rule], rule);
});

test("what the profile names is accepted", () => {
  const policy = (value: bigint) => change((report) => report.writeBigUInt64LE(value, 8));
  const agent = "07".repeat(32);
  const scenes: readonly Scene[] = [
    { ...policy(0xb_0000n), profile: { allow_debug: true } },
    { ...policy(0x12_0000n), profile: { allow_smt: false, require_single_socket: true } },
    { ...policy(0x3_0136n), profile: { minimum_abi: { major: 1, minor: 54 } } },
    { ...policy(0x3_0200n), profile: { minimum_abi: { major: 1, minor: 54 } } },
    {
      ...policy(0x7_0000n),
      ...change((report) => report.fill(7, 0x160, 0x180)),
      profile: { migration_agents: [agent] },
    },
    { ...change((report) => report.writeUInt32LE(3, 0x30)), profile: { vmpl: [0, 3] } },
    { profile: { measurements: ["22".repeat(48)], host_data: ["00".repeat(32)], id_key_digests: ["00".repeat(48)] } },
    {
      ...change((report) => report.writeUInt8(1, 0x48)),
      profile: { author_key_digests: ["00".repeat(48)], chip_ids: [Buffer.from(CHIP).toString("hex")] },
    },
    { profile: { required_platform: ["ecc_enabled", "smt_enabled"], refused_platform: ["tsme_enabled"] } },
  ];
  for (const scene of scenes) assert.deepEqual(failedRules(scene), []);
});

test("each rule of the platform refuses alone", () => {
  const chip = Buffer.from(CHIP).toString("hex");
  const cases: readonly (readonly [string, Scene])[] = [
    ["snp.tcb.minimum", { profile: { minimum_tcb: { Turin: TURIN_TCB } } }],
    ["snp.tcb.reported.snp", tcbChange(0x180, 6, 26)],
    ["snp.tcb.launch.microcode", change((report) => report.writeUInt8(26, 0x1f7))],
    ["snp.tcb.order", change((report) => report.writeUInt8(26, 0x1e7))],
    ["snp.tcb.order", change((report) => report.writeUInt8(26, 0x3f))],
    ["snp.firmware.committed", change((report) => report.writeUInt8(50, 0x1e8))],
    ["snp.chip.refused", { profile: { refused_chip_ids: [chip] } }],
    ["snp.chip.allowed", { profile: { chip_ids: ["0".repeat(128)] } }],
    ["snp.platform.required.alias_check_complete", change((report) => report.writeUInt8(5, 0x40))],
    ["snp.platform.required.ciphertext_hiding", { profile: { required_platform: ["ciphertext_hiding"] } }],
    ["snp.platform.refused.smt_enabled", { profile: { refused_platform: ["smt_enabled"] } }],
    ["snp.mitigations", { profile: { required_mitigations: "0x1" } }],
    ["snp.mitigations", { ...mitigated(1, 3), profile: { required_mitigations: "0x2" } }],
    ["snp.mitigations", { ...mitigated(3, 1), profile: { required_mitigations: "0x2" } }],
    ["snp.product.allowed", { profile: { products: ["Turin"] } }],
    ["snp.report.reserved", change((report) => report.writeUInt8(1, 0x210))],
    ["snp.report.reserved", change((report) => report.writeUInt8(1, 0x3a))],
  ];
  for (const [rule, scene] of cases) assert.deepEqual(failedRules(scene), [rule], rule);
  assert.deepEqual(failedRules({ ...mitigated(3, 7), profile: { required_mitigations: "0x3" } }), []);
});

/** A report whose VCEK is of the changed firmware, so that only the minimum is broken. */
function tcbChange(offset: number, byte: number, value: number): Scene {
  return {
    vek: makeVek(genoa, { tcb: { ...TCB, snp: value } }),
    report: { change: (report) => report.writeUInt8(value, offset + byte) },
  };
}

function mitigated(launch: number, current: number): Scene {
  return change((report) => {
    report.writeUInt8(launch, 0x1f8);
    report.writeUInt8(current, 0x200);
  });
}

test("every part of the firmware has its own minimum and its own rule", () => {
  const turin = makePlatform({ product: "Turin" });
  const vek = makeVek(turin);
  for (const part of ["fmc", "bootloader", "tee", "snp", "microcode"] as const) {
    const need = { ...TURIN_TCB, [part]: (TURIN_TCB[part] ?? 0) + 1 };
    const failed = failedRules({ platform: turin, vek, profile: { minimum_tcb: { Turin: need } } });
    assert.deepEqual(failed, [`snp.tcb.reported.${part}`, `snp.tcb.launch.${part}`]);
  }
  // A part that the product does not have is never high enough.
  const asked = { minimum_tcb: { Genoa: { ...TCB, fmc: 0 } } };
  assert.deepEqual(failedRules({ profile: asked }), ["snp.tcb.reported.fmc", "snp.tcb.launch.fmc"]);
});

test("unknown processors, versions, algorithms and keys are refused", () => {
  for (const cpuid of [
    [0x19, 0x20],
    [0x19, 0xb0],
    [0x1a, 0x12],
    [0x1a, 0x50],
    [0x17, 0x31],
    [0, 0],
  ] as const) {
    const failed = failedRules({ report: { cpuid } });
    assert.ok(failed.includes("snp.product.known") && failed.includes("snp.product.allowed"), String(cpuid));
  }
  for (const version of [0, 1, 4, 6, 0xffff_ffff])
    assert.deepEqual(failedRules({ report: { version: 5, change: (r) => r.writeUInt32LE(version, 0) } }), [
      "snp.report.version",
    ]);
  assert.deepEqual(failedRules(change((report) => report.writeUInt32LE(2, 0x34))), ["snp.report.algorithm"]);
  for (const signingKey of [2, 3, 4, 5, 6, 7]) {
    const scene = change((report) => report.writeUInt32LE(signingKey << 2, 0x48));
    assert.deepEqual(failedRules(scene), ["snp.vek.present"]);
  }
});

test("the key that the report names must be the key of the certificate", () => {
  const asVlek = failedRules({ report: { signingKey: 1 } });
  assert.deepEqual(asVlek, ["snp.vek.present"]);
  const platform = makePlatform({ kind: "VLEK" });
  // A VCEK under the provider's authority, and a VLEK under the chips'.
  const crossed = failedRules({ platform, vek: makeVek(platform) });
  assert.deepEqual(crossed, ["snp.chain.profile", "snp.vek.product"]);
  const vlek = makeVek(genoa, { kind: "VLEK" });
  const profile = { vlek_csp_ids: [CSP] };
  const other = failedRules({ vek: vlek, report: { signingKey: 1 }, profile });
  assert.deepEqual(other, ["snp.chain.profile", "snp.vek.product"]);
});

test("a certificate of another chip, other firmware or another product is refused", () => {
  const reversed = CHIP.slice().reverse();
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { hardwareId: reversed }) }), ["snp.vek.chip"]);
  for (const part of ["bootloader", "tee", "snp", "microcode"] as const) {
    for (const step of [1, -1]) {
      const level = TCB[part] + step;
      if (level < 0) continue;
      const vek = makeVek(genoa, { tcb: { ...TCB, [part]: level } });
      assert.deepEqual(failedRules({ vek }), ["snp.vek.tcb"], `${part} ${level}`);
    }
  }
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { productName: "Milan-B0" }) }), ["snp.vek.product"]);
  const turin = makePlatform({ product: "Turin" });
  const longer = TURIN_CHIP.slice();
  longer[8] = 1;
  assert.deepEqual(failedRules({ platform: turin, vek: makeVek(turin), report: { chip: longer } }), ["snp.vek.chip"]);
});

test("trap 1: a Turin report read with the older order would pass for other firmware", () => {
  const turin = makePlatform({ product: "Turin" });
  const vek = makeVek(turin, { tcb: { ...TURIN_TCB, fmc: 2 } });
  assert.deepEqual(failedRules({ platform: turin, vek }), ["snp.vek.tcb"]);
  const withoutFmc = makeVek(turin, { tcb: TCB });
  assert.deepEqual(failedRules({ platform: turin, vek: withoutFmc }), ["snp.vek.extensions"]);
  const withFmc = makeVek(genoa, { tcb: TURIN_TCB });
  assert.deepEqual(failedRules({ vek: withFmc }), ["snp.vek.extensions"]);
});

test("trap 3: another salt or another algorithm in the chain is refused", () => {
  const certificate = { saltBytes: 32 };
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { certificate }) }), ["snp.chain.profile"]);
  const lying = { saltBytes: 32, statedSaltBytes: 48 };
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { certificate: lying }) }), ["snp.chain.bad-signature"]);
  for (const algorithm of ["rsa-sha384", "pss-sha256", "pss-sha512"] as const)
    assert.deepEqual(failedRules({ vek: makeVek(genoa, { certificate: { algorithm } }) }), ["snp.chain.profile"]);
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { certificate: { serial: 77n } }) }), []);
});

test("trap 4: a hardware id with a DER type around it, of another length, or none is refused", () => {
  for (const hardwareId of [octets(CHIP), CHIP.slice(0, 8), CHIP.slice(0, 63), new Uint8Array(), undefined]) {
    assert.deepEqual(failedRules({ vek: makeVek(genoa, { hardwareId }) }), ["snp.vek.extensions"]);
  }
  const twoHolders = makeVek(genoa, { cspId: CSP });
  assert.deepEqual(failedRules({ vek: twoHolders }), ["snp.vek.extensions"]);
});

test("trap 7: reported, committed, current and launch are four things", () => {
  const higher = (...places: readonly number[]) =>
    change((report) => {
      for (const place of places) report.writeUInt8(28, place + 7);
    });
  assert.deepEqual(failedRules(higher(0x38)), []);
  assert.deepEqual(failedRules(higher(0x38, 0x1e0)), []);
  assert.deepEqual(failedRules(higher(0x1e0)), ["snp.tcb.order"]);
  assert.deepEqual(failedRules(higher(0x38, 0x1e0, 0x180)), ["snp.vek.tcb"]);
  assert.deepEqual(failedRules(higher(0x38, 0x180)), ["snp.vek.tcb", "snp.tcb.order"]);
});

test("trap 8: a masked chip needs a provider's key and the profile's word", () => {
  const masked = { chip: new Uint8Array(64), signingKey: 1 } as const;
  const platform = makePlatform({ kind: "VLEK" });
  const vek = makeVek(platform, { kind: "VLEK" });
  const profile = { vlek_csp_ids: [CSP], allow_masked_chip_id: true };
  assert.deepEqual(failedRules({ platform, vek, report: masked, profile }), []);
  assert.deepEqual(
    failedRules({ platform, vek, report: masked, profile, now: NOW + 200 * DAY, crls: [late(platform)] }),
    ["snp.chain.expired"],
  );
  const zeroVcek = makeVek(genoa, { hardwareId: new Uint8Array(64) });
  const zero = { vek: zeroVcek, report: { chip: new Uint8Array(64) }, profile: { allow_masked_chip_id: true } };
  assert.deepEqual(failedRules(zero), ["snp.vek.chip"]);
});

const late = (platform: Platform) => makeAmdCrl(platform, { nextUpdate: NOW + 4000 * DAY });

test("revocation lists: needed, signed by the root, current, and read", () => {
  assert.deepEqual(failedRules({ crls: [] }), ["snp.crl.present"]);
  assert.deepEqual(failedRules({ crls: [], profile: { require_crl: false } }), []);
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa, { revoked: [genoa.ask.serial] })] }), ["snp.crl.revoked"]);
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa, { revoked: [genoa.ark.serial] })] }), ["snp.crl.revoked"]);
  // AMD's list names authorities: the zero of every leaf is not one of them.
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa, { revoked: [0n, 4711n] })] }), []);
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa, { nextUpdate: NOW })] }), ["snp.crl.expired"]);
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa, { thisUpdate: NOW + 1000 })] }), ["snp.crl.not-yet-valid"]);
  const elsewhere = makePlatform({ product: "Turin" });
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(elsewhere)] }), ["snp.crl.present"]);
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa), makeAmdCrl(elsewhere, { nextUpdate: NOW })] }), []);
  assert.deepEqual(failedRules({ crls: [Uint8Array.of(1, 2, 3)] }).slice(0, 1), ["snp.crl.format"]);
});

test("a list by a stranger with the root's name is refused, even one that revokes nothing", () => {
  const stranger = makeAuthority({
    subject: amdName("ARK-Genoa"),
    keys: makeKeys("rsa"),
    algorithm: "pss-sha384",
    keyIdentifiers: false,
  });
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa, { issuer: stranger })] }), ["snp.crl.key-identifier"]);
  const named = { ...stranger, publicKey: genoa.ark.publicKey };
  assert.deepEqual(failedRules({ crls: [makeAmdCrl(genoa, { issuer: named })] }), ["snp.crl.bad-signature"]);
});

test("the chain: roots that look alike, wrong names, flags, usages, keys and dates", () => {
  const other = makePlatform();
  const cases: readonly (readonly [string, Scene])[] = [
    // The same names and keys, but another certificate than the pinned one.
    ["snp.chain.too-deep", { platform: { ...other, anchors: genoa.anchors }, vek: makeVek(other) }],
    ["snp.chain.no-path", { certificates: [vcek.der, genoa.ask.der] }],
    ["snp.chain.no-path", { certificates: [vcek.der, genoa.ark.der] }],
    ["snp.chain.not-a-ca", underAsk({ ca: false })],
    ["snp.chain.key-usage", underAsk({ keyUsage: ["digitalSignature"] })],
    ["snp.chain.expired", underAsk({ notAfter: NOW - DAY })],
    ["snp.chain.not-yet-valid", underAsk({ notBefore: NOW + DAY })],
    ["snp.chain.profile", underAsk({ subject: amdName("SEV-Genoa", "Advanced Micro Devices, Inc.") })],
    ["snp.chain.profile", underAsk({ algorithm: "rsa-sha384" })],
    ["snp.chain.profile", underAsk({ keys: makeKeys("rsa") })],
    ["snp.chain.expired", onPlatform(makePlatform({ ark: { notAfter: NOW - DAY } }))],
    ["snp.chain.profile", onPlatform(makePlatform({ ark: { subject: amdName("ARK-Milan") } }))],
    ["snp.chain.leaf-is-ca", { vek: makeVek(genoa, { certificate: { ca: true } }) }],
    ["snp.chain.expired", { vek: makeVek(genoa, { certificate: { notAfter: NOW - 1000 } }) }],
  ];
  for (const [rule, scene] of cases) assert.deepEqual(failedRules(scene).slice(0, 1), [rule], rule);
});

const onPlatform = (platform: Platform): Scene => ({ platform, vek: makeVek(platform) });
const underAsk = (ask: NonNullable<Parameters<typeof makePlatform>[0]>["ask"] & object): Scene =>
  onPlatform(makePlatform({ ask }));

test("a leaf under the root itself, a self-signed leaf, and a leaf of another curve are refused", () => {
  const direct = makeVek({ ...genoa, ask: genoa.ark });
  assert.ok(failedRules({ vek: direct }).some((rule) => rule.startsWith("snp.chain.")));
  const self = makeVek(
    { ...genoa, ask: { ...makeKeys("P-384"), der: new Uint8Array(), name: amdName("SEV-VCEK"), serial: 1n } },
    {
      certificate: { algorithm: "ecdsa-sha384" },
    },
  );
  assert.ok(failedRules({ vek: self }).some((rule) => rule.startsWith("snp.chain.")));
  const keys = makeKeys("P-256");
  const p256 = makeVek(genoa, { certificate: { keys } });
  const reportBytes = makeReport(vcek);
  const failed = failedRules({ vek: p256, reportBytes });
  assert.deepEqual(failed, ["snp.chain.profile", "snp.report.signature"]);
});

test("a stranger with a chain of AMD's names signs what it likes: refused", () => {
  const keys = makeKeys("rsa");
  const ark = makeAuthority({ subject: amdName("ARK-Genoa"), keys, algorithm: "pss-sha384" });
  const ask = makeAuthority({ subject: amdName("SEV-Genoa"), issuer: ark, keys, algorithm: "pss-sha384" });
  const vek = makeVek({ ...genoa, ark, ask });
  const offers = [
    [vek.der, ask.der, ark.der],
    [vek.der, ask.der, ark.der, genoa.ask.der, genoa.ark.der],
    [vek.der, genoa.ask.der, genoa.ark.der],
  ];
  for (const certificates of offers) {
    const failed = failedRules({ vek, certificates, crls: [] });
    assert.ok(failed.some((rule) => rule.startsWith("snp.chain.")));
  }
});

test("certificates in any order, with others beside them, are accepted; too many are not", () => {
  const turin = makePlatform({ product: "Turin" });
  const certificates = [genoa.ark.der, turin.ask.der, genoa.ask.der, turin.ark.der, vcek.der];
  assert.deepEqual(failedRules({ certificates }), []);
  const many = Array.from({ length: 33 }, () => genoa.ark.der);
  assert.deepEqual(failedRules({ certificates: many }).slice(0, 1), ["snp.certificates.format"]);
  for (const junk of [new Uint8Array(), new Uint8Array(9000), vcek.der.slice(0, -1)]) {
    assert.deepEqual(failedRules({ certificates: [junk] }).slice(0, 1), ["snp.certificates.format"]);
  }
});

test("a version 2 report can only be of Milan or Genoa", () => {
  const profile = { required_platform: [], products: ["Milan", "Genoa", "Turin"] };
  assert.deepEqual(failedRules({ report: { version: 2 }, profile }), []);
  const turin = makePlatform({ product: "Turin" });
  const failed = failedRules({ platform: turin, vek: makeVek(turin), report: { version: 2 }, profile });
  assert.ok(failed.includes("snp.product.known"));
});

test("extensions that are not what AMD writes are refused", () => {
  const extra = (value: Uint8Array) => ({ extraExtensions: [{ oid: "1.3.6.1.4.1.3704.1.3.9", value }] });
  assert.deepEqual(failedRules({ vek: makeVek(genoa, extra(ia5String("1"))) }), ["snp.vek.extensions"]);
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { productName: "Naples" }) }), ["snp.vek.extensions"]);
  const level = { ...TCB, microcode: 256 };
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { tcb: level }) }), ["snp.vek.extensions"]);
  const highest = { ...TCB, microcode: 255 };
  assert.deepEqual(failedRules({ vek: makeVek(genoa, { tcb: highest }), report: { tcb: highest } }), []);
});

test("no bit of the report can be flipped (property)", () => {
  const report = makeReport(vcek);
  fc.assert(
    fc.property(fc.nat(report.length * 8 - 1), (bit) => {
      const reportBytes = report.slice();
      reportBytes[bit >> 3] = (reportBytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.notDeepEqual(failedRules({ reportBytes, profile: { allow_any_tcb: true } }), []);
    }),
    { numRuns: 250 },
  );
});

test("a report cut at any place, or with more behind it, is refused and never crashes", () => {
  const report = makeReport(vcek);
  for (let length = 0; length < report.length; length++)
    assert.deepEqual(failedRules({ reportBytes: report.subarray(0, length) }), ["snp.report.length"]);
  assert.deepEqual(failedRules({ reportBytes: Buffer.concat([report, Buffer.alloc(1)]) }), ["snp.report.length"]);
});

test("signatures of zeros, of ones and of the order itself are refused, never a crash", () => {
  const order = Buffer.from(`${"f".repeat(48)}c7634d81f4372ddf581a0db248b0a77aecec196accc52973`, "hex").reverse();
  const report = makeReport(vcek);
  for (const value of [Buffer.alloc(48), Buffer.alloc(48, 0xff), order]) {
    for (const places of [[0x2a0], [0x2e8], [0x2a0, 0x2e8]]) {
      const reportBytes = report.slice();
      for (const place of places) reportBytes.set(value, place);
      assert.deepEqual(failedRules({ reportBytes }), ["snp.report.signature"]);
    }
  }
});

test("no bit of the chip's certificate can be flipped (property)", () => {
  const reportBytes = makeReport(vcek);
  fc.assert(
    fc.property(fc.nat(vcek.der.length * 8 - 1), (bit) => {
      const der = vcek.der.slice();
      der[bit >> 3] = (der[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.notDeepEqual(failedRules({ reportBytes, certificates: [der, genoa.ask.der, genoa.ark.der] }), []);
    }),
    { numRuns: 150 },
  );
});

test("a correctly signed report of any content is judged, never a crash (property)", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0x2a0, maxLength: 0x2a0 }), fc.nat(3), (bytes, kind) => {
      const report = writeReport();
      report.set(bytes);
      report.writeUInt32LE([2, 3, 5, bytes[0] ?? 0][kind] ?? 0, 0);
      report.writeUInt32LE(1, 0x34);
      report.writeUInt32LE(0, 0x48);
      assert.notDeepEqual(failedRules({ reportBytes: signReport(report, vcek) }), []);
    }),
    { numRuns: 100 },
  );
});

test("a wrong time refuses", () => {
  for (const now of [Number.NaN, Number.POSITIVE_INFINITY, 0, -1]) {
    assert.ok(
      failedRules({ now }).some((rule) => rule.startsWith("snp.chain.")),
      String(now),
    );
  }
});
