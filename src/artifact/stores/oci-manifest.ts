/** The manifests of a model in a registry, written and read (OCI image specification 1.1). */
import { z } from "zod";
import { digestOf, OCI_INDEX, OCI_MANIFEST, storeError } from "../../backends/index.ts";
import { parseJson, utf8 } from "../../base/index.ts";
import { ARTIFACT_LIMITS } from "../limits.ts";
import { compareCodePoints } from "../walk.ts";
import { isBlobName } from "./blob-name.ts";
import { ARTIFACT_TYPE, layerType, referrerType } from "./oci-names.ts";

/** One blob under its name. */
export interface OciBlob {
  readonly digest: string;
  readonly bytes: number;
  /** The model's file that it is about. */
  readonly modelPath?: string;
}

export interface Referrer extends OciBlob {
  /** Of the manifest that refers. */
  readonly manifest: string;
  readonly manifestBytes: number;
  /** Grows when the name is written again: of two the larger counts. */
  readonly serial: number;
}

const TITLE = "org.opencontainers.image.title";
const FILE_PATH = "org.cncf.model.filepath";
const SERIAL = "vnd.modelkeep.serial";
/** Of nine digits. */
export const MAX_SERIAL = 999_999_999;

export const EMPTY_JSON = utf8("{}");
const EMPTY = { mediaType: "application/vnd.oci.empty.v1+json", digest: digestOf(EMPTY_JSON), size: EMPTY_JSON.length };

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const annotations = z.record(z.string(), z.string()).optional();
const descriptor = z.object({ digest, size: z.int().nonnegative(), annotations });
const manifest = z.object({
  schemaVersion: z.literal(2),
  artifactType: z.string().optional(),
  layers: z.array(descriptor).max(ARTIFACT_LIMITS.ociLayers),
  subject: descriptor.optional(),
  annotations,
});
const referrer = manifest.extend({ layers: z.array(descriptor).max(ARTIFACT_LIMITS.ociLayers).default([]) });
const index = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(descriptor).max(ARTIFACT_LIMITS.ociReferrers),
});

/** The model's manifest: a layer for each name, in the order of the names. */
export function modelManifest(layers: ReadonlyMap<string, OciBlob>): Uint8Array {
  const names = [...layers.keys()].sort(compareCodePoints);
  const list = names.flatMap((name) => {
    const blob = layers.get(name);
    return blob ? [layerOf(name, blob, layerType(name))] : [];
  });
  return manifestBytes({ artifactType: ARTIFACT_TYPE, config: EMPTY, layers: list.length > 0 ? list : [EMPTY] });
}

/** The manifest of one blob that refers to the model's. */
export function referrerManifest(name: string, blob: OciBlob, serial: number, subject: Uint8Array): Uint8Array {
  const type = referrerType(name) ?? "";
  return manifestBytes({
    artifactType: type,
    config: EMPTY,
    layers: [layerOf(name, blob, type)],
    subject: { mediaType: OCI_MANIFEST, digest: digestOf(subject), size: subject.length },
    annotations: { [TITLE]: name, [SERIAL]: String(serial) },
  });
}

/** The index under the tag that stands in for a list of referrers. */
export function referrerIndex(referrers: ReadonlyMap<string, Referrer>): Uint8Array {
  const manifests = [...referrers].map(([name, { manifest: of, manifestBytes: size, serial }]) => ({
    mediaType: OCI_MANIFEST,
    digest: of,
    size,
    artifactType: referrerType(name),
    annotations: { [TITLE]: name, [SERIAL]: String(serial) },
  }));
  return utf8(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
}

/** `sha256-HEX`. */
export function fallbackTag(subject: string): string {
  return subject.replace(":", "-");
}

export function readModelManifest(bytes: Uint8Array, where: string): Map<string, OciBlob> {
  const parsed = read(manifest, bytes, where);
  if (parsed.artifactType !== ARTIFACT_TYPE)
    throw storeError("STORE_ANSWER_INVALID", {
      detail: `${where} is no sealed model but ${parsed.artifactType?.slice(0, 80) ?? "an image"}`,
      hint: "it is left as it is: name another tag",
    });
  const layers = new Map<string, OciBlob>();
  for (const layer of parsed.layers) {
    const name = layer.annotations?.[TITLE];
    if (name === undefined && layer.digest === EMPTY.digest) continue;
    if (name === undefined || !isBlobName(name) || layers.has(name))
      throw storeError("STORE_ANSWER_INVALID", { detail: `${where}, a layer without a name of its own` });
    const modelPath = layer.annotations?.[FILE_PATH];
    layers.set(name, { digest: layer.digest, bytes: layer.size, ...(modelPath === undefined ? {} : { modelPath }) });
  }
  return layers;
}

/** The manifests that an index lists and that may be ours: some registries leave out what they are annotated with. */
export function readReferrerIndex(bytes: Uint8Array, where: string): string[] {
  const mayBeOurs = (name: string | undefined) => name === undefined || referrerType(name) !== undefined;
  const { manifests } = read(index, bytes, where);
  return manifests.filter(({ annotations: notes }) => mayBeOurs(notes?.[TITLE])).map(({ digest: of }) => of);
}

/** The one blob of a referrer and its name; undefined when it is about another manifest, or not of our kind. */
export function readReferrer(
  bytes: Uint8Array,
  subject: string,
  where: string,
): (Referrer & { name: string }) | undefined {
  const parsed = read(referrer, bytes, where);
  const [layer] = parsed.layers;
  const name = parsed.annotations?.[TITLE];
  if (!layer || parsed.layers.length !== 1 || parsed.subject?.digest !== subject) return undefined;
  if (name === undefined || !isBlobName(name) || referrerType(name) !== parsed.artifactType) return undefined;
  const serial = serialOf(parsed.annotations?.[SERIAL]);
  const [manifest, manifestBytes] = [digestOf(bytes), bytes.length];
  return { name, digest: layer.digest, bytes: layer.size, manifest, manifestBytes, serial };
}

function serialOf(text: string | undefined): number {
  return /^\d{1,9}$/.test(text ?? "") ? Number(text) : 0;
}

function layerOf(name: string, { digest: of, bytes, modelPath }: OciBlob, mediaType: string) {
  const path = modelPath === undefined ? {} : { [FILE_PATH]: modelPath };
  return { mediaType, digest: of, size: bytes, annotations: { [TITLE]: name, ...path } };
}

function manifestBytes(rest: object): Uint8Array {
  return utf8(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, ...rest }));
}

function read<T>(schema: z.ZodType<T>, bytes: Uint8Array, where: string): T {
  const parsed = schema.safeParse(parse(bytes, where));
  if (parsed.success) return parsed.data;
  const place = parsed.error.issues[0]?.path.join(".") ?? "";
  throw storeError("STORE_ANSWER_INVALID", { detail: `${where}, not a manifest of a model: ${place}` });
}

function parse(bytes: Uint8Array, where: string): unknown {
  try {
    return parseJson(bytes, { maxBytes: ARTIFACT_LIMITS.ociManifestBytes, what: "manifest" });
  } catch (cause) {
    throw storeError("STORE_ANSWER_INVALID", { detail: `${where}, a manifest that is not JSON`, cause });
  }
}
