/** `npm run build`: compiles src/ to dist/ for publishing, from nothing. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { root } from "./checks/source.ts";

rmSync(`${root}/dist`, { recursive: true, force: true });
const done = spawnSync(`${root}/node_modules/.bin/tsc`, ["-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
process.exitCode = done.status ?? 1;
