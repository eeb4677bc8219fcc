/** modelkeep bom match: the advisories that speak of the packages of a document, under VEX and waivers. */
import { resolve } from "node:path";
import { EXIT, utf8 } from "../../base/index.ts";
import {
  BOM_LIMITS,
  countMatches,
  isBlocking,
  isExpired,
  type JsonObject,
  type JudgedMatch,
  judgeMatches,
  matchAdvisories,
  type PackageRef,
  packagesOf,
  parsePackage,
  parseWaivers,
  readBom,
  readVex,
  SEVERITIES,
  type SeverityLevel,
  statementsOf,
  toHtml,
  toSarif,
  unmatchedOf,
  unmatchedText,
  type VexStatement,
  type Waiver,
  whyClosed,
  withMatches,
  writeOpenVex,
} from "../../bom/index.ts";
import { readFileBounded, writeFileAtomic } from "../../host/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";
import { withAdvisories } from "./advisories-input.ts";

export const bomMatch: Command = {
  name: "bom match",
  about:
    "Match packages against the imported advisories. Exit 7 when something open is at or above --fail-on, and always for malware.",
  examples: [
    { line: "modelkeep bom match bom.json --fail-on high", about: "every library of a CycloneDX document" },
    { line: "modelkeep bom match --package pypi:torch@2.6.0", about: "one package, without a document" },
    {
      line: "modelkeep bom match bom.json --vex vex.json --waivers waivers.yaml --sarif out.sarif",
      about: "in a pipeline",
    },
  ],
  args: [{ name: "BOM", about: "CycloneDX document, JSON", optional: true }],
  options: [
    { flag: "--package", value: "PACKAGE", about: "pypi:NAME@VERSION, npm:NAME@VERSION or a purl", repeatable: true },
    {
      flag: "--advisories",
      value: "FILE",
      about: "an index, or OSV dumps as zip or folder, instead of what was imported",
    },
    { flag: "--vex", value: "FILE", about: "OpenVEX, CycloneDX or CSAF that you trust", repeatable: true },
    { flag: "--waivers", value: "FILE", about: "accepted weaknesses, each with owner, reason and expiry" },
    {
      flag: "--fail-on",
      value: "SEVERITY",
      about: "exit 7 at or above; kev: at what is known to be exploited",
      choices: [...SEVERITIES, "kev"],
    },
    { flag: "--output", value: "FILE", about: "the document again, with what was found" },
    { flag: "--sarif", value: "FILE", about: "a report in SARIF 2.1.0" },
    { flag: "--html", value: "FILE", about: "a report to read, in one file" },
    { flag: "--vex-out", value: "FILE", about: "what is known of each weakness, as OpenVEX" },
  ],
  async run(context, input) {
    const { bom, packages } = await readPackages(context, input);
    const judgements = { ...(await readJudgements(context, input)), nowMs: context.clock.now() };
    const { found, unmatched } = await withAdvisories(
      context,
      input.text("--advisories"),
      ({ index, exploitation }) => ({
        found: matchAdvisories(packages, index, exploitation),
        unmatched: bom ? unmatchedOf(bom, index) : [],
      }),
    );
    const matches = judgeMatches(found, judgements);
    await writeReports(context, input, { bom, packages, matches });
    const failOn = input.text("--fail-on") as SeverityLevel | "kev" | undefined;
    const exit = matches.some((match) => isBlocking(match, failOn)) ? EXIT.findings : EXIT.done;
    const counts = countMatches(matches.filter(({ state }) => state === "open"));
    const left = unmatched.length === 0 ? [] : [`not matched: ${unmatchedText(unmatched)}`];
    const text = [...describe(packages.length, matches), ...left];
    return { data: { packages: packages.length, counts, unmatched, matches }, text, exit };
  },
};

interface Read {
  readonly bom: Readonly<Record<string, unknown>> | undefined;
  readonly packages: readonly PackageRef[];
}

