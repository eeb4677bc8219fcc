/** DCAP with a private stand-in for Intel: everything that nobody recorded, each wrong thing under its own rule. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DcapCache } from "../../src/attestation/dcap/cache.ts";
import { collateralFromPcs, parseCollateral } from "../../src/attestation/dcap/collateral.ts";
import { parseQuote } from "../../src/attestation/dcap/evidence.ts";
import { DCAP_LIMITS } from "../../src/attestation/dcap/limits.ts";
import { pcsUrls } from "../../src/attestation/dcap/pcs.ts";
import { verifyQuote } from "../../src/attestation/dcap/verify.ts";
import { type SgxProfileInput, sgxProfile } from "../../src/attestation/sgx/profile.ts";
import { type TdxProfileInput, tdxProfile } from "../../src/attestation/tdx/profile.ts";
import { ModelkeepError, toHex, utf8 } from "../../src/base/index.ts";
import { toPem } from "../../src/codec/index.ts";
import { makeAuthority, makeCertificate, makeKeys } from "../support/der-writer.ts";
import {
  anchorOf,
  anchors,
  type CollateralParts,
  collateralJson,
  DAY,
  intel,
  makeCollateral,
  makePck,
  NOW,
  PPID,
  type QuoteParts,
  signRaw,
  writeDomain,
  writeEnclave,
  writeQuote,
} from "./support/dcap.ts";
import { failed, haveOf, resultOf } from "./support/dcap-vectors.ts";

const reportData = new Uint8Array(64).fill(0xdd);

interface Setting {
  readonly quote?: QuoteParts;
  readonly collateral?: CollateralParts;
  readonly now?: number;
  readonly expected?: Uint8Array;
}

function judge(setting: Setting = {}, profile: TdxProfileInput = {}) {
  return verifyQuote({
    quote: writeQuote(setting.quote),
    collateral: makeCollateral(setting.collateral),
    profile: tdxProfile.parse(profile),
    now: setting.now ?? NOW,
    expectedReportData: setting.expected ?? reportData,
    anchors,
  });
}

function judgeEnclave(setting: Setting = {}, profile: SgxProfileInput = {}) {
  return verifyQuote({
    quote: writeQuote({ version: 3, tee: "sgx", ...setting.quote }),
    collateral: makeCollateral({ tee: "sgx", ...setting.collateral }),
    profile: sgxProfile.parse(profile),
    now: setting.now ?? NOW,
    expectedReportData: setting.expected ?? reportData,
    anchors,
  });
}

const refused = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;

test("what is right is accepted: versions 3, 4 and 5, enclaves and domains of both revisions", () => {
  for (const quote of [{}, { version: 5 }, { version: 5, body: writeDomain({ teeTcbSvn2: [5, 1, 5] }) }] as const) {
    const verdict = judge({ quote });
    assert.deepEqual(failed(verdict), []);
    assert.equal(verdict.verdict, "accepted");
    assert.equal(verdict.tcbStatus, "UpToDate");
    assert.equal(verdict.claims?.ppid, PPID);
    assert.equal(verdict.claims?.authority, "platform");
  }
  for (const version of [3, 4, 5] as const) {
    const verdict = judgeEnclave({ quote: { version } });
    assert.deepEqual(failed(verdict), []);
    assert.equal(verdict.claims?.isvProdId, 7);
  }
});

test("Intel's own root is the default: a stand-in's quote is refused without its pin", () => {
  const input = { quote: writeQuote(), collateral: makeCollateral(), profile: tdxProfile.parse({}), now: NOW };
  assert.deepEqual(failed(verifyQuote(input)), ["dcap.pck.chain", "dcap.tcb-info.signer", "dcap.qe-identity.signer"]);
});

test("the first profile that comes to mind refuses: every default is the strict one", () => {
  const profile = tdxProfile.parse({});
  assert.deepEqual(profile.accepted_tcb_statuses, ["UpToDate"]);
  assert.equal(profile.require_revocation_lists, true);
  for (const key of ["allow_debug", "allow_migratable", "allow_performance_counters"] as const)
    assert.equal(profile[key], false);
  assert.throws(() => tdxProfile.parse({ alow_debug: true }));
  assert.throws(() => tdxProfile.parse({ accepted_tcb_statuses: ["Revoked"] }));
  assert.throws(() => sgxProfile.parse({ accepted_tcb_statuses: [] }));
});

test("trap 9: type and size of a version 5 body are signed", () => {
  const bytes = writeQuote({ version: 5 });
  const { signedBytes } = parseQuote(bytes);
  assert.equal(signedBytes.length, 48 + 6 + 584);
  const plain = writeQuote({ version: 4 });
  assert.equal(parseQuote(plain).signedBytes.length, 48 + 584);
  for (const offset of [48, 50]) {
    const touched = bytes.slice();
    touched[offset] = (touched[offset] ?? 0) ^ 1;
    assert.throws(() => parseQuote(touched), refused("dcap.quote.body-size"));
  }
});

test("trap 9: a body of another TEE or another size than its type is refused", () => {
  const enclave = writeQuote({ version: 5, tee: "sgx" });
  enclave[48] = 2;
  assert.throws(() => parseQuote(enclave), refused("dcap.quote.body-type"));
  const domain = writeQuote({ version: 5 });
  domain[48] = 1;
  assert.throws(() => parseQuote(domain), refused("dcap.quote.body-type"));
});

test("trap 10: the module's id is compared in upper case, with two hex digits", () => {
  const body = writeDomain({ teeTcbSvn: [5, 0x0a, 5] });
  for (const id of ["TDX_0A", "TDX_0a", "tdx_0a"])
    assert.equal(
      judge({ quote: { body }, collateral: { modules: [{ id, levels: [{ isvsvn: 5 }] }] } }).tcbStatus,
      "UpToDate",
    );
  for (const id of ["TDX_A", "TDX_10", "TDX_01"]) {
    const verdict = judge({ quote: { body }, collateral: { modules: [{ id, levels: [{ isvsvn: 5 }] }] } });
    assert.deepEqual(failed(verdict), ["tdx.module", "dcap.tcb.status"]);
    assert.equal(verdict.tcbStatus, "NotSupported");
  }
});

test("trap 11: trailing bytes of any kind change no verdict, and strict profiles refuse them", () => {
  for (const trailer of [new Uint8Array(70), utf8("not zero"), new Uint8Array(3065).fill(0xff)]) {
    const verdict = judge({ quote: { trailer } });
    assert.equal(verdict.verdict, "accepted");
    assert.equal(verdict.claims?.trailingBytes, trailer.length);
    const strict = judge({ quote: { trailer } }, { refuse_trailing_bytes: true });
    assert.deepEqual(failed(strict), ["dcap.quote.trailing-bytes"]);
  }
});

test("trap 11: inside the signature data there is no room for more", () => {
  const bytes = writeQuote();
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  const at = 48 + 584;
  const view = new DataView(longer.buffer);
  view.setUint32(at, view.getUint32(at, true) + 1, true);
  assert.throws(() => parseQuote(longer), refused("dcap.quote.signature-length"));
});

test("trap 12: the signature covers the bytes as received, not what they mean", () => {
  for (const touch of [
    (text: string) => text.replace('{"id"', '{ "id"'),
    (text: string) => text.replace('"tcbType":0', '"tcbType":0.0'),
    (text: string) => `${text} `,
    (text: string) => text.replace(/[A-F0-9]{12}/, (fmspc) => fmspc.toLowerCase()),
  ])
    assert.deepEqual(failed(judge({ collateral: { touchTcbInfo: touch } })), ["dcap.tcb-info.signature"]);
  const touchQeIdentity = (text: string) => text.replace('"version":2', '"version": 2');
  assert.deepEqual(failed(judge({ collateral: { touchQeIdentity } })), ["dcap.qe-identity.signature"]);
});

test("trap 12: FMSPC in either case is the same platform", () => {
  for (const fmspc of ["A0B1C2D3E4F5", "a0b1c2d3e4f5"])
    assert.equal(judge({ collateral: { tcbInfo: { fmspc } } }).verdict, "accepted");
  const other = judge({ collateral: { tcbInfo: { fmspc: "A0B1C2D3E4F6" } } });
  assert.deepEqual(failed(other), ["dcap.tcb-info.fmspc"]);
  assert.deepEqual(failed(judge({ collateral: { tcbInfo: { pceId: "0001" } } })), ["dcap.tcb-info.pce-id"]);
});

test("trap 12: the files of Intel's service are cut, not printed again", () => {
  const json = collateralJson();
  const pcs = (inner: string | undefined, name: string, signature: string | undefined, end = "}") =>
    utf8(`{"${name}":${inner},"signature":"${signature}"${end}`);
  const files = {
    tcbInfo: pcs(json.tcb_info, "tcbInfo", json.tcb_info_signature),
    tcbInfoIssuerChain: encodeURIComponent(json.tcb_info_issuer_chain ?? ""),
    qeIdentity: pcs(json.qe_identity, "enclaveIdentity", json.qe_identity_signature, "}\n"),
    qeIdentityIssuerChain: json.qe_identity_issuer_chain ?? "",
    rootCrl: utf8(json.root_ca_crl ?? ""),
    pckCrl: new Uint8Array(Buffer.from(json.pck_crl ?? "", "hex")),
  };
  const profile = tdxProfile.parse({});
  const verdict = verifyQuote({
    quote: writeQuote(),
    collateral: collateralFromPcs(files),
    profile,
    now: NOW,
    anchors,
  });
  assert.equal(verdict.verdict, "accepted");
  const pem = { ...files, pckCrl: utf8(toPem("X509 CRL", files.pckCrl)) };
  assert.deepEqual(collateralFromPcs(pem).pckCrl, files.pckCrl);
  for (const tcbInfo of [
    pcs(json.tcb_info, "enclaveIdentity", json.tcb_info_signature),
    pcs(json.tcb_info, "tcbInfo", "00"),
    pcs(json.tcb_info, "tcbInfo", json.tcb_info_signature, ',"more":1}'),
    utf8(`{"signature":"${json.tcb_info_signature}","tcbInfo":${json.tcb_info}}`),
  ])
    assert.throws(() => collateralFromPcs({ ...files, tcbInfo }), refused("dcap.tcb-info.format"));
});

test("trap 13: the identity of the quoting enclave is asked for and compared in every field", () => {
  const cases: readonly (readonly [CollateralParts["qeIdentity"], string])[] = [
    [{ id: "QE" }, "dcap.qe-identity.id"],
    [{ mrsigner: "00".repeat(32) }, "dcap.qe.mr-signer"],
    [{ isvprodid: 1 }, "dcap.qe.product"],
    [{ miscselect: "00000001" }, "dcap.qe.miscselect"],
    [{ attributes: "01000000000000000000000000000000" }, "dcap.qe.attributes"],
  ];
  for (const [qeIdentity, rule] of cases) {
    const verdict = judge({ collateral: qeIdentity ? { qeIdentity } : {} });
    assert.deepEqual(failed(verdict), [rule]);
  }
  const { qe_identity: _, ...without } = collateralJson();
  assert.throws(() => parseCollateral(without), refused("dcap.collateral.format"));
});

test("trap 13: another enclave on the same machine cannot speak for the quoting enclave", () => {
  for (const qe of [{ mrSigner: new Uint8Array(32) }, { isvProdId: 9 }, { flags: 0x17n }])
    assert.equal(judge({ quote: { qe } }).verdict, "refused");
  assert.equal(judge({ quote: { qe: { isvSvn: 3 } } }).tcbStatus, "NotSupported");
});

test("trap 14: the list of one authority says nothing about the machines of the other", () => {
  const verdict = judge({ collateral: { pckCrl: { issuer: intel.processorCa } } });
  assert.deepEqual(failed(verdict), ["dcap.pck-crl.issuer"]);
  assert.match(haveOf(verdict, "dcap.pck-crl.issuer") ?? "", /issuer-mismatch/);
  const pck = makePck({}, { issuer: intel.processorCa });
  const chain = [pck.der, intel.processorCa.der, intel.root.der];
  const processor = judge({ quote: { pck, chain }, collateral: { pckCrl: { issuer: intel.processorCa } } });
  assert.equal(processor.verdict, "accepted");
  assert.equal(processor.claims?.authority, "processor");
});

test("trap 14: a list of the right name with another key is refused", () => {
  const twin = makeAuthority({ subject: "Intel SGX PCK Platform CA", issuer: intel.root });
  assert.deepEqual(failed(judge({ collateral: { pckCrl: { issuer: twin } } })), ["dcap.pck-crl.issuer"]);
  const without = judge({ collateral: { pckCrl: { issuer: twin, authorityKeyId: undefined } } });
  assert.deepEqual(failed(without), ["dcap.pck-crl.issuer"]);
  const unnumbered = judge({ collateral: { rootCrl: { number: undefined } } });
  assert.deepEqual(failed(unnumbered), ["dcap.root-crl.issuer"]);
});

test("revoked: the machine, its authority, the signer of collateral", () => {
  const pck = makePck();
  const entry = ({ serial }: { serial: bigint }) => [{ serial, at: NOW - 2 * DAY }];
  const machine = judge({ quote: { pck }, collateral: { pckCrl: { revoked: entry(pck) } } });
  assert.deepEqual(failed(machine), ["dcap.pck-crl"]);
  for (const party of [intel.platformCa, intel.tcbSigner])
    assert.deepEqual(failed(judge({ collateral: { rootCrl: { revoked: entry(party) } } })), ["dcap.root-crl"]);
  const wrongList = judge({ quote: { pck }, collateral: { rootCrl: { revoked: entry(pck) } } });
  assert.equal(wrongList.verdict, "accepted");
});

test("without lists: refused, unless the profile says so; then the rule is unchecked and not passed", () => {
  const collateral = { rootCrl: null, pckCrl: null };
  assert.deepEqual(failed(judge({ collateral })), ["dcap.root-crl", "dcap.pck-crl"]);
  const verdict = judge({ collateral }, { require_revocation_lists: false });
  assert.equal(verdict.verdict, "accepted");
  assert.equal(resultOf(verdict, "dcap.pck-crl"), "unchecked");
});

test("trap 15: correctly signed collateral of an older evaluation is refused where the profile names one", () => {
  const old = { tcbInfo: { tcbEvaluationDataNumber: 17 } };
  assert.equal(judge({ collateral: old }).verdict, "accepted");
  const verdict = judge({ collateral: old }, { minimum_tcb_evaluation_data_number: 18 });
  assert.deepEqual(failed(verdict), ["dcap.tcb-info.evaluation"]);
  const identity = judge(
    { collateral: { qeIdentity: { tcbEvaluationDataNumber: 17 } } },
    { minimum_tcb_evaluation_data_number: 18 },
  );
  assert.deepEqual(failed(identity), ["dcap.qe-identity.evaluation"]);
  assert.equal(judge({}, { minimum_tcb_evaluation_data_number: 20 }).verdict, "accepted");
});

test("dates: each part of the collateral expires on its own, and none comes from the future", () => {
  const late = NOW + 29 * DAY;
  const expired = ["dcap.tcb-info.time", "dcap.qe-identity.time", "dcap.root-crl.time", "dcap.pck-crl.time"];
  assert.deepEqual(failed(judge({ now: late - 1 })), []);
  assert.deepEqual(failed(judge({ now: late })), expired);
  assert.deepEqual(failed(judge({ now: late }, { expired_collateral_grace_days: 1 })), []);
  assert.deepEqual(failed(judge({ now: late + DAY }, { expired_collateral_grace_days: 1 })), expired);
  const early = NOW - DAY - DCAP_LIMITS.clockSkewSeconds * 1000;
  assert.deepEqual(failed(judge({ now: early })), []);
  assert.deepEqual(failed(judge({ now: early - 1 })), expired);
  assert.deepEqual(failed(judge({ now: Number.NaN })).slice(0, 3), [
    "dcap.pck.chain",
    "dcap.tcb-info.signer",
    "dcap.qe-identity.signer",
  ]);
  assert.deepEqual(failed(judge({ now: NOW }, { maximum_collateral_age_days: 0 })), ["dcap.collateral.age"]);
  assert.deepEqual(failed(judge({ now: NOW }, { maximum_collateral_age_days: 1 })), []);
  const yearly = { rootCrl: { thisUpdate: NOW - 300 * DAY } };
  assert.deepEqual(failed(judge({ collateral: yearly }, { maximum_collateral_age_days: 1 })), []);
  const monthly = { pckCrl: { thisUpdate: NOW - 2 * DAY } };
  assert.deepEqual(failed(judge({ collateral: monthly }, { maximum_collateral_age_days: 1 })), ["dcap.collateral.age"]);
  const list = judge({ collateral: { pckCrl: { nextUpdate: NOW } } });
  assert.deepEqual(failed(list), ["dcap.pck-crl.time"]);
});

test("certificates: expired, of the wrong usage, of the wrong name, swapped, look-alike", () => {
  const chainOf = (pck: ReturnType<typeof makePck>) => ({
    pck,
    chain: [pck.der, intel.platformCa.der, intel.root.der],
  });
  const rulesOf = (pck: ReturnType<typeof makePck>) => failed(judge({ quote: chainOf(pck) }));
  assert.deepEqual(rulesOf(makePck({}, { notAfter: NOW - 1000 })), ["dcap.pck.chain"]);
  assert.deepEqual(rulesOf(makePck({}, { notBefore: NOW + 1000 })), ["dcap.pck.chain"]);
  assert.deepEqual(rulesOf(makePck({}, { keyUsage: ["keyCertSign"] })), ["dcap.pck.chain"]);
  assert.deepEqual(rulesOf(makePck({}, { ca: true })), ["dcap.pck.chain"]);
  assert.deepEqual(rulesOf(makePck({}, { subject: "Intel SGX TCB Signing" })), ["dcap.pck.names"]);
  assert.deepEqual(rulesOf(makePck({}, { subject: "Intel SGX PCK Certificate " })), ["dcap.pck.names"]);
  const twinRoot = makeAuthority({ subject: "Intel SGX Root CA" });
  const twinCa = makeAuthority({ subject: "Intel SGX PCK Platform CA", issuer: twinRoot });
  const pck = makePck({}, { issuer: twinCa });
  const twin = judge({ quote: { pck, chain: [pck.der, twinCa.der, twinRoot.der] } });
  assert.ok(failed(twin).includes("dcap.pck.chain"));
  const mixed = judge({ quote: { pck, chain: [pck.der, intel.platformCa.der, intel.root.der] } });
  assert.deepEqual(failed(mixed), ["dcap.pck.chain"]);
  const right = makePck();
  for (const chain of [[right.der, intel.root.der], [right.der], [right.der, intel.root.der, intel.platformCa.der]])
    assert.ok(failed(judge({ quote: { pck: right, chain } })).some((rule) => rule.startsWith("dcap.pck.")));
});

test("certificates: the signer of collateral is Intel's signer and nobody else whom the root certified", () => {
  const options = { issuer: intel.root, ca: false, keyUsage: ["digitalSignature"] } as const;
  const other = makeCertificate({ subject: "Intel SGX Something Else", ...options });
  const verdict = judge({ collateral: { signer: other } });
  assert.deepEqual(failed(verdict), ["dcap.tcb-info.signer.name", "dcap.qe-identity.signer.name"]);
  const old = makeCertificate({ subject: "Intel SGX TCB Signing", ...options, notAfter: NOW - 1000 });
  assert.deepEqual(failed(judge({ collateral: { signer: old } })), ["dcap.tcb-info.signer", "dcap.qe-identity.signer"]);
  const self = makeCertificate({ subject: "Intel SGX TCB Signing", ...options, issuer: intel.platformCa });
  const chain = [self.der, intel.platformCa.der];
  assert.ok(failed(judge({ collateral: { signer: self, signerChain: chain } })).includes("dcap.tcb-info.signer"));
  const pck = makePck();
  const bySelf = judge({ collateral: { signer: pck, signerChain: [pck.der, intel.platformCa.der] } });
  assert.ok(failed(bySelf).includes("dcap.tcb-info.signer"));
  assert.ok(failed(judge({ collateral: { signerChain: [] } })).includes("dcap.tcb-info.signer"));
});

test("an extension of the machine's certificate that is damaged or missing is refused", () => {
  const without = makePck({}, { extensions: [] });
  const short = makePck({ components: Array(15).fill(5) as number[] });
  const large = makePck({ components: [256, ...(Array(15).fill(5) as number[])] });
  for (const pck of [without, short, large]) {
    const verdict = judge({ quote: { pck } });
    assert.equal(verdict.verdict, "refused");
    assert.ok(failed(verdict).includes("dcap.pck.extension"));
  }
});

test("keys: another machine's key, another attestation key, report data that is not padded with zeros", () => {
  assert.deepEqual(failed(judge({ quote: { qeSigner: makeKeys().privateKey } })), ["dcap.qe-report.signature"]);
  const qeReportData = (right: Uint8Array) => right.map((byte, index) => (index === 63 ? 1 : byte));
  assert.deepEqual(failed(judge({ quote: { qeReportData } })), ["dcap.qe-report.key"]);
  const other = judge({ quote: { qeReportData: () => new Uint8Array(64) } });
  assert.deepEqual(failed(other), ["dcap.qe-report.key"]);
});

test("trap 16: SEPT_VE_DISABLE is asked for unless the profile says that a paravisor runs below", () => {
  const body = writeDomain({ tdAttributes: 0n });
  assert.deepEqual(failed(judge({ quote: { body } })), ["tdx.sept-ve-disable"]);
  assert.equal(judge({ quote: { body } }, { require_sept_ve_disable: false }).verdict, "accepted");
});

test("trap 16: a service domain is refused unless the profile names it", () => {
  const mrServiceTd = new Uint8Array(48).fill(0x33);
  const quote = { version: 5, body: writeDomain({ mrServiceTd }) } as const;
  assert.deepEqual(failed(judge({ quote })), ["tdx.mr-service-td"]);
  assert.equal(judge({ quote }, { mr_service_td: [toHex(mrServiceTd)] }).verdict, "accepted");
  assert.deepEqual(failed(judge({ quote }, { mr_service_td: ["00".repeat(48)] })), ["tdx.mr-service-td"]);
});

test("trap 17: debug is refused in a domain and in an enclave, each by its own bit", () => {
  const domain = { quote: { body: writeDomain({ tdAttributes: (1n << 28n) | 1n }) } };
  assert.deepEqual(failed(judge(domain)), ["tdx.debug"]);
  const allowed = judge(domain, { allow_debug: true });
  assert.equal(allowed.verdict, "accepted");
  assert.equal(allowed.claims?.debug, true);
  const enclave = { quote: { body: writeEnclave({ flags: 0x07n }) } };
  assert.deepEqual(failed(judgeEnclave(enclave)), ["sgx.debug"]);
  assert.equal(judgeEnclave(enclave, { allow_debug: true }).claims?.debug, true);
});

test("attributes: each bit that takes protection away, and each that nobody knows, is refused", () => {
  const known = new Map([
    [0, "tdx.debug"],
    [29, "tdx.migratable"],
    [63, "tdx.perfmon"],
  ]);
  const harmless = new Set([27, 28, 30, 31]);
  for (let bit = 0; bit < 64; bit++) {
    const tdAttributes = (1n << 28n) | (1n << BigInt(bit));
    const expected = harmless.has(bit) ? [] : [known.get(bit) ?? "tdx.attributes"];
    assert.deepEqual(failed(judge({ quote: { body: writeDomain({ tdAttributes }) } })), expected, `bit ${bit}`);
  }
  const unknown = { quote: { body: writeDomain({ tdAttributes: (1n << 28n) | (1n << 8n) }) } };
  assert.deepEqual(failed(judge(unknown, { additional_td_attributes: "0001000000000000" })), []);
  assert.deepEqual(failed(judge({}, { allowed_xfam: "e700000000000000" })), []);
  assert.deepEqual(failed(judge({}, { allowed_xfam: "e300000000000000" })), ["tdx.xfam"]);
});

test("enclaves: flags, and identity by measurement or by signer, product and version", () => {
  const flags = (value: bigint) => failed(judgeEnclave({ quote: { body: writeEnclave({ flags: value }) } }));
  assert.deepEqual(flags(0x04n), ["sgx.initialised"]);
  assert.deepEqual(flags(0x01n), ["sgx.mode64"]);
  assert.deepEqual(flags(0x15n), ["sgx.provision-key"]);
  assert.equal(resultOf(judgeEnclave(), "sgx.identity"), "unchecked");
  const mrSigner = "51".repeat(32);
  const signer = { mr_signer: mrSigner, isv_prod_id: 7, minimum_isv_svn: 3 };
  const accepted: readonly SgxProfileInput[] = [
    { mr_enclaves: ["E1".repeat(32)] },
    { signers: [signer] },
    { mr_enclaves: [], signers: [{ ...signer, minimum_isv_svn: 0 }] },
  ];
  for (const profile of accepted) assert.deepEqual(failed(judgeEnclave({}, profile)), []);
  const wrong: readonly SgxProfileInput[] = [
    { mr_enclaves: [] },
    { mr_enclaves: ["e2".repeat(32)] },
    { signers: [{ ...signer, minimum_isv_svn: 4 }] },
    { signers: [{ ...signer, isv_prod_id: 8 }] },
    { signers: [{ ...signer, mr_signer: "52".repeat(32) }] },
  ];
  for (const profile of wrong) assert.deepEqual(failed(judgeEnclave({}, profile)), ["sgx.identity"]);
  assert.deepEqual(failed(judgeEnclave({}, { config_ids: ["00".repeat(64)] })), []);
  assert.deepEqual(failed(judgeEnclave({}, { config_ids: ["01".repeat(64)] })), ["sgx.config-id"]);
});

test("registers: each is compared with its own list", () => {
  const lists = { mr_td: "a0", rtmr0: "a1", rtmr1: "a2", rtmr2: "a3", rtmr3: "a4", mr_seam: "5e" } as const;
  for (const [field, byte] of Object.entries(lists)) {
    assert.deepEqual(failed(judge({}, { [field]: [byte.repeat(48)] })), []);
    assert.deepEqual(failed(judge({}, { [field]: ["ff".repeat(48)] })), [`tdx.${field.replace("_", "-")}`]);
    assert.deepEqual(failed(judge({}, { [field]: [] })), [`tdx.${field.replace("_", "-")}`]);
  }
  assert.deepEqual(failed(judge({}, { mr_config_id: ["00".repeat(48)], mr_owner: ["00".repeat(48)] })), []);
  assert.deepEqual(failed(judge({}, { mr_owner_config: ["01".repeat(48)] })), ["tdx.mr-owner-config"]);
  assert.deepEqual(failed(judge({}, { allowed_fmspcs: ["000000000000"] })), ["dcap.fmspc"]);
  assert.deepEqual(failed(judge({}, { allowed_ppids: [PPID], allowed_fmspcs: ["A0B1C2D3E4F5"] })), []);
  assert.deepEqual(failed(judge({}, { allowed_ppids: ["00".repeat(16)] })), ["dcap.ppid"]);
});

test("the TDX module: Intel's signer and attributes of zero", () => {
  const signer = { body: writeDomain({ mrSignerSeam: new Uint8Array(48).fill(1) }) };
  assert.deepEqual(failed(judge({ quote: signer })), ["tdx.module"]);
  assert.deepEqual(failed(judge({ quote: { body: writeDomain({ seamAttributes: 1n }) } })), ["tdx.module"]);
});

test("trap 18: all 64 bytes of report data are compared, the padding too", () => {
  const bound = new Uint8Array(64);
  bound.set(new Uint8Array(48).fill(0x77));
  const body = (data: Uint8Array) => ({ quote: { body: writeDomain({ reportData: data }) }, expected: bound });
  assert.deepEqual(failed(judge(body(bound))), []);
  for (const index of [0, 47, 48, 63]) {
    const other = bound.slice();
    other[index] = (other[index] ?? 0) ^ 0x80;
    assert.deepEqual(failed(judge(body(other))), ["dcap.report-data"]);
  }
  assert.deepEqual(failed(judge({ expected: reportData.subarray(0, 32) })), ["dcap.report-data"]);
  assert.deepEqual(failed(judge({ expected: new Uint8Array() })), ["dcap.report-data"]);
});

test("trap 31: duplicate keys, huge numbers and unknown versions in collateral are refused", () => {
  const json = collateralJson();
  const withText = (name: string, change: (text: string) => string) => ({ ...json, [name]: change(json[name] ?? "") });
  for (const change of [
    (text: string) => text.replace('"version":3', '"version":3,"version":3'),
    (text: string) => text.replace('"version":3', '"version":2'),
    (text: string) => text.replace('"version":3', '"version":4'),
    (text: string) => text.replace('"svn":5', '"svn":256'),
    (text: string) => text.replace('"svn":5', '"svn":1e400'),
    (text: string) => text.replace('"pcesvn":11', '"pcesvn":11.5'),
    (text: string) => text.replace('"tcbStatus":"UpToDate"', '"tcbStatus":"Fine"'),
    (text: string) => text.replace(/"issueDate":"[^"]+"/, '"issueDate":"yesterday"'),
    (text: string) => text.replace(/"issueDate":"[^"]+"/, '"issueDate":"2026-13-41T00:00:00Z"'),
  ])
    assert.throws(() => parseCollateral(withText("tcb_info", change)), refused("dcap.tcb-info.format"));
  const identity = withText("qe_identity", (text) => text.replace('"version":2', '"version":1'));
  assert.throws(() => parseCollateral(identity), refused("dcap.qe-identity.format"));
  const twice = utf8(JSON.stringify(json).replace('{"tcb_info"', '{"tcb_info":"","tcb_info"'));
  assert.throws(() => parseCollateral(twice), refused("dcap.collateral.format"));
});

test("trap 32: sizes beyond the limits are refused", () => {
  assert.throws(
    () => parseQuote(writeQuote({ trailer: new Uint8Array(DCAP_LIMITS.quoteBytes) })),
    refused("dcap.quote.size"),
  );
  const chain = Array.from({ length: 30 }, () => intel.root.der);
  assert.throws(() => parseQuote(writeQuote({ chain })), refused("dcap.quote.size"));
  const json = collateralJson();
  const many = { ...json, tcb_info_issuer_chain: (json.tcb_info_issuer_chain ?? "").repeat(3) };
  assert.throws(() => parseCollateral(many), refused("dcap.chain.size"));
});

test("header: versions, key types and TEEs that are not known are refused", () => {
  const touch = (offset: number, value: number) => {
    const bytes = writeQuote();
    bytes[offset] = value;
    return bytes;
  };
  for (const version of [0, 2, 6, 255])
    assert.throws(() => parseQuote(touch(0, version)), refused("dcap.quote.version"));
  assert.throws(() => parseQuote(touch(2, 3)), refused("dcap.quote.key-type"));
  for (const type of [1, 0x82]) assert.throws(() => parseQuote(touch(4, type)), refused("dcap.quote.tee-type"));
  assert.throws(() => parseQuote(touch(0, 3)), refused("dcap.quote.tee-type"));
  for (const type of [1, 2, 3, 4, 7])
    assert.ok(failed(judge({ quote: { certificationType: type } })).includes("dcap.pck.chain"));
});

test("a quote of the other TEE is refused, whatever it says", () => {
  const enclave = verifyQuote({
    quote: writeQuote({ version: 4, tee: "sgx" }),
    collateral: makeCollateral({ tee: "sgx" }),
    profile: tdxProfile.parse({}),
    now: NOW,
    anchors,
  });
  assert.deepEqual(failed(enclave), ["dcap.quote.tee"]);
  assert.ok(failed(judge({ collateral: { tee: "sgx" } })).includes("dcap.tcb-info.id"));
});

test("property: any bit that is flipped in a quote is refused, and nothing crashes", () => {
  const bytes = writeQuote({ version: 5, body: writeDomain({ teeTcbSvn2: [5, 1, 5] }) });
  const collateral = makeCollateral();
  const profile = tdxProfile.parse({});
  const end = bytes.length;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: end * 8 - 1 }), (bit) => {
      const touched = bytes.slice();
      const index = bit >> 3;
      touched[index] = (touched[index] ?? 0) ^ (1 << (bit & 7));
      const verdict = verifyQuote({ quote: touched, collateral, profile, now: NOW, anchors });
      assert.equal(verdict.verdict, "refused", `byte ${index}`);
    }),
    { numRuns: 300 },
  );
});

test("every byte of the signed part, of the signatures and of the quoting enclave's report matters", () => {
  const bytes = writeQuote();
  const collateral = makeCollateral();
  const profile = tdxProfile.parse({});
  const cache = new DcapCache();
  const authEnd = 48 + 584 + 4 + 128 + 6 + 384 + 64 + 2 + 32 + 6;
  for (let index = 0; index < authEnd; index++) {
    const touched = bytes.slice();
    touched[index] = (touched[index] ?? 0) ^ 0x01;
    const verdict = verifyQuote({ quote: touched, collateral, profile, now: NOW, anchors, cache });
    assert.equal(verdict.verdict, "refused", `byte ${index}`);
  }
});

test("truncated at any byte, a quote is refused under a rule and never crashes", () => {
  for (const version of [3, 4, 5] as const) {
    const bytes = writeQuote({ version, tee: "sgx" });
    for (let length = 0; length < bytes.length; length++)
      assert.throws(() => parseQuote(bytes.subarray(0, length)), { code: "EVIDENCE_REFUSED" });
  }
});

test("property: any bit that is flipped in a document of the collateral is refused", () => {
  const json = collateralJson();
  const quote = writeQuote();
  const profile = tdxProfile.parse({});
  const names = ["tcb_info", "qe_identity", "root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"];
  fc.assert(
    fc.property(fc.constantFrom(...names), fc.nat(1_000_000), fc.nat(6), (name, at, bit) => {
      const text = flipped(json[name] ?? "", at, bit);
      if (text.toLowerCase() === json[name]?.toLowerCase() && /_crl|signature/.test(name)) return;
      const collateral = readOrRefused({ ...json, [name]: text });
      if (!collateral) return;
      assert.equal(verifyQuote({ quote, collateral, profile, now: NOW, anchors }).verdict, "refused");
    }),
    { numRuns: 300 },
  );
});

function flipped(text: string, at: number, bit: number): string {
  const bytes = Buffer.from(text, "latin1");
  const index = at % bytes.length;
  bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
  return bytes.toString("latin1");
}

function readOrRefused(json: object) {
  try {
    return parseCollateral(json);
  } catch (error) {
    assert.ok(error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED", String(error));
    return undefined;
  }
}

test("fuzz: bytes of any kind, and quotes with a part overwritten, give a verdict or a refusal", () => {
  const bytes = writeQuote();
  const collateral = makeCollateral();
  const profile = tdxProfile.parse({});
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 1);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(bytes.length), fc.boolean(), (noise, at, alone) => {
      const touched = alone ? noise : bytes.slice();
      if (!alone) touched.set(noise.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length));
      const same = Buffer.compare(touched, bytes) === 0;
      const verdict = verifyQuote({ quote: touched, collateral, profile, now: NOW, anchors });
      if (!same && at < bytes.length - 400) assert.equal(verdict.verdict, "refused");
    }),
    { numRuns: 100_000, interruptAfterTimeLimit: seconds * 1000, markInterruptAsFailure: false },
  );
});

test("cache: the same collateral is not verified twice, its dates are, and another one is", () => {
  const cache = new DcapCache();
  const collateral = makeCollateral();
  const quote = writeQuote();
  const at = (now: number, set = collateral) =>
    verifyQuote({ quote, collateral: set, profile: tdxProfile.parse({}), now, anchors, cache });
  const first = at(NOW);
  assert.equal(cache.size, 2);
  const second = at(NOW);
  assert.deepEqual(second, first);
  assert.equal(cache.size, 2);
  assert.ok(failed(at(NOW + 30 * DAY)).includes("dcap.tcb-info.time"));
  assert.ok(failed(at(Date.UTC(2040, 0, 1))).includes("dcap.pck.chain"));
  const touched = makeCollateral({ touchTcbInfo: (text) => `${text} ` });
  assert.deepEqual(failed(at(NOW, touched)), ["dcap.tcb-info.signature"]);
  assert.deepEqual(failed(at(NOW, touched)), ["dcap.tcb-info.signature"]);
  assert.equal(cache.size, 2);
});

test("cache: a copy with another list is another collateral, whatever digest it carries", () => {
  const cache = new DcapCache();
  const pck = makePck();
  const right = makeCollateral();
  const revoking = makeCollateral({ pckCrl: { revoked: [{ serial: pck.serial, at: NOW - DAY }] } });
  const profile = tdxProfile.parse({});
  const at = (collateral: typeof right) =>
    verifyQuote({ quote: writeQuote({ pck }), collateral, profile, now: NOW, anchors, cache });
  assert.equal(at(right).verdict, "accepted");
  const { pckCrl } = revoking;
  assert.deepEqual(failed(at({ ...right, ...(pckCrl ? { pckCrl } : {}) })), ["dcap.pck-crl"]);
  assert.equal(right.digest === revoking.digest, false);
});

test("cache: what was accepted under one root is not accepted under another", () => {
  const cache = new DcapCache();
  const input = { quote: writeQuote(), collateral: makeCollateral(), profile: tdxProfile.parse({}), now: NOW, cache };
  assert.equal(verifyQuote({ ...input, anchors }).verdict, "accepted");
  assert.equal(verifyQuote(input).verdict, "refused");
  const other = makeAuthority({ subject: "Intel SGX Root CA" });
  assert.equal(verifyQuote({ ...input, anchors: [anchorOf(other)] }).verdict, "refused");
});

test("cache: a root list that a false root signed is never remembered for the right one", () => {
  const cache = new DcapCache();
  const pck = makePck();
  const impostor = makeAuthority({ subject: "Intel SGX Root CA", pathLength: 1 });
  const collateral = makeCollateral({ rootCrl: { issuer: impostor } });
  const at = (chain: QuoteParts["chain"]) =>
    verifyQuote({
      quote: writeQuote({ pck, ...(chain ? { chain } : {}) }),
      collateral,
      profile: tdxProfile.parse({}),
      now: NOW,
      anchors,
      cache,
    });
  assert.deepEqual(failed(at(undefined)), ["dcap.root-crl.issuer"]);
  assert.ok(failed(at([pck.der, intel.platformCa.der, impostor.der])).includes("dcap.pck.chain"));
  assert.deepEqual(failed(at(undefined)), ["dcap.root-crl.issuer"]);
});

test("cache: it is bounded, and a revoked machine is found though its collateral is remembered", () => {
  const cache = new DcapCache(2);
  const revokedPck = makePck();
  const collateral = makeCollateral({ pckCrl: { revoked: [{ serial: revokedPck.serial, at: NOW - DAY }] } });
  const at = (pck: typeof revokedPck) =>
    verifyQuote({ quote: writeQuote({ pck }), collateral, profile: tdxProfile.parse({}), now: NOW, anchors, cache });
  for (let index = 0; index < 3; index++) assert.equal(at(makePck()).verdict, "accepted");
  assert.deepEqual(failed(at(revokedPck)), ["dcap.pck-crl"]);
  assert.equal(cache.size, 2);
});

test("addresses: Intel's paths, for TDX and SGX, with evaluation or update", () => {
  const urls = pcsUrls({ tee: "tdx", fmspc: "b0c06f000000", authority: "platform" });
  assert.equal(urls.tcbInfo, "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=B0C06F000000");
  assert.equal(
    urls.pckCrl,
    "https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
  );
  const cached = pcsUrls({
    tee: "sgx",
    fmspc: "00906ed50000",
    authority: "processor",
    base: "https://pccs.example:8081/",
    tcbEvaluationDataNumber: 18,
  });
  assert.equal(
    cached.qeIdentity,
    "https://pccs.example:8081/sgx/certification/v4/qe/identity?tcbEvaluationDataNumber=18",
  );
  assert.match(
    pcsUrls({ tee: "sgx", fmspc: "00906ed50000", authority: "processor", update: "early" }).tcbInfo,
    /&update=early$/,
  );
  assert.throws(() => pcsUrls({ tee: "tdx", fmspc: "../../x", authority: "platform" }), refused("dcap.pcs.request"));
});

test("a signature by another curve's key is no signature", () => {
  const keys = makeKeys("P-384");
  assert.equal(signRaw(utf8("x"), keys.privateKey).length, 96);
  const pck = makePck({}, { keys });
  assert.deepEqual(failed(judge({ quote: { pck, qeSigner: makeKeys().privateKey } })), ["dcap.qe-report.signature"]);
});

test("signatures of zeros and keys that are no point verify nothing", () => {
  const bytes = writeQuote();
  const { signedBytes } = parseQuote(bytes);
  const collateral = makeCollateral();
  const at = signedBytes.length + 4;
  const judgeWith = (offset: number, length: number, byte: number) => {
    const touched = bytes.slice();
    touched.fill(byte, offset, offset + length);
    return failed(verifyQuote({ quote: touched, collateral, profile: tdxProfile.parse({}), now: NOW, anchors }));
  };
  for (const byte of [0, 0xff]) {
    assert.deepEqual(judgeWith(at, 64, byte), ["dcap.quote.signature"]);
    assert.deepEqual(judgeWith(at + 64, 64, byte), ["dcap.qe-report.key", "dcap.quote.signature"]);
    assert.deepEqual(judgeWith(at + 128 + 6 + 384, 64, byte), ["dcap.qe-report.signature"]);
  }
});
