/** Every recorded quote of TDX and SGX gets its recorded verdict at its time, by name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type Collateral,
  collateralFromPcs as collateralOf,
  readChain,
} from "../../src/attestation/dcap/collateral.ts";
import { parseQuote } from "../../src/attestation/dcap/evidence.ts";
import { readPckExtension } from "../../src/attestation/dcap/pck.ts";
import { firstComparedComponent, matchTcbLevels } from "../../src/attestation/dcap/tcb.ts";
import type { SgxProfileInput } from "../../src/attestation/sgx/profile.ts";
import type { TdxProfileInput } from "../../src/attestation/tdx/profile.ts";
import { parseCertificate } from "../../src/codec/index.ts";
import {
  ABSENT,
  bytesOf,
  collateral,
  failed,
  hasVectors,
  haveOf,
  judgeSgx,
  judgeTdx,
  noLists,
  quote,
  resultOf,
  textOf,
} from "./support/dcap-vectors.ts";

interface Case {
  readonly name: string;
  readonly quote: () => Uint8Array;
  readonly collateral: () => Collateral;
  readonly at: string;
  readonly status?: string;
  readonly advisories?: readonly string[];
  readonly refusedBy: readonly string[];
}

const sa = (...numbers: readonly string[]) => numbers.map((number) => `INTEL-SA-${number}`);
const file = (path: string) => () => bytesOf(path);

const tdxCases: readonly (Case & { readonly profile?: TdxProfileInput })[] = [
  {
    name: "phala-v4-b0c06f",
    quote: file("tdx/phala-v4-b0c06f/quote.bin"),
    collateral: collateral.phalaV4,
    at: "2025-06-25T00:00:00Z",
    status: "UpToDate",
    advisories: [],
    refusedBy: [],
  },
  {
    name: "phala-v4-b0c06f, collateral expired",
    quote: file("tdx/phala-v4-b0c06f/quote.bin"),
    collateral: collateral.phalaV4,
    at: "2025-08-01T00:00:00Z",
    status: "UpToDate",
    refusedBy: ["dcap.tcb-info.time", "dcap.qe-identity.time", "dcap.pck-crl.time"],
  },
  {
    name: "phala-v5-90c06f-tcb-not-supported",
    quote: file("tdx/phala-v5-90c06f-tcb-not-supported/quote.bin"),
    collateral: collateral.phalaV5,
    at: "2026-03-01T00:00:00Z",
    status: "NotSupported",
    refusedBy: ["dcap.tcb.status"],
  },
  {
    name: "gcp-v4-00806f-cos113",
    quote: file("tdx/gcp-v4-00806f-cos113/quote.bin"),
    collateral: () => collateral.eval17("00806f050000"),
    at: "2025-06-20T00:00:00Z",
    profile: noLists,
    status: "UpToDate",
    advisories: [],
    refusedBy: [],
  },
  {
    name: "gcp-v4-50806f-nonzero-trailer (the signer's chain of 2023 was not recorded)",
    quote: file("tdx/gcp-v4-50806f-nonzero-trailer/quote.bin"),
    collateral: collateral.eval15,
    at: "2023-06-25T00:00:00Z",
    status: "NotSupported",
    refusedBy: ["dcap.tcb-info.signer", "dcap.qe-identity.signer", "dcap.tcb.status", "tdx.sept-ve-disable"],
  },
  {
    name: "debug-v4-50806f with evaluation 15 (the signer's chain of 2023 was not recorded)",
    quote: file("tdx/debug-v4-50806f/quote.bin"),
    collateral: collateral.eval15,
    at: "2023-06-25T00:00:00Z",
    status: "UpToDate",
    refusedBy: ["dcap.tcb-info.signer", "dcap.qe-identity.signer", "tdx.debug"],
  },
  {
    name: "debug-v4-50806f with evaluation 18",
    quote: file("tdx/debug-v4-50806f/quote.bin"),
    collateral: () => collateral.eval18("50806f000000"),
    at: "2026-03-20T00:00:00Z",
    status: "OutOfDate",
    refusedBy: ["dcap.tcb.status", "tdx.debug"],
  },
  {
    name: "v5-mrservicetd-tcb-not-supported",
    quote: file("tdx/v5-mrservicetd-tcb-not-supported/quote.bin"),
    collateral: () => collateral.eval18("90c06f000000"),
    at: "2026-03-20T00:00:00Z",
    status: "NotSupported",
    refusedBy: ["dcap.tcb.status", "tdx.mr-service-td"],
  },
  {
    name: "azure-hcl-vtpm-00806f",
    quote: file("tdx/azure-hcl-vtpm-00806f/td-quote.bin"),
    collateral: () => collateral.eval17("00806f050000"),
    at: "2025-06-20T00:00:00Z",
    profile: noLists,
    status: "OutOfDate",
    advisories: sa("00960", "00982", "00986"),
    refusedBy: ["dcap.tcb.status", "tdx.sept-ve-disable"],
  },
  {
    name: "alibaba-v5-90c06f-rollback with evaluation 17",
    quote: file("tdx/alibaba-v5-90c06f-rollback/quote.bin"),
    collateral: () => collateral.eval17("90c06f000000"),
    at: "2025-06-20T00:00:00Z",
    profile: noLists,
    status: "UpToDate",
    refusedBy: ["tdx.mr-service-td"],
  },
  {
    name: "alibaba-v5-90c06f-rollback with evaluation 18",
    quote: file("tdx/alibaba-v5-90c06f-rollback/quote.bin"),
    collateral: () => collateral.eval18("90c06f000000"),
    at: "2026-03-20T00:00:00Z",
    status: "OutOfDate",
    advisories: sa("01036", "01079", "01099", "01103", "01111"),
    refusedBy: ["dcap.tcb.status", "tdx.mr-service-td"],
  },
  {
    name: "dstack-v4-90c06f-eventlog",
    quote: quote.dstack,
    collateral: () => collateral.eval18("90c06f000000"),
    at: "2026-03-20T00:00:00Z",
    status: "UpToDate",
    advisories: [],
    refusedBy: [],
  },
];

const sgxCases: readonly (Case & { readonly profile?: SgxProfileInput })[] = [
  {
    name: "phala-v3-00a067110000",
    quote: file("sgx/phala-v3-00a067110000/quote.bin"),
    collateral: collateral.phalaSgx,
    at: "2025-06-25T00:00:00Z",
    status: "ConfigurationAndSWHardeningNeeded",
    advisories: sa("00289", "00615"),
    refusedBy: ["dcap.tcb.status"],
  },
  {
    name: "phala-v3-00a067110000, its state accepted by name",
    quote: file("sgx/phala-v3-00a067110000/quote.bin"),
    collateral: collateral.phalaSgx,
    at: "2025-06-25T00:00:00Z",
    profile: { accepted_tcb_statuses: ["ConfigurationAndSWHardeningNeeded"] },
    status: "ConfigurationAndSWHardeningNeeded",
    refusedBy: [],
  },
  {
    name: "debug-v3-00a067110000 (its identity was recorded three months later)",
    quote: file("sgx/debug-v3-00a067110000/quote.bin"),
    collateral: collateral.sgxDebug,
    at: "2025-05-20T00:00:00Z",
    profile: { ...noLists, accepted_tcb_statuses: ["ConfigurationAndSWHardeningNeeded"] },
    status: "ConfigurationAndSWHardeningNeeded",
    refusedBy: ["dcap.qe-identity.time", "sgx.debug"],
  },
  {
    name: "automata-v3-00606a000000",
    quote: quote.automata,
    collateral: collateral.automata,
    at: "2025-08-20T00:00:00Z",
    status: "SWHardeningNeeded",
    advisories: sa("00615"),
    refusedBy: ["dcap.tcb.status"],
  },
  {
    name: "occlum-debug-outofdate",
    quote: file("sgx/occlum-debug-outofdate/quote.bin"),
    collateral: collateral.automata,
    at: "2025-08-20T00:00:00Z",
    status: "OutOfDate",
    refusedBy: ["dcap.tcb.status", "sgx.debug"],
  },
];

for (const one of tdxCases)
  test(`tdx/${one.name}`, (t) => {
    if (!hasVectors) return t.skip(ABSENT);
    check(judgeTdx(one.quote(), one.collateral(), one.at, one.profile), one);
  });

for (const one of sgxCases)
  test(`sgx/${one.name}`, (t) => {
    if (!hasVectors) return t.skip(ABSENT);
    check(judgeSgx(one.quote(), one.collateral(), one.at, one.profile), one);
  });

function check(verdict: ReturnType<typeof judgeTdx | typeof judgeSgx>, one: Case): void {
  assert.deepEqual(failed(verdict), one.refusedBy);
  assert.equal(verdict.verdict, one.refusedBy.length === 0 ? "accepted" : "refused");
  assert.equal(verdict.tcbStatus, one.status);
  if (one.advisories) assert.deepEqual(verdict.advisories, one.advisories);
  for (const id of ["dcap.qe-report.signature", "dcap.qe-report.key", "dcap.quote.signature", "dcap.pck.chain"])
    assert.equal(resultOf(verdict, id), "passed");
  for (const id of ["dcap.tcb-info.signature", "dcap.qe-identity.signature"])
    assert.equal(resultOf(verdict, id), "passed");
}

test("sgx/intel-qvl-synthetic: without a chain to Intel's root it is refused, and so is its TCB info", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const bytes = bytesOf("sgx/intel-qvl-synthetic/quote.dat");
  assert.equal(parseQuote(bytes).certification.type, 1);
  const verdict = judgeSgx(bytes, collateral.automata(), "2025-08-20T00:00:00Z");
  assert.equal(verdict.verdict, "refused");
  assert.ok(failed(verdict).includes("dcap.pck.chain"));
  const files = {
    tcbInfo: bytesOf("sgx/intel-qvl-synthetic/tcbInfo.json"),
    qeIdentity: bytesOf("sgx/automata-v3-00606a000000/qe_identity.json"),
  };
  assert.throws(() => collateralOf(files), { code: "EVIDENCE_REFUSED", detail: "dcap.tcb-info.format" });
});

test("the REST request of occlum holds the same quote", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const [request] = JSON.parse(textOf("sgx/occlum-debug-outofdate/rest-as-request.json")).verification_requests;
  const evidence = JSON.parse(Buffer.from(request.evidence, "base64url").toString("utf8"));
  const bytes = new Uint8Array(Buffer.from(evidence.quote, "base64"));
  assert.deepEqual(failed(judgeSgx(bytes, collateral.automata(), "2025-08-20T00:00:00Z")), [
    "dcap.tcb.status",
    "sgx.debug",
  ]);
});

test("property: any bit that is flipped in a recorded quote before its trailing bytes is refused", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const bytes = bytesOf("tdx/phala-v4-b0c06f/quote.bin");
  const end = bytes.length - parseQuote(bytes).trailingBytes;
  const set = collateral.phalaV4();
  fc.assert(
    fc.property(fc.integer({ min: 0, max: end * 8 - 1 }), (bit) => {
      const touched = bytes.slice();
      touched[bit >> 3] = (touched[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(judgeTdx(touched, set, "2025-06-25T00:00:00Z").verdict, "refused");
    }),
    { numRuns: 200 },
  );
});

test("recorded quotes truncated at any byte are refused; those that are padded end where their lengths say", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  for (const one of [...tdxCases, ...sgxCases]) {
    const bytes = one.quote();
    const end = bytes.length - parseQuote(bytes).trailingBytes;
    assert.equal(parseQuote(bytes.subarray(0, end)).trailingBytes, 0);
    for (let length = 0; length < end; length += 7)
      assert.throws(() => parseQuote(bytes.subarray(0, length)), { code: "EVIDENCE_REFUSED" });
  }
});

test("a refusal says which component is behind", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const bytes = bytesOf("tdx/phala-v5-90c06f-tcb-not-supported/quote.bin");
  const verdict = judgeTdx(bytes, collateral.phalaV5(), "2026-03-01T00:00:00Z");
  assert.match(haveOf(verdict, "dcap.tcb.status") ?? "", /SGX component 7 is 3, the level asks for 5/);
});

test("trap 15: the older evaluation under which the recorded machine was fine is refused by its number", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const bytes = bytesOf("tdx/alibaba-v5-90c06f-rollback/quote.bin");
  const { report } = parseQuote(bytes);
  const service = report.tee === "tdx" && report.mrServiceTd ? [Buffer.from(report.mrServiceTd).toString("hex")] : [];
  const profile = { ...noLists, mr_service_td: service };
  const judge = (more: TdxProfileInput) =>
    judgeTdx(bytes, collateral.eval17("90c06f000000"), "2025-06-20T00:00:00Z", { ...profile, ...more });
  assert.equal(judge({}).verdict, "accepted");
  assert.deepEqual(failed(judge({ minimum_tcb_evaluation_data_number: 18 })), [
    "dcap.tcb-info.evaluation",
    "dcap.qe-identity.evaluation",
  ]);
});

test("trap 10: Intel's rule and a comparison of all 16 components differ exactly where the vectors say", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const differing = tdxCases.flatMap((one) => {
    const { report, certification } = parseQuote(one.quote());
    if (report.tee !== "tdx") throw new Error("no trust domain");
    const { tcbInfo } = one.collateral();
    const machine = machineOf(certification.data);
    const naive = tcbInfo.content.tcbLevels.find((level) => {
      const components = "tdxtcbcomponents" in level.tcb ? (level.tcb.tdxtcbcomponents as number[]) : [];
      const met = components.every((need, index) => (report.teeTcbSvn[index] ?? 0) >= need);
      return met && matchTcbLevels([level], machine, undefined).sgx !== undefined;
    });
    const intel = matchTcbLevels(tcbInfo.content.tcbLevels, machine, report.teeTcbSvn).tdx;
    return naive?.tcbStatus === intel?.tcbStatus ? [] : [[one.name, naive?.tcbStatus, intel?.tcbStatus]];
  });
  assert.deepEqual(differing, [
    ["gcp-v4-00806f-cos113", "OutOfDate", "UpToDate"],
    ["azure-hcl-vtpm-00806f", undefined, "OutOfDate"],
  ]);
});

function machineOf(chain: Uint8Array) {
  const [der] = readChain(Buffer.from(chain).toString("latin1"));
  if (!der) throw new Error("no certificate");
  return readPckExtension(parseCertificate(der)).tcb;
}

test("trap 10: without a module version all 16 components are compared", () => {
  assert.equal(firstComparedComponent(Uint8Array.of(3, 0, 5)), 0);
  assert.equal(firstComparedComponent(Uint8Array.of(3, 1, 5)), 2);
});
