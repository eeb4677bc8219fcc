/** What blobs are to a registry: layers of the model's manifest, or manifests of their own that refer to it. */

export const ARTIFACT_TYPE = "application/vnd.modelkeep.sealed-model.v1";

/** What may change or come later, or is looked for by its type: the last part of a name decides. */
const REFERRERS: readonly (readonly [RegExp, string])[] = [
  [/(?:^|\/)envelope\.json$/, "application/vnd.modelkeep.key-envelope.v1+json"],
  [/(?:^|\/)model\.sig$/, "application/vnd.dev.sigstore.bundle.v0.3+json"],
  [/(?:^|\/)model\.sig\.d\/[^/]+$/, "application/vnd.modelkeep.beside-signature.v1"],
  [/(?:^|\/)(?:bom|findings)\.json$/, "application/vnd.dsse.envelope.v1+json"],
];

const LAYERS: readonly (readonly [RegExp, string])[] = [
  [/\.floe$/, "application/vnd.modelkeep.sealed-model.file.v1+sealed"],
  [/\.leaves$/, "application/vnd.modelkeep.sealed-model.leaves.v1"],
  [/(?:^|\/)seal\.json$/, "application/vnd.modelkeep.sealed-model.seal.v1+json"],
];

/** The artifact type of what refers to the model; undefined for a layer. */
export function referrerType(name: string): string | undefined {
  return REFERRERS.find(([pattern]) => pattern.test(name))?.[1];
}

export function layerType(name: string): string {
  return LAYERS.find(([pattern]) => pattern.test(name))?.[1] ?? "application/vnd.modelkeep.sealed-model.part.v1";
}

/** Written last: with it a model is finished. */
export function isSeal(name: string): boolean {
  return /(?:^|\/)seal\.json$/.test(name);
}
