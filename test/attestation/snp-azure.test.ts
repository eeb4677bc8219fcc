/** SEV-SNP on Azure: recorded machines, and one of our own with every link between hardware, TPM and exchange broken. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { parseAzureEvidence } from "../../src/attestation/azure/evidence.ts";
import { parseHclReport } from "../../src/attestation/azure/hcl.ts";
import { azureProfile } from "../../src/attestation/azure/profile.ts";
import { createAzureSnpVerifier, verifyAzureSnp } from "../../src/attestation/azure/snp.ts";
import { isSignedQuote, parseTpmQuote, tpmQualifyingData } from "../../src/attestation/azure/tpm-quote.ts";
import { snpProfile } from "../../src/attestation/snp/profile.ts";
import { createSnpJudge } from "../../src/attestation/snp/verifier.ts";
import { verifySnp } from "../../src/attestation/snp/verify.ts";
import { concatBytes, equalBytes, ModelkeepError, parseJson, toHex, utf8 } from "../../src/base/index.ts";
import { toPem } from "../../src/codec/index.ts";
import {
  azureJson,
  type HclOptions,
  hclReportData,
  makeHcl,
  makeQuote,
  PCRS,
  type QuoteOptions,
} from "./support/azure.ts";
import { makePlatform, makeReport, makeVek, NOW, TCB, usualCrl } from "./support/snp.ts";
import { ABSENT, ROOTS, readAzure, readCertificates, readTee } from "./support/snp-vectors.ts";

const skip = ABSENT;
const day = (text: string) => Date.parse(`${text}T00:00:00Z`);
const refusal = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;
const failedOf = (rules: readonly { id: string; result: string }[]) =>
  rules.filter(({ result }) => result === "failed").map(({ id }) => id);

const recorded = { products: ["Milan"], require_crl: false, allow_any_tcb: true, required_platform: [] } as const;
const anyPcrs = azureProfile.parse({ allow_any_pcrs: true });
const recordedJudge = () =>
  createSnpJudge({ profile: snpProfile.parse(recorded), chain: readCertificates(ROOTS.milan) });

/** The 48 bytes that the recorded quote holds, as KBS pads them. */
function boundOf(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(64);
  out.set(parseTpmQuote(parseAzureEvidence(data).quote.message).extraData);
  return out;
}

test("azure-hcl-vtpm/evidence-v2.json: accepted at 2025-06-01, bound by the TPM", { skip }, () => {
  const data = readAzure("evidence-v2.json");
  const request = { data, judge: recordedJudge(), azure: anyPcrs, now: day("2025-06-01") };
  const verdict = verifyAzureSnp({ ...request, expectedReportData: boundOf(data) });
  assert.deepEqual(failedOf(verdict.rules), []);
  assert.equal(verdict.verdict, "accepted");
  assert.equal(verdict.claims?.azure?.secureBoot, true);
  assert.equal(toHex(boundOf(data)).slice(0, 8), "982f5c6e");
  const other = boundOf(data).fill(0, 0, 1);
  assert.deepEqual(failedOf(verifyAzureSnp({ ...request, expectedReportData: other }).rules), ["azure.quote.binding"]);
  const strict = verifyAzureSnp({ ...request, azure: azureProfile.parse({}) });
  assert.deepEqual(failedOf(strict.rules), ["azure.pcr.named"]);
  assert.deepEqual(failedOf(verifyAzureSnp({ ...request, now: day("2032-02-01") }).rules), ["snp.chain.expired"]);
});

test("azure-hcl-vtpm/hcl-report.bin: its SNP report is accepted at 2024-01-01, bound to the runtime data", {
  skip,
}, () => {
  const hcl = parseHclReport(readAzure("hcl-report.bin"));
  assert.equal(hcl.kind, "snp");
  assert.equal(toHex(hcl.reportData).slice(0, 8), "b3fbad65");
  assert.match(toHex(hcl.reportData), /0{64}$/);
  const request = {
    report: hcl.hardwareReport,
    certificates: readCertificates("azure-hcl-vtpm/vcek.pem"),
    crls: [],
    profile: snpProfile.parse(recorded),
    now: day("2024-01-01"),
  };
  assert.equal(verifySnp({ ...request, expectedReportData: hcl.reportData }).verdict, "accepted");
  const other = hcl.reportData.slice();
  other[63] = 1;
  assert.deepEqual(failedOf(verifySnp({ ...request, expectedReportData: other }).rules), ["snp.report-data"]);
});

