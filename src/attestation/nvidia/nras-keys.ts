/** Keys of NVIDIA's attestation service: a key counts while its certificate chains to a pin and lives two days at most. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { z } from "zod";
import { equalBytes, fromBase64, parseJson } from "../../base/index.ts";
import { type Certificate, parseCertificate } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import type { Rules } from "../verdict.ts";
import { findPath } from "./cache.ts";
import { NVIDIA_LIMITS } from "./limits.ts";

export interface NrasKey {
  readonly kid: string;
  readonly key: KeyObject;
  /** Leaf first. */
  readonly certificates: readonly [Certificate, ...Certificate[]];
}

const text = z.string().max(16_384);
const jwks = z.object({
  keys: z
    .array(
      z.object({
        kid: z.string().min(1).max(256),
        kty: z.literal("EC"),
        crv: z.literal("P-384"),
        x: text,
        y: text,
        x5c: z.array(text).min(1).max(NVIDIA_LIMITS.chainCertificates),
      }),
    )
    .min(1)
    .max(NVIDIA_LIMITS.nrasKeys),
});

/** The service's `jwks.json`. Throws EVIDENCE_REFUSED `nvidia.nras.keys` when it is not one or an id comes twice. */
export function parseNrasKeys(data: Uint8Array): readonly NrasKey[] {
  try {
    const limits = { maxBytes: NVIDIA_LIMITS.nrasBytes, maxDepth: 8, what: "keys" };
    const { keys } = jwks.parse(parseJson(data, limits));
    if (new Set(keys.map(({ kid }) => kid)).size !== keys.length) throw new Error("a key id comes twice");
    return keys.map(({ kid, kty, crv, x, y, x5c }) => ({
      kid,
      key: createPublicKey({ key: { kty, crv, x, y }, format: "jwk" }),
      certificates: readChain(x5c),
    }));
  } catch (error) {
    throw evidenceRefused("nvidia.nras.keys", error);
  }
}

function readChain(x5c: readonly string[]): NrasKey["certificates"] {
  const [leaf, ...others] = x5c.map(readCertificate);
  if (!leaf) throw new Error("no certificate");
  return [leaf, ...others];
}

function readCertificate(base64: string): Certificate {
  const der = fromBase64(base64);
  if (!der) throw new Error("a certificate is not base64");
  return parseCertificate(der);
}

/** True when tokens under this key may be believed at `now`. */
export function checkNrasKey(
  rules: Rules,
  { kid, key, certificates }: NrasKey,
  now: number,
  anchors: readonly string[],
): boolean {
  const [leaf] = certificates;
  const same = equalBytes(leaf.spki, new Uint8Array(key.export({ type: "spki", format: "der" })));
  const life = leaf.notAfter - leaf.notBefore;
  const lives = rules.check("nvidia.nras.key-life", same && life <= NVIDIA_LIMITS.nrasKeyLifeMs, {
    passed: "the key is that of its certificate and lives two days",
    failed: same ? "the key lives longer than the service's keys do" : "the key is not that of its certificate",
    have: `${Math.round(life / 3_600_000)} hours`,
    need: "48 hours",
  });
  const chain = findPath({ certificates, anchors, now });
  const trusted = rules.check("nvidia.nras.key", chain.ok, {
    passed: "the key chains to a pinned certificate",
    failed: chain.ok ? "" : `the key's chain fails: ${chain.rule}; fetch the keys again`,
    have: kid,
  });
  return lives && trusted;
}
