/** modelkeep scan files PATH: what loading the files of a model would do, found without loading them. */
import { resolve } from "node:path";
import { EXIT } from "../../base/index.ts";
import { type FileReport, reachesThreshold, type ScanReport, scanModel, VERDICTS } from "../../scan/index.ts";
import type { Command } from "../command.ts";

const THRESHOLDS = ["suspicious", "malicious"] as const;

export const scanFiles: Command = {
  name: "scan files",
  about: "Look for code that loading a model's files would run. Nothing is executed. Exit 7 at or above --fail-on.",
  examples: [
    { line: "modelkeep scan files ./my-model", about: "one line per finding, and the totals" },
    { line: "modelkeep scan files ./my-model --fail-on suspicious --json", about: "for a pipeline" },
  ],
  args: [{ name: "PATH", about: "folder of the model, or one file" }],
  options: [
    {
      flag: "--fail-on",
      value: "VERDICT",
      about: "suspicious also means files that nobody can look into",
      choices: THRESHOLDS,
      default: "malicious",
    },
  ],
  async run(context, input) {
    const path = input.arg(0);
    const threshold = THRESHOLDS.find((word) => word === input.text("--fail-on")) ?? "malicious";
    const { progress, signal } = context;
    const report = await scanModel({ root: resolve(context.cwd, path), progress, signal });
    const exit = reachesThreshold(report.verdict, threshold) ? EXIT.findings : EXIT.done;
    return { data: report, text: describeReport(report), exit };
  },
};

function describeReport({ verdict, files }: ScanReport): string[] {
  const totals = VERDICTS.flatMap((word) => {
    const count = files.filter((file) => file.verdict === word).length;
    return count === 0 ? [] : [`${count} ${word}`];
  });
  return [...files.flatMap(describeFile), `${verdict}: ${files.length} files, ${totals.join(", ")}`];
}

function describeFile({ path, findings }: FileReport): string[] {
  return findings.map(({ severity, rule, message }) => `${severity.padEnd(11)}  ${path}  ${message}  [${rule}]`);
}
