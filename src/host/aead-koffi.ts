/** AES-256-GCM by the EVP functions of the Node binary, called through the optional package koffi. */
import type { AeadEngine } from "./aead.ts";
import { type EvpFunctions, evpAead } from "./aead-evp.ts";
import { loadForeignFunctions } from "./ffi.ts";

const PROTOTYPES: Readonly<Record<keyof EvpFunctions, string>> = {
  EVP_aes_256_gcm: "void *EVP_aes_256_gcm()",
  EVP_CIPHER_CTX_new: "void *EVP_CIPHER_CTX_new()",
  EVP_CIPHER_CTX_free: "void EVP_CIPHER_CTX_free(void *context)",
  EVP_CipherInit_ex: "int EVP_CipherInit_ex(void *context, void *cipher, void *engine, void *key, void *iv, int enc)",
  EVP_CipherUpdate: "int EVP_CipherUpdate(void *context, void *out, void *written, void *bytes, int length)",
  EVP_CipherFinal_ex: "int EVP_CipherFinal_ex(void *context, void *out, void *written)",
  EVP_CIPHER_CTX_ctrl: "int EVP_CIPHER_CTX_ctrl(void *context, int type, int length, void *bytes)",
};

/** Undefined without the package, and where Node was linked with an OpenSSL that it does not export. */
export async function loadKoffiAead(): Promise<AeadEngine | undefined> {
  try {
    const koffi = await loadForeignFunctions();
    const library = koffi.load(null);
    const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]);
    const about = `koffi, OpenSSL ${process.versions.openssl} of Node`;
    return evpAead("koffi", about, Object.fromEntries(functions) as EvpFunctions);
  } catch {
    return undefined;
  }
}
