/** AMD's processors: which one a report comes from, how it counts its firmware, and whose root signs it. */

export const SNP_PRODUCTS = ["Milan", "Genoa", "Turin"] as const;
export type SnpProduct = (typeof SNP_PRODUCTS)[number];

export type SnpAnchors = Readonly<Record<SnpProduct, readonly string[]>>;

/** SHA-256 of the DER of each product's root key certificate (ARK), lower-case hex. */
export const AMD_ROOTS: SnpAnchors = {
  Milan: ["69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"],
  Genoa: ["4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"],
  Turin: ["1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"],
};

/** The product that the report's CPUID names; undefined for one that is not known here. */
export function productOfCpuid(family: number, model: number): SnpProduct | undefined {
  if (family === 0x19) return model <= 0x0f ? "Milan" : isGenoa(model) ? "Genoa" : undefined;
  return family === 0x1a && model <= 0x11 ? "Turin" : undefined;
}

/** Bergamo and Siena (0xA0 to 0xAF) hang under Genoa's root. */
function isGenoa(model: number): boolean {
  return (model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf);
}

/** Security version numbers of the parts of the firmware. */
export interface SnpTcb {
  /** Turin only. */
  readonly fmc?: number;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}

export const TCB_PARTS = ["fmc", "bootloader", "tee", "snp", "microcode"] as const satisfies (keyof SnpTcb)[];
export type TcbPart = (typeof TCB_PARTS)[number];

type Layout = Readonly<Partial<Record<TcbPart, number>>>;
const FIRST_LAYOUT: Layout = { bootloader: 0, tee: 1, snp: 6, microcode: 7 };
const TURIN_LAYOUT: Layout = { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 };

export const tcbLayout = (family: number | undefined): Layout => (family === 0x1a ? TURIN_LAYOUT : FIRST_LAYOUT);

/** Reads the 8 bytes of a TCB_VERSION; its order of bytes changed with Turin. */
export function readTcb(bytes: Uint8Array, family: number | undefined): SnpTcb {
  const layout = tcbLayout(family);
  const at = (part: TcbPart) => bytes[layout[part] ?? -1] ?? 0;
  const common = { bootloader: at("bootloader"), tee: at("tee"), snp: at("snp"), microcode: at("microcode") };
  return layout.fmc === undefined ? common : { fmc: at("fmc"), ...common };
}

/** Writes what `readTcb` reads; what belongs to no part is zero. */
export function writeTcb(tcb: SnpTcb, family: number | undefined): Uint8Array {
  const out = new Uint8Array(8);
  const layout = tcbLayout(family);
  for (const part of TCB_PARTS) {
    const place = layout[part];
    if (place !== undefined) out[place] = tcb[part] ?? 0;
  }
  return out;
}

export function tcbText(tcb: SnpTcb): string {
  return TCB_PARTS.flatMap((part) => (tcb[part] === undefined ? [] : [`${part} ${tcb[part]}`])).join(", ");
}

/** True when no part of `a` is above the same part of `b`. */
export function tcbAtMost(a: SnpTcb, b: SnpTcb): boolean {
  return TCB_PARTS.every((part) => (a[part] ?? 0) <= (b[part] ?? 0));
}
