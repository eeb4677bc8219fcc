/** Installs the example engine's own packages (CPU binaries only) when they are not there yet. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { root } from "./checks/source.ts";

export function installEngine(): void {
  const folder = `${root}/examples/engine`;
  const stamp = `${folder}/node_modules/.modelkeep-installed`;
  const wanted = createHash("sha256")
    .update(readFileSync(`${folder}/package-lock.json`))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  process.stderr.write("installing the example engine (llama.cpp, CPU only) ...\n");
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([key]) => !/^npm_(lifecycle|package|command|config_(local_prefix|prefix))/.test(key),
    ),
  );
  const done = spawnSync("npm", ["ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"], {
    cwd: folder,
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (done.status !== 0)
    throw new Error(`npm ci in examples/engine failed (exit ${done.status}): try it by hand in that folder`);
  writeFileSync(stamp, wanted);
}
