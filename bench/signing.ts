/** Signing and verifying a model beside sha256sum and openssl, from the page cache, as ratios of one run. */
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadEcSigner, signModel, trustKeys, verifyModel } from "../src/signing/index.ts";

const MIB = 2 ** 20;
const FILES = 4;
const ROUNDS = 3;

async function best(work: () => unknown): Promise<number> {
  let seconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    await work();
    seconds = Math.min(seconds, (performance.now() - started) / 1000);
  }
  return seconds;
}

/** Not by the helpers of the tests: they load the test runner, whose hooks slow every asynchronous call. */
function makeSigner() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return loadEcSigner(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })));
}

/** `MODELKEEP_BENCH_MIB` in four files, 1,024 when absent. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  const mib = Number(process.env.MODELKEEP_BENCH_MIB ?? 1024);
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "modelkeep-bench-"));
  try {
    const root = join(folder, "model");
    mkdirSync(root);
    const paths = Array.from({ length: FILES }, (_, index) => join(root, `weights-${index}.bin`));
    for (const path of paths) writeFileSync(path, randomBytes((mib / FILES) * MIB));
    const signer = makeSigner();
    const { bundle } = await signModel({ root, signer });
    const trust = trustKeys([signer.publicKeyPem]);
    const rows: [string, number][] = [
      ["sha256sum", await best(() => execFileSync("sha256sum", paths))],
      ["openssl dgst -sha256", await best(() => execFileSync("openssl", ["dgst", "-sha256", ...paths]))],
      ["modelkeep sign", await best(() => signModel({ root, signer }))],
      ["modelkeep verify", await best(() => verifyModel({ root, bundle, trust }))],
    ];
    const base = rows[0]?.[1] ?? Number.NaN;
    return rows.map(([what, seconds]) => ({
      what,
      "GB/s": ((mib * MIB) / seconds / 1e9).toFixed(2),
      "x sha256sum": (base / seconds).toFixed(2),
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
