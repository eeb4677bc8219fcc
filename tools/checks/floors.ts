/** Holds the floors: imports go downward, through the door only, and only the host floor touches Node. */
import { dirname, join, normalize } from "node:path";
import { type Checker, type Finding, type SourceFile, sourceFiles } from "./source.ts";

const FLOORS: readonly (readonly string[])[] = [
  ["base"],
  ["codec", "contract", "policy", "host"],
  ["store", "backends"],
  ["artifact"],
  ["secrets", "tokens", "attestation", "signing", "bom", "scan", "audit"],
  ["release", "sealing"],
  ["gateway", "publisher", "loader"],
  ["server", "sdk"],
  ["cli"],
];

/** Pure parts of Node that every floor may use. */
const PURE_BUILTINS = new Set([
  "buffer",
  "crypto",
  "events",
  "path",
  "stream",
  "stream/promises",
  "url",
  "util",
  "zlib",
]);

/** Files that start the program and so may touch the process. */
const MAINS = new Set(["src/cli/main.ts", "src/loader/inside.ts"]);

const GLOBALS =
  /(?<![\w.#"'`/])(process\.[a-z]|console\.[a-z]|Date\.now\(|new Date\(\)|Math\.random\(|performance\.now\()/;

const floorOf = new Map(FLOORS.flatMap((folders, index) => folders.map((folder) => [folder, index + 1] as const)));

export const floors: Checker = {
  name: "floors",
  run() {
    const files = sourceFiles(["src"], /\.ts$/);
    return { seen: files.length, findings: files.flatMap(checkFile) };
  },
};

function checkFile(file: SourceFile): Finding[] {
  const folder = file.path.split("/")[1] ?? "";
  const floor = floorOf.get(folder);
  if (floor === undefined)
    return [
      { where: file.path, message: `the folder ${folder} stands on no floor: name it in tools/checks/floors.ts` },
    ];
  const imports = importsOf(file).flatMap(({ line, specifier }) => {
    const message = checkImport(file, folder, floor, specifier);
    return message ? [{ where: `${file.path}:${line}`, message }] : [];
  });
  return [...imports, ...checkGlobals(file, folder)];
}

export function importsOf(file: SourceFile): { line: number; specifier: string }[] {
  const pattern = /(?:\bfrom\s+|\bimport\s+|\bimport\s*\(\s*)(["'])([^"'\n]+)\1/g;
  return [...file.text.matchAll(pattern)].map((match) => ({
    line: file.text.slice(0, match.index).split("\n").length,
    specifier: match[2] ?? "",
  }));
}

function checkImport(file: SourceFile, folder: string, floor: number, specifier: string): string | undefined {
  if (specifier.startsWith("node:")) {
    const allowed = folder === "host" || MAINS.has(file.path) || PURE_BUILTINS.has(specifier.slice("node:".length));
    return allowed ? undefined : `imports ${specifier}: only src/host opens Node`;
  }
  if (!specifier.startsWith(".")) return undefined;
  const target = normalize(join(dirname(file.path), specifier)).split("/");
  if (target[0] !== "src") return `imports ${specifier} from outside src`;
  const other = target[1] ?? "";
  if (other === folder) return undefined;
  const otherFloor = floorOf.get(other);
  if (otherFloor === undefined) return `imports the unknown folder ${other}`;
  if (otherFloor >= floor) return `imports ${other} (floor ${otherFloor}) from floor ${floor}: only downward`;
  return target.slice(2).join("/") === "index.ts" ? undefined : `imports ${specifier}: go through ${other}/index.ts`;
}

function checkGlobals(file: SourceFile, folder: string): Finding[] {
  if (folder === "host" || MAINS.has(file.path)) return [];
  return file.lines.flatMap((line, index) => {
    const code = line
      .replace(/\/\/.*$/, "")
      .replace(/^\s*\*.*$/, "")
      .replace(/^\s*\/\*\*.*$/, "");
    const match = GLOBALS.exec(code);
    return match ? [{ where: `${file.path}:${index + 1}`, message: `touches ${match[1]}: take it by a port` }] : [];
  });
}
