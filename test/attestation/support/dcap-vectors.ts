/** The recorded quotes of TDX and SGX with their collateral; nothing of it is copied into the project. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Collateral, collateralFromPcs, parseCollateral } from "../../../src/attestation/dcap/collateral.ts";
import { verifyQuote } from "../../../src/attestation/dcap/verify.ts";
import { type SgxProfileInput, sgxProfile } from "../../../src/attestation/sgx/profile.ts";
import { type TdxProfileInput, tdxProfile } from "../../../src/attestation/tdx/profile.ts";
import type { Verdict } from "../../../src/attestation/verdict.ts";

const FOLDER = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../../shared/vectors"), "tee");
export const hasVectors = existsSync(FOLDER);
export const ABSENT = "no vectors: set MODELKEEP_VECTORS to the folder with tee/";

export const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(join(FOLDER, path)));
export const textOf = (path: string): string => readFileSync(join(FOLDER, path), "utf8");

const EVAL_15 = "tdx/collateral-2023-06-eval15-50806f";
const EVAL_17 = "tdx/collateral-2025-06-eval17";
const EVAL_18 = "tdx/collateral-2026-03-eval18";
const AUTOMATA = "sgx/automata-v3-00606a000000";

interface Files {
  readonly tcbInfo: string;
  readonly qeIdentity: string;
  readonly rootCrl?: string | Uint8Array;
  readonly pckCrl?: string;
}

/** The chain of the signer was recorded once, in 2026; it has been valid since May 2025. */
function fromFiles({ tcbInfo, qeIdentity, rootCrl, pckCrl }: Files): Collateral {
  return collateralFromPcs({
    tcbInfo: bytesOf(tcbInfo),
    tcbInfoIssuerChain: textOf(`${EVAL_18}/tcb_signing_chain.pem`),
    qeIdentity: bytesOf(qeIdentity),
    qeIdentityIssuerChain: textOf(`${EVAL_18}/qe_identity_signing_chain.pem`),
    ...(rootCrl ? { rootCrl: typeof rootCrl === "string" ? bytesOf(rootCrl) : rootCrl } : {}),
    ...(pckCrl ? { pckCrl: bytesOf(pckCrl) } : {}),
  });
}

/** The root's list that Phala recorded in June 2025, which other sets of that summer go without. */
const summerRootCrl = (): Uint8Array => {
  const crl = parseCollateral(bytesOf("tdx/phala-v4-b0c06f/collateral.json")).rootCrl;
  if (!crl) throw new Error("the recorded collateral has no root list");
  return crl;
};

export const collateral = {
  phalaV4: () => parseCollateral(bytesOf("tdx/phala-v4-b0c06f/collateral.json")),
  phalaV5: () => parseCollateral(bytesOf("tdx/phala-v5-90c06f-tcb-not-supported/collateral.json")),
  phalaSgx: () => parseCollateral(bytesOf("sgx/phala-v3-00a067110000/collateral.json")),
  eval15: () =>
    fromFiles({
      tcbInfo: `${EVAL_15}/tcb_info.json`,
      qeIdentity: `${EVAL_15}/qe_identity.json`,
      rootCrl: `${EVAL_15}/root_ca_crl.der`,
      pckCrl: `${EVAL_15}/pck_crl_platform.der`,
    }),
  eval17: (fmspc: "90c06f000000" | "00806f050000") =>
    fromFiles({ tcbInfo: `${EVAL_17}/tcb_info_${fmspc}.json`, qeIdentity: `${EVAL_17}/td_qe_identity.json` }),
  eval18: (fmspc: "90c06f000000" | "50806f000000") =>
    fromFiles({
      tcbInfo: `${EVAL_18}/tcb_info_${fmspc}.json`,
      qeIdentity: `${EVAL_18}/td_qe_identity.json`,
      rootCrl: `${EVAL_18}/root_ca_crl.der`,
      pckCrl: `${EVAL_18}/pck_crl_platform.der`,
    }),
  automata: () =>
    fromFiles({
      tcbInfo: `${AUTOMATA}/tcb_info.json`,
      qeIdentity: `${AUTOMATA}/qe_identity.json`,
      rootCrl: summerRootCrl(),
      pckCrl: `${AUTOMATA}/pck_crl_platform.der`,
    }),
  sgxDebug: () =>
    fromFiles({ tcbInfo: "sgx/debug-v3-00a067110000/tcb_info.json", qeIdentity: `${AUTOMATA}/qe_identity.json` }),
};

export const quote = {
  hex: (text: string) => new Uint8Array(Buffer.from(text.trim(), "hex")),
  automata: () => quote.hex(textOf(`${AUTOMATA}/quote.hex`)),
  dstack: () => quote.hex(dstackReport().quote),
};

export function dstackReport(): { quote: string; event_log: string; report_data: string } {
  return JSON.parse(textOf("tdx/dstack-v4-90c06f-eventlog/quote-report.json"));
}

export const noLists = { require_revocation_lists: false } as const;

export function judgeTdx(bytes: Uint8Array, set: Collateral, at: string, profile: TdxProfileInput = {}) {
  return verifyQuote({ quote: bytes, collateral: set, profile: tdxProfile.parse(profile), now: Date.parse(at) });
}

export function judgeSgx(bytes: Uint8Array, set: Collateral, at: string, profile: SgxProfileInput = {}) {
  return verifyQuote({ quote: bytes, collateral: set, profile: sgxProfile.parse(profile), now: Date.parse(at) });
}

export const failed = (verdict: Verdict<unknown>): string[] =>
  verdict.rules.filter(({ result }) => result === "failed").map(({ id }) => id);

export const resultOf = (verdict: Verdict<unknown>, id: string) => verdict.rules.find((rule) => rule.id === id)?.result;
export const haveOf = (verdict: Verdict<unknown>, id: string) => verdict.rules.find((rule) => rule.id === id)?.have;
