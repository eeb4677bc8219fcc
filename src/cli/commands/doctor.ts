/** modelkeep doctor: looks at this machine and says what to do about what is wrong. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EXIT, toModelkeepError } from "../../base/index.ts";
import {
  chooseAead,
  files,
  GuardedBytes,
  guardedMemoryLevel,
  hardenProcess,
  hasLeafHash,
  os,
  processInfo,
  systemFetch,
} from "../../host/index.ts";
import { type HostPromise, hostPromises } from "../../loader/index.ts";
import { configFolder, dataFolder, loadConfig } from "../../server/index.ts";
import type { Command, CommandContext, CommandResult } from "../command.ts";
import { credentialsPath } from "../credentials.ts";
import { type LeakScan, memoryLevelOf, runLeakTest } from "../leak-test/leak-test.ts";
import { findTee } from "./attest-collect.ts";

const MIN_NODE_MAJOR = 24;
/** A clock before this is not set, in milliseconds since the epoch: the day this version's schema was made. */
const EARLIEST_CLOCK_MS = Date.UTC(2026, 0, 1);
/** Largest difference to the server's clock that a proof of possession survives, in milliseconds. */
const MAX_SKEW_MS = 5_000;
const MAX_ADVISORY_AGE_DAYS = 7;
const DAY_MS = 86_400_000;
const MAX_METRICS_BYTES = 4 * 1024 * 1024;
const FASTER =
  "npm install koffi @napi-rs/blake-hash, and leave MODELKEEP_ENGINE unset: models open several times faster";
const REINSTALL = "npm install koffi@latest, or MODELKEEP_ENGINE=crypto";

interface Check {
  readonly id: string;
  readonly status: "ok" | "warning" | "failed";
  readonly about: string;
  readonly hint?: string;
}

export const doctor: Command = {
  name: "doctor",
  about: "Check this machine: Node, locked memory, namespaces, swap, file modes, clock, server, advisories.",
  examples: [
    { line: "modelkeep doctor", about: "one line for each check, with what to do" },
    { line: "modelkeep doctor --json", about: "for a script; the exit code is 1 when a check failed" },
    {
      line: "sudo modelkeep doctor --leak-test",
      about: "uses a key for fifty calls on a server of its own, then searches memory, core file, disk and log for it",
    },
  ],
  options: [
    { flag: "--leak-test", about: "prove on this machine that no copy of a key stays behind; takes some minutes" },
  ],
  async run(context, input) {
    if (input.on("--leak-test")) return leakTest(context);
    const checks = [
      checkNode(processInfo().nodeVersion),
      checkKernel(),
      checkMemory(),
      checkHardening(),
      await checkEngine(),
      ...(await hostPromises()).map(fromPromise),
      await checkTee(context),
      ...(await checkModes(context)),
      checkClock(context.clock.now()),
      ...(await checkServer(context)),
      await checkAdvisories(context),
    ];
    const failed = checks.filter(({ status }) => status === "failed").length;
    const verdict = failed === 0 ? "ok" : "failed";
    return {
      data: { verdict, checks },
      text: [...checks.flatMap(linesOf), failed === 0 ? "all checks passed" : `${failed} failed`],
      exit: failed === 0 ? EXIT.done : EXIT.failed,
    };
  },
};

async function leakTest(context: CommandContext): Promise<CommandResult> {
  const report = await runLeakTest(context);
  const { verdict, level, calls, scans } = report;
  const done = verdict === "ok" ? "no copy of the key was found" : "COPIES OF THE KEY WERE FOUND";
  return {
    data: report,
    text: [`${calls} calls, memory: ${level}`, ...scans.map(lineOfScan), done],
    exit: verdict === "ok" ? EXIT.done : EXIT.failed,
  };
}

function lineOfScan({ where, when, status, copies, bytes, about }: LeakScan): string {
  const word = { ok: "ok", failed: "FAIL", skipped: "skip" }[status];
  const found = about ?? `${copies} copies in ${Math.ceil((bytes ?? 0) / 1024)} KiB`;
  return `${word.padEnd(5)} ${where}, ${when}: ${found}`;
}

function linesOf({ id, status, about, hint }: Check): string[] {
  const word = { ok: "ok", warning: "warn", failed: "FAIL" }[status];
  const todo = hint === undefined || status === "ok" ? [] : [`      -> ${hint}`];
  return [`${word.padEnd(5)} ${id}: ${about}`, ...todo];
}

