/** What others do with the same file: copy it, encrypt it, read it back. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./model.ts";

const ROUNDS = 3;

function has(program: string): boolean {
  return spawnSync("which", [program], { stdio: "ignore" }).status === 0;
}

/** Wall time, user and system time of a program; bash has a clock for its children. */
function timed(words: readonly string[]): { readonly seconds: number; readonly cpuSeconds: number } {
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null 2>&1';
  const run = spawnSync("bash", ["-c", script, "bash", ...words], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`${words[0]} ended with ${run.status}`);
  const [seconds = 0, user = 0, system = 0] = run.stderr.trim().split("\n").at(-1)?.split(" ").map(Number) ?? [];
  return { seconds, cpuSeconds: user + system };
}

function best(what: string, words: readonly string[], clear: () => void, prepare: () => void = () => {}): Row {
  let [seconds, cpuSeconds] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round++) {
    prepare();
    const took = timed(words);
    seconds = Math.min(seconds, took.seconds);
    cpuSeconds = Math.min(cpuSeconds, took.cpuSeconds);
    clear();
  }
  return { what, seconds, cpuSeconds };
}

/** Absent programs are rows that say so. */
export function peers(file: string, place: string): Row[] {
  const out = join(place, "peer.out");
  const clear = () => rmSync(out, { force: true });
  const rows = [best("cp", ["cp", file, out], clear)];
  const key = ["-K", "0".repeat(64), "-iv", "0".repeat(32)];
  const words = ["openssl", "enc", "-aes-256-ctr", ...key, "-in", file, "-out", out];
  if (has("openssl")) rows.push(best("openssl enc, no authentication", words, clear));
  else rows.push({ what: "openssl: skipped, apt-get install openssl" });
  rows.push(...(has("age") ? age(file, place) : [{ what: "age: skipped, apt-get install age" }]));
  return [...rows, ...gocryptfs(file, place)];
}

function age(file: string, place: string): Row[] {
  const [key, encrypted, out] = [join(place, "age.key"), join(place, "age.out"), join(place, "age.plain")];
  execFileSync("age-keygen", ["-o", key], { stdio: "ignore" });
  const recipient = execFileSync("age-keygen", ["-y", key]).toString().trim();
  const encrypting = best("age -e", ["age", "-r", recipient, "-o", out, file], () => rmSync(out));
  execFileSync("age", ["-r", recipient, "-o", encrypted, file]);
  const decrypting = best("age -d", ["age", "-d", "-i", key, "-o", out, encrypted], () => rmSync(out));
  for (const path of [key, encrypted]) rmSync(path);
  return [encrypting, decrypting];
}

/** Through FUSE, read after a new mount, so that the kernel keeps no plaintext of it. Its own server's time is not in the CPU time. */
function gocryptfs(file: string, place: string): Row[] {
  if (!has("gocryptfs") || !has("fusermount3"))
    return [{ what: "gocryptfs: skipped, apt-get install gocryptfs fuse3" }];
  const [cipher, plain, secret] = [join(place, "cipher"), join(place, "plain"), join(place, "password")];
  for (const folder of [cipher, plain]) mkdirSync(folder);
  writeFileSync(secret, "benchmark\n");
  const run = (program: string, ...words: string[]) => execFileSync(program, words, { stdio: "ignore" });
  const mount = () => run("gocryptfs", "-q", "-passfile", secret, cipher, plain);
  const release = () => run("umount", plain);
  const [inside, out] = [join(plain, "weights.bin"), join(place, "gocryptfs.out")];
  try {
    run("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", secret, cipher);
    mount();
    const { cpuSeconds: _w, ...write } = best("gocryptfs write", ["cp", file, inside], () => rmSync(inside));
    run("cp", file, inside);
    const remount = () => {
      release();
      mount();
    };
    const { cpuSeconds: _r, ...read } = best("gocryptfs read", ["cp", inside, out], () => rmSync(out), remount);
    release();
    return [write, read];
  } catch (error) {
    return [{ what: `gocryptfs: skipped, it does not run here (${String(error).slice(0, 60)})` }];
  } finally {
    spawnSync("umount", [plain], { stdio: "ignore" });
    for (const path of [cipher, plain, secret]) rmSync(path, { recursive: true, force: true });
  }
}
