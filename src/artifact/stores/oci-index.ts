/** Which blobs a tag of a registry names now, and how it comes to name others. */
import { digestOf, OCI_INDEX, OCI_MANIFEST, type Registry, storeError } from "../../backends/index.ts";
import { baseError } from "../../base/index.ts";
import { ARTIFACT_LIMITS } from "../limits.ts";
import * as manifests from "./oci-manifest.ts";
import { isSeal, referrerType } from "./oci-names.ts";

export interface OciIndex {
  /** The model's manifest as it is in the registry; undefined while there is none. */
  readonly manifest: Uint8Array | undefined;
  readonly layers: ReadonlyMap<string, manifests.OciBlob>;
  readonly referrers: ReadonlyMap<string, manifests.Referrer>;
}

/** What a name is to become; null for nothing. */
export type Changes = ReadonlyMap<string, manifests.OciBlob | null>;

export async function loadIndex(registry: Registry): Promise<OciIndex> {
  const { place } = registry;
  const found = await registry.manifest(place.reference, `${OCI_MANIFEST}, ${OCI_INDEX}`);
  if (!found) return { manifest: undefined, layers: new Map(), referrers: new Map() };
  if (found.mediaType !== OCI_MANIFEST)
    throw storeError("STORE_ANSWER_INVALID", { detail: `${place.uri} is ${found.mediaType.slice(0, 80)}` });
  const layers = manifests.readModelManifest(found.bytes, place.uri);
  return { manifest: found.bytes, layers, referrers: await loadReferrers(registry, found.digest) };
}

/** Of two under one name the one with the larger serial counts: a registry may not let the older one be deleted. */
async function loadReferrers(registry: Registry, subject: string): Promise<Map<string, manifests.Referrer>> {
  const { uri } = registry.place;
  const pages = (await registry.referrers(subject)) ?? (await fallbackIndex(registry, subject));
  const listed = pages.flatMap((page) => manifests.readReferrerIndex(page, uri));
  if (listed.length > ARTIFACT_LIMITS.ociReferrers)
    throw baseError("LIMIT_EXCEEDED", { detail: `${uri}, over ${ARTIFACT_LIMITS.ociReferrers} referrers` });
  const found = new Map<string, manifests.Referrer>();
  for (const digest of new Set(listed)) {
    const answer = await registry.manifest(digest, OCI_MANIFEST);
    if (answer?.mediaType !== OCI_MANIFEST) continue;
    const referrer = manifests.readReferrer(answer.bytes, subject, uri);
    if (referrer && referrer.serial >= (found.get(referrer.name)?.serial ?? 0)) found.set(referrer.name, referrer);
  }
  return found;
}

async function fallbackIndex(registry: Registry, subject: string): Promise<Uint8Array[]> {
  const found = await registry.manifest(manifests.fallbackTag(subject), OCI_INDEX);
  return found ? [found.bytes] : [];
}

/**
 * Until there is a seal everything is a layer: what refers to a manifest would have to be written again with each blob.
 * The tag is set last, so that readers see the old names or all of the new ones. A change of what refers to the model
 * leaves its manifest as it is. Returns what is there then.
 */
export async function changeIndex(registry: Registry, before: OciIndex, changes: Changes): Promise<OciIndex> {
  const all = new Map<string, manifests.OciBlob>([...before.layers, ...before.referrers]);
  for (const [name, blob] of changes) {
    if (blob === null) all.delete(name);
    else all.set(name, blob);
  }
  const isSealed = [...all.keys()].some(isSeal);
  const [layers, beside] = [new Map<string, manifests.OciBlob>(), new Map<string, manifests.OciBlob>()];
  for (const [name, blob] of all) (isSealed && referrerType(name) !== undefined ? beside : layers).set(name, blob);
  const manifest = manifests.modelManifest(layers);
  if (manifest.length > ARTIFACT_LIMITS.ociManifestBytes || layers.size > ARTIFACT_LIMITS.ociLayers)
    throw baseError("LIMIT_EXCEEDED", { detail: `${layers.size} blobs are too many for one OCI manifest` });
  const isSame = before.manifest !== undefined && digestOf(before.manifest) === digestOf(manifest);
  await registry.putBlob(manifests.EMPTY_JSON);
  if (!isSame) await registry.putManifest(digestOf(manifest), manifest, OCI_MANIFEST);
  const referrers = await putReferrers(registry, { manifest, before: before.referrers, beside, changes, isSame });
  if (!isSame) await registry.putManifest(registry.place.reference, manifest, OCI_MANIFEST);
  return { manifest, layers, referrers };
}

interface Referring {
  readonly manifest: Uint8Array;
  readonly before: ReadonlyMap<string, manifests.Referrer>;
  readonly beside: ReadonlyMap<string, manifests.OciBlob>;
  readonly changes: Changes;
  readonly isSame: boolean;
}

async function putReferrers(registry: Registry, { manifest, before, beside, changes, isSame }: Referring) {
  const referrers = new Map<string, manifests.Referrer>();
  let listed = true;
  for (const [name, blob] of beside) {
    const old = before.get(name);
    if (isSame && old && !changes.has(name)) {
      referrers.set(name, old);
      continue;
    }
    const serial = (old?.serial ?? 0) + (changes.has(name) ? 1 : 0);
    if (serial > manifests.MAX_SERIAL)
      throw storeError("STORE_REFUSED", {
        detail: `${registry.place.uri}, ${name} has a serial that cannot grow`,
        hint: `delete it with the registry's own tool: ${old?.manifest}`,
      });
    const bytes = manifests.referrerManifest(name, blob, serial, manifest);
    listed = (await registry.putManifest(digestOf(bytes), bytes, OCI_MANIFEST)) && listed;
    referrers.set(name, { ...blob, manifest: digestOf(bytes), manifestBytes: bytes.length, serial });
  }
  const isTouched = [...changes.keys()].some((name) => referrerType(name) !== undefined);
  const needsTag = isTouched || (!isSame && referrers.size > 0);
  if (needsTag && !(listed && referrers.size > 0) && (await registry.referrers(digestOf(manifest))) === undefined) {
    const tag = manifests.fallbackTag(digestOf(manifest));
    await registry.putManifest(tag, manifests.referrerIndex(referrers), OCI_INDEX);
  }
  if (isSame) await removeOld(registry, before, referrers);
  return referrers;
}

/** Who is not the newest is taken away where the registry allows it; nothing depends on that here. */
async function removeOld(
  registry: Registry,
  before: ReadonlyMap<string, manifests.Referrer>,
  after: ReadonlyMap<string, manifests.Referrer>,
): Promise<void> {
  for (const [name, { manifest }] of before) {
    if (after.get(name)?.manifest === manifest) continue;
    await registry.remove("manifests", manifest);
  }
}
