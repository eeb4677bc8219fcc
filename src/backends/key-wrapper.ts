/** A key of the customer's KMS that wraps and unwraps short secrets; the key itself never comes out. */

/** Bound to the wrapped bytes as associated data: a wrap for one context does not open under another. */
export type WrapContext = Readonly<Record<string, string>>;

export interface WrappedKey {
  /** The KMS URI without credentials, for example `file:///etc/modelkeep/models.kek`. */
  readonly kms: string;
  readonly keyId: string;
  readonly keyVersion: string;
  readonly ciphertext: Uint8Array;
}

export interface KeyWrapper {
  readonly uri: string;
  /** Whether this key made the wrap, by its id and version: an address is not enough, since a key file can move. */
  recognises(wrapped: WrappedKey): boolean;
  /** The caller keeps `key` and wipes it. At most 1,024 bytes. */
  wrap(key: Uint8Array, context: WrapContext): Promise<WrappedKey>;
  /** Fails with UNWRAP_FAILED for a wrong context, key or damaged ciphertext. The caller wipes the result. */
  unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Uint8Array>;
  /**
   * The same secret wrapped for another key of the same service, which does it without showing the secret. Undefined
   * where the service cannot do that with this pair, or does not allow it: then the secret is wrapped.
   */
  moveTo?(wrapped: WrappedKey, context: WrapContext, to: KeyWrapper): Promise<WrappedKey | undefined>;
}
