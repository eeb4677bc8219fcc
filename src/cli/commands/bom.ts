/** modelkeep bom create|match: the bill of materials of a model, and the advisories that speak of it. */
import { join, resolve } from "node:path";
import { EXIT, utf8 } from "../../base/index.ts";
import {
  type AdvisoryIndex,
  type AdvisoryMatch,
  BOM_LIMITS,
  countMatches,
  createBom,
  defaultAdvisoriesPath,
  importAdvisories,
  matchAdvisories,
  openAdvisories,
  type PackageRef,
  packagesOf,
  parsePackage,
  readBom,
  SEVERITIES,
} from "../../bom/index.ts";
import { files, homeDirectory, readFileBounded, tempDirectory, writeFileAtomic } from "../../host/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";

export const bomCreate: Command = {
  name: "bom create",
  about: "Write the bill of materials of a model as CycloneDX 1.7. Equal folders give equal documents.",
  examples: [
    { line: "modelkeep bom create ./my-model --output bom.json", about: "model card, files, data sets, libraries" },
    { line: "modelkeep bom create ./my-model --lockfile uv.lock", about: "with the libraries it is served by" },
  ],
  args: [{ name: "PATH", about: "folder of the model" }],
  options: [
    { flag: "--output", value: "FILE", about: "instead of standard output" },
    {
      flag: "--lockfile",
      value: "FILE",
      about: "a lockfile outside the folder; those inside are found",
      repeatable: true,
    },
    { flag: "--name", value: "NAME", about: "name of the model" },
    { flag: "--version", value: "VERSION", about: "version of the model" },
  ],
  async run(context, input) {
    const path = input.arg(0);
    const [name, version, output] = [input.text("--name"), input.text("--version"), input.text("--output")];
    const bom = await createBom({
      root: resolve(context.cwd, path),
      lockfiles: input.all("--lockfile").map((file) => resolve(context.cwd, file)),
      progress: context.progress,
      signal: context.signal,
      ...(name === undefined ? {} : { name }),
      ...(version === undefined ? {} : { version }),
    });
    const text = `${JSON.stringify(bom, null, 2)}\n`;
    if (output === undefined) return { data: bom, text };
    await writeFileAtomic(resolve(context.cwd, output), utf8(text));
    const components = Array.isArray(bom.components) ? bom.components.length : 0;
    return { data: { output, components }, text: `wrote ${output}: ${components} components` };
  },
};

export const bomMatch: Command = {
  name: "bom match",
  about: "Match packages against the imported advisories. Exit 7 at or above --fail-on, and always for malware.",
  examples: [
    { line: "modelkeep bom match bom.json --fail-on high", about: "every library of a CycloneDX document" },
    { line: "modelkeep bom match --package pypi:torch@2.6.0", about: "one package, without a document" },
  ],
  args: [{ name: "BOM", about: "CycloneDX document, JSON", optional: true }],
  options: [
    { flag: "--package", value: "PACKAGE", about: "pypi:NAME@VERSION, npm:NAME@VERSION or a purl", repeatable: true },
    {
      flag: "--advisories",
      value: "FILE",
      about: "an index, or OSV dumps as zip or folder, instead of what was imported",
    },
    { flag: "--fail-on", value: "SEVERITY", about: "exit 7 at or above", choices: SEVERITIES },
  ],
  async run(context, input) {
    const packages = await readPackages(context, input);
    const matches = await withAdvisories(context, input.text("--advisories"), (index) =>
      matchAdvisories(packages, index),
    );
    const exit = matches.some((match) => isBlocking(match, input.text("--fail-on"))) ? EXIT.findings : EXIT.done;
    const counts = countMatches(matches);
    return { data: { packages: packages.length, counts, matches }, text: describe(packages.length, matches), exit };
  },
};

async function readPackages(context: CommandContext, input: CommandInput): Promise<PackageRef[]> {
  const named = input.all("--package").map(parsePackage);
  const path = input.args[0];
  if (path === undefined && named.length === 0) {
    throw cliError("USAGE", {
      detail: "BOM or --package is missing",
      hint: "modelkeep bom match --package pypi:torch@2.6.0",
    });
  }
  if (path === undefined) return named;
  return [...packagesOf(readBom(await readFileBounded(resolve(context.cwd, path), BOM_LIMITS.bomBytes))), ...named];
}

/** Dumps are indexed into a folder that is gone afterwards. */
async function withAdvisories<T>(
  context: CommandContext,
  given: string | undefined,
  use: (index: AdvisoryIndex) => T,
): Promise<T> {
  const path = given === undefined ? defaultAdvisoriesPath(context.env, homeDirectory()) : resolve(context.cwd, given);
  if (given === undefined || /\.idx$/.test(given)) return useIndex(path, use);
  const folder = await files.mkdtemp(join(tempDirectory(), "modelkeep-advisories-"));
  try {
    const into = join(folder, "advisories.idx");
    await importAdvisories({ from: [path], into, progress: context.progress, signal: context.signal });
    return await useIndex(into, use);
  } finally {
    await files.rm(folder, { recursive: true, force: true });
  }
}

async function useIndex<T>(path: string, use: (index: AdvisoryIndex) => T): Promise<T> {
  const index = await openAdvisories(path);
  try {
    return use(index);
  } finally {
    index.close();
  }
}

function isBlocking(match: AdvisoryMatch, failOn: string | undefined): boolean {
  const words: readonly string[] = SEVERITIES;
  return match.malware || (failOn !== undefined && words.indexOf(match.severity) >= words.indexOf(failOn));
}

function describe(packages: number, matches: readonly AdvisoryMatch[]): string[] {
  const lines = matches.map((match) => {
    const fixed = match.fixed.length === 0 ? "no fix known" : `fixed in ${match.fixed.slice(0, 3).join(", ")}`;
    const cve = match.aliases.find((id) => id.startsWith("CVE-"));
    const word = match.malware ? "malware" : match.severity;
    return `${word.padEnd(8)}  ${match.package} ${match.version}  ${match.id}${cve ? ` (${cve})` : ""}  ${fixed}`;
  });
  const counts = Object.entries(countMatches(matches)).flatMap(([word, count]) =>
    count === 0 ? [] : [`${count} ${word}`],
  );
  return [...lines, `${packages} packages, ${counts.length === 0 ? "nothing known against them" : counts.join(", ")}`];
}
