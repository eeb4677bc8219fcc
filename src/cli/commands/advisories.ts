/** modelkeep advisories import: OSV dumps, KEV and EPSS become what bills of materials are matched against, offline. */
import { resolve } from "node:path";
import { defaultAdvisoriesPath, exploitationPath, importAdvisories, importExploitation } from "../../bom/index.ts";
import { homeDirectory } from "../../host/index.ts";
import type { Command } from "../command.ts";
import { cliError } from "../errors.ts";

export const advisoriesImport: Command = {
  name: "advisories import",
  about: "Build the index of advisories from OSV dumps. It replaces the index that was there; nothing is fetched.",
  examples: [
    { line: "modelkeep advisories import PyPI/all.zip npm/all.zip", about: "the dumps of two ecosystems" },
    { line: "modelkeep advisories import ./osv --output advisories.idx", about: "every dump below a folder" },
    {
      line: "modelkeep advisories import --kev known_exploited_vulnerabilities.json --epss epss_scores.csv.gz",
      about: "what is in use, beside the advisories that are there",
    },
  ],
  args: [{ name: "DUMP", about: "zip archive, folder or single record", variadic: true, optional: true }],
  options: [
    { flag: "--kev", value: "FILE", about: "CISA's catalogue of known exploited vulnerabilities, JSON or CSV" },
    { flag: "--epss", value: "FILE", about: "FIRST's scores, CSV, also with gzip" },
    { flag: "--output", value: "FILE", about: "index file; by default in the folder for data (XDG_DATA_HOME)" },
  ],
  async run(context, input) {
    const output = input.text("--output");
    const into =
      output === undefined ? defaultAdvisoriesPath(context.env, homeDirectory()) : resolve(context.cwd, output);
    const place = (path: string) => resolve(context.cwd, path);
    const [kev, epss] = [input.text("--kev"), input.text("--epss")];
    const isRated = kev !== undefined || epss !== undefined;
    if (!isRated && input.args.length === 0)
      throw cliError("USAGE", { detail: "DUMP is missing", hint: "modelkeep advisories import ZIP" });
    const lines: string[] = [];
    const data: Record<string, unknown> = { output: into };
    if (input.args.length > 0) {
      const { progress, signal } = context;
      const report = await importAdvisories({ from: input.args.map(place), into, progress, signal });
      if (report.unreadable.length > 0) context.talk(`${report.unreadable.length} files were no records`);
      Object.assign(data, report);
      lines.push(`${report.records} records for ${report.packages} packages, in ${into}`);
    }
    if (isRated) {
      const beside = exploitationPath(into);
      const known = await importExploitation({
        into: beside,
        ...(kev === undefined ? {} : { kev: place(kev) }),
        ...(epss === undefined ? {} : { epss: place(epss) }),
      });
      Object.assign(data, { exploitation: beside, weaknesses: known });
      lines.push(`${known} weaknesses rated, in ${beside}`);
    }
    return { data, text: lines };
  },
};
