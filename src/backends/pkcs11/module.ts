/** A PKCS#11 module: a shared library that is looked at before it is loaded, and its functions, called off the main thread. */
import { isAbsolute } from "node:path";
import {
  type ForeignFunction,
  type ForeignFunctions,
  files,
  loadForeignFunctions,
  processInfo,
  systemErrorCode,
} from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { CKR_OK } from "./errors.ts";

/** Argument types of the functions that are called, by their place in CK_FUNCTION_LIST (v2.40, section 5.1). */
const FUNCTIONS = {
  C_Initialize: [0, ["CK_INITIALIZE_ARGS*"]],
  C_GetSlotList: [4, ["uint8_t", "void*", "_Inout_ ulong*"]],
  C_GetTokenInfo: [6, ["ulong", "void*"]],
  C_OpenSession: [12, ["ulong", "ulong", "void*", "void*", "_Out_ ulong*"]],
  C_CloseSession: [13, ["ulong"]],
  C_Login: [18, ["ulong", "ulong", "void*", "ulong"]],
  C_GetAttributeValue: [24, ["ulong", "ulong", "_Inout_ CK_ATTRIBUTE*", "ulong"]],
  C_FindObjectsInit: [26, ["ulong", "CK_ATTRIBUTE*", "ulong"]],
  C_FindObjects: [27, ["ulong", "void*", "ulong", "_Out_ ulong*"]],
  C_FindObjectsFinal: [28, ["ulong"]],
  C_EncryptInit: [29, ["ulong", "CK_GCM_MECHANISM*", "ulong"]],
  C_Encrypt: [30, ["ulong", "void*", "ulong", "void*", "_Inout_ ulong*"]],
  C_DecryptInit: [33, ["ulong", "CK_GCM_MECHANISM*", "ulong"]],
  C_Decrypt: [34, ["ulong", "void*", "ulong", "void*", "_Inout_ ulong*"]],
  C_SignInit: [42, ["ulong", "CK_MECHANISM*", "ulong"]],
  C_Sign: [43, ["ulong", "void*", "ulong", "void*", "_Inout_ ulong*"]],
} as const satisfies Record<string, readonly [number, readonly string[]]>;

export type Pkcs11FunctionName = keyof typeof FUNCTIONS;

const CKF_OS_LOCKING_OK = 2;
const CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191;
const POINTER_BYTES = 8;
/** The version, filled up to the alignment of the first pointer. */
const LIST_HEAD_BYTES = 8;
const ELF_64 = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2]);
const WRITABLE_BY_OTHERS = 0o022;

export class Pkcs11Module {
  readonly path: string;
  readonly #functions: ReadonlyMap<string, ForeignFunction>;

  private constructor(path: string, functions: ReadonlyMap<string, ForeignFunction>) {
    this.path = path;
    this.#functions = functions;
  }

  /** Once per process and file: a module has one state. Throws PKCS11_MODULE_INVALID, FOREIGN_FUNCTIONS_MISSING. */
  static async load(given: string): Promise<Pkcs11Module> {
    const path = await checkedPath(given);
    const known = loaded.get(path);
    if (known) return known;
    const opening = open(path).catch((error) => {
      loaded.delete(path);
      throw error;
    });
    loaded.set(path, opening);
    return opening;
  }

  static async of(path: string, functions: ReadonlyMap<string, ForeignFunction>): Promise<Pkcs11Module> {
    const module = new Pkcs11Module(path, functions);
    const value = await module.call("C_Initialize", { flags: CKF_OS_LOCKING_OK });
    if (value !== CKR_OK && value !== CKR_CRYPTOKI_ALREADY_INITIALIZED)
      throw backendError("PKCS11_MODULE_INVALID", { detail: `${path}: C_Initialize gives 0x${value.toString(16)}` });
    return module;
  }

  /** The return value. Buffers among the arguments must stay referenced until it is there. */
  call(name: Pkcs11FunctionName, ...args: readonly unknown[]): Promise<number> {
    const target = this.#functions.get(name);
    return new Promise((resolve, reject) => {
      if (!target) return reject(backendError("PKCS11_MODULE_INVALID", { detail: `${this.path} has no ${name}` }));
      target.async(...args, (error: unknown, value: unknown) => (error ? reject(error) : resolve(Number(value))));
    });
  }
}

