/** Push and pull of a sealed model over a folder, S3, Azure and a registry, beside cp, boto3 and skopeo with the same servers. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { type StorePeer, startAzurite, startMotoS3, startRegistry } from "../test/artifact/store-peers.ts";
import { motoPython } from "../tools/peers/places.ts";
import { makeModel, makeSharded } from "./sealing/model.ts";

const ROUNDS = 3;
/** Never the waiting kind: the servers would stop at a full pipe of what they say. */
const started = promisify(execFile);
const child = join(import.meta.dirname, "stores", "child.ts");

interface Row {
  readonly store: string;
  readonly what: string;
  readonly seconds?: number;
  readonly peakMib?: number;
}

type Env = Readonly<Record<string, string>>;

/** Ours: a process of its own, since the servers' helpers load the test runner here. */
async function copy(from: string, to: string, env: Env): Promise<{ seconds: number; peakMib: number }> {
  const { stdout } = await started(process.execPath, [child, "copy", from, to], { env: { ...process.env, ...env } });
  return JSON.parse(stdout);
}

async function best<T extends { readonly seconds: number }>(work: (round: number) => Promise<T>): Promise<T> {
  let found = await work(0);
  for (let round = 1; round < ROUNDS; round++) {
    const next = await work(round);
    if (next.seconds < found.seconds) found = next;
  }
  return found;
}

async function timed(work: () => unknown) {
  const before = performance.now();
  await work();
  return { seconds: (performance.now() - before) / 1000 };
}

/** Every round to a place of its own: what is there already would not be sent again. */
async function ours(
  store: string,
  sealed: string,
  out: string,
  uri: (place: string) => string,
  env: Env = {},
): Promise<Row[]> {
  const from = pathToFileURL(sealed).href;
  const push = await best((round) => copy(from, uri(`bench-${round}`), env));
  const pull = await best((round) => {
    rmSync(out, { recursive: true, force: true });
    return copy(uri(`bench-${round}`), pathToFileURL(out).href, env);
  });
  return [
    { store, what: "push", ...push },
    { store, what: "pull", ...pull },
  ];
}

async function peerOrSkipped(store: string, peer: StorePeer | string, rows: (peer: StorePeer) => Promise<Row[]>) {
  return typeof peer === "string" ? [{ store, what: `skipped: ${peer}` }] : await rows(peer);
}

const BOTO3 = `
import sys, time, os, boto3
client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"], region_name="us-east-1")
what, path, key = sys.argv[1:]
started = time.perf_counter()
if what == "upload": client.upload_file(path, "modelkeep-models", key)
else: client.download_file("modelkeep-models", key, path)
print(time.perf_counter() - started)
`;

/** Plain bytes as many as those of the sealed model. */
async function boto3(file: string, out: string, { env }: StorePeer): Promise<Row[]> {
  const run = (what: string, path: string) => async (round: number) => {
    const words = ["-c", BOTO3, what, path, `boto3-${round}`];
    const { stdout } = await started(motoPython(), words, { env: { ...process.env, ...env } });
    return { seconds: Number(stdout) };
  };
  const rows = [
    { store: "S3 (moto)", what: "boto3 upload_file", ...(await best(run("upload", file))) },
    { store: "S3 (moto)", what: "boto3 download_file", ...(await best(run("download", out))) },
  ];
  rmSync(out, { force: true });
  return rows;
}

/** An image of one layer that holds the bytes as they are. */
function imageOf(file: string, folder: string): string {
  const blobs = join(folder, "blobs", "sha256");
  mkdirSync(blobs, { recursive: true });
  const put = (bytes: Uint8Array, mediaType: string) => {
    const hash = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(blobs, hash), bytes);
    return { mediaType, digest: `sha256:${hash}`, size: bytes.length };
  };
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  const layer = put(readFileSync(file), "application/vnd.oci.image.layer.v1.tar");
  const about = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [layer.digest] } };
  const config = put(json(about), "application/vnd.oci.image.config.v1+json");
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = put(json({ schemaVersion: 2, mediaType, config, layers: [layer] }), mediaType);
  writeFileSync(join(folder, "index.json"), json({ schemaVersion: 2, manifests: [manifest] }));
  writeFileSync(join(folder, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
  return `oci:${folder}`;
}

async function skopeo(file: string, folder: string, { origin }: StorePeer): Promise<Row[]> {
  const store = "registry";
  if (!existsSync("/usr/bin/skopeo")) return [{ store, what: "skipped: skopeo is not installed" }];
  const image = imageOf(file, join(folder, "image"));
  const at = (round: number) => `docker://${new URL(origin).host}/peer/skopeo-${round}:1`;
  const flags = ["--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
  const move = (from: string, to: string) =>
    timed(() => started("skopeo", ["--insecure-policy", "copy", ...flags, from, to]));
  const push = await best((round) => move(image, at(round)));
  const pull = await best((round) => move(at(round), `oci:${join(folder, `back-${round}`)}`));
  return [
    { store, what: "skopeo copy to it", ...push },
    { store, what: "skopeo copy from it", ...pull },
  ];
}

/** The servers end with their tests, of which there are none here. */
function endServers(): void {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "latin1").trim().split(" ");
  for (const pid of children) if (pid !== "") process.kill(Number(pid), "SIGKILL");
}

export async function run(): Promise<readonly Record<string, unknown>[]> {
  const mib = Number(process.env.MODELKEEP_BENCH_MIB ?? 256);
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "modelkeep-stores-"));
  try {
    const whole = makeModel(join(folder, "model"), mib);
    const model = makeSharded(whole, join(folder, "sharded"));
    const [file, sealed, out] = [join(whole, "weights.bin"), join(folder, "sealed"), join(folder, "out")];
    await started(process.execPath, [child, "seal", model, sealed]);
    const [moto, azurite, registry] = [await startMotoS3(), await startAzurite(), await startRegistry()];
    const rows = [
      { store: "folder", what: "cp", ...(await best(() => timed(() => copyFileSync(file, out)))) },
      ...(await ours("folder", sealed, `${out}-folder`, (place) => pathToFileURL(join(folder, "store", place)).href)),
      ...(await peerOrSkipped("S3 (moto)", moto, async (peer) => [
        ...(await boto3(file, `${out}-boto3`, peer)),
        ...(await ours("S3 (moto)", sealed, `${out}-s3`, peer.uri, peer.env)),
      ])),
      ...(await peerOrSkipped("Azure (Azurite)", azurite, (peer) =>
        ours("Azure (Azurite)", sealed, `${out}-az`, peer.uri, peer.env),
      )),
      ...(await peerOrSkipped("registry", registry, async (peer) => [
        ...(await skopeo(file, folder, peer)),
        ...(await ours("registry", sealed, `${out}-oci`, peer.uri, peer.env)),
      ])),
    ];
    return rows.map(print(statSync(file).size));
  } finally {
    endServers();
    rmSync(folder, { recursive: true, force: true });
  }
}

const print =
  (bytes: number) =>
  ({ store, what, seconds, peakMib }: Row) => ({
    store,
    what,
    "MB/s": seconds ? Math.round(bytes / seconds / 1e6) : "",
    "peak MiB": peakMib ?? "",
  });
