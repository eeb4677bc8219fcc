/** Where Intel's provisioning service, or a cache of it, has the collateral for a quote: addresses only. */
import { evidenceRefused } from "../errors.ts";
import type { Tee } from "./evidence.ts";

export const INTEL_PCS = "https://api.trustedservices.intel.com";

export interface PcsRequest {
  readonly tee: Tee;
  /** 12 hex digits, from the PCK certificate. */
  readonly fmspc: string;
  readonly authority: "platform" | "processor";
  /** Default: Intel's own service. A cache (PCCS) has the same paths. */
  readonly base?: string;
  /** `early` has the newest evaluation some weeks before it is the standard one. */
  readonly update?: "early" | "standard";
  /** A certain evaluation; not together with `update`. */
  readonly tcbEvaluationDataNumber?: number;
}

export interface PcsUrls {
  /** Header TCB-Info-Issuer-Chain, percent-encoded PEM. */
  readonly tcbInfo: string;
  /** Header SGX-Enclave-Identity-Issuer-Chain. */
  readonly qeIdentity: string;
  /** DER; header SGX-PCK-CRL-Issuer-Chain. */
  readonly pckCrl: string;
  /** Hex of DER. */
  readonly rootCrl: string;
  readonly tcbEvaluationDataNumbers: string;
}

/** Throws EVIDENCE_REFUSED with `dcap.pcs.request` when a part cannot be in an address. */
export function pcsUrls(request: PcsRequest): PcsUrls {
  const { tee, authority, base = INTEL_PCS, update, tcbEvaluationDataNumber: number } = request;
  if (!/^[0-9a-fA-F]{12}$/.test(request.fmspc) || (update !== undefined && number !== undefined))
    throw evidenceRefused("dcap.pcs.request");
  const variant = [
    ...(update ? [`update=${update}`] : []),
    ...(number === undefined ? [] : [`tcbEvaluationDataNumber=${number}`]),
  ];
  const query = (...parts: readonly string[]) => (parts.length > 0 ? `?${parts.join("&")}` : "");
  const root = base.replace(/\/+$/, "");
  const sgx = `${root}/sgx/certification/v4`;
  const own = `${root}/${tee}/certification/v4`;
  return {
    tcbInfo: `${own}/tcb${query(`fmspc=${request.fmspc.toUpperCase()}`, ...variant)}`,
    qeIdentity: `${own}/qe/identity${query(...variant)}`,
    pckCrl: `${sgx}/pckcrl?ca=${authority}&encoding=der`,
    rootCrl: `${sgx}/rootcacrl`,
    tcbEvaluationDataNumbers: `${own}/tcbevaluationdatanumbers`,
  };
}
