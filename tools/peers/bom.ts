/** Installs what bills of materials are held against: validators, pip-audit, uv, and an environment of real packages. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  bomEnvironmentFolder,
  bomEnvironmentRequirements,
  bomToolsFolder,
  bomToolsRequirements,
  crateVersionsBinary,
  crateVersionsSource,
  debianFolder,
  debianRoot,
  debianSuite,
  sarifSchemaFile,
  sarifSchemaPackage,
  spdxSchemaFile,
  spdxSchemaPackage,
  versionsBinary,
  versionsSource,
} from "./bom-places.ts";
import { peersFolder } from "./places.ts";

export function installBomPeers(): void {
  installVenv(bomToolsFolder, bomToolsRequirements);
  installVenv(bomEnvironmentFolder, bomEnvironmentRequirements);
  fetchFile(spdxSchemaPackage, "package/data/spdx-export.schema.json", spdxSchemaFile);
  fetchFile(sarifSchemaPackage, "package/lib/schemas/sarif-2.1.0-rtm.5.json", sarifSchemaFile);
  buildVersions();
  buildCrateVersions();
  buildDebian();
}

/** Takes a minute; what needs it says so where it is not there. */
function buildDebian(): void {
  if (existsSync(join(debianFolder, "installed"))) return;
  if (process.getuid?.() !== 0 || spawnSync("debootstrap", ["--version"]).error) return;
  rmSync(debianFolder, { recursive: true, force: true });
  mkdirSync(debianFolder, { recursive: true });
  run("debootstrap", ["--variant=minbase", debianSuite, debianRoot]);
  rmSync(join(debianRoot, "var/cache/apt/archives"), { recursive: true, force: true });
  writeFileSync(join(debianFolder, "installed"), debianSuite);
}

function buildVersions(): void {
  const binary = versionsBinary();
  if (existsSync(binary)) return;
  const place = `${binary}.${process.pid}`;
  try {
    run("go", ["-C", versionsSource, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", place, "."]);
    renameSync(place, binary);
  } finally {
    rmSync(place, { force: true });
  }
}

/** Where there is no cargo, the test that asks it says so. */
function buildCrateVersions(): void {
  const binary = crateVersionsBinary();
  if (existsSync(binary) || spawnSync("cargo", ["--version"]).error) return;
  const place = mkdtempSync(join(peersFolder, "crate-"));
  try {
    cpSync(crateVersionsSource, place, { recursive: true });
    run("cargo", ["build", "--quiet", "--release", "--locked", "--manifest-path", join(place, "Cargo.toml")]);
    renameSync(join(place, "target/release/semver-peer"), binary);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function installVenv(folder: string, requirements: readonly string[]): void {
  const finished = join(folder, "installed");
  const wanted = `${requirements.join("\n")}\n`;
  if (existsSync(finished) && readFileSync(finished, "utf8") === wanted) return;
  rmSync(folder, { recursive: true, force: true });
  run("python3", ["-m", "venv", folder]);
  run(join(folder, "bin", "python"), ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", ...requirements]);
  writeFileSync(finished, wanted);
}

/** One file out of a package; nothing else of it is kept. */
function fetchFile(from: string, inside: string, into: string): void {
  if (existsSync(into)) return;
  const place = mkdtempSync(join(peersFolder, "schema-"));
  try {
    run("npm", ["pack", "--silent", "--pack-destination", place, from]);
    const [archive = ""] = readdirSync(place);
    run("tar", ["-xzf", join(place, archive), "-C", place, inside]);
    renameSync(join(place, inside), into);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function run(program: string, words: readonly string[]): void {
  execFileSync(program, words, { stdio: ["ignore", "ignore", "inherit"] });
}
