/** The rules about an enclave's own report: flags, identity, configuration. */
import { toHex } from "../../base/index.ts";
import { checkListed } from "../dcap/lists.ts";
import type { SgxReport } from "../dcap/reports.ts";
import type { Rules } from "../verdict.ts";
import { SGX_FLAG } from "./claims.ts";
import type { SgxProfile } from "./profile.ts";

export function checkEnclaveReport(rules: Rules, report: SgxReport, profile: SgxProfile): void {
  checkFlags(rules, report.flags, profile);
  checkIdentity(rules, report, profile);
  checkListed(rules, "sgx.config-id", "CONFIGID", toHex(report.configId), profile.config_ids);
}

function checkFlags(rules: Rules, flags: bigint, profile: SgxProfile): void {
  const has = (bit: bigint) => (flags & bit) !== 0n;
  const have = `0x${flags.toString(16).padStart(16, "0")}`;
  rules.check("sgx.initialised", has(SGX_FLAG.initialised), {
    passed: "The enclave was initialised.",
    failed: "The enclave was never initialised: such a report cannot come from a running enclave.",
    have,
  });
  rules.check("sgx.mode64", has(SGX_FLAG.mode64), {
    passed: "The enclave runs in 64-bit mode.",
    failed: "The enclave runs in 32-bit mode.",
    have,
  });
  rules.check("sgx.debug", !has(SGX_FLAG.debug) || profile.allow_debug, {
    passed: has(SGX_FLAG.debug) ? "DEBUG is set, and the profile allows it." : "DEBUG is not set.",
    failed: "The host can read this enclave's memory.",
    have: has(SGX_FLAG.debug) ? "1" : "0",
    need: profile.allow_debug ? "any" : "0",
  });
  rules.check("sgx.provision-key", !has(SGX_FLAG.provisionKey) || profile.allow_provision_key, {
    passed: has(SGX_FLAG.provisionKey) ? "PROVISIONKEY is set, and the profile allows it." : "PROVISIONKEY is not set.",
    failed: "The enclave may use the provisioning key, which only Intel's own enclaves need.",
    have: has(SGX_FLAG.provisionKey) ? "1" : "0",
    need: profile.allow_provision_key ? "any" : "0",
  });
}

/** Either the enclave itself is listed, or its signer with product and version. */
function checkIdentity(rules: Rules, report: SgxReport, profile: SgxProfile): void {
  const mrEnclave = toHex(report.mrEnclave);
  const mrSigner = toHex(report.mrSigner);
  const have = `MRENCLAVE ${mrEnclave}, MRSIGNER ${mrSigner}, product ${report.isvProdId}, SVN ${report.isvSvn}`;
  if (!profile.mr_enclaves && !profile.signers) {
    rules.skip("sgx.identity", "The profile names no enclave and no signer.", { have });
    return;
  }
  const bySigner = profile.signers?.some(
    (signer) =>
      signer.mr_signer === mrSigner &&
      signer.isv_prod_id === report.isvProdId &&
      report.isvSvn >= signer.minimum_isv_svn,
  );
  rules.check("sgx.identity", profile.mr_enclaves?.includes(mrEnclave) === true || bySigner === true, {
    passed: "The enclave is one that the profile accepts.",
    failed: "Neither the enclave nor its signer, product and version are accepted by the profile.",
    have,
    need: `one of ${profile.mr_enclaves?.length ?? 0} enclaves or ${profile.signers?.length ?? 0} signers`,
  });
}
