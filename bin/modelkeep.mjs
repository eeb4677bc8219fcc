#!/usr/bin/env node
// Starts the modelkeep command: from src/ in a checkout, from dist/ in an installed package, always on Node >= 24.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import * as nodeModule from "node:module";
import { constants } from "node:os";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

const MIN_NODE_MAJOR = 24;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

if (Number(process.versions.node.split(".")[0]) >= MIN_NODE_MAJOR) await start();
else startOnNewerNode();

async function start() {
  delete process.env.MODELKEEP_REEXEC;
  keepCompiledCode(process.env);
  const source = new URL("../src/cli/main.ts", import.meta.url);
  const built = new URL("../dist/cli/main.js", import.meta.url);
  const { main } = await import(existsSync(source) ? source.href : built.href);
  await main(process.argv.slice(2));
}

/** The Node of the checkout, in the place of this one: signals go on to it, its exit code comes back. */
function startOnNewerNode() {
  const newer = here("../node_modules/.bin/node");
  if (!existsSync(newer) || process.env.MODELKEEP_REEXEC) {
    process.stderr.write(`error: modelkeep needs Node ${MIN_NODE_MAJOR} or newer, this is ${process.versions.node}\n`);
    process.stderr.write("hint: npm install --global node@24, or run it by `npm exec -- modelkeep`\n");
    process.exit(1);
  }
  const child = spawn(newer, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, MODELKEEP_REEXEC: "1" },
  });
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  // Ctrl-C reaches the whole group of the terminal: the child has it already.
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
  child.on("error", () => process.exit(1));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

/** In a folder that only this user can write: whoever writes there decides what runs. Without such a folder nothing is kept. */
function keepCompiledCode({ XDG_CACHE_HOME, HOME }) {
  const base = XDG_CACHE_HOME ?? (HOME === undefined ? "" : join(HOME, ".cache"));
  if (!isAbsolute(base)) return;
  const folder = join(base, "modelkeep", "code");
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    nodeModule.enableCompileCache(folder);
  } catch {
    // It is there for speed only.
  }
}
