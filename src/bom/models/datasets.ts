/** Data sets: Croissant descriptions, dataset_infos.json of Hugging Face, and folders that are hashed. */
import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import { digestFile, walkModel } from "../../artifact/index.ts";
import { ModelkeepError, parseJson } from "../../base/index.ts";
import { files, readFileBounded } from "../../host/index.ts";
import { BOM_LIMITS } from "../limits.ts";
import { asObject, listOf, objectsOf, textOf, type Unknown } from "../plain.ts";
import { readModelCard } from "./card.ts";

export interface DatasetFile {
  readonly name: string;
  readonly sha256: string;
}

export interface DatasetFacts {
  readonly name: string;
  readonly version?: string;
  readonly description?: string;
  /** As the data set states it. */
  readonly license?: string;
  readonly url?: string;
  readonly creator?: string;
  /** What it says about personal or sensitive data. */
  readonly sensitive?: string;
  /** Of the whole: lines `SHA-256  path`, in order of path, hashed. */
  readonly sha256?: string;
  readonly files: readonly DatasetFile[];
  /** Name and value, in order. */
  readonly facts: readonly (readonly [string, string])[];
}

/** Undefined when the text is no Croissant description (MLCommons, Croissant 1.0). */
export function readCroissant(text: string): DatasetFacts | undefined {
  const document = parse(text);
  const conforms = JSON.stringify([document?.conformsTo, document?.["dct:conformsTo"]]);
  const name = textOf(document?.name);
  if (!document || name === undefined || !conforms.includes("mlcommons.org/croissant")) return undefined;
  const distribution = listOf(document.distribution).slice(0, BOM_LIMITS.datasetFiles);
  const fields = listOf(document.recordSet).flatMap((set) => listOf(asObject(set)?.field));
  return {
    name: clip(name),
    ...optional("version", textOf(document.version)),
    ...optional("description", textOf(document.description)),
    ...optional("license", firstText(document.license, "url")),
    ...optional("url", textOf(document.url)),
    ...optional("creator", firstText(document.creator, "name")),
    ...optional("sensitive", firstText(document["rai:personalSensitiveInformation"], "name")),
    files: distribution.flatMap((item) => {
      const entry = asObject(item) ?? {};
      const [file, sha256] = [textOf(entry.name) ?? textOf(entry["@id"]), hexOf(entry.sha256)];
      return file === undefined || sha256 === undefined ? [] : [{ name: clip(file), sha256 }];
    }),
    facts: [
      ["format", "croissant"],
      ["distributions", String(distribution.length)],
      ["fields", String(fields.length)],
    ],
  };
}

/** One data set per configuration (Hugging Face, dataset_infos.json); none when the text is something else. */
export function readDatasetInfos(text: string): DatasetFacts[] {
  return objectsOf(parse(text)).flatMap(([config, entry]) => {
    if (asObject(entry.features) === undefined) return [];
    const splits = objectsOf(entry.splits).slice(0, BOM_LIMITS.frontMatterItems);
    const sums = objectsOf(entry.download_checksums).slice(0, BOM_LIMITS.datasetFiles);
    const name = textOf(entry.dataset_name) ?? textOf(entry.builder_name);
    return [
      {
        name: clip(name === undefined ? config : `${name}/${config}`),
        ...optional("description", textOf(entry.description)),
        ...optional("license", textOf(entry.license)),
        ...optional("url", textOf(entry.homepage)),
        files: sums.flatMap(([url, sum]) => {
          const sha256 = hexOf(sum.checksum);
          return sha256 === undefined ? [] : [{ name: clip(url), sha256 }];
        }),
        facts: splits.map(
          ([split, { num_examples: count }]) =>
            [`split:${clip(split)}`, typeof count === "number" ? String(count) : "?"] as const,
        ),
      },
    ];
  });
}

/** Every file is hashed; what the folder says about itself is read. Fails as walkModel does. */
export async function readDatasetFolder(root: string): Promise<DatasetFacts> {
  const found = await walkModel(root);
  const listed: DatasetFile[] = [];
  for (const { path } of found)
    listed.push({ name: path === "." ? basename(root) : path, sha256: await digestFile(root, path) });
  const whole = createHash("sha256");
  for (const { name, sha256 } of listed) whole.update(`${sha256}  ${name}\n`);
  const said = await readSelf(root, new Set(found.map(({ path }) => path)));
  const bytes = found.reduce((sum, file) => sum + file.bytes, 0);
  return {
    ...said,
    name: said?.name ?? basename(resolve(root)),
    sha256: whole.digest("hex"),
    files: listed.slice(0, BOM_LIMITS.datasetFiles),
    facts: [...(said?.facts ?? []), ["files", String(listed.length)], ["bytes", String(bytes)]],
  };
}

async function readSelf(root: string, paths: ReadonlySet<string>): Promise<DatasetFacts | undefined> {
  const read = async (name: string) => {
    const isSmall = paths.has(name) && (await files.lstat(`${root}/${name}`)).size <= BOM_LIMITS.configBytes;
    return isSmall
      ? Buffer.from(await readFileBounded(`${root}/${name}`, BOM_LIMITS.configBytes)).toString("utf8")
      : "";
  };
  const croissant =
    readCroissant(await read("croissant.json")) ?? readDatasetInfos(await read("dataset_infos.json"))[0];
  if (croissant || !paths.has("README.md")) return croissant;
  const { license, description } = readModelCard(await read("README.md"));
  return {
    name: basename(resolve(root)),
    ...optional("license", license),
    ...optional("description", description),
    files: [],
    facts: [],
  };
}

function parse(text: string): Unknown | undefined {
  if (text.trim() === "") return undefined;
  try {
    return asObject(parseJson(text, { maxBytes: BOM_LIMITS.configBytes, maxDepth: BOM_LIMITS.lockfileDepth }));
  } catch (error) {
    if (error instanceof ModelkeepError) return undefined;
    throw error;
  }
}

/** A text, the member of an object, or the first of a list of either. */
function firstText(value: unknown, member: string): string | undefined {
  const [first] = Array.isArray(value) ? (value as unknown[]) : [value];
  return textOf(first) ?? textOf(asObject(first)?.[member]) ?? textOf(asObject(first)?.["@id"]);
}

function hexOf(value: unknown): string | undefined {
  return typeof value === "string" && /^[0-9a-fA-F]{64}$/.test(value) ? value.toLowerCase() : undefined;
}

function clip(text: string): string {
  return text.length > BOM_LIMITS.textCharacters ? `${text.slice(0, BOM_LIMITS.textCharacters - 1)}…` : text;
}

function optional<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: clip(value) } as { [P in K]?: string });
}
