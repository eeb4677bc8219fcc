/** Makes the bill of materials of a model, a project, an environment or a container image. */
import { basename, join, resolve } from "node:path";
import { modelFilePath } from "../artifact/index.ts";
import type { Progress } from "../base/index.ts";
import { files } from "../host/index.ts";
import type { JsonObject } from "./document.ts";
import { type CycloneDxVersion, toCycloneDx } from "./documents/cyclonedx.ts";
import type { Examination, Fact, Inventory, SubjectKind } from "./documents/inventory.ts";
import { toSpdx } from "./documents/spdx.ts";
import { looksLikeImage, readImage } from "./image/read-image.ts";
import { type Installed, readInstalled } from "./installed/installed.ts";
import { readFolderTree } from "./installed/tree.ts";
import type { Library } from "./lockfiles/component.ts";
import { isLockfile, readLockfile } from "./lockfiles/read-lockfile.ts";
import { readDatasetFolder } from "./models/datasets.ts";
import { gatherModelFacts, type ModelFacts } from "./models/facts.ts";
import { readManifestModel } from "./models/manifest.ts";
import { snapshotOf } from "./models/snapshot.ts";

export const BOM_FORMATS = ["cyclonedx-1.7", "cyclonedx-1.6", "spdx-3.0.1"] as const;
export type BomFormat = (typeof BOM_FORMATS)[number];
export const SUBJECT_KINDS = ["model", "project", "environment", "image"] as const;