test("azure-hcl-vtpm/tpm-quote: reads, but another TPM signed it", { skip }, () => {
  const [message, signature] = [readAzure("tpm-quote.msg"), readAzure("tpm-quote.sig")];
  assert.equal(Buffer.from(parseTpmQuote(message).extraData).toString(), "challenge");
  const { attestationKey } = parseHclReport(readAzure("hcl-report.bin"));
  assert.equal(isSignedQuote(message, signature, attestationKey), false);
});

test("azure TDX: the paravisor's report and the quote read with the same code", { skip }, () => {
  const { hcl, quote, tdQuote } = parseAzureEvidence(readTee("tdx/azure-hcl-vtpm-00806f/evidence-v1.json"));
  assert.equal(hcl.kind, "tdx");
  assert.equal(toHex(hcl.reportData).slice(0, 8), "9734504f");
  assert.ok(equalBytes(hcl.hardwareReport.subarray(128, 192), hcl.reportData));
  assert.equal(isSignedQuote(quote.message, quote.signature, hcl.attestationKey), true);
  assert.ok(tdQuote && tdQuote.length > 4000);
  const data = readTee("tdx/azure-hcl-vtpm-00806f/evidence-v1.json");
  const verdict = verifyAzureSnp({ data, judge: recordedJudge(), azure: anyPcrs, now: day("2025-06-20") });
  assert.deepEqual(failedOf(verdict.rules), ["azure.hcl.kind"]);
});

const genoa = makePlatform();
const vcek = makeVek(genoa);
const bound = new Uint8Array(64).map((_, index) => index);
const judge = createSnpJudge({
  profile: snpProfile.parse({ minimum_tcb: { Genoa: TCB } }),
  chain: [genoa.ask.der, genoa.ark.der],
  crls: [usualCrl(genoa)],
  anchors: genoa.anchors,
});
const named = { pcrs: { 4: [toHex(PCRS[4] ?? bound)], 11: ["ff".repeat(32), toHex(PCRS[11] ?? bound)] } };

interface Scene {
  readonly hcl?: HclOptions;
  readonly hclBytes?: Uint8Array;
  readonly quote?: Partial<QuoteOptions>;
  readonly pcrs?: readonly Uint8Array[];
  readonly profile?: object;
  readonly reportData?: Uint8Array;
  readonly vmpl?: number;
  readonly expected?: Uint8Array;
}

const vcekText = Buffer.from(vcek.der).toString("base64url");

function hclOf({ hcl = {}, reportData, vmpl = 0 }: Scene): Uint8Array {
  const change = (report: Buffer) => {
    report.set(reportData ?? hclReportData(hcl), 0x50);
    report.writeUInt32LE(vmpl, 0x30);
  };
  return makeHcl(makeReport(vcek, { change }), hcl);
}

function dataOf(scene: Scene = {}): Uint8Array {
  const quote = makeQuote({ extraData: tpmQualifyingData(bound), ...scene.quote });
  const pcrs = scene.pcrs ? { pcrs: scene.pcrs } : {};
  return azureJson({ hcl: scene.hclBytes ?? hclOf(scene), quote, vcek: vcekText, ...pcrs });
}

function failedRules(scene: Scene = {}): string[] {
  const { expected: expectedReportData = bound } = scene;
  const azure = azureProfile.parse(scene.profile ?? named);
  return failedOf(verifyAzureSnp({ data: dataOf(scene), judge, azure, now: NOW, expectedReportData }).rules);
}

test("a sound machine is accepted, whichever hash binds its runtime data", async () => {
  for (const hash of [1, 2, 3] as const) assert.deepEqual(failedRules({ hcl: { hash } }), []);
  const verifier = createAzureSnpVerifier({
    profile: snpProfile.parse({ minimum_tcb: { Genoa: TCB } }),
    azure: azureProfile.parse(named),
    chain: [genoa.ask.der, genoa.ark.der],
    crls: [usualCrl(genoa)],
    anchors: genoa.anchors,
  });
  const claims = await verifier.verify({ kind: "az-snp-vtpm", data: dataOf() }, bound, NOW);
  assert.deepEqual(claims.reportData, bound);
  const other = bound.slice().reverse();
  const late = verifier.verify({ kind: "az-snp-vtpm", data: dataOf() }, other, NOW);
  await assert.rejects(late, refusal("azure.quote.binding"));
  await assert.rejects(verifier.verify({ kind: "snp", data: dataOf() }, bound, NOW), refusal("evidence.kind"));
});

