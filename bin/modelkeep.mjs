#!/usr/bin/env node
// Starts the modelkeep command: from src/ in a checkout, from dist/ in an installed package, always on Node >= 24.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const MIN_NODE_MAJOR = 24;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

if (Number(process.versions.node.split(".")[0]) < MIN_NODE_MAJOR) {
  const newer = here("../node_modules/.bin/node");
  if (!existsSync(newer) || process.env.MODELKEEP_REEXEC) {
    process.stderr.write(`error: modelkeep needs Node ${MIN_NODE_MAJOR} or newer, this is ${process.versions.node}\n`);
    process.stderr.write("hint: npm install --global node@24, or run it by `npm exec -- modelkeep`\n");
    process.exit(1);
  }
  const done = spawnSync(newer, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, MODELKEEP_REEXEC: "1" },
  });
  process.exit(done.status ?? 1);
}

const source = new URL("../src/cli/main.ts", import.meta.url);
const { main } = await import(existsSync(source) ? source.href : new URL("../dist/cli/main.js", import.meta.url).href);
await main(process.argv.slice(2));
