/** AES-256-GCM by the EVP functions of the Node binary, called through node:ffi, which Node has from 26.1 on. */
import type { AeadEngine } from "./aead.ts";
import { type EvpFunctions, evpAead } from "./aead-evp.ts";

interface Signature {
  readonly return: string;
  readonly arguments: readonly string[];
}

interface FfiModule {
  readonly DynamicLibrary: new (path: null) => { getFunctions(signatures: object): unknown };
}

const [POINTER, INT] = ["pointer", "int32"];
const SIGNATURES: Readonly<Record<keyof EvpFunctions, Signature>> = {
  EVP_aes_256_gcm: { return: POINTER, arguments: [] },
  EVP_CIPHER_CTX_new: { return: POINTER, arguments: [] },
  EVP_CIPHER_CTX_free: { return: "void", arguments: [POINTER] },
  EVP_CipherInit_ex: { return: INT, arguments: [POINTER, POINTER, POINTER, POINTER, POINTER, INT] },
  EVP_CipherUpdate: { return: INT, arguments: [POINTER, POINTER, POINTER, POINTER, INT] },
  EVP_CipherFinal_ex: { return: INT, arguments: [POINTER, POINTER, POINTER] },
  EVP_CIPHER_CTX_ctrl: { return: INT, arguments: [POINTER, INT, INT, POINTER] },
};

/** The library stays open as long as the thread: its functions are used until then. */
let library: { getFunctions(signatures: object): unknown } | undefined;

/** Undefined below Node 26.1, in builds without it, and under a permission model that forbids it. */
export async function loadFfiAead(): Promise<AeadEngine | undefined> {
  try {
    const ffi = openModule();
    if (!ffi) return undefined;
    library ??= new ffi.DynamicLibrary(null);
    const about = `node:ffi, OpenSSL ${process.versions.openssl} of Node`;
    return evpAead("ffi", about, library.getFunctions(SIGNATURES) as EvpFunctions);
  } catch {
    return undefined;
  }
}

/** Node warns on stderr that it is new; here `doctor` says who computes, and the known answers whether rightly. */
function openModule(): FfiModule | undefined {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return process.getBuiltinModule("node:ffi") as FfiModule | undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}
