/** Makes the branded claims: only verifiers of this folder import it. */
import type { AttestedClaims, AttestedDevices } from "./attestation.ts";

type Claims = Pick<AttestedClaims, "kind" | "measurement" | "debug" | "reportData"> &
  Partial<Pick<AttestedClaims, "tcbStatus" | "product" | "advisories">>;

/** The same machine with its devices, which were judged together with it. */
export function withDevices(claims: AttestedClaims, devices: AttestedDevices): AttestedClaims {
  return Object.freeze({ ...claims, debug: claims.debug || devices.debug, devices: Object.freeze(devices) });
}

export function brandClaims(claims: Claims): AttestedClaims {
  return Object.freeze({ ...claims }) as unknown as AttestedClaims;
}
