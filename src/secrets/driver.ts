/** Where the value of a secret lives: the store of the server now, Vault and the clouds' managers later. */
import type { GuardedBytes } from "../host/index.ts";

export interface SecretDriver {
  /** For example `embedded`; kept with each version, so that one secret can move from driver to driver. */
  readonly kind: string;
  /** Keeps a value and returns the reference under which it can be read. The caller wipes `value`. */
  write(value: GuardedBytes): Promise<string>;
  /** Into guarded memory, every buffer on the way wiped. Fails with SECRET_NOT_FOUND. The caller wipes the result. */
  read(reference: string): Promise<GuardedBytes>;
  delete(reference: string): Promise<void>;
}
