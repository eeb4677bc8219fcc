/** Intel's rule for the state of a platform: levels, modules, relaunch, convergence, and what a profile makes of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PLATFORM_STATUSES } from "../../src/attestation/dcap/documents.ts";
import { converge, type PartStatus, TCB_STATUSES, type TcbStatus } from "../../src/attestation/dcap/tcb.ts";
import { verifyQuote } from "../../src/attestation/dcap/verify.ts";
import { sgxProfile } from "../../src/attestation/sgx/profile.ts";
import { type TdxProfileInput, tdxProfile } from "../../src/attestation/tdx/profile.ts";
import {
  anchors,
  type CollateralParts,
  DAY,
  type Level,
  type MachineTcb,
  makeCollateral,
  makePck,
  NOW,
  type QuoteParts,
  writeDomain,
  writeQuote,
} from "./support/dcap.ts";
import { failed, haveOf, resultOf } from "./support/dcap-vectors.ts";

const fill = (value: number) => Array.from({ length: 16 }, () => value);

function judge(
  quote: QuoteParts & { readonly machine?: MachineTcb },
  collateral: CollateralParts,
  profile: TdxProfileInput = {},
) {
  const pck = quote.machine ? { pck: makePck(quote.machine) } : {};
  return verifyQuote({
    quote: writeQuote({ ...quote, ...pck }),
    collateral: makeCollateral(collateral),
    profile: tdxProfile.parse(profile),
    now: NOW,
    anchors,
  });
}

function statusOfEnclave(machine: MachineTcb, collateral: CollateralParts): string | undefined {
  return verifyQuote({
    quote: writeQuote({ version: 3, tee: "sgx", pck: makePck(machine) }),
    collateral: makeCollateral({ tee: "sgx", ...collateral }),
    profile: sgxProfile.parse({}),
    now: NOW,
    anchors,
  }).tcbStatus;
}

const ladder: readonly Level[] = [
  { sgx: fill(5), pcesvn: 11, status: "UpToDate" },
  { sgx: fill(4), pcesvn: 10, status: "OutOfDate", advisories: ["INTEL-SA-00001"] },
  { sgx: fill(3), pcesvn: 5, status: "Revoked", advisories: ["INTEL-SA-00002"] },
];

test("an enclave's platform is at the first level that all components and the PCE meet", () => {
  const at = (components: number[], pceSvn: number) => statusOfEnclave({ components, pceSvn }, { levels: ladder });
  assert.equal(at(fill(5), 11), "UpToDate");
  assert.equal(at(fill(255), 500), "UpToDate");
  assert.equal(at(fill(5), 10), "OutOfDate");
  assert.equal(at(fill(3), 11), "Revoked");
  assert.equal(at(fill(2), 11), "NotSupported");
  assert.equal(at(fill(5), 4), "NotSupported");
  for (let index = 0; index < 16; index++) {
    const low = fill(5);
    low[index] = 4;
    assert.equal(at(low, 11), "OutOfDate");
  }
});

test("a domain goes on to the first level whose TDX components are met as well", () => {
  const levels: readonly Level[] = [
    { tdx: [5, 0, 6], status: "UpToDate" },
    { tdx: [5, 0, 5], status: "SWHardeningNeeded", advisories: ["INTEL-SA-00009"] },
  ];
  const at = (...svn: number[]) => judge({ body: writeDomain({ teeTcbSvn: svn }) }, { levels });
  assert.equal(at(5, 1, 6).tcbStatus, "UpToDate");
  const behind = at(5, 1, 5);
  assert.equal(behind.tcbStatus, "SWHardeningNeeded");
  assert.deepEqual(behind.advisories, ["INTEL-SA-00009"]);
  assert.match(haveOf(behind, "dcap.tcb.status") ?? "", /TDX component 2 is 5, the level asks for 6/);
  assert.equal(at(5, 1, 4).tcbStatus, "NotSupported");
});

test("components 0 and 1 count only for a module without a version; then no identity speaks for it", () => {
  const levels: readonly Level[] = [{ tdx: [9, 0, 5] }];
  assert.equal(judge({ body: writeDomain({ teeTcbSvn: [5, 1, 5] }) }, { levels }).tcbStatus, "UpToDate");
  assert.equal(judge({ body: writeDomain({ teeTcbSvn: [5, 0, 5] }) }, { levels }).tcbStatus, "NotSupported");
  const old = judge({ body: writeDomain({ teeTcbSvn: [9, 0, 5] }) }, { levels, modules: [] });
  assert.equal(old.tcbStatus, "UpToDate");
  assert.equal(old.verdict, "accepted");
});

test("the module's own level takes the platform with it", () => {
  const modules = [
    {
      id: "TDX_01",
      levels: [
        { isvsvn: 6 },
        { isvsvn: 4, status: "OutOfDate", advisories: ["INTEL-SA-00003"] },
        { isvsvn: 2, status: "Revoked" },
      ],
    },
  ];
  const at = (minor: number, status = "UpToDate") =>
    judge({ body: writeDomain({ teeTcbSvn: [minor, 1, 5] }) }, { modules, levels: [{ status }] });
  assert.equal(at(6).tcbStatus, "UpToDate");
  const behind = at(5);
  assert.equal(behind.tcbStatus, "OutOfDate");
  assert.deepEqual(behind.advisories, ["INTEL-SA-00003"]);
  assert.equal(at(5, "ConfigurationNeeded").tcbStatus, "OutOfDateConfigurationNeeded");
  assert.equal(at(3).tcbStatus, "Revoked");
  assert.equal(at(1).tcbStatus, "NotSupported");
});

test("the quoting enclave's level takes the platform with it", () => {
  const qeLevels = [
    { isvsvn: 8 },
    { isvsvn: 6, status: "OutOfDate", advisories: ["INTEL-SA-00004"] },
    { isvsvn: 2, status: "Revoked" },
  ];
  const at = (isvSvn: number, status = "UpToDate") => judge({ qe: { isvSvn } }, { qeLevels, levels: [{ status }] });
  assert.equal(at(8).tcbStatus, "UpToDate");
  assert.equal(at(7).tcbStatus, "OutOfDate");
  assert.deepEqual(at(7).advisories, ["INTEL-SA-00004"]);
  assert.equal(at(7, "ConfigurationAndSWHardeningNeeded").tcbStatus, "OutOfDateConfigurationNeeded");
  assert.equal(at(5).tcbStatus, "Revoked");
  assert.equal(at(1).tcbStatus, "NotSupported");
});

test("convergence: the whole table of Intel's specification", () => {
  const outOfDate: Record<string, TcbStatus> = {
    UpToDate: "OutOfDate",
    SWHardeningNeeded: "OutOfDate",
    ConfigurationNeeded: "OutOfDateConfigurationNeeded",
    ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded",
  };
  for (const status of TCB_STATUSES) {
    assert.equal(converge(status, "UpToDate"), status);
    assert.equal(converge(status, "OutOfDate"), outOfDate[status] ?? status);
    assert.equal(converge(status, "Revoked"), status === "NotSupported" ? "NotSupported" : "Revoked");
    assert.equal(converge(status, "NotSupported"), "NotSupported");
  }
});

const relaunchModules = [
  { id: "TDX_01", levels: [{ isvsvn: 6 }, { isvsvn: 4, status: "OutOfDate" }] },
  { id: "TDX_03", levels: [{ isvsvn: 3 }] },
];

test("TDX 1.5: a module that was updated under a running domain asks for a relaunch", () => {
  const at = (svn2: readonly number[], collateral: CollateralParts = {}, machine: MachineTcb = {}) =>
    judge(
      { version: 5, machine, body: writeDomain({ teeTcbSvn: [5, 1, 5], teeTcbSvn2: svn2 }) },
      { modules: relaunchModules, levels: [{ tdx: [6, 0, 5] }], ...collateral },
    ).tcbStatus;
  assert.equal(at([6, 1, 5]), "TDRelaunchAdvised");
  assert.equal(at([3, 3, 5]), "TDRelaunchAdvised");
  assert.equal(at([6, 0, 5]), "TDRelaunchAdvised");
  assert.equal(at([5, 1, 5]), "OutOfDate");
  assert.equal(at([2, 3, 5]), "OutOfDate");
  assert.equal(at([5, 0, 5]), "OutOfDate");
  assert.equal(at([6, 1, 4]), "OutOfDate");
  assert.equal(at([6, 7, 5]), "NotSupported");
  const configuration: CollateralParts = { levels: [{ tdx: [6, 0, 5], status: "ConfigurationNeeded" }] };
  assert.equal(at([6, 1, 5], configuration), "TDRelaunchAdvisedConfigurationNeeded");
  const qeLevels = [{ isvsvn: 8 }, { isvsvn: 4, status: "OutOfDate" }];
  assert.equal(at([6, 1, 5], { qeLevels }), "OutOfDate");
  const sgxBehind: CollateralParts = { levels: [{ sgx: fill(6) }, { tdx: [6, 0, 5], status: "OutOfDate" }] };
  assert.equal(at([6, 1, 5], sgxBehind), "OutOfDate");
});

test("a relaunch is accepted only where the profile says so; a report of TDX 1.0 never asks for one", () => {
  const collateral = { modules: relaunchModules };
  const quote = { version: 5, body: writeDomain({ teeTcbSvn: [5, 1, 5], teeTcbSvn2: [6, 1, 5] }) } as const;
  assert.deepEqual(failed(judge(quote, collateral)), ["dcap.tcb.status"]);
  const accepted = { accepted_tcb_statuses: ["UpToDate", "TDRelaunchAdvised"] } satisfies TdxProfileInput;
  assert.equal(judge(quote, collateral, accepted).verdict, "accepted");
  assert.equal(judge({ body: writeDomain({ teeTcbSvn: [5, 1, 5] }) }, collateral, accepted).tcbStatus, "OutOfDate");
});

test("states: each is refused by default but the best, and accepted when it is named, but for the worst", () => {
  for (const status of PLATFORM_STATUSES) {
    const levels = [{ status }];
    assert.deepEqual(failed(judge({}, { levels })), status === "UpToDate" ? [] : ["dcap.tcb.status"]);
    if (status === "Revoked") continue;
    assert.deepEqual(failed(judge({}, { levels }, { accepted_tcb_statuses: [status] })), []);
    const acceptable = TCB_STATUSES.filter((one) => one !== "Revoked" && one !== "NotSupported");
    const others = acceptable.filter((one) => one !== status);
    assert.deepEqual(failed(judge({}, { levels }, { accepted_tcb_statuses: others })), ["dcap.tcb.status"]);
  }
});

test("grace: an out-of-date platform is accepted so many days from its level's date, a revoked one never", () => {
  const levels = (status: string) => [{ status, date: NOW - 30 * DAY }];
  const at = (days: number, status = "OutOfDate") =>
    failed(judge({}, { levels: levels(status) }, { out_of_date_grace_days: days }));
  assert.deepEqual(at(0), ["dcap.tcb.status"]);
  assert.deepEqual(at(29), ["dcap.tcb.status"]);
  assert.deepEqual(at(30), []);
  assert.deepEqual(at(3650, "Revoked"), ["dcap.tcb.status"]);
  assert.deepEqual(at(3650, "ConfigurationNeeded"), ["dcap.tcb.status"]);
});

test("grace counts from the oldest part that is behind; a part that is up to date may be as old as it is", () => {
  const levels = [{ status: "OutOfDate", date: NOW - 10 * DAY }];
  const qeLevels = [{ isvsvn: 8 }, { isvsvn: 4, status: "OutOfDate", date: NOW - 40 * DAY }];
  const at = (days: number, parts: CollateralParts) => failed(judge({}, parts, { out_of_date_grace_days: days }));
  assert.deepEqual(at(10, { levels }), []);
  assert.deepEqual(at(39, { levels, qeLevels }), ["dcap.tcb.status"]);
  assert.deepEqual(at(40, { levels, qeLevels }), []);
});

test("age and advisories: what the profile limits is refused beyond it", () => {
  assert.equal(resultOf(judge({}, {}), "dcap.tcb.age"), "unchecked");
  assert.deepEqual(failed(judge({}, {}, { maximum_tcb_age_days: 99 })), ["dcap.tcb.age"]);
  assert.deepEqual(failed(judge({}, {}, { maximum_tcb_age_days: 100 })), []);
  const collateral = { levels: [{ status: "SWHardeningNeeded", advisories: ["INTEL-SA-00615", "INTEL-SA-00289"] }] };
  const accepted_tcb_statuses = ["SWHardeningNeeded" as const];
  const at = (...allowed_advisories: string[]) =>
    failed(judge({}, collateral, { accepted_tcb_statuses, allowed_advisories }));
  assert.deepEqual(failed(judge({}, collateral, { accepted_tcb_statuses })), []);
  assert.deepEqual(at("INTEL-SA-00615", "INTEL-SA-00289", "INTEL-SA-00001"), []);
  assert.deepEqual(at("INTEL-SA-00615"), ["dcap.tcb.advisories"]);
  assert.deepEqual(at(), ["dcap.tcb.advisories"]);
});

test("property: a platform that is not behind in any number is never called worse", () => {
  const svns = fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 16, maxLength: 16 });
  const order = ["NotSupported", "Revoked", "OutOfDate", "UpToDate"];
  fc.assert(
    fc.property(svns, fc.nat(15), fc.integer({ min: 4, max: 12 }), (components, index, pceSvn) => {
      const better = components.map((svn, at) => (at === index ? svn + 1 : svn));
      const rank = (machine: MachineTcb) => order.indexOf(statusOfEnclave(machine, { levels: ladder }) ?? "");
      assert.ok(rank({ components: better, pceSvn }) >= rank({ components, pceSvn }));
      assert.ok(rank({ components, pceSvn: pceSvn + 1 }) >= rank({ components, pceSvn }));
    }),
    { numRuns: 30 },
  );
});

test("property: converging with a worse part never makes a platform better", () => {
  const order: readonly TcbStatus[] = TCB_STATUSES;
  const parts: readonly PartStatus[] = ["UpToDate", "OutOfDate", "Revoked", "NotSupported"];
  const refusedByDefault = (status: TcbStatus) => status !== "UpToDate";
  for (const status of order)
    for (const part of parts) {
      if (refusedByDefault(status)) assert.ok(refusedByDefault(converge(status, part)));
      if (part !== "UpToDate") assert.ok(refusedByDefault(converge(status, part)));
    }
});
