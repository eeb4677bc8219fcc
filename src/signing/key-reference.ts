/** The key that a path or a URI names, as a signer of models, wherever it lives. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type BackendPorts, openSigningKey, type SigningBackend, type SigningHash } from "../backends/index.ts";
import { signingError } from "./errors.ts";
import { readSigningKey } from "./key-file.ts";
import { keyIdOf, type ModelSigner, pemOf } from "./keys.ts";

const SERVICE = /^(pkcs11:|vault:\/\/|awskms:\/\/|gcpkms:\/\/|azurekms:\/\/)/;
const HASH_OF_CURVE: Readonly<Record<string, SigningHash>> = {
  prime256v1: "sha256",
  secp384r1: "sha384",
  secp521r1: "sha512",
};

export interface KeyReferencePorts extends BackendPorts {
  /** Where a relative path starts. */
  readonly cwd: string;
}

/**
 * A path or `file:///PATH` of a PEM key, or a key of a service: `pkcs11:…`, `vault://…`, `awskms://…`, `gcpkms://…`,
 * `azurekms://…`. What a service signs is verified before it is used. Throws the codes of `readSigningKey` and of the service's client.
 */
export async function openSigner(reference: string, ports: KeyReferencePorts): Promise<ModelSigner> {
  if (SERVICE.test(reference)) return signerOf(await openSigningKey(reference, ports));
  if (!reference.startsWith("file:")) return readSigningKey(resolve(ports.cwd, reference));
  return readSigningKey(pathOf(reference));
}

function pathOf(uri: string): string {
  try {
    return fileURLToPath(uri);
  } catch {
    throw signingError("SIGNING_KEY_INVALID", { detail: "file:///PATH names a file of this machine" });
  }
}

async function signerOf(backend: SigningBackend): Promise<ModelSigner> {
  const key = createPublicKey(await backend.publicKeyPem());
  const hash = HASH_OF_CURVE[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (!hash) throw signingError("SIGNING_KEY_INVALID", { detail: "it is not an EC key on P-256, P-384 or P-521" });
  const publicKeyPem = pemOf(key);
  return {
    publicKeyPem,
    keyId: keyIdOf(publicKeyPem),
    async sign(bytes) {
      const signature = await backend.sign(new Uint8Array(createHash(hash).update(bytes).digest()), hash);
      if (verify(hash, bytes, { key, dsaEncoding: "der" }, signature)) return signature;
      throw signingError("SIGNER_SIGNED_WRONG", { detail: backend.uri });
    },
  };
}
