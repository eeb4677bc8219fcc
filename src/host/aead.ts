/** AES-256-GCM of whole records, encrypted where they lie, by the fastest engine of this machine that answers right. */
import { checkAead } from "./aead-check.ts";
import { cryptoAead } from "./aead-crypto.ts";
import { loadFfiAead } from "./aead-ffi.ts";
import { loadKoffiAead } from "./aead-koffi.ts";
import { hostError } from "./errors.ts";

export const AEAD_NONCE_BYTES = 12;
export const AEAD_TAG_BYTES = 16;

/** One key, for one thread. The nonce has 12 bytes and the tag 16. Fails with ENGINE_FAILED where the library does. */
export interface AeadKey {
  /** Encrypts the bytes where they lie and puts the tag into `tag`. */
  seal(nonce: Uint8Array, aad: Uint8Array, bytes: Uint8Array, tag: Uint8Array): void;
  /** Decrypts the bytes where they lie; with a wrong tag they are zeroed, and the answer is false. */
  open(nonce: Uint8Array, aad: Uint8Array, bytes: Uint8Array, tag: Uint8Array): boolean;
  /** Takes what was made of the key out of the engine's memory; may be called twice. */
  wipe(): void;
}

export type AeadName = "ffi" | "koffi" | "crypto";

export interface AeadEngine {
  readonly name: AeadName;
  /** Who computes, for people. */
  readonly about: string;
  /** 32 bytes, which must stay until `wipe`. */
  key(bytes: Uint8Array): AeadKey;
}

/** Resolves to undefined where this machine has no such engine. */
export type AeadLoader = () => Promise<AeadEngine | undefined>;

export interface AeadChoice {
  readonly engine: AeadEngine;
  /** Engines that are here and gave a wrong answer. */
  readonly wrong: readonly AeadName[];
}

/** The fastest first. */
const LOADERS: Readonly<Record<AeadName, AeadLoader>> = {
  ffi: loadFfiAead,
  koffi: loadKoffiAead,
  crypto: async () => cryptoAead,
};
export const AEAD_NAMES: readonly AeadName[] = ["ffi", "koffi", "crypto"];

let chosen: Promise<AeadChoice> | undefined;

/**
 * Once per thread. The environment's MODELKEEP_ENGINE names one of `ffi`, `koffi` and `crypto`, which is taken or
 * none: throws ENGINE_MISSING then.
 */
export function chooseAead(): Promise<AeadChoice> {
  chosen ??= chooseAmong(LOADERS, process.env.MODELKEEP_ENGINE).then((choice) => {
    for (const name of choice.wrong) process.emitWarning(`the engine ${name} computes AES-256-GCM wrongly: left out`);
    return choice;
  });
  return chosen;
}

/** An engine that answers wrong is never taken, not even when it was asked for. */
export async function chooseAmong(
  loaders: Readonly<Record<AeadName, AeadLoader>>,
  wanted?: string,
): Promise<AeadChoice> {
  const wrong: AeadName[] = [];
  for (const name of AEAD_NAMES.filter((one) => wanted === undefined || wanted === "" || one === wanted)) {
    const engine = await loaders[name]();
    if (engine && checkAead(engine)) return { engine, wrong };
    if (engine) wrong.push(name);
  }
  throw hostError("ENGINE_MISSING", {
    detail:
      wrong.length > 0 ? `${wrong.join(", ")} computes wrongly` : `there is no ${String(wanted).slice(0, 40)} here`,
  });
}

/** Undefined where it is not there. */
export function loadAead(name: AeadName): Promise<AeadEngine | undefined> {
  return LOADERS[name]();
}
