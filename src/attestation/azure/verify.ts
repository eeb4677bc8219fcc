/** Rules about the paravisor's TPM: its quote is bound to this exchange and to the operating system that runs. */
import { equalBytes, toHex } from "../../base/index.ts";
import { refusedRule } from "../errors.ts";
import type { Rules } from "../verdict.ts";
import type { AzureEvidence } from "./evidence.ts";
import type { AzureProfile } from "./profile.ts";
import { digestPcrs, isSignedQuote, parseTpmQuote, type TpmQuote, tpmQualifyingData } from "./tpm-quote.ts";

export interface AzureClaims {
  /** 24 registers, lower-case hex; only those of the quote's selection are proven. */
  readonly pcrs: readonly string[];
  readonly selected: readonly number[];
  readonly secureBoot: boolean;
  readonly vmUniqueId?: string;
  readonly resetCount: number;
  readonly restartCount: number;
}

export interface AzureRequest {
  readonly evidence: AzureEvidence;
  readonly profile: AzureProfile;
  /** 64 bytes; absent: the rule stays unchecked. */
  readonly expectedReportData?: Uint8Array;
}

/**
 * Looks at everything but the hardware report. The caller judges that one, and must demand `hcl.reportData` of it:
 * only then is the TPM's key the paravisor's.
 */
export function checkAzure(rules: Rules, request: AzureRequest): AzureClaims | undefined {
  const { evidence, profile, expectedReportData } = request;
  const quote = readQuote(rules, evidence.quote.message);
  checkSecureBoot(rules, evidence, profile);
  if (!quote) return undefined;
  const { message, signature, pcrs } = evidence.quote;
  rules.check("azure.quote.signature", isSignedQuote(message, signature, evidence.hcl.attestationKey), {
    passed: "The machine's TPM signed the quote.",
    failed: "The quote was changed, or another TPM signed it.",
  });
  checkBinding(rules, quote, expectedReportData);
  checkPcrs(rules, quote, pcrs, profile);
  const { uniqueId, secureBoot = false } = evidence.hcl.vm;
  return {
    pcrs: pcrs.map(toHex),
    selected: quote.selected,
    secureBoot,
    ...(uniqueId === undefined ? {} : { vmUniqueId: uniqueId }),
    resetCount: quote.resetCount,
    restartCount: quote.restartCount,
  };
}

function readQuote(rules: Rules, message: Uint8Array): TpmQuote | undefined {
  try {
    return parseTpmQuote(message);
  } catch (error) {
    const rule = refusedRule(error);
    if (rule === undefined) throw error;
    rules.fail(rule, "The quote of the TPM cannot be read.");
    return undefined;
  }
}

function checkSecureBoot(rules: Rules, { hcl }: AzureEvidence, profile: AzureProfile): void {
  rules.check("azure.secure-boot", hcl.vm.secureBoot === true || !profile.require_secure_boot, {
    passed: "Secure boot is as the profile wants it.",
    failed: "The machine has no secure boot: switch it on, or set require_secure_boot to false.",
    have: hcl.vm.secureBoot === true ? "on" : "off",
  });
}

function checkBinding(rules: Rules, { extraData }: TpmQuote, expected: Uint8Array | undefined): void {
  if (!expected) {
    rules.skip("azure.quote.binding", "The caller expects nothing of the quote.");
    return;
  }
  rules.check("azure.quote.binding", expected.length === 64 && equalBytes(extraData, tpmQualifyingData(expected)), {
    passed: "The quote is bound to this exchange.",
    failed: "The quote is bound to something else: ask for a new challenge.",
  });
}

function checkPcrs(rules: Rules, quote: TpmQuote, pcrs: readonly Uint8Array[], profile: AzureProfile): void {
  const digest = digestPcrs(quote.selected, pcrs);
  rules.check("azure.pcr.digest", digest !== undefined && equalBytes(digest, quote.pcrDigest), {
    passed: "The registers are those that the TPM quoted.",
    failed: "The registers are not those that the TPM quoted.",
  });
  const named = Object.entries(profile.pcrs);
  rules.check("azure.pcr.named", named.length > 0 || profile.allow_any_pcrs, {
    passed: "The profile says which operating system it accepts.",
    failed: "The profile names no register, so any operating system would do: name some in pcrs.",
  });
  for (const [index, values] of named) {
    const have = toHex(pcrs[Number(index)] ?? new Uint8Array(0));
    rules.check(`azure.pcr.${index}`, quote.selected.includes(Number(index)) && values.includes(have), {
      passed: "The register has a value that the profile names.",
      failed: "The register was not quoted, or has a value that the profile does not name.",
      have,
    });
  }
}