const loaded = new Map<string, Promise<Pkcs11Module>>();

/** A library that nobody refers to is unloaded by the collector, under the functions that were found by pointer. */
const kept: unknown[] = [];

/** A library runs with this process's rights: it is a file that nobody but root and this user can change. */
async function checkedPath(given: string): Promise<string> {
  if (!isAbsolute(given)) throw backendError("PKCS11_MODULE_INVALID", { detail: "its path is not absolute" });
  const path = await files.realpath(given).catch((error) => {
    throw backendError("PKCS11_MODULE_INVALID", { detail: `${given} (${systemErrorCode(error) ?? "unknown"})` });
  });
  const stat = await files.stat(path);
  const { uid } = processInfo();
  if (!stat.isFile() || stat.size > BACKEND_LIMITS.pkcs11ModuleBytes)
    throw backendError("PKCS11_MODULE_INVALID", { detail: `${path} is not a library` });
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0 || (stat.uid !== 0 && stat.uid !== uid))
    throw backendError("PKCS11_MODULE_INVALID", { detail: `${path} can be changed by another user` });
  const handle = await files.open(path, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(ELF_64.length), 0, ELF_64.length, 0);
    if (processInfo().platform === "linux" && !buffer.subarray(0, bytesRead).equals(ELF_64))
      throw backendError("PKCS11_MODULE_INVALID", { detail: `${path} is not a library for this machine` });
  } finally {
    await handle.close();
  }
  return path;
}

async function open(path: string): Promise<Pkcs11Module> {
  const ffi = await loadForeignFunctions();
  declareTypes(ffi);
  const out: [unknown] = [null];
  try {
    const library = ffi.load(path, { lazy: true });
    kept.push(library);
    const getList = library.func("C_GetFunctionList", "ulong", ["_Out_ void**"]);
    if (Number(getList(out)) !== CKR_OK) out[0] = null;
  } catch {}
  const list = out[0];
  if (list === null) throw backendError("PKCS11_MODULE_INVALID", { detail: `${path} has no C_GetFunctionList` });
  const version = ffi.decode(list, "uint8_t", 2) as Uint8Array;
  if (version[0] !== 2 && version[0] !== 3)
    throw backendError("PKCS11_MODULE_INVALID", { detail: `${path} speaks version ${version.join(".")}` });
  const names = Object.entries(FUNCTIONS);
  const functions = names.map(([name, [index, types]]) => [name, functionAt(ffi, list, index, types)] as const);
  return Pkcs11Module.of(path, new Map(functions.flatMap(([name, found]) => (found ? [[name, found] as const] : []))));
}

function functionAt(
  ffi: ForeignFunctions,
  list: unknown,
  index: number,
  types: readonly string[],
): ForeignFunction | undefined {
  const pointer: unknown = ffi.decode(list, LIST_HEAD_BYTES + index * POINTER_BYTES, "void*");
  return pointer === null ? undefined : (ffi.decode(pointer, ffi.proto("ulong", [...types])) as ForeignFunction);
}

let declared = false;

function declareTypes(ffi: ForeignFunctions): void {
  if (declared) return;
  declared = true;
  const pointers = { create: "void*", destroy: "void*", lock: "void*", unlock: "void*" };
  ffi.struct("CK_INITIALIZE_ARGS", { ...pointers, flags: "ulong", reserved: "void*" });
  ffi.struct("CK_ATTRIBUTE", { type: "ulong", value: "void*", length: "ulong" });
  ffi.struct("CK_MECHANISM", { mechanism: "ulong", parameter: "void*", length: "ulong" });
  ffi.struct("CK_GCM_PARAMS", {
    iv: "void*",
    ivBytes: "ulong",
    ivBits: "ulong",
    aad: "void*",
    aadBytes: "ulong",
    tagBits: "ulong",
  });
  ffi.struct("CK_GCM_MECHANISM", { mechanism: "ulong", parameter: "CK_GCM_PARAMS*", length: "ulong" });
}
