/** A certificate for a fresh key (Fulcio's API, version 2): asked for with the token, and looked at before it is used. */
import type { KeyObject } from "node:crypto";
import { z } from "zod";
import { concatBytes, ModelkeepError, toBase64, utf8, wipe } from "../../base/index.ts";
import { type Certificate, checkChain, parseCertificate, toPem } from "../../codec/index.ts";
import { keyIdOf, pemOf } from "../keys.ts";
import { SIGNING_LIMITS } from "../limits.ts";
import { proofOf } from "../methods/fulcio.ts";
import type { TrustedRoot } from "../methods/trusted-root.ts";
import { readCertificates, type TrustedIdentity } from "../trust.ts";
import { parseAnswer } from "./answer.ts";
import { encodeSigningRequest } from "./der-write.ts";
import { keylessError } from "./errors.ts";
import { askService, type KeylessPorts, limitsOf, whereOf } from "./http.ts";
import { KEYLESS_LIMITS } from "./limits.ts";
import type { IdentityToken, TokenClaims } from "./token.ts";

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface CertificateRules {
  readonly trustedRoot: TrustedRoot;
  /** Whom the certificate must name, exactly; what the token lets expect where absent. */
  readonly identity?: string | undefined;
  readonly issuer?: string | undefined;
}

export interface SigningCertificate extends TrustedIdentity {
  readonly der: Uint8Array;
}

const chain = z.object({
  certificates: z
    .array(z.string().max(SIGNING_LIMITS.certificateBytes * 2))
    .min(1)
    .max(KEYLESS_LIMITS.certificates),
});
/** A stamp of the certificate log that stands beside the certificate has no place in a bundle: that form is not read. */
const answer = z.object({ signedCertificateEmbeddedSct: z.object({ chain }) });

/** Throws KEYLESS_TOKEN_REFUSED, KEYLESS_CERTIFICATE_WRONG and what `askService` does. */
export async function requestCertificate(
  ports: KeylessPorts,
  authorityUrl: string,
  token: IdentityToken,
  keys: KeyPair,
  rules: CertificateRules,
): Promise<SigningCertificate> {
  const body = requestBody(token, keys);
  const request = {
    service: "certificate authority",
    url: `${authorityUrl}/api/v2/signingCert`,
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body,
    milliseconds: limitsOf(ports).certificateMilliseconds,
    repeat: "harmless",
  } as const;
  const reply = await askService(ports, request).finally(() => wipe(body));
  const where = whereOf(request);
  if ([400, 401, 403].includes(reply.status))
    throw keylessError("KEYLESS_TOKEN_REFUSED", { detail: `${where}: status ${reply.status}` });
  if (reply.status < 200 || reply.status >= 300)
    throw keylessError("KEYLESS_SERVICE_REFUSED", { detail: `${where}: status ${reply.status}` });
  const [pem = ""] = parseAnswer(reply.body, answer, where).signedCertificateEmbeddedSct.chain.certificates;
  const leaf = readLeaf(pem, where);
  return { der: leaf.raw, ...judge(leaf, keys, token.claims, rules, ports) };
}

/** Bytes, so that the token is no string on this side. */
function requestBody({ secret }: IdentityToken, { publicKey, privateKey }: KeyPair): Uint8Array {
  const pem = utf8(toPem("CERTIFICATE REQUEST", encodeSigningRequest(publicKey, privateKey)));
  const before = utf8(`{"certificateSigningRequest":"${toBase64(pem)}","credentials":{"oidcIdentityToken":"`);
  return secret.use((bytes) => concatBytes(before, bytes, utf8('"}}')));
}

function readLeaf(pem: string, where: string): Certificate {
  try {
    const [leaf, ...more] = readCertificates(pem);
    if (leaf && more.length === 0) return leaf;
  } catch {
    // The same as a list that does not begin with one certificate.
  }
  throw keylessError("KEYLESS_ANSWER_INVALID", { detail: `${where}: its first certificate` });
}

const wrong = (detail: string) => keylessError("KEYLESS_CERTIFICATE_WRONG", { detail });

/** Before anything is signed or logged with it: a log entry cannot be taken back. */
function judge(
  leaf: Certificate,
  keys: KeyPair,
  claims: TokenClaims,
  { trustedRoot, identity, issuer }: CertificateRules,
  ports: KeylessPorts,
): TrustedIdentity {
  const proof = readProof(leaf);
  if (proof.key.keyId !== keyIdOf(pemOf(keys.publicKey))) throw wrong("it is of another key");
  const shown = `${JSON.stringify(proof.identity.slice(0, 200))} by ${JSON.stringify(proof.issuer.slice(0, 200))}`;
  const identities = identity === undefined ? claims.identities : [identity];
  const issuers = issuer === undefined ? claims.issuers : [issuer];
  if (!identities.includes(proof.identity)) throw wrong(`it is for ${shown}`);
  if (!issuers.includes(proof.issuer)) throw wrong(`it is for ${shown}`);
  const { clockSkewMilliseconds: skew } = limitsOf(ports);
  const nowMs = ports.clock.now();
  if (nowMs < leaf.notBefore - skew || nowMs > leaf.notAfter + skew) throw wrong("it is not valid now");
  const atMs = Math.min(Math.max(nowMs, leaf.notBefore), leaf.notAfter);
  if (!trustedRoot.certificateAuthorities.some((authority) => isOf(leaf, authority, atMs)))
    throw wrong("no authority of the trusted root answers for it");
  return { identity: proof.identity, issuer: proof.issuer };
}

function readProof(leaf: Certificate) {
  try {
    return proofOf(leaf);
  } catch (error) {
    throw wrong(error instanceof ModelkeepError ? error.message : "what it says");
  }
}

type Authority = TrustedRoot["certificateAuthorities"][number];

function isOf(leaf: Certificate, { certChain, validFor }: Authority, atMs: number): boolean {
  const { start, end } = validFor ?? {};
  if ((start && atMs < start.getTime()) || (end && atMs > end.getTime())) return false;
  const parsed = (certChain?.certificates ?? []).map(({ rawBytes }) => parseCertificate(new Uint8Array(rawBytes)));
  const anchor = parsed.at(-1);
  if (!anchor) return false;
  const maxDepth = SIGNING_LIMITS.chainCertificates + 1;
  const input = { leaf, intermediates: parsed.slice(0, -1), anchors: [{ certificate: anchor }], now: atMs, maxDepth };
  return checkChain(input).ok;
}
