/** The verifiers of TDX, SGX and TDX on Azure behind the interface that every TEE has. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { azureProfile } from "../../src/attestation/azure/profile.ts";
import { DcapCache } from "../../src/attestation/dcap/cache.ts";
import { type CollateralRequest, collateralRequest } from "../../src/attestation/dcap/judge.ts";
import { sgxProfile } from "../../src/attestation/sgx/profile.ts";
import { createSgxVerifier } from "../../src/attestation/sgx/verifier.ts";
import { createAzureTdxVerifier, verifyAzureTdx } from "../../src/attestation/tdx/azure.ts";
import { tdxProfile } from "../../src/attestation/tdx/profile.ts";
import { createTdxVerifier, measureTdx } from "../../src/attestation/tdx/verifier.ts";
import { fromHex, ModelkeepError, toBase64, utf8 } from "../../src/base/index.ts";
import {
  anchors,
  collateralJson,
  DAY,
  makeCollateral,
  NOW,
  type QuoteParts,
  writeDomain,
  writeEnclave,
  writeQuote,
} from "./support/dcap.ts";
import {
  ABSENT,
  bytesOf,
  collateral,
  dstackReport,
  failed,
  hasVectors,
  noLists,
  quote,
  textOf,
} from "./support/dcap-vectors.ts";

const reportData = new Uint8Array(64).fill(0xdd);

const refused = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;

const profile = tdxProfile.parse({});
const tdx = (options: Partial<Parameters<typeof createTdxVerifier>[0]> = {}) =>
  createTdxVerifier({ profile, anchors, collateral: async () => makeCollateral(), ...options });
const evidence = (parts: QuoteParts = {}) => ({ kind: "tdx", data: writeQuote(parts) });

test("a domain's claims: kind, the five registers as one measurement, debug, report data", async () => {
  const claims = await tdx({ cache: new DcapCache() }).verify(evidence(), reportData, NOW);
  const registers = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4].map((byte) => new Uint8Array(48).fill(byte));
  assert.equal(claims.kind, "tdx");
  assert.equal(claims.debug, false);
  assert.deepEqual(claims.reportData, reportData);
  assert.equal(claims.measurement, createHash("sha384").update(Buffer.concat(registers)).digest("hex"));
});

test("every register changes the measurement", async () => {
  const zeros = "00".repeat(48);
  const rtmrs = [zeros, zeros, zeros, zeros] as const;
  const all = new Set([measureTdx({ mrTd: zeros, rtmrs }), measureTdx({ mrTd: "01".repeat(48), rtmrs })]);
  for (let index = 0; index < 4; index++) {
    const changed = rtmrs.map((register, at) => (at === index ? "01".repeat(48) : register));
    all.add(measureTdx({ mrTd: zeros, rtmrs: changed as unknown as typeof rtmrs }));
  }
  assert.equal(all.size, 6);
});

test("a refusal names the first rule that failed", async () => {
  const other = new Uint8Array(64);
  await assert.rejects(tdx().verify(evidence(), other, NOW), refused("dcap.report-data"));
  await assert.rejects(tdx().verify({ ...evidence(), kind: "sgx" }, reportData, NOW), refused("evidence.kind"));
  await assert.rejects(tdx().verify(evidence(), reportData, NOW + 30 * DAY), refused("dcap.tcb-info.time"));
  const debug = evidence({ body: writeDomain({ tdAttributes: (1n << 28n) | 1n }) });
  await assert.rejects(tdx().verify(debug, reportData, NOW), refused("tdx.debug"));
  const claims = await tdx({ profile: tdxProfile.parse({ allow_debug: true }) }).verify(debug, reportData, NOW);
  assert.equal(claims.debug, true);
  for (const data of [new Uint8Array(), utf8("x"), new Uint8Array(5000)])
    await assert.rejects(tdx().verify({ kind: "tdx", data }, reportData, NOW), { code: "EVIDENCE_REFUSED" });
});

test("collateral: the source is asked for the machine's platform; without any the evidence is refused", async () => {
  const asked: CollateralRequest[] = [];
  const source = async (request: CollateralRequest) => {
    asked.push(request);
    return undefined;
  };
  await assert.rejects(
    tdx({ collateral: source }).verify(evidence(), reportData, NOW),
    refused("dcap.collateral.missing"),
  );
  assert.deepEqual(asked, [{ tee: "tdx", fmspc: "a0b1c2d3e4f5", authority: "platform" }]);
  assert.throws(() => collateralRequest(writeQuote({ chain: [] })), refused("dcap.chain.format"));
});

const json = (members: object) => ({ kind: "tdx", data: utf8(JSON.stringify(members)) });

test("collateral that the machine brings is used where the source has none, and not otherwise", async () => {
  const members = { quote: toBase64(writeQuote()), collateral: collateralJson() };
  const none = async () => undefined;
  assert.equal((await tdx({ collateral: none }).verify(json(members), reportData, NOW)).kind, "tdx");
  const old = collateralJson({ nextUpdateAt: NOW - 1000 });
  const brought = { ...members, collateral: old };
  await assert.rejects(tdx({ collateral: none }).verify(json(brought), reportData, NOW), refused("dcap.tcb-info.time"));
  assert.equal((await tdx().verify(json(brought), reportData, NOW)).kind, "tdx");
  const revoking = async () => makeCollateral({ levels: [{ status: "Revoked" }] });
  await assert.rejects(
    tdx({ collateral: revoking }).verify(json(members), reportData, NOW),
    refused("dcap.tcb.status"),
  );
});

test("evidence as JSON: the form of KBS, and nothing that is not in it", async () => {
  const members = { quote: toBase64(writeQuote()), cc_eventlog: null, aa_eventlog: null };
  assert.equal((await tdx().verify(json(members), reportData, NOW)).kind, "tdx");
  for (const wrong of [
    { ...members, more: 1 },
    { ...members, quote: "%%" },
    { cc_eventlog: null },
    { ...members, cc_eventlog: "AA==", event_log: "[]" },
  ])
    await assert.rejects(tdx().verify(json(wrong), reportData, NOW), refused("dcap.evidence.format"));
  const twice = utf8(`{"quote":"","quote":"${members.quote}"}`);
  await assert.rejects(tdx().verify({ kind: "tdx", data: twice }, reportData, NOW), refused("dcap.evidence.format"));
});

test("dstack: quote and event log, accepted payloads by the names of events", async (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const report = dstackReport();
  const event_payloads = {
    "compose-hash": ["3763bc34552cf3a27ff71ad5f7a90471562a1a2df552dfc1998cba2d60da27e7"],
    "app-id": ["3763bc34552cf3a27ff71ad5f7a90471562a1a2d"],
  };
  const judge = (members: object, payloads: Record<string, string[]>) =>
    createTdxVerifier({
      profile: tdxProfile.parse({ event_payloads: payloads }),
      collateral: async () => collateral.eval18("90c06f000000"),
    }).verify(json(members), fromHex(report.report_data) ?? new Uint8Array(), Date.parse("2026-03-20T00:00:00Z"));
  const members = { quote: toBase64(quote.hex(report.quote)), event_log: report.event_log };
  assert.equal((await judge(members, event_payloads)).kind, "tdx");
  const other = { ...event_payloads, "compose-hash": ["00"] };
  await assert.rejects(judge(members, other), refused("eventlog.event.compose-hash"));
  await assert.rejects(judge({ quote: members.quote }, event_payloads), refused("eventlog.missing"));
  const shorter = JSON.stringify(JSON.parse(report.event_log).slice(0, -1));
  await assert.rejects(judge({ ...members, event_log: shorter }, event_payloads), refused("eventlog.rtmr3"));
});

test("gcp: quote and CCEL area in the form of KBS", async (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const bytes = bytesOf("tdx/gcp-v4-00806f-cos113/quote.bin");
  const area = bytesOf("tdx/gcp-v4-00806f-cos113/ccel_data.dat");
  const verifier = createTdxVerifier({
    profile: tdxProfile.parse(noLists),
    collateral: async () => collateral.eval17("00806f050000"),
  });
  const data = bytes.slice(48 + 520, 48 + 584);
  const at = Date.parse("2025-06-20T00:00:00Z");
  const members = { quote: toBase64(bytes), cc_eventlog: toBase64(area) };
  assert.equal((await verifier.verify(json(members), data, at)).kind, "tdx");
  const digestAt = 32 + (area[28] ?? 0) + 14;
  area[digestAt] = (area[digestAt] ?? 0) ^ 1;
  const touched = json({ ...members, cc_eventlog: toBase64(area) });
  await assert.rejects(verifier.verify(touched, data, at), refused("eventlog.rtmr0"));
});

test("an enclave's claims: MRENCLAVE is the measurement", async () => {
  const sgx = createSgxVerifier({
    profile: sgxProfile.parse({ mr_enclaves: ["e1".repeat(32)] }),
    anchors,
    collateral: async () => makeCollateral({ tee: "sgx" }),
  });
  const data = writeQuote({ version: 3, tee: "sgx" });
  const claims = await sgx.verify({ kind: "sgx", data }, reportData, NOW);
  assert.equal(claims.measurement, "e1".repeat(32));
  const other = writeQuote({ version: 3, tee: "sgx", body: writeEnclave({ mrEnclave: new Uint8Array(32) }) });
  await assert.rejects(sgx.verify({ kind: "sgx", data: other }, reportData, NOW), refused("sgx.identity"));
  await assert.rejects(sgx.verify({ kind: "tdx", data }, reportData, NOW), refused("evidence.kind"));
  await assert.rejects(sgx.verify({ kind: "sgx", data: writeQuote() }, reportData, NOW), refused("dcap.quote.tee"));
});

const AZURE_AT = Date.parse("2025-06-20T00:00:00Z");

const azureOptions = (
  tdxPart: Parameters<typeof tdxProfile.parse>[0] = {
    ...noLists,
    require_sept_ve_disable: false,
    accepted_tcb_statuses: ["OutOfDate"],
  },
) => ({
  profile: tdxProfile.parse(tdxPart),
  azure: azureProfile.parse({ allow_any_pcrs: true, require_secure_boot: false }),
  collateral: async () => collateral.eval17("00806f050000"),
});

/** The recorded JSON, with the quote that was recorded beside it where it has none of its own. */
function azureEvidence(change: (members: Record<string, unknown>) => void = () => undefined): Uint8Array {
  const members = JSON.parse(textOf("tdx/azure-hcl-vtpm-00806f/evidence-v1.json")) as Record<string, unknown>;
  change(members);
  return utf8(JSON.stringify(members));
}

