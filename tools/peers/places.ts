/** Where the outside services lie that the tests of their clients talk to: outside the checkout, kept from run to run. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { root } from "../checks/source.ts";

export const peersFolder = process.env.MODELKEEP_CACHE ?? join(homedir(), ".cache", "modelkeep-peers");
export const vaultSource = join(root, "tools", "peers", "vault");
export const motoRequirement = "moto[kms,server]==5.2.5";
export const motoFolder = join(peersFolder, "moto");

/** Its own requirements leave pyOpenSSL out, which it imports. */
export const modelSigningRequirements = ["model-signing==1.1.1", "pyOpenSSL==26.4.0"] as const;
export const modelSigningFolder = join(peersFolder, "model-signing");
export const modelSigningScript = join(root, "tools", "peers", "python", "reference.py");

/** The name holds a hash of what it is built from. */
export function vaultBinary(): string {
  const hash = createHash("sha256");
  for (const name of ["main.go", "go.mod"]) hash.update(readFileSync(join(vaultSource, name)));
  return join(peersFolder, `vault-peer-${hash.digest("hex").slice(0, 12)}`);
}

export function motoPython(): string {
  return join(motoFolder, "bin", "python");
}

export function modelSigningPython(): string {
  return join(modelSigningFolder, "bin", "python");
}

const SOFTHSM = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

export function softHsmModule(): string | undefined {
  return SOFTHSM.find((path) => existsSync(path));
}
