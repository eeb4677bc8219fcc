/** Sealing and opening beside cp, openssl and age, file to file in memory, as ratios of one run; and rewrapping. */
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type BlobStore, openBlobStore } from "../src/artifact/index.ts";
import { createKeyFile, type KeyWrapper, openKeyWrapper } from "../src/backends/index.ts";
import { systemRandom as random } from "../src/host/index.ts";
import { openIntoFolder, rewrapSealed, sealModel } from "../src/sealing/index.ts";
import { loadEcSigner, signModel, trustKeys, verifyBundle } from "../src/signing/index.ts";

const MIB = 2 ** 20;
const ROUNDS = 3;

interface Row {
  readonly what: string;
  readonly seconds: number;
}

/** `MODELKEEP_BENCH_MIB` of random bytes, 1,024 when absent. */
async function makeModel(folder: string, mib: number): Promise<string> {
  const root = join(folder, "model");
  mkdirSync(root);
  const out = createWriteStream(join(root, "weights.bin"));
  for (let index = 0; index < mib; index += 16) if (!out.write(random.bytes(16 * MIB))) await once(out, "drain");
  out.end();
  await once(out, "close");
  return root;
}

/** The best of some rounds: what disturbs a run only ever makes it slower. */
async function best(what: string, work: (round: number) => unknown, clear: () => void): Promise<Row> {
  let seconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    await work(round);
    seconds = Math.min(seconds, (performance.now() - started) / 1000);
    clear();
  }
  return { what, seconds };
}

/** Not by the helpers of the tests: they load the test runner, whose hooks slow every asynchronous call. */
function makeSigner() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return loadEcSigner(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })));
}

function has(program: string): boolean {
  try {
    execFileSync("which", [program], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function peers(folder: string, file: string): Promise<Row[]> {
  const out = join(folder, "peer.out");
  const clear = () => rmSync(out, { force: true });
  const run = (program: string, ...words: string[]) => execFileSync(program, words, { stdio: "ignore" });
  const key = ["-K", "0".repeat(64), "-iv", "0".repeat(32)];
  const rows = [await best("cp", () => run("cp", file, out), clear)];
  if (has("openssl")) {
    const words = ["enc", "-aes-256-ctr", ...key, "-in", file, "-out", out];
    rows.push(await best("openssl enc, no authentication", () => run("openssl", ...words), clear));
  }
  if (!has("age")) return rows;
  run("age-keygen", "-o", join(folder, "age.key"));
  const recipient = execFileSync("age-keygen", ["-y", join(folder, "age.key")])
    .toString()
    .trim();
  const encrypted = join(folder, "age.out");
  rows.push(await best("age -e", () => run("age", "-r", recipient, "-o", out, file), clear));
  run("age", "-r", recipient, "-o", encrypted, file);
  rows.push(await best("age -d", () => run("age", "-d", "-i", join(folder, "age.key"), "-o", out, encrypted), clear));
  rmSync(encrypted);
  return rows;
}

async function ours(folder: string, root: string): Promise<Row[]> {
  const signer = makeSigner();
  const trust = trustKeys([signer.publicKeyPem]);
  const uri = pathToFileURL(join(folder, "models.kek")).href;
  await createKeyFile(uri, random);
  const wrapper = await openKeyWrapper(uri, { random });
  const { bundle } = await signModel({ root, signer });
  const manifest = verifyBundle(bundle, trust);
  const [sealed, output] = [join(folder, "sealed"), join(folder, "opened")];
  const store = await openBlobStore(pathToFileURL(sealed).href);
  const seal = () => sealModel({ root, bundle, manifest, signer, wrappers: [wrapper], store, prefix: "", random });
  const open = () => openIntoFolder({ store, prefix: "", trust, wrappers: [wrapper], random }, output);
  const remove = (path: string) => () => rmSync(path, { recursive: true, force: true });
  const rows = [await best("modelkeep seal", seal, remove(sealed))];
  await seal();
  rows.push(await best("modelkeep open, every segment verified", open, remove(output)));
  rows.push(await rewrapping(store, wrapper));
  return rows;
}

function rewrapping(store: BlobStore, wrapper: KeyWrapper): Promise<Row> {
  return best(
    "modelkeep rewrap",
    () => rewrapSealed(store, "", [wrapper], [wrapper]),
    () => undefined,
  );
}

export async function run(): Promise<readonly Record<string, unknown>[]> {
  const mib = Number(process.env.MODELKEEP_BENCH_MIB ?? 1024);
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "modelkeep-bench-"));
  try {
    const root = await makeModel(folder, mib);
    const before = process.memoryUsage.rss();
    const own = await ours(folder, root);
    const peak = process.resourceUsage().maxRSS * 1024;
    const rows = [...(await peers(folder, join(root, "weights.bin"))), ...own];
    const cp = rows.find(({ what }) => what === "cp")?.seconds ?? Number.NaN;
    return rows.map(({ what, seconds }) => ({
      what,
      "GB/s": what.endsWith("rewrap") ? "" : ((mib * MIB) / seconds / 1e9).toFixed(2),
      "x cp": what.endsWith("rewrap") ? "" : (cp / seconds).toFixed(2),
      ms: Math.round(seconds * 1e4) / 10,
      "peak RSS MiB": what.startsWith("modelkeep")
        ? `${Math.round(peak / MIB)} (${Math.round(before / MIB)} before)`
        : "",
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
