/** Recorded SEV-SNP evidence: reports, certificates and roots of the vectors, read where they lie. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parsePem } from "../../../src/codec/index.ts";

const vectors = process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../../shared/vectors");
const folder = join(vectors, "tee");

/** For `{ skip: ABSENT }`: false where the vectors are there. */
export const ABSENT = existsSync(join(folder, "sev-snp"))
  ? false
  : "no vectors: set MODELKEEP_VECTORS to the folder with tee/sev-snp/";

export const readTee = (path: string): Uint8Array => new Uint8Array(readFileSync(join(folder, path)));
const read = (path: string): Uint8Array => readTee(`sev-snp/${path}`);

/** Every certificate of a PEM file, or the one of a DER file. */
export function readCertificates(path: string): Uint8Array[] {
  const bytes = read(path);
  return path.endsWith(".pem") ? parsePem(Buffer.from(bytes).toString("latin1")).map(({ der }) => der) : [bytes];
}

export const ROOTS = {
  milan: "roots/ask_ark_milan.pem",
  milanVlek: "roots/ask_ark_milan_vlek.pem",
  genoa: "roots/ask_ark_genoa.pem",
  turin: "roots/ask_ark_turin_vcek.pem",
} as const;

export interface SnpCase {
  readonly report: Uint8Array;
  readonly certificates: readonly Uint8Array[];
}

const recorded = (report: string, ...certificates: readonly string[]): (() => SnpCase) => {
  return () => ({ report: read(report), certificates: certificates.flatMap(readCertificates) });
};

export const CASES = {
  milanDebug: recorded("milan-v2-debug/report.bin", "milan-v2-debug/vcek.der", "milan-v2-debug/cert_chain.pem"),
  milanAzure: recorded("milan-v2-azure/report.bin", "milan-v2-azure/vcek.der", ROOTS.milan),
  milanVlek: recorded(
    "milan-v3-aws-vlek-vmpl1/report.bin",
    "milan-v3-aws-vlek-vmpl1/vlek.der",
    "milan-v3-aws-vlek-vmpl1/vlek_cert_chain.pem",
  ),
  genoa: recorded("genoa-v5/report.bin", "genoa-v5/vcek.der", ROOTS.genoa),
  turin: recorded("turin-v5/report.bin", "turin-v5/vcek.pem", "turin-v5/ask.pem", "turin-v5/ark.pem"),
} as const;

export const readKbsEvidence = (): Uint8Array => read("genoa-v3-kbs-json/evidence.json");
export const readAzure = (file: string): Uint8Array => read(`azure-hcl-vtpm/${file}`);