test("every link refuses alone: hardware to runtime data, key to quote, quote to exchange, registers to profile", () => {
  const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const padded = hclReportData();
  padded[40] = 1;
  const changedPcrs = PCRS.map((value, index) => (index === 4 ? new Uint8Array(32).fill(9) : value));
  const cases: readonly (readonly [readonly string[], Scene])[] = [
    [["snp.report-data"], { reportData: bound }],
    [["snp.report-data"], { reportData: padded }],
    [["snp.vmpl"], { vmpl: 2 }],
    [["azure.quote.signature"], { quote: { privateKey: stranger } }],
    [["azure.quote.binding"], { quote: { extraData: new Uint8Array(48) } }],
    [["azure.quote.binding"], { quote: { extraData: new Uint8Array() } }],
    [["azure.quote.binding"], { quote: { extraData: tpmQualifyingData(bound).slice(0, 47) } }],
    [["azure.quote.binding"], { expected: bound.subarray(0, 48) }],
    [["azure.quote.format"], { quote: { magic: 0xff544348 } }],
    [["azure.quote.format"], { quote: { type: 0x8017 } }],
    [["azure.quote.format"], { quote: { bank: 4 } }],
    [["azure.quote.format"], { quote: { selected: [4, 11, 24] } }],
    [["azure.pcr.digest", "azure.pcr.4"], { pcrs: changedPcrs }],
    [["azure.pcr.4"], { pcrs: changedPcrs, quote: { pcrs: changedPcrs } }],
    [["azure.pcr.4"], { quote: { selected: [0, 1, 2, 3, 11] } }],
    [["azure.pcr.named"], { profile: {} }],
    [["azure.secure-boot"], { hcl: { secureBoot: false } }],
  ];
  for (const [rules, scene] of cases) assert.deepEqual(failedRules(scene), rules, String(rules));
  assert.deepEqual(failedRules({ profile: { allow_any_pcrs: true } }), []);
  assert.deepEqual(failedRules({ hcl: { secureBoot: false }, profile: { ...named, require_secure_boot: false } }), []);
  const without = { runtime: JSON.stringify({ keys: keysOf() }) };
  assert.deepEqual(failedRules({ hcl: without }), ["azure.secure-boot"]);
});

const keysOf = () => (parseJson(runtimeText()) as { keys: Record<string, unknown>[] }).keys;
const runtimeText = () => {
  const hcl = makeHcl(new Uint8Array());
  const length = Buffer.from(hcl).readUInt32LE(1232);
  return hcl.subarray(1236, 1236 + length);
};

test("keys: exactly one of the TPM, of RSA, of a usual size", () => {
  const [key = {}] = keysOf();
  const wrong = [
    [],
    [{ ...key, kid: "HCLEkPub" }],
    [key, key],
    [{ ...key, kty: "EC" }],
    [{ ...key, e: "Aw" }],
    [{ ...key, n: "AQAB" }],
    [{ ...key, n: "!" }],
    [{ kid: "HCLAkPub", kty: "RSA" }],
  ];
  for (const keys of wrong) assert.deepEqual(failedRules({ hcl: { keys } }), ["azure.hcl.key"]);
  const twice = Buffer.from(runtimeText()).toString().replace("{", '{"keys":[],');
  assert.deepEqual(failedRules({ hcl: { runtime: twice } }), ["azure.hcl.format"]);
  assert.deepEqual(failedRules({ hcl: { runtime: "{" } }), ["azure.hcl.format"]);
  assert.deepEqual(failedRules({ hcl: { runtime: "{}" } }), ["azure.hcl.format"]);
});

test("the paravisor's report: header, lengths, types and what lies behind", () => {
  const good = hclOf({});
  const changed = (place: number, value: number) => {
    const bytes = Buffer.from(good);
    bytes.writeUInt32LE(value, place);
    return new Uint8Array(bytes);
  };
  const wrong = [
    changed(0, 0),
    changed(4, 3),
    changed(8, 1),
    changed(12, 1),
    changed(16, 1),
    changed(1216, 19),
    changed(1220, 2),
    changed(1224, 3),
    changed(1228, 0),
    changed(1228, 4),
    changed(1232, 0),
    changed(1232, 0xffff_ffff),
    changed(2596, 1),
    new Uint8Array(),
    new Uint8Array(16 * 1024 + 1),
  ];
  for (const hclBytes of wrong) assert.throws(() => parseHclReport(hclBytes), refusal("azure.hcl.format"));
  assert.deepEqual(failedRules({ hclBytes: changed(1224, 4) }), ["azure.hcl.kind"]);
  const unpadded = good.subarray(0, 1236 + runtimeText().length);
  assert.deepEqual(failedRules({ hclBytes: unpadded }), []);
  assert.deepEqual(failedRules({ hclBytes: concatBytes(unpadded, new Uint8Array(3)) }), []);
  for (let length = 0; length < 1236 + runtimeText().length; length += 7)
    assert.throws(() => parseHclReport(good.subarray(0, length)), refusal("azure.hcl.format"));
});

