/** The door of keyless signing: what it needs is loaded only when somebody signs that way. */
import type { KeylessModelSigner, KeylessOptions } from "./sign.ts";

/**
 * Made at the start, so that what is missing is said before a model is hashed; the services are asked when the bundle
 * is made. Throws KEYLESS_SETTINGS_INVALID, KEYLESS_TOKEN_MISSING, TRUSTED_ROOT_INVALID.
 */
export async function openKeylessSigner(options: KeylessOptions): Promise<KeylessModelSigner> {
  const { KeylessModelSigner: Signer } = await import("./sign.ts");
  return new Signer(options);
}
