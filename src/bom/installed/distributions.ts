/** Packages of Debian and Alpine, as their databases list them (dpkg `status`, apk `installed`), and the release. */
import type { Library } from "../lockfiles/component.ts";
import { readStanzas } from "./stanzas.ts";
import type { InstalledTree } from "./tree.ts";

export interface OperatingSystem {
  readonly id: string;
  readonly version: string;
  readonly name: string;
}

/** From os-release; undefined when there is none. */
export async function readOperatingSystem(tree: InstalledTree): Promise<OperatingSystem | undefined> {
  const bytes = (await tree.read("etc/os-release")) ?? (await tree.read("usr/lib/os-release"));
  if (!bytes) return undefined;
  const value = (key: string) =>
    new RegExp(`^${key}=(["']?)(.*)\\1$`, "m").exec(textOf(bytes))?.[2]?.trim().slice(0, 100) ?? "";
  return { id: value("ID"), version: value("VERSION_ID"), name: value("PRETTY_NAME") };
}

/** Debian's and Alpine's packages; the release is part of the ecosystem's name. */
export async function readDistribution(tree: InstalledTree, system: OperatingSystem | undefined): Promise<Library[]> {
  const libraries: Library[] = [];
  for (const path of tree.paths) {
    const isDpkg = path === "var/lib/dpkg/status" || /^var\/lib\/dpkg\/status\.d\/[^/]+$/.test(path);
    const isApk = /^(?:usr\/)?lib\/apk\/db\/installed$/.test(path);
    if (!isDpkg && !isApk) continue;
    const text = textOf((await tree.read(path)) ?? new Uint8Array());
    const read = isDpkg ? readDpkg : readApk;
    // A distroless image has a file per package, whose status is not written down.
    const isWhole = path === "var/lib/dpkg/status";
    for (const fields of readStanzas(text)) libraries.push(...read(fields, system?.version ?? "", isWhole));
  }
  return libraries;
}

function readDpkg(fields: ReadonlyMap<string, string>, release: string, isWhole: boolean): Library[] {
  const [name, version] = [fields.get("Package"), fields.get("Version")];
  const isInstalled = /\sinstalled$/.test(fields.get("Status") ?? (isWhole ? "" : " installed"));
  if (name === undefined || version === undefined || !isInstalled) return [];
  const [, sourceName, sourceVersion = version] = /^(\S+)(?:\s+\((\S+)\))?$/.exec(fields.get("Source") ?? "") ?? [];
  const architecture = fields.get("Architecture");
  return [
    {
      ecosystem: `Debian:${release.split(".", 1)[0] ?? ""}`,
      name,
      version,
      hashes: [],
      needs: namesOf(`${fields.get("Pre-Depends") ?? ""},${fields.get("Depends") ?? ""}`),
      ...(sourceName === undefined ? {} : { source: { name: sourceName, version: sourceVersion } }),
      ...(architecture === undefined ? {} : { architecture }),
    },
  ];
}

/** `a (>= 1), b | c`: every alternative, and of them those count that are installed. */
function namesOf(relations: string): string[] {
  return relations.split(/[,|]/).flatMap((part) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(part)?.[1] ?? []);
}

function readApk(fields: ReadonlyMap<string, string>, release: string): Library[] {
  const [name, version, origin] = [fields.get("P"), fields.get("V"), fields.get("o")];
  if (name === undefined || version === undefined) return [];
  const [architecture, license] = [fields.get("A"), fields.get("L")];
  return [
    {
      ecosystem: `Alpine:v${release.split(".").slice(0, 2).join(".")}`,
      name,
      version,
      hashes: [],
      needs: (fields.get("D") ?? "")
        .split(/\s+/)
        .flatMap((word) => /^[a-z0-9][\w+.-]*(?![\w+.:-])/.exec(word)?.[0] ?? []),
      ...(origin === undefined || origin === name ? {} : { source: { name: origin, version } }),
      ...(architecture === undefined ? {} : { architecture }),
      ...(license === undefined ? {} : { license }),
    },
  ];
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}
