/** Signing and verifying a model beside the Python reference: the same files in memory, in turn, in one run, as ratios. */
import { execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { loadEcSigner, readSigningKey, signModel, trustKeys, verifyModel } from "../src/signing/index.ts";
import { modelSigningFolder, modelSigningPython, modelSigningScript } from "../tools/peers/places.ts";

const MIB = 2 ** 20;
const LAYOUTS = [1, 10, 1000];
const SHARD_BYTES = 256 * MIB;
const BLOCK_BYTES = 16 * MIB;

interface Request {
  readonly op: "sign" | "verify";
  readonly model: string;
  readonly signature: string;
  readonly key: string;
  readonly public_key: string;
  readonly shard_size?: number;
}

interface Answer {
  readonly ok: boolean;
  readonly error?: string;
  readonly seconds: number;
  readonly peak_kib: number;
}

interface Side {
  ask(request: Request): Promise<Answer>;
  stop(): void;
}

/** A process of its own, so that its memory is only its own; one JSON line asked, one answered. */
function start(program: string, words: readonly string[], env: NodeJS.ProcessEnv = {}): Side {
  const child = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...env } });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(request) {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const line = await lines.next();
      if (line.done) throw new Error(`${program} ended`);
      const answer = JSON.parse(line.value) as Answer;
      if (!answer.ok) throw new Error(answer.error);
      return answer;
    },
    stop: () => child.stdin.end(),
  };
}

/** The other end of `start`, for ours. */
async function serve(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as Request;
    const started = performance.now();
    await work(request);
    const seconds = (performance.now() - started) / 1000;
    const peak_kib = process.resourceUsage().maxRSS;
    process.stdout.write(`${JSON.stringify({ ok: true, seconds, peak_kib })}\n`);
  }
}

async function work({ op, model, signature, key, public_key, shard_size }: Request): Promise<void> {
  if (op === "sign") {
    const shards = shard_size === undefined ? {} : { shardBytes: shard_size };
    const { bundle } = await signModel({ root: model, signer: await readSigningKey(key), ...shards });
    writeFileSync(signature, bundle);
    return;
  }
  const trust = trustKeys([readFileSync(public_key)]);
  const { verdict } = await verifyModel({ root: model, bundle: readFileSync(signature), trust });
  if (verdict !== "verified") throw new Error("the model does not verify");
}

function writeFiles(root: string, count: number, bytes: number): string[] {
  const block = randomBytes(BLOCK_BYTES);
  mkdirSync(root);
  return Array.from({ length: count }, (_, index) => {
    const path = join(root, `weights-${index}.bin`);
    const file = openSync(path, "wx");
    for (let left = Math.floor(bytes / count); left > 0; left -= BLOCK_BYTES)
      writeSync(file, block, 0, Math.min(left, BLOCK_BYTES));
    closeSync(file);
    return path;
  });
}

const seconds = (work: () => unknown): number => {
  const started = performance.now();
  work();
  return (performance.now() - started) / 1000;
};

interface Best {
  ours: number;
  theirs: number;
  peakKib: number;
  theirPeakKib: number;
}

/** In turn, so that what else the machine does meets both. */
async function compare(
  rounds: number,
  sides: { ours: Side; theirs: Side | undefined },
  request: Request,
): Promise<Best> {
  const best: Best = { ours: Infinity, theirs: Infinity, peakKib: 0, theirPeakKib: 0 };
  for (let round = 0; round < rounds; round++) {
    const our = await sides.ours.ask({ ...request, signature: `${request.signature}-ours` });
    best.ours = Math.min(best.ours, our.seconds);
    best.peakKib = our.peak_kib;
    const their = await sides.theirs?.ask({ ...request, signature: `${request.signature}-theirs` });
    if (!their) continue;
    best.theirs = Math.min(best.theirs, their.seconds);
    best.theirPeakKib = their.peak_kib;
  }
  return best;
}

/** The whole program, from its start to its end. */
function compareCommands(rounds: number, request: Request): Best {
  const { model, signature, key } = request;
  const ours = [join(import.meta.dirname, "../bin/modelkeep.mjs"), "sign", model, "--key", key, "--output", signature];
  const theirs = ["sign", "key", "--private_key", key, "--signature", signature, model];
  const program = join(modelSigningFolder, "bin", "model_signing");
  const best: Best = { ours: Infinity, theirs: Infinity, peakKib: 0, theirPeakKib: 0 };
  for (let round = 0; round < rounds; round++) {
    best.ours = Math.min(
      best.ours,
      seconds(() => execFileSync(process.execPath, ours, { stdio: "ignore" })),
    );
    if (existsSync(program))
      best.theirs = Math.min(
        best.theirs,
        seconds(() => execFileSync(program, theirs, { stdio: "ignore" })),
      );
  }
  return best;
}

function makeKeys(folder: string): { key: string; public_key: string } {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const [key, public_key] = [join(folder, "key.pem"), join(folder, "key.pub")];
  writeFileSync(key, pem, { mode: 0o600 });
  writeFileSync(public_key, loadEcSigner(Buffer.from(pem)).publicKeyPem);
  return { key, public_key };
}

/** `MODELKEEP_BENCH_MIB` in all, 4,096 when absent; the best of `MODELKEEP_BENCH_ROUNDS`, 3 when absent. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  const bytes = Number(process.env.MODELKEEP_BENCH_MIB ?? 4096) * MIB;
  const rounds = Number(process.env.MODELKEEP_BENCH_ROUNDS ?? 3);
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "modelkeep-bench-"));
  const row = (files: number, what: string, best: Best) => ({
    files,
    what,
    "GB/s": (bytes / best.ours / 1e9).toFixed(2),
    "Python GB/s": best.theirs === Infinity ? "-" : (bytes / best.theirs / 1e9).toFixed(2),
    "x Python": best.theirs === Infinity ? "-" : (best.theirs / best.ours).toFixed(2),
    "peak MiB": best.peakKib === 0 ? "-" : Math.round(best.peakKib / 1024),
    "Python peak MiB": best.theirPeakKib === 0 ? "-" : Math.round(best.theirPeakKib / 1024),
  });
  const rows: Record<string, unknown>[] = [];
  try {
    const keys = makeKeys(folder);
    for (const count of LAYOUTS) {
      const model = join(folder, "model");
      const paths = writeFiles(model, count, bytes);
      const sum = Math.min(...Array.from({ length: rounds }, () => seconds(() => execFileSync("sha256sum", paths))));
      rows.push(row(count, "sha256sum, one core", { ours: sum, theirs: Infinity, peakKib: 0, theirPeakKib: 0 }));
      const sides = {
        // As the command line keeps compiled code, and Python its own.
        ours: start(process.execPath, [import.meta.filename], { NODE_COMPILE_CACHE: join(folder, "code") }),
        theirs: existsSync(modelSigningPython()) ? start(modelSigningPython(), [modelSigningScript]) : undefined,
      };
      const request = { model, signature: join(folder, "sig"), ...keys };
      for (const op of ["sign", "verify"] as const)
        rows.push(row(count, op, await compare(rounds, sides, { op, ...request })));
      if (count === 1) {
        const sharded = { op: "sign", ...request, shard_size: SHARD_BYTES } as const;
        rows.push(row(count, "sign, shards of 256 MiB", await compare(rounds, sides, sharded)));
      }
      sides.ours.stop();
      sides.theirs?.stop();
      rows.push(row(count, "sign, command line", compareCommands(rounds, { op: "sign", ...request })));
      rmSync(model, { recursive: true });
    }
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) await serve();
