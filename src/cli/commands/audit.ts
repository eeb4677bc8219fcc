/** modelkeep audit list|checkpoint|export|verify: the record of what happened, and the check that nobody rewrote it. */
import { resolve } from "node:path";
import {
  type AuditVerdict,
  type ExportSource,
  exportLog,
  parseVerifierKey,
  splitLines,
  verifyExport,
} from "../../audit/index.ts";
import { EXIT, fromUtf8, ModelkeepError, utf8 } from "../../base/index.ts";
import {
  type ApiClient,
  exportAudit,
  getAuditCheckpoint,
  listAudit,
  type WireAuditEntry,
} from "../../contract/index.ts";
import { files, hostError, readFileBounded, systemErrorCode } from "../../host/index.ts";
import type { Command, CommandContext, CommandInput, CommandResult } from "../command.ts";
import { cliError } from "../errors.ts";
import { forgetSeen, readSeen, rememberSeen, type SeenLog } from "./audit-seen.ts";

const MAX_CHECKPOINT_BYTES = 16 * 1024;
const MAX_LISTED = 100_000;
const PAGE_ENTRIES = 500;

const modelOption = { flag: "--model", value: "REF", about: "of one model: name@version, or its root digest" };

export const auditList: Command = {
  name: "audit list",
  about: "What happened, oldest first: the chain of custody of a model, or the acts of somebody.",
  examples: [
    { line: "modelkeep audit list --model keeper@1", about: "everything that was done to one model" },
    { line: "modelkeep audit list --outcome refused --limit 20", about: "the last twenty refusals" },
  ],
  options: [
    modelOption,
    { flag: "--action", value: "ACTION", about: "for example key.release" },
    { flag: "--principal", value: "ENTITY", about: 'for example Workload::"demo"' },
    { flag: "--outcome", value: "OUTCOME", about: "how it ended", choices: ["allowed", "refused", "failed"] },
    { flag: "--limit", value: "N", about: "at most so many, the newest", default: "100" },
  ],
  async run(context, input) {
    const api = await context.client();
    const entries = await listMatching(api, input);
    return { data: { entries }, text: entries.map(describe) };
  },
};

/** A model's events name it by its reference or by its root digest: what the first finds tells the second. */
async function listMatching(api: ApiClient, input: CommandInput): Promise<WireAuditEntry[]> {
  const limit = numberOf(input, "--limit", MAX_LISTED);
  const model = input.text("--model");
  const found = new Map<number, WireAuditEntry>();
  const asked = new Set<string | undefined>();
  const toAsk: (string | undefined)[] = [model];
  while (toAsk.length > 0) {
    const next = toAsk.pop();
    if (asked.has(next)) continue;
    asked.add(next);
    for (const entry of await listAll(api, input, next, limit)) {
      found.set(entry.index, entry);
      if (model !== undefined && entry.model_root !== undefined) toAsk.push(entry.model_root);
    }
  }
  return [...found.values()].sort((a, b) => a.index - b.index).slice(-limit);
}

async function listAll(
  api: ApiClient,
  input: CommandInput,
  model: string | undefined,
  limit: number,
): Promise<WireAuditEntry[]> {
  const [action, principal, outcome] = [input.text("--action"), input.text("--principal"), input.text("--outcome")];
  const entries: WireAuditEntry[] = [];
  for (let before: number | undefined; ; ) {
    const page = await api.call(listAudit, {
      body: {
        limit: String(Math.min(limit - entries.length, PAGE_ENTRIES)),
        ...(action === undefined ? {} : { action }),
        ...(principal === undefined ? {} : { principal }),
        ...(outcome === undefined ? {} : { outcome: outcome as WireAuditEntry["outcome"] }),
        ...(model === undefined ? {} : { model }),
        ...(before === undefined ? {} : { before: String(before) }),
      },
    });
    entries.push(...page.entries);
    if (page.next === undefined || entries.length >= limit) return entries;
    before = page.next;
  }
}

function describe(entry: WireAuditEntry): string {
  const { index, at, action, outcome, principal, resource, reason = [], model_root: root } = entry;
  const why = reason.length > 0 ? `  (${reason.join(", ")})` : "";
  const tied = root === undefined ? "" : `  root ${root.slice(0, 12)}`;
  return `${String(index).padStart(6)}  ${at}  ${outcome.padEnd(7)}  ${action}  ${principal} -> ${resource}${tied}${why}`;
}

export const auditCheckpoint: Command = {
  name: "audit checkpoint",
  about: "The newest signed checkpoint and the log's key: keep both where the server cannot reach them.",
  examples: [
    { line: "modelkeep audit checkpoint > monday.checkpoint", about: "for a later verify --since" },
    { line: "modelkeep audit checkpoint --json", about: "with the verifier key" },
  ],
  async run(context) {
    const data = await (await context.client()).call(getAuditCheckpoint, {});
    context.talk(`key: ${data.key}`);
    return { data, text: data.checkpoint };
  },
};

export const auditExport: Command = {
  name: "audit export",
  about: "Writes the whole log with its checkpoint to a file that `audit verify` checks without a server.",
  examples: [{ line: "modelkeep audit export --output audit.jsonl", about: "one JSON document a line" }],
  options: [{ flag: "--output", value: "FILE", about: "a new file", required: true }],
  async run(context, input) {
    const file = input.need("--output");
    const source = await openRemote(await context.client());
    const entries = await writeExport(context, resolve(context.cwd, file), source);
    return { data: { file, entries, key: source.verifierKey }, text: `${entries} entries in ${file}` };
  },
};

