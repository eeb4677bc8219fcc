/** Makes the branded claims: only verifiers of this folder import it. */
import type { AttestedClaims } from "./attestation.ts";

export function brandClaims(claims: {
  readonly kind: string;
  readonly measurement: string;
  readonly debug: boolean;
  readonly reportData: Uint8Array;
}): AttestedClaims {
  return Object.freeze({ ...claims }) as unknown as AttestedClaims;
}
