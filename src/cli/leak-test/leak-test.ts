/** The leak test: real calls with a key that nobody has used, and then a search for it everywhere. */
import { join } from "node:path";
import { toHex } from "../../base/index.ts";
import { listAudit } from "../../contract/index.ts";
import { files, spawnProcess } from "../../host/index.ts";
import type { CommandContext } from "../command.ts";
import { cliError } from "../errors.ts";
import { type Found, needlesOf, scanFile, scanFolder, scanMemory, scanText } from "./scan.ts";
import { MODEL, openStage, SLOW_MODEL, type Stage } from "./stage.ts";

const CALLS = 50;

export interface LeakScan {
  readonly where: string;
  readonly when: "checked out" | "after check-in";
  /** Undefined when it could not be looked at; `about` says why. */
  readonly copies?: number;
  readonly bytes?: number;
  readonly status: "ok" | "failed" | "skipped";
  readonly about?: string;
}

export interface LeakReport {
  readonly verdict: "ok" | "failed";
  readonly level: string;
  readonly calls: number;
  readonly scans: readonly LeakScan[];
}

/** Throws LEAK_TEST_FAILED when the test itself cannot be made: that is no verdict. */
export async function runLeakTest(context: CommandContext): Promise<LeakReport> {
  const key = `sk-leaktest-${toHex(context.random.bytes(24))}`;
  const needles = needlesOf(key);
  const stage = await openStage(context, key);
  try {
    await callProvider(stage);
    const stream = await openStream(stage);
    const scans = [memory(stage, needles, "checked out"), await core(stage, needles, "checked out")];
    scans.push(await snapshot(stage, needles, "checked out"));
    stream.abort();
    await stage.checkIn();
    await callAudit(stage);
    scans.push(memory(stage, needles, "after check-in"), await core(stage, needles, "after check-in"));
    scans.push(await snapshot(stage, needles, "after check-in"), ...(await words(stage, needles)));
    scans.push(scanned("disk", "after check-in", await scanFolder(stage.folder, needles)));
    const verdict = scans.some(({ status }) => status === "failed") ? "failed" : "ok";
    return { verdict, level: await levelOf(stage), calls: stage.arrived(), scans };
  } finally {
    await stage.end();
  }
}

async function callProvider({ workload, arrived }: Stage): Promise<void> {
  const url = `${workload.session.serverUrl}/v1/chat/completions`;
  const body = JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "hello" }] });
  for (let call = 0; call < CALLS; call++) {
    const answer = await workload.fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    await answer.arrayBuffer();
  }
  if (arrived() !== CALLS) throw cliError("LEAK_TEST_FAILED", { detail: `${arrived()} of ${CALLS} calls had the key` });
}

/** Stays open, so that the key is in use while it is looked for. */
async function openStream({ workload }: Stage): Promise<AbortController> {
  const abort = new AbortController();
  const answer = await workload.fetch(`${workload.session.serverUrl}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: SLOW_MODEL, messages: [], stream: true }),
    signal: abort.signal,
  });
  if (answer.status !== 200) throw cliError("LEAK_TEST_FAILED", { detail: `the stream answered ${answer.status}` });
  return abort;
}

function scanned(where: string, when: LeakScan["when"], { copies, bytes }: Found): LeakScan {
  return { where, when, copies, bytes, status: copies === 0 ? "ok" : "failed" };
}

function skipped(where: string, when: LeakScan["when"], about: string): LeakScan {
  return { where, when, status: "skipped", about };
}

/** A search that finds nothing proves nothing unless it finds what is there: a name that is no secret. */
function memory({ pid }: Stage, needles: readonly Buffer[], when: LeakScan["when"]): LeakScan {
  const control = scanMemory(pid, [Buffer.from(MODEL)]);
  const found = scanMemory(pid, needles);
  if (!control || !found) return skipped("memory", when, "the kernel lets only root look: run it as root");
  if (control.copies === 0) throw cliError("LEAK_TEST_FAILED", { detail: "the search of memory finds nothing at all" });
  return scanned("memory", when, found);
}

async function snapshot(stage: Stage, needles: readonly Buffer[], when: LeakScan["when"]): Promise<LeakScan> {
  const path = await stage.snapshot();
  const found = scanFile(path, needles);
  await files.rm(path);
  return scanned("heap snapshot", when, found);
}

/** The page of `memfd_secret` is in none; other locked pages are marked to be left out. */
async function core({ pid, folder }: Stage, needles: readonly Buffer[], when: LeakScan["when"]): Promise<LeakScan> {
  const base = join(folder, "core");
  const exit = await new Promise<number | null>((resolve) => {
    const child = spawnProcess("gcore", ["-o", base, String(pid)], { stdio: "ignore" });
    child.on("error", () => resolve(null));
    child.on("exit", resolve);
  });
  const path = `${base}.${pid}`;
  if (exit === null) return skipped("core file", when, "gcore is not there: install gdb");
  if (exit !== 0) return skipped("core file", when, "the kernel lets only root write one: run it as root");
  const found = scanFile(path, needles);
  await files.rm(path);
  return scanned("core file", when, found);
}

/** What the server said by itself and what it says when it is asked. */
async function words(stage: Stage, needles: readonly Buffer[]): Promise<LeakScan[]> {
  const { admin, pid } = stage;
  const metrics = await (await admin.fetch(`${admin.session.serverUrl}/metrics`)).text();
  const told: Readonly<Record<string, string>> = { log: stage.said(), audit: await callAudit(stage), metrics };
  const environment = ["environ", "cmdline"].map((name) =>
    files.readFile(`/proc/${pid}/${name}`, "latin1").catch(() => ""),
  );
  const all = { ...told, environment: (await Promise.all(environment)).join("\n") };
  return Object.entries(all).map(([where, text]) => scanned(where, "after check-in", scanText(text, needles)));
}

/** Of the server that was tried. */
async function levelOf({ admin }: Stage): Promise<string> {
  const metrics = await (await admin.fetch(`${admin.session.serverUrl}/metrics`)).text();
  return memoryLevelOf(metrics) ?? "unknown";
}

/** The kind of memory that a server says it uses keys in. */
export function memoryLevelOf(metrics: string): string | undefined {
  return /^modelkeep_guarded_memory\{level="(\w+)"\} 1$/m.exec(metrics)?.[1];
}

async function callAudit({ admin }: Stage): Promise<string> {
  return JSON.stringify(await admin.api.call(listAudit, {}));
}