async function writeExport(context: CommandContext, path: string, source: ExportSource): Promise<number> {
  const handle = await files.open(path, "wx", 0o600).catch((error: unknown) => {
    const hint = systemErrorCode(error) === "EEXIST" ? { hint: "name a file that does not exist yet" } : {};
    throw hostError("FILE_UNWRITABLE", { detail: `${path} (${systemErrorCode(error) ?? "unknown"})`, ...hint });
  });
  try {
    let lines = 0;
    for await (const line of exportLog(source)) {
      if (context.signal.aborted) throw cliError("INTERRUPTED");
      await handle.write(line);
      context.progress({ step: "export", done: ++lines, total: 0, unit: "entries" });
    }
    await handle.sync();
    return lines - 2;
  } catch (error) {
    await files.rm(path, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/** The server's log as the source of an export. */
async function openRemote(api: ApiClient): Promise<ExportSource> {
  const { checkpoint: note, key, size } = await api.call(getAuditCheckpoint, {});
  return {
    verifierKey: key,
    checkpoint: async () => ({ note, size }),
    leaves: async (start, end) => {
      const { leaves, next } = await api.call(exportAudit, { body: { start: String(start), end: String(end) } });
      const onward = next !== undefined && next === start + leaves.length && leaves.length > 0;
      return { leaves: leaves.map(utf8), ...(onward ? { next } : {}) };
    },
  };
}

export const auditVerify: Command = {
  name: "audit verify",
  about:
    "Recomputes every hash of an export, or of the server's log, and checks the signature and what was seen before.",
  examples: [
    { line: "modelkeep audit verify", about: "the log of the server; remembers its checkpoint for the next time" },
    { line: "modelkeep audit verify audit.jsonl --key VKEY --since monday.checkpoint", about: "without a server" },
  ],
  args: [{ name: "FILE", about: "an export; without it the server is asked", optional: true }],
  options: [
    { flag: "--key", value: "VKEY", about: "the verifier key that you trust" },
    {
      flag: "--since",
      value: "CHECKPOINTFILE",
      about: "an older checkpoint: the log must have grown out of it",
      repeatable: true,
    },
    { flag: "--forget", about: "forget the key and checkpoint that were seen at this server" },
  ],
  async run(context, input) {
    const since = await Promise.all(input.all("--since").map((file) => readNote(resolve(context.cwd, file))));
    const key = input.text("--key");
    if (key !== undefined) parseVerifierKey(key);
    const file = input.args[0];
    const verdict =
      file === undefined
        ? await verifyServer(context, input.on("--forget"), key, since)
        : await verifyFile(resolve(context.cwd, file), { since, ...(key === undefined ? {} : { key }) });
    return toResult(verdict);
  },
};

async function readNote(path: string): Promise<string> {
  const bytes = await readFileBounded(path, MAX_CHECKPOINT_BYTES);
  try {
    return fromUtf8(bytes);
  } catch {
    throw cliError("USAGE", { detail: `${path} is no checkpoint` });
  }
}

async function verifyFile(path: string, options: { key?: string; since: string[] }): Promise<AuditVerdict> {
  const handle = await files.open(path, "r").catch((error: unknown) => {
    const missing = systemErrorCode(error) === "ENOENT";
    throw hostError(missing ? "FILE_NOT_FOUND" : "FILE_UNREADABLE", { detail: path, cause: error });
  });
  try {
    return await verifyExport(splitLines(handle.createReadStream({ autoClose: false })), options);
  } finally {
    await handle.close();
  }
}

async function verifyServer(
  context: CommandContext,
  forget: boolean,
  key: string | undefined,
  since: readonly string[],
): Promise<AuditVerdict> {
  const api = await context.client();
  if (forget) await forgetSeen(context.env, api.serverUrl);
  const seen: SeenLog | undefined = await readSeen(context.env, api.serverUrl);
  const trusted = key ?? seen?.key;
  const all = seen ? [...since, seen.checkpoint] : [...since];
  const verdict = await damagedAsVerdict(trusted ?? "", async () =>
    verifyExport(splitLines(exportLog(await openRemote(api))), {
      since: all,
      ...(trusted === undefined ? {} : { key: trusted }),
    }),
  );
  if (verdict.verdict === "accepted" && verdict.checkpoint) {
    await rememberSeen(context.env, api.serverUrl, { key: verdict.key, checkpoint: verdict.checkpoint.note });
  }
  return verdict;
}

/** A server that finds its own log damaged cannot hand it out: that is an answer too. */
async function damagedAsVerdict(key: string, work: () => Promise<AuditVerdict>): Promise<AuditVerdict> {
  try {
    return await work();
  } catch (error) {
    const damaged = error instanceof ModelkeepError && ["AUDIT_TAMPERED", "STORE_TAMPERED"].includes(error.code);
    if (!damaged) throw error;
    return { verdict: "refused", rules: [{ id: "leaves", result: "failed", message: error.message }], entries: 0, key };
  }
}

function toResult(verdict: AuditVerdict): CommandResult {
  const lines = verdict.rules.map(({ id, result, message }) => `${result.padEnd(9)}  ${id}: ${message}`);
  const last = `${verdict.verdict}: ${verdict.entries} entries, key ${verdict.key}`;
  return {
    data: verdict,
    text: [...lines, last],
    exit: verdict.verdict === "accepted" ? EXIT.done : EXIT.verificationFailed,
  };
}

function numberOf(input: CommandInput, flag: string, max: number): number {
  const text = input.need(flag);
  const value = Number(text);
  if (!/^[1-9][0-9]*$/.test(text) || value > max)
    throw cliError("USAGE", { detail: `${flag} ${text.slice(0, 20)} is not a number from 1 to ${max}` });
  return value;
}
