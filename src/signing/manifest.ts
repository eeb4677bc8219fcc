/** The signed statement of an OMS signature: resources, how they were hashed, and the root over all of them. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { fromHex, parseJson } from "../base/index.ts";
import { signingError } from "./errors.ts";
import { SIGNING_LIMITS } from "./limits.ts";

export const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
export const STATEMENT_PAYLOAD_TYPE = "application/vnd.in-toto+json";
export const OMS_PREDICATE_TYPE = "https://model_signing/signature/v1.0";

export interface Resource {
  readonly name: string;
  /** Lower-case hex. */
  readonly digest: string;
  readonly algorithm: string;
}

export type HashType = "sha256" | "blake2b" | "blake3";

export interface Serialization {
  readonly method: "files" | "shards";
  readonly hashType: HashType;
  readonly shardBytes?: number;
  readonly allowSymlinks: boolean;
  readonly ignorePaths: readonly string[];
}

export interface Manifest {
  readonly name: string;
  /** Lower-case hex SHA-256 over the resources' digests in listed order. */
  readonly rootDigest: string;
  readonly resources: readonly Resource[];
  readonly serialization: Serialization;
}

const resource = z.strictObject({
  name: z.string().min(1).max(8_192),
  digest: z.string().regex(/^([0-9a-f]{64}|[0-9a-f]{128})$/),
  algorithm: z.string().max(64),
});

const serialization = z.strictObject({
  method: z.enum(["files", "shards"]),
  hash_type: z.enum(["sha256", "blake2b", "blake3"]),
  shard_size: z.number().int().positive().optional(),
  allow_symlinks: z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]).optional(),
  ignore_paths: z.array(z.string().max(8_192)).max(10_000).optional(),
});

const statement = z.object({
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(z.object({ name: z.string().max(8_192), digest: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }) }))
    .length(1),
  predicateType: z.literal(OMS_PREDICATE_TYPE),
  predicate: z.strictObject({ resources: z.array(resource).min(1).max(SIGNING_LIMITS.resources), serialization }),
});

export function rootDigestOf(resources: readonly Resource[]): string {
  const hash = createHash("sha256");
  for (const { digest } of resources) hash.update(fromHex(digest) ?? new Uint8Array(0));
  return hash.digest("hex");
}

/** Lower-case hex SHA-256 over names and digests, in whatever order they are listed: the root digest does not hold the names. */
export function filesDigestOf({ resources }: Pick<Manifest, "resources">): string {
  const pairs = resources.map(({ name, digest }) => JSON.stringify([name, digest])).sort();
  return createHash("sha256")
    .update(`[${pairs.join(",")}]`)
    .digest("hex");
}

/** Parses payload bytes whose signature has been checked. Throws BUNDLE_INVALID, or MODEL_NOT_AS_SIGNED when it contradicts itself. */
export function parseManifest(payload: Uint8Array): Manifest {
  const parsed = statement.safeParse(
    parseJson(payload, { maxBytes: SIGNING_LIMITS.bundleBytes, what: "signed statement" }),
  );
  if (!parsed.success)
    throw signingError("BUNDLE_INVALID", { detail: `statement: ${parsed.error.issues[0]?.path.join(".") ?? ""}` });
  const { subject, predicate } = parsed.data;
  checkResources(predicate.resources, predicate.serialization);
  const rootDigest = rootDigestOf(predicate.resources);
  if (subject[0]?.digest.sha256 !== rootDigest)
    throw signingError("MODEL_NOT_AS_SIGNED", { detail: "the subject's digest is not the root of the resources" });
  const { method, hash_type, shard_size, allow_symlinks, ignore_paths } = predicate.serialization;
  return {
    name: subject[0].name,
    rootDigest,
    resources: predicate.resources,
    serialization: {
      method,
      hashType: hash_type,
      allowSymlinks: allow_symlinks ?? false,
      ignorePaths: ignore_paths ?? [],
      ...(shard_size === undefined ? {} : { shardBytes: shard_size }),
    },
  };
}

/** How the reference names the algorithm of a shard; that of a whole file has the hash's own name. */
export function algorithmOf(hashType: HashType, shardBytes?: number): string {
  return shardBytes === undefined ? hashType : `${hashType}-sharded-${shardBytes}`;
}

/** Stricter than the reference: no name twice, none that leaves the root, every algorithm as declared. */
function checkResources(resources: readonly Resource[], how: z.infer<typeof serialization>): void {
  const { hash_type: hashType, shard_size: shardSize } = how;
  const sharded = how.method === "shards" && shardSize ? algorithmOf(hashType, shardSize) : hashType;
  const names = new Set<string>();
  for (const { name, algorithm, digest } of resources) {
    if (names.has(name)) throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${name.slice(0, 200)} is listed twice` });
    names.add(name);
    if (name !== "." && !staysInside(name))
      throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${name.slice(0, 200)} leaves the model` });
    const isDeclared = algorithm === hashType || algorithm === sharded;
    if (!isDeclared || digest.length !== (hashType === "blake2b" ? 128 : 64)) {
      throw signingError("BUNDLE_INVALID", {
        detail: `${name.slice(0, 200)} is hashed by ${algorithm}, declared is ${hashType}`,
      });
    }
  }
}

function staysInside(path: string): boolean {
  return !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

export interface Shard {
  readonly start: number;
  /** Not part of it any more. */
  readonly end: number;
  readonly digest: string;
}

/** Path → its shards in order, which must join without hole or overlap. Throws BUNDLE_INVALID, MODEL_NOT_AS_SIGNED. */
export function shardsOf(resources: readonly Resource[]): Map<string, Shard[]> {
  const shards = new Map<string, Shard[]>();
  for (const { name, digest } of resources) {
    const { path, start, end } = parseShardName(name);
    const list = shards.get(path) ?? [];
    if (list.length === 0) shards.set(path, list);
    list.push({ start, end, digest });
  }
  for (const [path, list] of shards) checkJoined(path, list);
  return shards;
}

/** `path:start:end`: the suffix is the last two integers, since a path may hold colons itself. */
function parseShardName(name: string): { path: string; start: number; end: number } {
  const match = /^(.+):(\d{1,15}):(\d{1,15})$/s.exec(name);
  const [, path = "", start, end] = match ?? [];
  if (!match) throw signingError("BUNDLE_INVALID", { detail: `${name.slice(0, 200)} names no shard` });
  if (path !== "." && !staysInside(path))
    throw signingError("MODEL_NOT_AS_SIGNED", { detail: `${name.slice(0, 200)} leaves the model` });
  return { path, start: Number(start), end: Number(end) };
}

function checkJoined(path: string, list: Shard[]): void {
  let at = 0;
  for (const { start, end } of list.sort((a, b) => a.start - b.start)) {
    if (start !== at || end <= start)
      throw signingError("MODEL_NOT_AS_SIGNED", {
        detail: `the shards of ${path.slice(0, 200)} overlap or leave a hole`,
      });
    at = end;
  }
}
