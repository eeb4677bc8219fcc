/** `node tools/peers.ts [vault] [moto]`: builds Vault from its Go module and installs moto, once per machine. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { motoFolder, motoPython, motoRequirement, peersFolder, vaultBinary, vaultSource } from "./peers/places.ts";

const PEERS: Readonly<Record<string, () => void>> = { moto: installMoto, vault: buildVault };

const wanted = process.argv.slice(2);
mkdirSync(peersFolder, { recursive: true });
for (const name of wanted.length === 0 ? Object.keys(PEERS) : wanted) {
  const install = PEERS[name];
  if (!install) throw new Error(`no peer ${name}: there are ${Object.keys(PEERS).join(", ")}`);
  install();
}

function installMoto(): void {
  if (existsSync(join(motoFolder, "bin", "moto_server"))) return;
  rmSync(motoFolder, { recursive: true, force: true });
  run("python3", ["-m", "venv", motoFolder]);
  run(motoPython(), ["-m", "pip", "install", "--quiet", motoRequirement]);
}

function buildVault(): void {
  const binary = vaultBinary();
  if (existsSync(binary)) return;
  const unfinished = `${binary}.${process.pid}`;
  const flags = ["-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w"];
  run("go", ["-C", vaultSource, "build", ...flags, "-o", unfinished, "."]);
  renameSync(unfinished, binary);
}

function run(program: string, words: readonly string[]): void {
  execFileSync(program, words, { stdio: ["ignore", "inherit", "inherit"] });
}
