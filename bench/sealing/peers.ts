/** What others do with the same file: copy it, encrypt it, read it back. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./model.ts";

const ROUNDS = 4;

export function has(program: string): boolean {
  return spawnSync("which", [program], { stdio: "ignore" }).status === 0;
}

function best(what: string, work: () => void, clear: () => void): Row {
  let seconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    work();
    seconds = Math.min(seconds, (performance.now() - started) / 1000);
    clear();
  }
  return { what, seconds };
}

/** Absent programs are rows that say so. */
export function peers(file: string, place: string): Row[] {
  const out = join(place, "peer.out");
  const clear = () => rmSync(out, { force: true });
  const run = (program: string, ...words: string[]) => execFileSync(program, words, { stdio: "ignore" });
  const rows = [best("cp", () => run("cp", file, out), clear)];
  const key = ["-K", "0".repeat(64), "-iv", "0".repeat(32)];
  if (has("openssl")) {
    const words = ["enc", "-aes-256-ctr", ...key, "-in", file, "-out", out];
    rows.push(best("openssl enc, no authentication", () => run("openssl", ...words), clear));
  } else rows.push({ what: "openssl: skipped, apt-get install openssl" });
  rows.push(...(has("age") ? age(file, place) : [{ what: "age: skipped, apt-get install age" }]));
  return [...rows, ...gocryptfs(file, place)];
}

function age(file: string, place: string): Row[] {
  const [key, encrypted, out] = [join(place, "age.key"), join(place, "age.out"), join(place, "age.plain")];
  const run = (...words: string[]) => execFileSync("age", words, { stdio: "ignore" });
  execFileSync("age-keygen", ["-o", key], { stdio: "ignore" });
  const recipient = execFileSync("age-keygen", ["-y", key]).toString().trim();
  const encrypting = best(
    "age -e",
    () => run("-r", recipient, "-o", out, file),
    () => rmSync(out),
  );
  run("-r", recipient, "-o", encrypted, file);
  const decrypting = best(
    "age -d",
    () => run("-d", "-i", key, "-o", out, encrypted),
    () => rmSync(out),
  );
  for (const path of [key, encrypted]) rmSync(path);
  return [encrypting, decrypting];
}

/** Through FUSE: written by cp, and read by cp with the kernel's cache of the plaintext dropped by a new mount. */
function gocryptfs(file: string, place: string): Row[] {
  if (!has("gocryptfs") || !(has("fusermount") || has("fusermount3")))
    return [{ what: "gocryptfs: skipped, apt-get install gocryptfs fuse3" }];
  const [cipher, plain, secret] = [join(place, "cipher"), join(place, "plain"), join(place, "password")];
  for (const folder of [cipher, plain]) mkdirSync(folder);
  writeFileSync(secret, "benchmark\n");
  const run = (program: string, ...words: string[]) => execFileSync(program, words, { stdio: "ignore" });
  const mount = () => run("gocryptfs", "-q", "-passfile", secret, cipher, plain);
  const release = () => run("umount", plain);
  try {
    run("gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", secret, cipher);
    mount();
    const inside = join(plain, "weights.bin");
    const write = best(
      "gocryptfs write",
      () => run("cp", file, inside),
      () => rmSync(inside),
    );
    run("cp", file, inside);
    release();
    let seconds = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS; round++) {
      mount();
      const out = join(place, "gocryptfs.out");
      const started = performance.now();
      run("cp", inside, out);
      seconds = Math.min(seconds, (performance.now() - started) / 1000);
      rmSync(out);
      release();
    }
    return [write, { what: "gocryptfs read", seconds }];
  } catch (error) {
    return [{ what: `gocryptfs: skipped, it does not run here (${String(error).slice(0, 60)})` }];
  } finally {
    spawnSync("umount", [plain], { stdio: "ignore" });
    for (const path of [cipher, plain, secret]) rmSync(path, { recursive: true, force: true });
  }
}
