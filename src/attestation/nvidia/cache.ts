/** Keeps what signatures have shown, so that they are not computed again; dates are checked at every use. */
import { type Certificate, type ChainResult, checkChain, type VerifiedPath } from "../../codec/index.ts";
import { NVIDIA_LIMITS } from "./limits.ts";
import type { Rim } from "./rim.ts";

/** The entry that was not used for longest goes first. */
export interface BoundedMap<V> {
  readonly size: number;
  get(key: string): V | undefined;
  set(key: string, value: V): void;
}

export interface NvidiaCache {
  /** Digests of manifests whose bytes nobody changes any more: they are asked for with every device. */
  readonly digests: WeakMap<Uint8Array, string>;
  /** Manifests whose signature is right, by the SHA-256 of their XML. */
  readonly rims: BoundedMap<Rim>;
  /** Paths that end at a pin, by pins and certificates. */
  readonly paths: BoundedMap<VerifiedPath>;
}

export function createNvidiaCache(limits: { readonly rims?: number; readonly paths?: number } = {}): NvidiaCache {
  return {
    digests: new WeakMap(),
    rims: createBoundedMap(limits.rims ?? NVIDIA_LIMITS.cachedRims),
    paths: createBoundedMap(limits.paths ?? NVIDIA_LIMITS.cachedPaths),
  };
}

function createBoundedMap<V>(maxEntries: number): BoundedMap<V> {
  const entries = new Map<string, V>();
  return {
    get size() {
      return entries.size;
    },
    get(key) {
      const value = entries.get(key);
      if (value === undefined) return undefined;
      entries.delete(key);
      entries.set(key, value);
      return value;
    },
    set(key, value) {
      entries.delete(key);
      entries.set(key, value);
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries) return;
        entries.delete(oldest);
      }
    },
  };
}

export interface PathInput {
  /** Leaf first. */
  readonly certificates: readonly [Certificate, ...Certificate[]];
  /** SHA-256 of DER, hex. */
  readonly anchors: readonly string[];
  readonly now: number;
  readonly cache?: NvidiaCache | undefined;
}

export type PathResult =
  | { readonly ok: true; readonly path: VerifiedPath }
  | Extract<ChainResult, { readonly ok: false }>;

/** What every chain of NVIDIA asks of its leaf: it signs documents and no certificates. */
const SIGNER = {
  maxDepth: NVIDIA_LIMITS.chainCertificates,
  leafRules: { keyUsage: ["digitalSignature"], endEntity: true },
} as const;

/** As checkChain; a path that was found before is only asked for its dates. */
export function findPath({ certificates, anchors, now, cache }: PathInput): PathResult {
  const key = [...anchors, "", ...certificates.map(({ sha256 }) => sha256)].join(" ");
  const known = cache?.paths.get(key);
  if (known?.every(({ notBefore, notAfter }) => notBefore <= now && now <= notAfter)) return { ok: true, path: known };
  const [leaf, ...intermediates] = certificates;
  const pins = anchors.map((sha256) => ({ sha256 }));
  const result = checkChain({ leaf, intermediates, anchors: pins, now, ...SIGNER });
  if (result.ok) cache?.paths.set(key, result.path);
  return result;
}
