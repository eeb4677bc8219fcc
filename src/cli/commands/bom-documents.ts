/** modelkeep bom merge|diff|score: what can be done with bills of materials that are there. */
import { resolve } from "node:path";
import { EXIT, utf8 } from "../../base/index.ts";
import {
  BOM_LIMITS,
  type BomChange,
  diffBoms,
  mergeBoms,
  readBom,
  type Scorecard,
  scoreBom,
  toHtml,
} from "../../bom/index.ts";
import { readFileBounded, writeFileAtomic } from "../../host/index.ts";
import type { Command, CommandContext } from "../command.ts";
import { cliError } from "../errors.ts";
import { writeDocument } from "./bom.ts";

export const bomMerge: Command = {
  name: "bom merge",
  about: "Put CycloneDX documents together into one. What has a package URL counts once.",
  examples: [
    {
      line: "modelkeep bom merge model.json image.json --name my-service --output all.json",
      about: "a model and what serves it",
    },
  ],
  args: [{ name: "BOM", about: "CycloneDX documents, JSON", variadic: true }],
  options: [
    { flag: "--name", value: "NAME", about: "of the whole", required: true },
    { flag: "--version", value: "VERSION", about: "of the whole" },
    { flag: "--output", value: "FILE", about: "instead of standard output" },
    { flag: "--dated", about: "with the date: then no two documents are equal" },
  ],
  async run(context, input) {
    const documents = [];
    for (const path of input.args) documents.push(await read(context, path));
    const version = input.text("--version");
    const merged = mergeBoms(documents, {
      name: input.need("--name"),
      ...(version === undefined ? {} : { version }),
      ...(input.on("--dated") ? { nowMs: context.clock.now() } : {}),
    });
    return writeDocument(context, input.text("--output"), merged);
  },
};

export const bomDiff: Command = {
  name: "bom diff",
  about:
    "Show what changed from one CycloneDX document to another: packages, files, data, weaknesses, the model itself.",
  examples: [
    { line: "modelkeep bom diff old.json new.json", about: "+ added, - removed, ~ changed" },
    { line: "modelkeep bom diff old.json new.json --fail", about: "exit 7 when they differ" },
  ],
  args: [
    { name: "OLD", about: "CycloneDX document, JSON" },
    { name: "NEW", about: "CycloneDX document, JSON" },
  ],
  options: [{ flag: "--fail", about: "exit 7 when there is a difference" }],
  async run(context, input) {
    const changes = diffBoms(await read(context, input.arg(0)), await read(context, input.arg(1)));
    const exit = input.on("--fail") && changes.length > 0 ? EXIT.findings : EXIT.done;
    return { data: { changes }, text: changes.length === 0 ? "no difference" : changes.map(lineOf), exit };
  },
};

function lineOf({ what, name, before, after }: BomChange): string {
  const sign = before === undefined ? "+" : after === undefined ? "-" : "~";
  const values =
    before !== undefined && after !== undefined ? `${short(before)} -> ${short(after)}` : short(before ?? after ?? "");
  return `${sign} ${what.padEnd(9)}  ${name}  ${values}`;
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

export const bomScore: Command = {
  name: "bom score",
  about:
    "Say which of the 50 minimum elements of an AI SBOM (G7, 2026) a document has, with the evidence, and what to do about the others.",
  examples: [
    { line: "modelkeep bom score bom.json", about: "a line per element" },
    { line: "modelkeep bom score bom.json --fail-under 60", about: "exit 7 below 60 percent" },
  ],
  args: [{ name: "BOM", about: "CycloneDX document, JSON" }],
  options: [
    { flag: "--signed", about: "you have verified a signature over this very file" },
    { flag: "--fail-under", value: "PERCENT", about: "exit 7 below" },
    { flag: "--html", value: "FILE", about: "a report to read, in one file" },
  ],
  async run(context, input) {
    const path = input.arg(0);
    const score = scoreBom(await read(context, path), input.on("--signed"));
    const html = input.text("--html");
    if (html !== undefined) {
      const page = toHtml({ title: `Minimum elements of ${path}`, matches: [], score, nowMs: context.clock.now() });
      await writeFileAtomic(resolve(context.cwd, html), utf8(page));
    }
    const exit = score.percent < percentOf(input.text("--fail-under")) ? EXIT.findings : EXIT.done;
    return { data: score, text: describe(score), exit };
  },
};

function percentOf(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,3}$/.test(text) || Number(text) > 100)
    throw cliError("USAGE", { detail: "--fail-under is 0 to 100", hint: "modelkeep bom score --help" });
  return Number(text);
}

function describe({ elements, counts, percent }: Scorecard): string[] {
  const lines = elements.map(
    ({ id, title, state, evidence, todo }) => `${id.padEnd(6)}  ${state.padEnd(8)}  ${title}: ${evidence || todo}`,
  );
  const words = Object.entries(counts).map(([word, count]) => `${count} ${word}`);
  return [...lines, `${percent} %: ${words.join(", ")}`];
}

async function read(context: CommandContext, path: string) {
  return readBom(await readFileBounded(resolve(context.cwd, path), BOM_LIMITS.bomBytes));
}
