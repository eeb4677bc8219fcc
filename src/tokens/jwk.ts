/** Public keys as JWK: exactly a P-256 point, and its thumbprint (RFC 7638). */
import { createPublicKey, hash, type KeyObject } from "node:crypto";
import { fromBase64Url } from "../base/index.ts";

export interface PublicJwk {
  readonly kty: "EC";
  readonly crv: "P-256";
  readonly x: string;
  readonly y: string;
}

const COORDINATE_BYTES = 32;

/** Undefined for any other type or curve, a further member (such as `d` or `kid`), or a coordinate of another length. */
export function readPublicJwk(value: unknown): PublicJwk | undefined {
  if (!isObject(value) || Object.keys(value).length !== 4) return undefined;
  const { kty, crv, x, y } = value;
  if (kty !== "EC" || crv !== "P-256" || !isCoordinate(x) || !isCoordinate(y)) return undefined;
  return { kty, crv, x, y };
}

/** RFC 7638, section 3: SHA-256 over the required members in lexical order, base64url. */
export function thumbprintOf(jwk: PublicJwk): string {
  return hash("sha256", `{"crv":"${jwk.crv}","kty":"${jwk.kty}","x":"${jwk.x}","y":"${jwk.y}"}`, "base64url");
}

/** Undefined when the point is not on the curve. */
export function importPublicKey(jwk: PublicJwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: { ...jwk }, format: "jwk" });
  } catch {
    return undefined;
  }
}

function isCoordinate(value: unknown): value is string {
  return typeof value === "string" && fromBase64Url(value)?.length === COORDINATE_BYTES;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
