/** AES-256-GCM by the EVP functions that the Node binary itself exports, called without a copy of a record. */
import type { AeadEngine, AeadKey, AeadName } from "./aead.ts";
import { hostError } from "./errors.ts";

type Pointer = unknown;
type Bytes = Uint8Array | Int32Array | null;

/** As in openssl/evp.h; 1 is success. Undefined bytes are a null pointer. */
export interface EvpFunctions {
  EVP_aes_256_gcm(): Pointer;
  EVP_CIPHER_CTX_new(): Pointer;
  /** Overwrites key schedule and hash key before it frees them. */
  EVP_CIPHER_CTX_free(context: Pointer): void;
  EVP_CipherInit_ex(context: Pointer, cipher: Pointer, engine: null, key: Bytes, iv: Bytes, encrypt: number): number;
  EVP_CipherUpdate(context: Pointer, out: Bytes, written: Bytes, bytes: Bytes, length: number): number;
  EVP_CipherFinal_ex(context: Pointer, out: Bytes, written: Bytes): number;
  EVP_CIPHER_CTX_ctrl(context: Pointer, type: number, length: number, bytes: Bytes): number;
}

const GET_TAG = 0x10;
const SET_TAG = 0x11;
const TAG_BYTES = 16;

export function evpAead(name: AeadName, about: string, evp: EvpFunctions): AeadEngine {
  return { name, about, key: (bytes) => new EvpKey(evp, bytes) };
}

/** A context for each direction, made when it is first needed and used for every record. */
class EvpKey implements AeadKey {
  readonly #evp: EvpFunctions;
  readonly #key: Uint8Array;
  readonly #written = new Int32Array(1);
  readonly #rest = new Uint8Array(TAG_BYTES);
  readonly #contexts: [Pointer, Pointer] = [undefined, undefined];

  constructor(evp: EvpFunctions, key: Uint8Array) {
    this.#evp = evp;
    this.#key = key;
  }

  seal(nonce: Uint8Array, aad: Uint8Array, bytes: Uint8Array, tag: Uint8Array): void {
    const context = this.#start(1, nonce, aad);
    this.#update(context, bytes);
    require(this.#evp.EVP_CipherFinal_ex(context, this.#rest, this.#written) === 1);
    require(this.#evp.EVP_CIPHER_CTX_ctrl(context, GET_TAG, TAG_BYTES, tag) === 1);
  }

  open(nonce: Uint8Array, aad: Uint8Array, bytes: Uint8Array, tag: Uint8Array): boolean {
    const context = this.#start(0, nonce, aad);
    this.#update(context, bytes);
    require(this.#evp.EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG_BYTES, tag) === 1);
    if (this.#evp.EVP_CipherFinal_ex(context, this.#rest, this.#written) === 1) return true;
    bytes.fill(0);
    return false;
  }

  wipe(): void {
    for (const direction of [0, 1] as const) {
      const context = this.#contexts[direction];
      this.#contexts[direction] = undefined;
      if (context) this.#evp.EVP_CIPHER_CTX_free(context);
    }
  }

  #start(direction: 0 | 1, nonce: Uint8Array, aad: Uint8Array): Pointer {
    const evp = this.#evp;
    let context = this.#contexts[direction];
    if (!context) {
      context = evp.EVP_CIPHER_CTX_new();
      require(Boolean(context));
      this.#contexts[direction] = context;
      require(evp.EVP_CipherInit_ex(context, evp.EVP_aes_256_gcm(), null, this.#key, null, direction) === 1);
    }
    require(evp.EVP_CipherInit_ex(context, null, null, null, nonce, direction) === 1);
    require(evp.EVP_CipherUpdate(context, null, this.#written, aad, aad.length) === 1);
    return context;
  }

  /** Of nothing there is no address. */
  #update(context: Pointer, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    require(this.#evp.EVP_CipherUpdate(context, bytes, this.#written, bytes, bytes.length) === 1);
    require(this.#written[0] === bytes.length);
  }
}

function require(holds: boolean): asserts holds {
  if (!holds) throw hostError("ENGINE_FAILED");
}
