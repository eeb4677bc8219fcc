/** Compares the quoting enclave with the identity that Intel signed for it. */
import { equalBytes, fromHex, toHex } from "../../base/index.ts";
import type { Rules } from "../verdict.ts";
import type { QeIdentity, SvnLevel } from "./documents.ts";
import type { Tee } from "./evidence.ts";
import type { SgxReport } from "./reports.ts";
import { svnLevelOf } from "./tcb.ts";

/** The level that the enclave is at; undefined when it is below all of them. */
export function checkQuotingEnclave(
  rules: Rules,
  report: SgxReport,
  identity: QeIdentity,
  tee: Tee,
): SvnLevel | undefined {
  const id = tee === "sgx" ? "QE" : "TD_QE";
  rules.check("dcap.qe-identity.id", identity.id === id, {
    passed: "The identity is for this kind of quoting enclave.",
    failed: "The identity is for the quoting enclave of another TEE: fetch the right one.",
    have: identity.id,
    need: id,
  });
  const misc = littleEndian32(report.miscSelect);
  checkMasked(rules, "miscselect", misc, identity.miscselect, identity.miscselectMask);
  checkMasked(rules, "attributes", report.attributes, identity.attributes, identity.attributesMask);
  const mrSigner = toHex(report.mrSigner);
  rules.check("dcap.qe.mr-signer", mrSigner === identity.mrsigner, {
    passed: "Intel signed the quoting enclave.",
    failed: "Somebody else than Intel signed the quoting enclave.",
    have: mrSigner,
    need: identity.mrsigner,
  });
  rules.check("dcap.qe.product", report.isvProdId === identity.isvprodid, {
    passed: "The enclave is the quoting enclave.",
    failed: "The enclave is another one of Intel's and no quoting enclave.",
    have: String(report.isvProdId),
    need: String(identity.isvprodid),
  });
  return svnLevelOf(identity.tcbLevels, report.isvSvn);
}

function checkMasked(rules: Rules, what: string, have: Uint8Array, needHex: string, maskHex: string): void {
  const need = fromHex(needHex) ?? new Uint8Array();
  const mask = fromHex(maskHex) ?? new Uint8Array();
  const masked = have.map((byte, index) => byte & (mask[index] ?? 0xff));
  rules.check(`dcap.qe.${what}`, equalBytes(masked, need), {
    passed: `The quoting enclave's ${what} are as Intel says.`,
    failed: `The quoting enclave's ${what} are not as Intel says.`,
    have: toHex(have),
    need: `${needHex} under ${maskHex}`,
  });
}

function littleEndian32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}
