/** Judging evidence on one core beside @phala/dcap-qvl in the same run: recorded evidence, everything checked every time. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { verify } from "@phala/dcap-qvl";
import { DcapCache } from "../src/attestation/dcap/cache.ts";
import { parseCollateral } from "../src/attestation/dcap/collateral.ts";
import { verifyQuote } from "../src/attestation/dcap/verify.ts";
import { createNvidiaCache } from "../src/attestation/nvidia/cache.ts";
import { makeGpuEvidence } from "../src/attestation/nvidia/evidence.ts";
import { nvidiaProfile } from "../src/attestation/nvidia/profile.ts";
import { verifyRim } from "../src/attestation/nvidia/rim.ts";
import { verifyGpu } from "../src/attestation/nvidia/verify.ts";
import { snpProfile } from "../src/attestation/snp/profile.ts";
import { verifySnp } from "../src/attestation/snp/verify.ts";
import { tdxProfile } from "../src/attestation/tdx/profile.ts";
import { parsePem } from "../src/codec/index.ts";

const FOLDER = join(process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../shared/vectors"), "tee");
const ROUNDS = 120;
const SECONDS_PER_ROUND = 0.02;

const bytesOf = (path: string) => new Uint8Array(readFileSync(join(FOLDER, path)));
const textOf = (path: string) => readFileSync(join(FOLDER, path), "utf8");
const certificatesOf = (path: string) => parsePem(textOf(path)).map(({ der }) => der);

type Work = () => unknown;

/** Milliseconds for one judgement each: the best of many short rounds, in turns, so that a busy moment meets all alike. */
function measure(works: readonly Work[]): number[] {
  const best = works.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++)
    for (const [index, work] of works.entries()) best[index] = Math.min(best[index] ?? 0, timeOf(work));
  return best;
}

function timeOf(work: Work): number {
  const started = performance.now();
  let count = 0;
  while (performance.now() - started < SECONDS_PER_ROUND * 1000) {
    work();
    count += 1;
  }
  return (performance.now() - started) / count;
}

/** A judgement that does not accept measures something else. */
function accepted(verdict: { readonly verdict: string; readonly rules: readonly unknown[] }): void {
  if (verdict.verdict !== "accepted") throw new Error(`refused: ${JSON.stringify(verdict.rules)}`);
}

function snp(): Work {
  const report = bytesOf("sev-snp/genoa-v5/report.bin");
  const certificates = [bytesOf("sev-snp/genoa-v5/vcek.der"), ...certificatesOf("sev-snp/roots/ask_ark_genoa.pem")];
  const profile = snpProfile.parse({ require_crl: false, allow_any_tcb: true });
  const now = Date.UTC(2026, 5, 1);
  return () => accepted(verifySnp({ report, certificates, crls: [], profile, now }));
}

const QUOTE = "tdx/phala-v4-b0c06f/quote.bin";
const COLLATERAL = "tdx/phala-v4-b0c06f/collateral.json";
const QUOTE_TIME = Date.UTC(2025, 5, 25);

function dcap(cache?: DcapCache): Work {
  const quote = bytesOf(QUOTE);
  const file = bytesOf(COLLATERAL);
  const kept = parseCollateral(file);
  const profile = tdxProfile.parse({});
  return () => {
    const collateral = cache ? kept : parseCollateral(file);
    accepted(verifyQuote({ quote, collateral, profile, now: QUOTE_TIME, ...(cache ? { cache } : {}) }));
  };
}

/** The same quote and collateral from text, as ours. */
function qvl(): Work {
  const quote = Buffer.from(bytesOf(QUOTE));
  const text = textOf(COLLATERAL);
  return () => {
    const { status } = verify(quote, JSON.parse(text), QUOTE_TIME / 1000);
    if (status !== "UpToDate") throw new Error(`the other says ${status}`);
  };
}

function gpu(): Work {
  const chain = textOf("nvidia-gpu/hopper-550.90.07/cert_chain.pem");
  const report = new Uint8Array(Buffer.from(textOf("nvidia-gpu/hopper-550.90.07/report.txt").trim(), "hex"));
  const profile = nvidiaProfile.parse({ require_rims: false, require_ocsp: false, cc_state: "if-present" });
  const now = Date.UTC(2026, 0, 1);
  return () => {
    const evidence = makeGpuEvidence("HOPPER", report, chain);
    const expectedNonce = evidence.report.nonce;
    accepted(verifyGpu({ evidence, rims: [], ocsp: [], profile, now, expectedNonce }));
  };
}

function manifest(cached: boolean): Work {
  const xml = bytesOf("nvidia-gpu/driver-rims/NV_GPU_DRIVER_GH100_550.144.03.xml");
  const profile = nvidiaProfile.parse({});
  const now = Date.UTC(2026, 0, 1);
  const cache = createNvidiaCache();
  return () => accepted(verifyRim(xml, { profile, now, ...(cached ? { cache } : {}) }));
}

/** Without the recorded evidence there is nothing to measure. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  if (!existsSync(FOLDER)) throw new Error("no vectors: set MODELKEEP_VECTORS to the folder with tee/");
  const rows: readonly [string, Work, number | undefined][] = [
    ["SEV-SNP report, chain of RSA-4096", snp(), 1.8],
    ["TDX quote, all collateral checked again", dcap(), 2.5],
    ["TDX quote, verified collateral kept", dcap(new DcapCache()), 0.8],
    ["the same by @phala/dcap-qvl", qvl(), undefined],
    ["GPU report and chain", gpu(), 4.5],
    ["manifest with its XML signature", manifest(false), 8],
    ["the same manifest, kept by digest", manifest(true), undefined],
  ];
  const times = measure(rows.map(([, work]) => work));
  const other = times[rows.findIndex(([what]) => what.includes("dcap-qvl"))] ?? Number.NaN;
  return rows.map(([what, , bar], index) => {
    const ms = times[index] ?? Number.NaN;
    const ratio = what.startsWith("TDX") ? (other / ms).toFixed(1) : "";
    return { what, ms: ms.toFixed(3), "bar, ms": bar ?? "", "x dcap-qvl": ratio };
  });
}