async function readPackages(context: CommandContext, input: CommandInput): Promise<Read> {
  const named = input.all("--package").map(parsePackage);
  const path = input.args[0];
  if (path === undefined && (named.length === 0 || input.text("--output") !== undefined)) {
    const detail = named.length === 0 ? "BOM or --package is missing" : "--output needs BOM";
    throw cliError("USAGE", { detail, hint: "modelkeep bom match --package pypi:torch@2.6.0" });
  }
  if (path === undefined) return { bom: undefined, packages: named };
  const bom = readBom(await readFileBounded(resolve(context.cwd, path), BOM_LIMITS.bomBytes));
  return { bom, packages: [...packagesOf(bom), ...named] };
}

async function readJudgements(context: CommandContext, input: CommandInput) {
  const read = (path: string) => readFileBounded(resolve(context.cwd, path), BOM_LIMITS.bomBytes);
  const statements = await readVexFiles(context, input.all("--vex"));
  const file = input.text("--waivers");
  const waivers: readonly Waiver[] =
    file === undefined ? [] : parseWaivers(Buffer.from(await read(file)).toString("utf8"));
  for (const { id, owner, expires } of waivers.filter((waiver) => isExpired(waiver, context.clock.now())))
    context.talk(`waiver of ${id} by ${owner} ended on ${expires}`);
  return { statements, waivers };
}

/** Says what is left out, and why. */
export async function readVexFiles(context: CommandContext, paths: readonly string[]): Promise<VexStatement[]> {
  const statements: VexStatement[] = [];
  for (const path of paths) {
    const document = readVex(await readFileBounded(resolve(context.cwd, path), BOM_LIMITS.bomBytes));
    for (const why of document.ignored) context.talk(`${path}: left out: ${why}`);
    statements.push(...document.statements);
  }
  return statements;
}

interface Reported extends Read {
  readonly matches: readonly JudgedMatch[];
}

async function writeReports(context: CommandContext, input: CommandInput, { bom, packages, matches }: Reported) {
  const nowMs = context.clock.now();
  const document = input.args[0] ?? "packages";
  const json = (value: JsonObject) => `${JSON.stringify(value, null, 2)}\n`;
  const reports: readonly (readonly [string, () => string])[] = [
    ["--output", () => json(withMatches(bom ?? {}, matches))],
    ["--sarif", () => json(toSarif(matches, document))],
    ["--html", () => toHtml({ title: `Weaknesses of ${document}`, packages: packages.length, matches, nowMs })],
    ["--vex-out", () => json(writeOpenVex(statementsOf(matches, nowMs), "modelkeep", nowMs))],
  ];
  for (const [flag, make] of reports) {
    const path = input.text(flag);
    if (path !== undefined) await writeFileAtomic(resolve(context.cwd, path), utf8(make()));
  }
}

function describe(packages: number, matches: readonly JudgedMatch[]): string[] {
  const counts = Object.entries(countMatches(matches.filter(({ state }) => state === "open")));
  const open = counts.flatMap(([word, count]) => (count === 0 ? [] : [`${count} ${word}`]));
  const closed = matches.filter(({ state }) => state !== "open").length;
  const nothing = matches.length === 0 ? "nothing known against them" : "nothing open against them";
  const words = [open.length === 0 ? nothing : open.join(", "), ...(closed === 0 ? [] : [`${closed} closed`])];
  return [...matches.map(lineOf), `${packages} packages, ${words.join(", ")}`];
}

function lineOf(match: JudgedMatch): string {
  const fixed = match.fixed.length === 0 ? "no fix known" : `fixed in ${match.fixed.slice(0, 3).join(", ")}`;
  const cve = match.aliases.find((id) => id.startsWith("CVE-"));
  const word = match.state !== "open" ? "closed" : match.malware ? "malware" : match.severity;
  const use = `${match.kev ? "  exploited" : ""}${match.epss === undefined ? "" : `  EPSS ${(100 * match.epss).toFixed(1)} %`}`;
  const end = match.state === "open" ? fixed : whyClosed(match);
  return `${word.padEnd(8)}  ${match.package} ${match.version}  ${match.id}${cve ? ` (${cve})` : ""}${use}  ${end}`;
}
