/** Addresses of AMD's key distribution service; nothing is fetched here. */
import { toHex } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { isZero, type SnpReport } from "./evidence.ts";
import type { SnpProduct } from "./products.ts";

const BASE = "https://kdsintf.amd.com";
type KeyKind = "vcek" | "vlek";

/** The chain above a key as PEM, ASK then ARK. */
export const kdsChainUrl = (product: SnpProduct, kind: KeyKind = "vcek"): string =>
  `${BASE}/${kind}/v1/${product}/cert_chain`;

/** The revocation list as DER, signed by the ARK. */
export const kdsCrlUrl = (product: SnpProduct, kind: KeyKind = "vcek"): string => `${BASE}/${kind}/v1/${product}/crl`;

/**
 * The certificate of the chip's key as DER, for the firmware that the report names. `product` is needed for reports of
 * version 2. Throws EVIDENCE_REFUSED with `snp.chip.masked` where the chip is not named, `snp.product.known` where the
 * product is not.
 */
export function kdsUrl(report: SnpReport, product: SnpProduct | undefined = report.product): string {
  if (!product) throw evidenceRefused("snp.product.known");
  if (isZero(report.chipId)) throw evidenceRefused("snp.chip.masked");
  const chip = toHex(product === "Turin" ? report.chipId.subarray(0, 8) : report.chipId);
  const { fmc, bootloader, tee, snp, microcode } = report.tcb.reported;
  const levels = [
    ...(fmc === undefined ? [] : [["fmcSPL", fmc] as const]),
    ["blSPL", bootloader] as const,
    ["teeSPL", tee] as const,
    ["snpSPL", snp] as const,
    ["ucodeSPL", microcode] as const,
  ];
  const query = levels.map(([name, value]) => `${name}=${String(value).padStart(2, "0")}`).join("&");
  return `${BASE}/vcek/v1/${product}/${chip}?${query}`;
}
