/** Holds the generated reference equal to what the source says, and the links of the docs alive. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { renderReference } from "../reference.ts";
import { type Checker, type Finding, root, sourceFiles } from "./source.ts";

export const docsInSync: Checker = {
  name: "docs in sync",
  run() {
    const pages = renderReference();
    const stale = [...pages].flatMap(([name, text]): Finding[] => {
      const path = `${root}/docs/reference/${name}`;
      const same = existsSync(path) && readFileSync(path, "utf8") === text;
      return same ? [] : [{ where: `docs/reference/${name}`, message: "is not what the source says: npm run docs" }];
    });
    const texts = sourceFiles(["."], /\.md$/).filter((file) => !file.path.includes("keeper/"));
    return { seen: pages.size + texts.length, findings: [...stale, ...texts.flatMap(checkLinks)] };
  },
};

function checkLinks(file: { path: string; text: string }): Finding[] {
  return [...file.text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].flatMap(([, link]) => {
    if (!link || /^[a-z]+:/.test(link) || existsSync(join(root, dirname(file.path), link))) return [];
    return [{ where: file.path, message: `links to ${link}, which is not there` }];
  });
}
