/** The certificate of the key that signs reports (VCEK or VLEK), and what AMD writes into it (AMD 57230). */
import { equalBytes } from "../../base/index.ts";
import { type Certificate, derSmallInteger, derString, parseDer } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import { isZero } from "./evidence.ts";
import { SNP_PRODUCTS, type SnpProduct, type SnpTcb, TCB_PARTS } from "./products.ts";

export type VekKind = "VCEK" | "VLEK";

export interface Vek {
  readonly kind: VekKind;
  readonly certificate: Certificate;
  readonly product: SnpProduct;
  readonly tcb: SnpTcb;
  /** VCEK only: 64 bytes, or 8 of Turin. */
  readonly hardwareId?: Uint8Array;
  /** VLEK only. */
  readonly cspId?: string;
}

const BASE = "1.3.6.1.4.1.3704.1";
const PARTS: Readonly<Record<keyof SnpTcb, string>> = {
  fmc: `${BASE}.3.9`,
  bootloader: `${BASE}.3.1`,
  tee: `${BASE}.3.2`,
  snp: `${BASE}.3.3`,
  microcode: `${BASE}.3.8`,
};
const PRODUCT = `${BASE}.2`;
const HARDWARE_ID = `${BASE}.4`;
const CSP_ID = `${BASE}.5`;

/** The kind that the subject names; undefined for every other certificate. */
export function vekKindOf({ subject }: Certificate): VekKind | undefined {
  if (subject.commonName === "SEV-VCEK") return "VCEK";
  return subject.commonName === "SEV-VLEK" ? "VLEK" : undefined;
}

/** The product that the issuer's name holds, once the chain says that the name is true. */
export function productOfIssuer({ issuer }: Certificate): SnpProduct | undefined {
  return SNP_PRODUCTS.find((product) => [`SEV-${product}`, `SEV-VLEK-${product}`].includes(issuer.commonName ?? ""));
}

/** Reads AMD's extensions. Throws EVIDENCE_REFUSED with `snp.vek.extensions`. */
export function readVek(certificate: Certificate): Vek {
  try {
    const kind = vekKindOf(certificate);
    const product = readProduct(certificate);
    if (!kind || !product) throw new Error("neither kind nor product");
    return {
      kind,
      certificate,
      product,
      tcb: readLevels(certificate, product),
      ...readHolder(certificate, kind, product),
    };
  } catch (error) {
    throw evidenceRefused("snp.vek.extensions", error);
  }
}

/** `Milan-B0` names the product and its stepping. */
function readProduct(certificate: Certificate): SnpProduct | undefined {
  const [name] = derString(parseDer(extensionValue(certificate, PRODUCT))).split("-");
  return SNP_PRODUCTS.find((product) => product === name);
}

function readLevels(certificate: Certificate, product: SnpProduct): SnpTcb {
  const has = TCB_PARTS.filter((part) => part !== "fmc" || product === "Turin");
  if (product !== "Turin" && certificate.extensions.has(PARTS.fmc)) throw new Error("an FMC level before Turin");
  const level = (part: keyof SnpTcb) => {
    const value = derSmallInteger(parseDer(extensionValue(certificate, PARTS[part])));
    if (value > 255) throw new Error(`${part} over 255`);
    return [part, value] as const;
  };
  return Object.fromEntries(has.map(level)) as unknown as SnpTcb;
}

/** The hardware id stands in the extension as it is, without a DER type around it. */
function readHolder(certificate: Certificate, kind: VekKind, product: SnpProduct) {
  if (kind === "VLEK") {
    if (certificate.extensions.has(HARDWARE_ID)) throw new Error("a VLEK with a hardware id");
    return { cspId: derString(parseDer(extensionValue(certificate, CSP_ID))) };
  }
  const hardwareId = extensionValue(certificate, HARDWARE_ID);
  if (hardwareId.length !== (product === "Turin" ? 8 : 64)) throw new Error("the hardware id has another length");
  if (certificate.extensions.has(CSP_ID)) throw new Error("a VCEK with a provider");
  return { hardwareId };
}

function extensionValue({ extensions }: Certificate, oid: string): Uint8Array {
  const extension = extensions.get(oid);
  if (!extension) throw new Error(`no extension ${oid}`);
  return extension.value;
}

export function sameTcb(a: SnpTcb, b: SnpTcb): boolean {
  return TCB_PARTS.every((part) => a[part] === b[part]);
}

/** Turin's chips have 8 bytes of id and zeros after them. */
export function sameChip(hardwareId: Uint8Array, chipId: Uint8Array): boolean {
  const { length } = hardwareId;
  return equalBytes(hardwareId, chipId.subarray(0, length)) && isZero(chipId.subarray(length)) && !isZero(hardwareId);
}
