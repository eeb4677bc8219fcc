/** The client's key: makes the DPoP proof of one request and the JWT by which it renews. */
import { hash, type webcrypto } from "node:crypto";
import { type Clock, type Random, toBase64Url, utf8 } from "../base/index.ts";
import { tokenError } from "./errors.ts";
import { ASSERTION_TYPE } from "./grant.ts";
import { isObject, type PublicJwk, readPublicJwk, thumbprintOf } from "./jwk.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import { targetOf } from "./proof.ts";

/** A P-256 private key as JWK; the caller keeps it in a file of mode 0600 and nowhere else. */
export interface PrivateJwk extends PublicJwk {
  readonly d: string;
}

export interface ProofRequest {
  readonly method: string;
  readonly url: string;
  readonly accessToken?: string;
}

export interface ProofPorts {
  readonly clock: Clock;
  readonly random: Random;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;
const JTI_BYTES = 16;

/** Holds a key that cannot be exported from this process again. */
export class ProofKey {
  readonly thumbprint: string;
  readonly publicJwk: PublicJwk;
  readonly #key: webcrypto.CryptoKey;
  readonly #proofHeader: string;

  private constructor(key: webcrypto.CryptoKey, publicJwk: PublicJwk) {
    this.#key = key;
    this.publicJwk = publicJwk;
    this.thumbprint = thumbprintOf(publicJwk);
    this.#proofHeader = part({ typ: "dpop+jwt", alg: "ES256", jwk: publicJwk });
  }

  /** A new key, and its private JWK for the one who has to store it. */
  static async generate(): Promise<{ key: ProofKey; privateJwk: PrivateJwk }> {
    const pair = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const { d, x, y } = await crypto.subtle.exportKey("jwk", pair.privateKey);
    const privateJwk = { kty: "EC", crv: "P-256", x: x ?? "", y: y ?? "", d: d ?? "" } as const;
    return { key: await ProofKey.import(privateJwk), privateJwk };
  }

  /** Fails with PROOF_KEY_INVALID. */
  static async import(value: unknown): Promise<ProofKey> {
    const { d, ...rest } = isObject(value) ? value : {};
    const publicJwk = readPublicJwk(rest);
    if (!publicJwk || typeof d !== "string") throw tokenError("PROOF_KEY_INVALID", { detail: "not a P-256 JWK" });
    try {
      const key = await crypto.subtle.importKey("jwk", { ...publicJwk, d }, ALGORITHM, false, ["sign"]);
      return new ProofKey(key, publicJwk);
    } catch {
      throw tokenError("PROOF_KEY_INVALID");
    }
  }

  /** RFC 9449, section 4.2: the value of the DPoP header. */
  async prove(request: ProofRequest, { clock, random }: ProofPorts): Promise<string> {
    const { method, url, accessToken } = request;
    return this.#sign(this.#proofHeader, {
      jti: toBase64Url(random.bytes(JTI_BYTES)),
      htm: method,
      htu: targetOf(url),
      iat: Math.floor(clock.now() / 1000),
      ...(accessToken === undefined ? {} : { ath: hash("sha256", accessToken, "base64url") }),
    });
  }

  /** The JWT that says: the holder of this key asks the server at `audience` for one more token. */
  async assert(audience: string, { clock, random }: ProofPorts): Promise<string> {
    const iat = Math.floor(clock.now() / 1000);
    return this.#sign(part({ typ: ASSERTION_TYPE, alg: "ES256" }), {
      iss: this.thumbprint,
      sub: this.thumbprint,
      aud: audience,
      iat,
      exp: iat + TOKEN_LIMITS.assertionSeconds,
      jti: toBase64Url(random.bytes(JTI_BYTES)),
    });
  }

  async #sign(header: string, payload: Readonly<Record<string, unknown>>): Promise<string> {
    const signed = `${header}.${part(payload)}`;
    const signature = await crypto.subtle.sign(SIGNATURE, this.#key, new Uint8Array(utf8(signed)));
    return `${signed}.${toBase64Url(new Uint8Array(signature))}`;
  }

  toJSON(): string {
    return "[key]";
  }
}

function part(value: unknown): string {
  return toBase64Url(utf8(JSON.stringify(value)));
}
