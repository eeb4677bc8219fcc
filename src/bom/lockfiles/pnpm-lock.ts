/** Reads pnpm-lock.yaml, lockfile versions 5 to 9. */
import { asObject, objectsOf, parseYamlLock, textOf } from "../plain.ts";
import type { Library } from "./component.ts";
import { readIntegrity } from "./integrity.ts";

/** Version 9 keeps what a package needs beside the packages, in `snapshots`. Throws LOCKFILE_INVALID. */
export function readPnpmLock(text: string, path: string): Library[] {
  const document = parseYamlLock(text, path);
  const snapshots = new Map(objectsOf(document.snapshots).map(([key, entry]) => [withoutPeers(key), entry]));
  const known = new Map<string, Library>();
  for (const [key, entry] of objectsOf(document.packages)) {
    const named = nameOf(withoutPeers(key));
    const name = textOf(entry.name) ?? named?.name;
    const version = textOf(entry.version) ?? named?.version;
    if (name === undefined || version === undefined || !/^\d/.test(version)) continue;
    const needs = needsOf({ ...entry, ...snapshots.get(withoutPeers(key)) });
    const hashes = readIntegrity(asObject(entry.resolution)?.integrity);
    const id = `${name}@${version}`;
    if (!known.has(id)) known.set(id, { ecosystem: "npm", name, version, hashes, needs });
  }
  return [...known.values()];
}

function needsOf(entry: { readonly dependencies?: unknown; readonly optionalDependencies?: unknown }): string[] {
  return [
    ...Object.keys(asObject(entry.dependencies) ?? {}),
    ...Object.keys(asObject(entry.optionalDependencies) ?? {}),
  ];
}

/** `/name@1.0.0(peer@2.0.0)` of version 6, `/name/1.0.0_hash` of version 5. */
function withoutPeers(key: string): string {
  return key.replace(/^\//, "").replace(/\(.*$/s, "");
}

function nameOf(key: string): { name: string; version: string } | undefined {
  const [, name, version] = /^((?:@[^/@]+\/)?[^/@]+)[@/]([^/_]+)(?:_.*)?$/.exec(key) ?? [];
  return name === undefined || version === undefined ? undefined : { name, version };
}
