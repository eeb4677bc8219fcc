// Sets up what a fresh clone lacks (packages, the right Node) and starts tools/NAME.ts on it: plain JavaScript for any Node >= 20.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MIN_NODE_MAJOR = 24;
const root = fileURLToPath(new URL("..", import.meta.url));
const [name, ...rest] = process.argv.slice(2);

const script = join(root, "tools", `${name}.ts`);
if (!name || !/^[a-z-]+$/.test(name) || !existsSync(script)) fail(`there is no tool \`${name}\``, "npm run");

install(root, "dependencies");
run(nodeOfCheckout(), [script, ...rest]);

/** `npm ci` when the lockfile has changed since the last one; the stamp lies inside node_modules. */
function install(folder, what) {
  const stamp = join(folder, "node_modules", ".modelkeep-installed");
  const wanted = createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  process.stderr.write(`installing ${what} (npm ci, under a minute) ...\n`);
  const done = spawnSync("npm", ["ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
    env: withoutNpmSettings(process.env),
  });
  if (done.status !== 0)
    fail(
      `npm ci failed (${done.error?.message ?? `exit ${done.status}`})`,
      `npm ci --ignore-scripts --prefix ${folder}`,
    );
  writeFileSync(stamp, wanted);
}

/** What the outer npm set for this run must not steer the inner one. */
function withoutNpmSettings(env) {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([key]) =>
        !/^npm_(lifecycle|package|command|execpath|node_execpath|config_(local_prefix|prefix|dry_run|workspace))/.test(
          key,
        ),
    ),
  );
}

/** The Node that the dependencies brought; the shell may remember an older one. */
function nodeOfCheckout() {
  const own = join(root, "node_modules", ".bin", "node");
  if (existsSync(own)) return own;
  if (Number(process.versions.node.split(".")[0]) >= MIN_NODE_MAJOR) return process.execPath;
  return fail(
    `no Node ${MIN_NODE_MAJOR} for ${process.platform} ${process.arch} comes with the dependencies`,
    `install Node ${MIN_NODE_MAJOR} and try again`,
  );
}

function run(node, args) {
  const path = `${join(root, "node_modules", ".bin")}:${process.env.PATH ?? ""}`;
  const child = spawn(node, args, { cwd: root, stdio: "inherit", env: { ...process.env, PATH: path } });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(error.message, "rm -r node_modules, then try again"));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
}

function fail(message, hint) {
  process.stderr.write(`error: ${message}\nhint: ${hint}\n`);
  process.exit(1);
}
