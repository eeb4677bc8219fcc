/** modelkeep advisories import: OSV dumps become the index that bills of materials are matched against, offline. */
import { resolve } from "node:path";
import { defaultAdvisoriesPath, importAdvisories } from "../../bom/index.ts";
import { homeDirectory } from "../../host/index.ts";
import type { Command } from "../command.ts";

export const advisoriesImport: Command = {
  name: "advisories import",
  about: "Build the index of advisories from OSV dumps. It replaces the index that was there; nothing is fetched.",
  examples: [
    { line: "modelkeep advisories import PyPI/all.zip npm/all.zip", about: "the dumps of two ecosystems" },
    { line: "modelkeep advisories import ./osv --output advisories.idx", about: "every dump below a folder" },
  ],
  args: [{ name: "DUMP", about: "zip archive, folder or single record", variadic: true }],
  options: [
    { flag: "--output", value: "FILE", about: "index file; by default in the folder for data (XDG_DATA_HOME)" },
  ],
  async run(context, input) {
    const output = input.text("--output");
    const into =
      output === undefined ? defaultAdvisoriesPath(context.env, homeDirectory()) : resolve(context.cwd, output);
    const { progress, signal } = context;
    const from = input.args.map((path) => resolve(context.cwd, path));
    const report = await importAdvisories({ from, into, progress, signal });
    if (report.unreadable.length > 0) context.talk(`${report.unreadable.length} files were no records`);
    const text = `${report.records} records for ${report.packages} packages, in ${into}`;
    return { data: { output: into, ...report }, text };
  },
};