test("a quote cut at any place, or with more behind it, is refused and never crashes", () => {
  const { message } = makeQuote({ extraData: bound });
  for (let length = 0; length < message.length; length++)
    assert.throws(() => parseTpmQuote(message.subarray(0, length)), refusal("azure.quote.format"));
  assert.throws(() => parseTpmQuote(concatBytes(message, Uint8Array.of(0))), refusal("azure.quote.format"));
});

test("no bit of quote, signature or signed runtime data can be flipped (property)", () => {
  const [quote, hcl] = [makeQuote({ extraData: tpmQualifyingData(bound) }), hclOf({})];
  const azure = azureProfile.parse(named);
  const parts = {
    message: quote.message,
    signature: quote.signature,
    hcl: hcl.subarray(0, 1236 + runtimeText().length),
  };
  fc.assert(
    fc.property(fc.constantFrom("message", "signature", "hcl" as const), fc.nat(), (part, seed) => {
      const bit = seed % (parts[part].length * 8);
      const flipped = { ...parts, [part]: parts[part].slice() };
      flipped[part][bit >> 3] = (flipped[part][bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const data = azureJson({ hcl: flipped.hcl, quote: { ...flipped }, vcek: vcekText });
      const verdict = verifyAzureSnp({ data, judge, azure, now: NOW, expectedReportData: bound });
      assert.equal(verdict.verdict, "refused");
    }),
    { numRuns: 200 },
  );
});

test("no bit of the header, which nothing signs, can be flipped", () => {
  const hcl = hclOf({});
  for (let bit = 0; bit < 32 * 8; bit++) {
    const flipped = hcl.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(() => parseHclReport(flipped), { code: "EVIDENCE_REFUSED" }, `bit ${bit}`);
  }
});

test("trap 30: PEM with NULs behind it; other forms of the evidence", () => {
  const [quote, hcl] = [makeQuote({ extraData: tpmQualifyingData(bound) }), hclOf({})];
  const azure = azureProfile.parse(named);
  const judged = (data: Uint8Array) =>
    failedOf(verifyAzureSnp({ data, judge, azure, now: NOW, expectedReportData: bound }).rules);
  const pem = `${toPem("CERTIFICATE", vcek.der)}${toPem("CERTIFICATE", genoa.ask.der)}\0\0`;
  for (const version of [undefined, 1, 2]) assert.deepEqual(judged(azureJson({ hcl, quote, vcek: pem, version })), []);
  const padded = { hcl_report: Buffer.from(hcl).toString("base64url").padEnd(3468, "=") };
  assert.deepEqual(judged(azureJson({ hcl, quote, vcek: vcekText, more: padded })), []);
  assert.deepEqual(judged(azureJson({ hcl, quote })), ["snp.vek.present"]);
  const wrong = [
    azureJson({ hcl, quote, vcek: vcekText, version: 3 }),
    azureJson({ hcl, quote, vcek: vcekText, version: "2" }),
    azureJson({ hcl, quote, vcek: "-----BEGIN CERTIFICATE-----" }),
    azureJson({ hcl, quote, vcek: "a b" }),
    azureJson({ hcl, quote, vcek: vcekText, pcrs: PCRS.slice(1) }),
    azureJson({ hcl, quote, vcek: vcekText, pcrs: PCRS.map((value) => value.subarray(1)) }),
    azureJson({ hcl, quote, vcek: vcekText, more: { extra: 1 } }),
    utf8("{"),
    new Uint8Array(),
  ];
  for (const data of wrong) assert.deepEqual(judged(data), ["azure.evidence.format"]);
});

test("what a TPM is given to quote: 48 bytes that only this report data gives (property)", () => {
  const kbs = concatBytes(new Uint8Array(48).fill(5), new Uint8Array(16));
  assert.deepEqual(tpmQualifyingData(kbs), new Uint8Array(48).fill(5));
  const whole = createHash("sha384").update(bound).digest();
  assert.equal(toHex(tpmQualifyingData(bound)), whole.toString("hex"));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.nat(511), (data, bit) => {
      const other = data.slice();
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.notDeepEqual(tpmQualifyingData(data), tpmQualifyingData(other));
      assert.equal(tpmQualifyingData(data).length, 48);
    }),
  );
});
