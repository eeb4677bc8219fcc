/** Makes the branded claims: only verifiers of this folder import it. */
import type { AttestedClaims } from "./attestation.ts";

type Claims = Pick<AttestedClaims, "kind" | "measurement" | "debug" | "reportData"> &
  Partial<Pick<AttestedClaims, "tcbStatus" | "product" | "advisories">>;

export function brandClaims(claims: Claims): AttestedClaims {
  return Object.freeze({ ...claims }) as unknown as AttestedClaims;
}