test("tdx/azure-hcl-vtpm-00806f: hardware, paravisor and TPM belong together; a hard SEPT_VE_DISABLE rule refuses", async (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const verdict = await verifyAzureTdx(azureOptions(), azureEvidence(), AZURE_AT);
  assert.deepEqual(failed(verdict), []);
  assert.equal(verdict.tcbStatus, "OutOfDate");
  assert.equal(verdict.claims?.azure?.pcrs.length, 24);
  const strict = await verifyAzureTdx(azureOptions(noLists), azureEvidence(), AZURE_AT);
  assert.deepEqual(failed(strict), ["dcap.tcb.status", "tdx.sept-ve-disable"]);
});

test("azure: what the exchange expects stands in the TPM's quote, and the parts cannot be swapped", async (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const bound = await verifyAzureTdx(azureOptions(), azureEvidence(), AZURE_AT, reportData);
  assert.deepEqual(failed(bound), ["azure.quote.binding"]);
  const verifier = createAzureTdxVerifier(azureOptions());
  const sent = { kind: "az-tdx-vtpm", data: azureEvidence() };
  await assert.rejects(verifier.verify(sent, reportData, AZURE_AT), refused("azure.quote.binding"));
  await assert.rejects(verifier.verify({ ...sent, kind: "tdx" }, reportData, AZURE_AT), refused("evidence.kind"));
  const otherQuote = azureEvidence((members) => {
    members.td_quote = Buffer.from(bytesOf("tdx/gcp-v4-00806f-cos113/quote.bin")).toString("base64url");
  });
  const swapped = await verifyAzureTdx(azureOptions(), otherQuote, AZURE_AT);
  assert.ok(failed(swapped).includes("dcap.report-data"));
  const noQuote = azureEvidence((members) => {
    delete members.td_quote;
  });
  assert.deepEqual(failed(await verifyAzureTdx(azureOptions(), noQuote, AZURE_AT)), ["azure.td-quote"]);
});

test("collateral is asked for by what the quote says of its machine", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const expected = { tee: "tdx", fmspc: "00806f050000", authority: "platform" };
  assert.deepEqual(collateralRequest(bytesOf("tdx/gcp-v4-00806f-cos113/quote.bin")), expected);
  const processor = collateralRequest(bytesOf("sgx/phala-v3-00a067110000/quote.bin"));
  assert.deepEqual(processor, { tee: "sgx", fmspc: "00a067110000", authority: "processor" });
});