export function checkNode(version: string): Check {
  const enough = Number(version.split(".")[0]) >= MIN_NODE_MAJOR;
  return {
    id: "node",
    status: enough ? "ok" : "failed",
    about: `Node ${version}`,
    hint: `use Node ${MIN_NODE_MAJOR} or newer`,
  };
}

function checkKernel(): Check {
  const { platform, arch } = processInfo();
  return {
    id: "kernel",
    status: platform === "linux" ? "ok" : "warning",
    about: `${platform} ${os.release()} on ${arch}`,
    hint: "modelkeep run needs Linux; everything else works here",
  };
}

/** Allocates for real: a limit of zero is found here and not at the first secret. */
function checkMemory(): Check {
  try {
    GuardedBytes.allocate(32).wipe();
    const { level, about, hint } = guardedMemoryLevel();
    const status = level === "plain" ? "failed" : "ok";
    return { id: "guarded-memory", status, about: `${level}: ${about}`, ...(hint === undefined ? {} : { hint }) };
  } catch (error) {
    return { id: "guarded-memory", status: "failed", about: toModelkeepError(error).message, hint: "ulimit -l 8192" };
  }
}

/** As `serve`, `agent` and `checkout` do it to themselves. */
function checkHardening(): Check {
  const { untraceable, noCoreFile, noInspector } = hardenProcess();
  const open = [
    ...(untraceable ? [] : ["other processes of this user can read its memory"]),
    ...(noCoreFile ? [] : ["a crash writes a core file"]),
    ...(noInspector ? [] : ["Node's inspector is open"]),
  ];
  return {
    id: "hardening",
    status: open.length === 0 ? "ok" : "warning",
    about:
      open.join(", ") || "a server can be neither traced nor dumped by its own user, and no signal opens an inspector",
    hint: noInspector ? "npm install koffi, on Linux" : "start it without --inspect and NODE_OPTIONS",
  };
}

/** Slow is a warning: everything works with what Node brings. */
async function checkEngine(): Promise<Check> {
  try {
    const { engine, wrong } = await chooseAead();
    const isFast = engine.name !== "crypto" && hasLeafHash("blake3");
    const about = `AES-256-GCM by ${engine.about}; segments hashed by ${hasLeafHash("blake3") ? "BLAKE3" : "SHA-256"}`;
    if (wrong.length > 0)
      return {
        id: "engine",
        status: "failed",
        about: `${about}; ${wrong.join(", ")} computes wrongly`,
        hint: REINSTALL,
      };
    return { id: "engine", status: isFast ? "ok" : "warning", about, hint: FASTER };
  } catch (error) {
    const { message, hint = FASTER } = toModelkeepError(error);
    return { id: "engine", status: "failed", about: message, hint };
  }
}

/** What only `run` needs is a warning: a machine that only publishes or serves is not broken by it. */
const HINTS: Partial<Record<HostPromise["id"], string>> = {
  namespace: "run as root, or allow user namespaces (sysctl user.max_user_namespaces)",
  processes: "in a container, run with an unmasked /proc",
  swap: "swapoff -a",
  "core-dumps": "install util-linux",
  tee: "modelkeep run needs --tee insecure-dev here",
  root: "use a TEE where the operator of the machine must not see the weights",
};

export function fromPromise({ id, holds, about }: HostPromise): Check {
  const hint = HINTS[id];
  return { id, status: holds ? "ok" : "warning", about, ...(hint === undefined ? {} : { hint }) };
}

async function checkTee({ random }: CommandContext): Promise<Check> {
  const tee = await findTee(random);
  if (!tee) return { id: "evidence", status: "warning", about: "no TEE here gives evidence", hint: HINTS.tee ?? "" };
  return { id: "evidence", status: "ok", about: `${tee.kind} evidence from ${tee.source}` };
}

