/** Checks DPoP proofs (RFC 9449, section 4.3): ES256 only, one request, one token, one key, once. */
import type { KeyObject } from "node:crypto";
import type { Clock } from "../base/index.ts";
import { type Compact, readCompact, readJsonPart, verifyCompact } from "./compact.ts";
import { importPublicKey, readPublicJwk, thumbprintOf } from "./jwk.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import { ReplayWindow } from "./replay.ts";

export interface ProofExpectation {
  readonly method: string;
  /** Absolute URL as the client addressed it; query and fragment do not count. */
  readonly url: string;
  /** SHA-256 of the access token, base64url; without it the proof comes with no token. */
  readonly ath?: string;
}

export interface ProofKeyInfo {
  readonly thumbprint: string;
  readonly key: KeyObject;
}

/** A proof of the right shape for this request; its signature is not checked yet. */
export interface ReadProof {
  readonly compact: Compact;
  readonly thumbprint: string;
  readonly jti: string;
  readonly iat: number;
}

export class ProofVerifier {
  readonly #clock: Clock;
  readonly #replay: ReplayWindow;
  /** By the proof's first part as it came: a client sends the same one with every proof. */
  readonly #keys = new Map<string, ProofKeyInfo>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#replay = new ReplayWindow(clock);
  }

  /** The cheap half: everything but replay and signature. */
  read(text: string | undefined, expected: ProofExpectation): ReadProof | undefined {
    const compact = text === undefined ? undefined : readCompact(text);
    if (!compact) return undefined;
    const { jti, htm, htu, iat, ath } = compact.payload;
    if (typeof jti !== "string" || !isJti(jti) || htm !== expected.method) return undefined;
    if (typeof htu !== "string" || !sameTarget(htu, expected.url)) return undefined;
    if (!isInstant(iat) || !this.#isNow(iat)) return undefined;
    if (expected.ath !== undefined && ath !== expected.ath) return undefined;
    const thumbprint = this.#keys.get(compact.header)?.thumbprint ?? readProofHeader(compact.header)?.thumbprint;
    return thumbprint === undefined ? undefined : { compact, thumbprint, jti, iat };
  }

  /**
   * The costly half for the holder of a live token: the signature, and that the proof was not used before. Undefined
   * when it does not count.
   */
  accept(proof: ReadProof): ProofKeyInfo | undefined {
    if (!this.#replay.fresh(proof.thumbprint, proof.jti, proof.iat)) return undefined;
    const info = this.verify(proof);
    if (!info) return undefined;
    this.#replay.add(proof.thumbprint, proof.jti, proof.iat);
    this.remember(proof, info);
    return info;
  }

  /**
   * The signature alone, and nothing is remembered: at the token endpoint anybody can sign with a key of his own, and
   * could fill the memory. There the code and the renewal's JWT count once, so a proof seen again gains nothing.
   */
  verify(proof: ReadProof): ProofKeyInfo | undefined {
    const info = this.#keys.get(proof.compact.header) ?? readKey(proof.compact.header);
    return info && verifyCompact(proof.compact, info.key) ? info : undefined;
  }

  #isNow(iat: number): boolean {
    const now = this.#clock.now() / 1000;
    return iat >= now - TOKEN_LIMITS.proofPastSeconds && iat <= now + TOKEN_LIMITS.proofFutureSeconds;
  }

  /** Keeps the key ready; only for keys that are known to be enrolled. */
  remember({ compact: { header } }: ReadProof, info: ProofKeyInfo): void {
    if (this.#keys.has(header)) return;
    const oldest = this.#keys.size >= TOKEN_LIMITS.cachedKeys ? this.#keys.keys().next() : undefined;
    if (oldest && !oldest.done) this.#keys.delete(oldest.value);
    this.#keys.set(header, info);
  }
}

/** Exactly `typ`, `alg` and `jwk`: nothing that could name another key (`kid`, `jku`, `x5c`) or change the reading. */
function readProofHeader(part: string) {
  const header = readJsonPart(part);
  if (!header || Object.keys(header).length !== 3) return undefined;
  if (header.typ !== "dpop+jwt" || header.alg !== "ES256") return undefined;
  const jwk = readPublicJwk(header.jwk);
  return jwk && { jwk, thumbprint: thumbprintOf(jwk) };
}

function readKey(part: string): ProofKeyInfo | undefined {
  const header = readProofHeader(part);
  const key = header && importPublicKey(header.jwk);
  return key && { thumbprint: header.thumbprint, key };
}

export function isJti(jti: string): boolean {
  return (
    jti.length >= TOKEN_LIMITS.minJtiCharacters &&
    jti.length <= TOKEN_LIMITS.maxJtiCharacters &&
    /^[\x21-\x7e]+$/.test(jti)
  );
}

/** Seconds since the epoch. */
export function isInstant(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0;
}

/** RFC 9449, section 4.3, item 9: the same after normalisation, without query and fragment. */
function sameTarget(htu: string, url: string): boolean {
  const wanted = targetOf(url);
  return wanted !== undefined && (htu === wanted || targetOf(htu) === wanted);
}

/** Undefined for what is not http(s) or carries a user name. */
export function targetOf(text: string): string | undefined {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") return undefined;
  return url.origin + url.pathname;
}