export interface CreateBomOptions {
  readonly root: string;
  /** What lies there; without it, what it looks like. */
  readonly kind?: SubjectKind;
  /** Name of the subject; without it the one in its weights or manifest, or that of the folder. */
  readonly name?: string;
  readonly version?: string;
  /** Lockfiles outside the folder; those inside are found. */
  readonly lockfiles?: readonly string[];
  /** Folders of data sets: every file is hashed. */
  readonly datasets?: readonly string[];
  /** Installations whose packages belong to it: roots of environments. */
  readonly environments?: readonly string[];
  readonly author?: string;
  readonly supplier?: string;
  /** Of an image, as `linux/arm64`. */
  readonly platform?: string;
  /** Where a registry's credentials and settings are looked up. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since the epoch, for the document's date; without it equal folders give equal documents. */
  readonly now?: number;
  /** Of this program, to stand in the document. */
  readonly toolVersion?: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/**
 * A CycloneDX 1.7 document: the model with its card and pedigree, every file with its SHA-256, data sets, libraries.
 * Fails as walkModel, readLockfile, readImage and readFolderTree do.
 */
export async function createBom(options: CreateBomOptions): Promise<JsonObject> {
  return writeBom(await gatherInventory(options), "cyclonedx-1.7");
}

export function writeBom(inventory: Inventory, format: BomFormat): JsonObject {
  if (format === "spdx-3.0.1") return toSpdx(inventory);
  return toCycloneDx(inventory, format.slice("cyclonedx-".length) as CycloneDxVersion);
}

/** The same inventory with what others found out. */
export function withExamination(inventory: Inventory, examination: Examination): Inventory {
  return { ...inventory, examination: { ...inventory.examination, ...examination } };
}

/** Everything that is known before anything is matched or signed. Fails as createBom. */
export async function gatherInventory(options: CreateBomOptions): Promise<Inventory> {
  const kind = options.kind ?? (await kindOf(options.root));
  const found = await gather(kind, options);
  const libraries = [...found.libraries];
  for (const path of options.lockfiles ?? []) libraries.push(...(await readLockfile(path)));
  for (const path of options.environments ?? []) libraries.push(...(await installedIn(path, options.signal)).libraries);
  const datasets = [];
  for (const path of options.datasets ?? []) datasets.push(await readDatasetFolder(path));
  const version = options.version ?? found.version;
  return {
    kind,
    name: options.name ?? found.name ?? basename(resolve(options.root)),
    libraries,
    datasets,
    ...(version === undefined ? {} : { version }),
    ...(found.facts ? { facts: found.facts } : {}),
    ...(found.about ? { about: found.about } : {}),
    ...(options.author === undefined ? {} : { author: options.author }),
    ...(options.supplier === undefined ? {} : { supplier: options.supplier }),
    ...(options.now === undefined ? {} : { nowMs: options.now }),
    ...(options.toolVersion === undefined ? {} : { toolVersion: options.toolVersion }),
  };
}

interface Gathered {
  readonly name?: string | undefined;
  readonly version?: string;
  readonly facts?: ModelFacts;
  readonly about?: readonly Fact[];
  readonly libraries: readonly Library[];
}

/** An installation has a database of packages, an image its index, a model anything else. */
async function kindOf(root: string): Promise<SubjectKind> {
  const isFolder = (await files.stat(root).catch(() => undefined))?.isDirectory() ?? false;
  if (isFolder && (await readManifestModel(root)) !== undefined) return "model";
  if (await looksLikeImage(root, isFolder)) return "image";
  const marks = ["pyvenv.cfg", "conda-meta", "var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/apk/db/installed"];
  for (const mark of isFolder ? marks : [])
    if (await files.stat(join(root, mark)).catch(() => undefined)) return "environment";
  return "model";
}

async function gather(kind: SubjectKind, options: CreateBomOptions): Promise<Gathered> {
  if (kind === "image") return gatherImage(options);
  if (kind === "environment") {
    const installed = await installedIn(options.root, options.signal);
    return { libraries: installed.libraries, about: aboutSystem(installed) };
  }
  return kind === "project" ? gatherProject(options) : gatherModel(options);
}

async function installedIn(root: string, signal: AbortSignal | undefined): Promise<Installed> {
  return readInstalled(await readFolderTree(root, signal));
}

function aboutSystem({ system }: Installed): Fact[] {
  return system
    ? [
        ["os", system.id],
        ["os_version", system.version],
        ["os_name", system.name],
      ]
    : [];
}

async function gatherImage({ root, platform, env, signal }: CreateBomOptions): Promise<Gathered> {
  const image = await readImage({
    path: root,
    ...(env ? { env } : {}),
    ...(platform === undefined ? {} : { platform }),
    ...(signal ? { signal } : {}),
  });
  const installed = await readInstalled(image.tree);
  const about: Fact[] = [
    ["platform", image.platform],
    ...(image.reference === "" ? [] : [["reference", image.reference] as const]),
    ...image.layers.map((digest): Fact => ["layer", digest]),
    ...aboutSystem(installed),
  ];
  return {
    libraries: installed.libraries,
    about,
    ...(image.digest === undefined ? {} : { version: `sha256:${image.digest}` }),
  };
}

/** The lockfiles of a folder that holds no model; its other files are not looked at. */
async function gatherProject({ root }: CreateBomOptions): Promise<Gathered> {
  const names = (await files.readdir(root, { withFileTypes: true })).filter(
    (entry) => entry.isFile() && isLockfile(entry.name),
  );
  const libraries: Library[] = [];
  for (const { name } of names.sort((a, b) => (a.name < b.name ? -1 : 1)))
    libraries.push(...(await readLockfile(join(root, name), root)));
  return { libraries };
}

async function gatherModel(options: CreateBomOptions): Promise<Gathered> {
  const { root } = options;
  const manifest = await readManifestModel(root);
  if (manifest) return { ...manifest, libraries: [] };
  const facts = await gatherModelFacts(options);
  const inside = facts.files.map(({ path }) => path).filter(isLockfile);
  const single = facts.files.length === 1 && basename(root) === facts.files[0]?.path;
  const places = single ? [] : inside.map((path) => modelFilePath(root, path));
  const libraries: Library[] = [];
  for (const path of places) libraries.push(...(await readLockfile(path, root)));
  const snapshot = snapshotOf(root);
  const name = nameOf(facts) ?? snapshot?.repository;
  return { facts, libraries, name, ...(snapshot ? { version: snapshot.revision } : {}) };
}

function nameOf(facts: ModelFacts): string | undefined {
  const names = facts.files.flatMap(({ weights }) => weights?.metadata ?? []);
  return names.find(([key, value]) => key === "general.name" && value !== "")?.[1];
}