async function checkModes(context: CommandContext): Promise<Check[]> {
  const folder = configFolder(context.env);
  const credentials = dirname(credentialsPath(context.env));
  const secrets = await files.readdir(credentials).catch(() => []);
  const configuration = await loadConfig({ env: context.env, flags: {} }).catch(toModelkeepError);
  if (!("config" in configuration)) {
    const { message, hint } = configuration;
    return [{ id: "configuration", status: "failed", about: message, hint: hint ?? "modelkeep config show --origin" }];
  }
  const roots = [configuration.config.root_key, ...configuration.config.kms].filter((uri) => /^file:\/\/\//.test(uri));
  const paths = new Set([
    folder,
    ...secrets.map((name) => join(credentials, name)),
    ...roots.map((uri) => fileURLToPath(uri)),
  ]);
  return (await Promise.all([...paths].map((path) => checkMode(path, path === folder)))).flat();
}

/** Nothing about a file that is not there: it is made with the right mode when it is needed. */
async function checkMode(path: string, isFolder: boolean): Promise<Check[]> {
  const stat = await files.stat(path).catch(() => undefined);
  if (!stat) return [];
  const mode = (stat.mode & 0o777).toString(8).padStart(4, "0");
  const open = (stat.mode & (isFolder ? 0o022 : 0o077)) !== 0;
  const foreign = processInfo().uid > 0 && stat.uid !== processInfo().uid;
  const hint = foreign ? `chown $(id -u) ${path}` : `chmod ${isFolder ? "go-w" : "600"} ${path}`;
  const about = `${path} has mode ${mode}${foreign ? " and belongs to another user" : ""}`;
  return [{ id: "file-mode", status: open || foreign ? "failed" : "ok", about, hint }];
}

export function checkClock(now: number): Check {
  const sane = now >= EARLIEST_CLOCK_MS;
  return {
    id: "clock",
    status: sane ? "ok" : "failed",
    about: `it is ${new Date(now).toISOString()}`,
    hint: "set the clock: tokens, leases and evidence have an end",
  };
}

/** Health without a token, so that an ended login does not look like a server that is down. */
async function checkServer(context: CommandContext): Promise<Check[]> {
  const api = await context.client().catch(toModelkeepError);
  if (!("call" in api)) {
    const hint = api.hint ?? "modelkeep login --server URL";
    const status = api.code === "NOT_LOGGED_IN" ? "warning" : "failed";
    return [{ id: "server", status, about: api.title, hint }];
  }
  try {
    const response = await systemFetch(`${api.serverUrl}/healthz`, { signal: context.signal, redirect: "error" });
    await response.body?.cancel();
    return [compareClocks(context, api.serverUrl, response), ...(await checkServerMemory(context, api.serverUrl))];
  } catch {
    const hint = "start it with `modelkeep serve`, or log in to another: modelkeep login --server URL";
    return [{ id: "server", status: "failed", about: `${api.serverUrl} does not answer`, hint }];
  }
}

/** Where keys are used on the server, which is another machine perhaps; nothing when it does not show its metrics. */
async function checkServerMemory({ signal }: CommandContext, url: string): Promise<Check[]> {
  const response = await systemFetch(`${url}/metrics`, { signal, redirect: "error" });
  const level = memoryLevelOf(response.ok ? await readStart(response) : "");
  if (level === undefined) return [];
  const hint = "on the server: modelkeep doctor says what it lacks; ulimit -l 8192";
  const status = level === "plain" ? "failed" : "ok";
  return [{ id: "memory-of-server", status, about: `${url} uses keys in ${level} memory`, hint }];
}

/** As much of an answer as metrics can be. */
async function readStart(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response.body ?? []) {
    pieces.push(piece);
    length += piece.length;
    if (length > MAX_METRICS_BYTES) break;
  }
  return Buffer.concat(pieces).toString("latin1");
}

function compareClocks(context: CommandContext, url: string, response: Response): Check {
  const skew = Date.parse(response.headers.get("date") ?? "") - context.clock.now();
  if (!response.ok)
    return { id: "server", status: "failed", about: `${url} answers ${response.status}`, hint: "look at its log" };
  const off = Math.abs(skew) > MAX_SKEW_MS;
  return {
    id: "server",
    status: off ? "failed" : "ok",
    about: off ? `${url} answers, its clock is ${Math.round(skew / 1000)} s off` : `${url} answers`,
    hint: "set both clocks, for example by NTP",
  };
}

async function checkAdvisories(context: CommandContext): Promise<Check> {
  const path = join(dataFolder(context.env), "advisories.idx");
  const hint = "modelkeep advisories import ZIP";
  const stat = await files.stat(path).catch(() => undefined);
  if (!stat) return { id: "advisories", status: "warning", about: "none are imported: nothing can be matched", hint };
  const days = Math.floor((context.clock.now() - stat.mtimeMs) / DAY_MS);
  const status = days > MAX_ADVISORY_AGE_DAYS ? "warning" : "ok";
  return { id: "advisories", status, about: `imported ${days} days ago`, hint };
}
