/** Scans pickles: one after another in a file, nested in text, and lost among other bytes. */
import { type ByteSource, Cursor, memorySource } from "../../artifact/index.ts";
import { ModelkeepError } from "../../base/index.ts";
import { type Inspection, shorten } from "../inspection.ts";
import { SCAN_LIMITS } from "../limits.ts";
import type { Severity } from "../verdict.ts";
import { Machine } from "./machine.ts";
import { type Global, PickleError, type PickleEvents, PickleLimit } from "./values.ts";

type Report = (rule: string, severity: Severity, message: string) => void;

interface Run {
  /** Where the next pickle may begin; where it broke, without STOP. */
  readonly end: number;
  readonly stopped: boolean;
  /** Something was called or changed on the way: that happens even when the pickle breaks later. */
  readonly acted: boolean;
  readonly problem?: { readonly kind: "broken" | "limit"; readonly message: string };
}

const PROTOCOL = 0x80;
const MAX_PROTOCOL = 5;
/** LONG1 of the magic number 0x1950a86a20f9469cfc6c (torch/serialization.py, MAGIC_NUMBER). */
const TORCH_MAGIC = Buffer.from("8a0a6cfc9c46f9206aa85019", "hex");
/** Magic number, protocol, system, object, storage keys. Raw storages follow. */
const TORCH_PICKLES = 5;

/** True when the bytes begin with PROTO. */
export function looksLikePickle(source: ByteSource): boolean {
  const [code, version] = source.read(0, 2);
  return code === PROTOCOL && version !== undefined && version <= MAX_PROTOCOL;
}

/** Reports on every pickle of the file and on what is left over between and after them. */
export function scanPickle(source: ByteSource, inspection: Inspection): void {
  const report: Report = (...finding) => inspection.report(...finding);
  const isTorch = Buffer.from(source.read(2, TORCH_MAGIC.length)).equals(TORCH_MAGIC);
  let position = 0;
  for (let streams = 0; position < source.bytes; streams++) {
    if (isTorch && streams === TORCH_PICKLES) {
      tryPickle(source, position, report, inspection);
      return;
    }
    const run =
      streams === 0 ? runPickle(source, 0, report, inspection) : tryPickle(source, position, report, inspection);
    if (!run.stopped || streams === SCAN_LIMITS.pickleStreams) {
      if (streams === 0 || run.problem?.kind === "limit") reportProblem(run, report);
      else if (!isBlank(source, position)) reportRest(source.bytes - position, report);
      carvePickles(source, Math.max(run.end, position + 1), inspection);
      return;
    }
    position = run.end;
  }
}

function reportProblem(run: Run, report: Report): void {
  if (run.problem?.kind === "limit") report("pickle-limit", "unscannable", run.problem.message);
  else report("pickle-broken", "malformed", `the pickle breaks at byte ${run.end}: ${run.problem?.message ?? ""}`);
}

function reportRest(bytes: number, report: Report): void {
  report("pickle-trailing-data", "malformed", `${bytes} bytes after the pickle are no pickle`);
}

function isBlank(source: ByteSource, start: number): boolean {
  const rest = source.read(start, 4096);
  return start + rest.length === source.bytes && rest.every((byte) => byte === 0 || byte === 0x0a || byte === 0x20);
}

/**
 * Any file may be a pickle besides what it looks like, for a loader that does not ask. Reports on pickles at the
 * beginning that act or come to their end; true when there is one. What follows them is not judged here.
 */
export function probePickles(source: ByteSource, inspection: Inspection): boolean {
  let position = 0;
  for (let streams = 0; position < source.bytes && streams < SCAN_LIMITS.pickleStreams; streams++) {
    const run = tryPickle(source, position, (...finding) => inspection.report(...finding), inspection);
    if (!run.stopped) return streams > 0 || run.acted;
    position = run.end;
  }
  return position > 0;
}

/** A file that begins with an import but breaks at once: meant as a pickle, and no other format. */
export function beginsWithImport(source: ByteSource): boolean {
  return /^c[A-Za-z_][\w.]*\n/.test(Buffer.from(source.read(0, 256)).toString("latin1"));
}

/** Searches bytes of no known structure; reports pickles that import what they must not. */
export function carvePickles(source: ByteSource, start: number, inspection: Inspection): void {
  const region = Buffer.from(source.read(start, SCAN_LIMITS.carveBytes));
  let consumed = 0;
  for (let at = region.indexOf(PROTOCOL); at !== -1; at = region.indexOf(PROTOCOL, at + 1)) {
    const version = region[at + 1] ?? 0xff;
    if (version < 2 || version > MAX_PROTOCOL) continue;
    if (consumed > SCAN_LIMITS.carveReadBytes) {
      inspection.report("carve-limit", "unscannable", "too many beginnings of pickles among the bytes");
      return;
    }
    const report: Report = (rule, severity, message) =>
      inspection.report(rule, severity, `${message} (found at byte ${start + at})`);
    consumed += tryPickle(memorySource(region), at, report, inspection, SCAN_LIMITS.carveOperators).end - at;
  }
}

/** Runs a pickle, and reports only when it came to its end or acted before it broke. */
function tryPickle(
  source: ByteSource,
  start: number,
  report: Report,
  inspection: Inspection,
  maxOperators: number = SCAN_LIMITS.pickleOperators,
): Run {
  const held: Parameters<Report>[] = [];
  const run = runPickle(source, start, (...finding) => void held.push(finding), inspection, maxOperators);
  if (run.stopped || run.acted) for (const finding of held) report(...finding);
  return run;
}

function runPickle(
  source: ByteSource,
  start: number,
  report: Report,
  inspection: Inspection,
  maxOperators: number = SCAN_LIMITS.pickleOperators,
  nesting = 0,
): Run {
  const cursor = new Cursor(source, start);
  const watch = new Watch(report, inspection, nesting);
  const machine = new Machine(cursor, watch, maxOperators);
  try {
    machine.run();
    return { end: cursor.position, stopped: true, acted: watch.acted };
  } catch (error) {
    const broken = error instanceof PickleError || error instanceof ModelkeepError;
    if (!broken && !(error instanceof PickleLimit)) throw error;
    const problem = { kind: broken ? ("broken" as const) : ("limit" as const), message: error.message };
    return { end: cursor.position, stopped: false, acted: watch.acted, problem };
  }
}

/** Turns what a pickle does into findings. */
class Watch implements PickleEvents {
  acted = false;
  readonly #report: Report;
  readonly #inspection: Inspection;
  readonly #nesting: number;
  readonly #known = new Set<string>();

  constructor(report: Report, inspection: Inspection, nesting: number) {
    this.#report = report;
    this.#inspection = inspection;
    this.#nesting = nesting;
  }

  imported(global: Global | undefined): void {
    if (!global) {
      this.#report("pickle-computed-import", "malicious", "an imported name is computed while the pickle is read");
      return;
    }
    if (global.standing === "allowed") return;
    const name = shorten(`${global.module}.${global.name}`);
    if (this.#known.has(name) || this.#known.size >= SCAN_LIMITS.findingsPerFile) return;
    this.#known.add(name);
    if (global.standing === "dangerous") this.#report("pickle-dangerous-import", "malicious", `imports ${name}`);
    else
      this.#report("pickle-unknown-import", "suspicious", `imports ${name}, which is not on the list of allowed names`);
  }

  called(global: Global | undefined): void {
    this.acted = true;
    if (!global) this.#report("pickle-computed-call", "malicious", "calls something that it computed before");
  }

  tampered(global: Global): void {
    this.acted = true;
    const name = shorten(`${global.module}.${global.name}`);
    this.#report("pickle-tampering", "malicious", `changes the import ${name} itself`);
  }

  extension(): void {
    this.#report("pickle-extension", "suspicious", "uses an extension code, whose meaning stands elsewhere");
  }

  data(bytes: Uint8Array): void {
    const nested = findNested(bytes);
    if (!nested || this.#nesting >= SCAN_LIMITS.pickleNesting || !this.#inspection.spendNestedPickle()) return;
    let found = "";
    const report: Report = (_rule, _severity, message) => {
      found ||= message;
    };
    runPickle(memorySource(nested), 0, report, this.#inspection, SCAN_LIMITS.carveOperators, this.#nesting + 1);
    if (found) this.#report("pickle-nested", "suspicious", `holds another pickle in a text or bytes: ${found}`);
  }
}

/** The bytes of a pickle that stands in bytes as it is, in hex or in base64. */
function findNested(bytes: Uint8Array): Uint8Array | undefined {
  const [first, second] = bytes;
  if (bytes.length < 4 || bytes.length > SCAN_LIMITS.pickleNestedBytes || first === undefined) return undefined;
  if (first === PROTOCOL && second !== undefined && second <= MAX_PROTOCOL) return bytes;
  if (first === 0x63 && beginsWithImport(memorySource(bytes))) return bytes;
  if (first === 0x38 && second === 0x30) return decodeText(bytes, /^(?:[0-9a-fA-F]{2})+$/, "hex");
  if (first === 0x67 && second === 0x41) return decodeText(bytes, /^[A-Za-z0-9+/_-]+=*\s*$/, "base64");
  return undefined;
}

function decodeText(bytes: Uint8Array, pattern: RegExp, encoding: "hex" | "base64"): Uint8Array | undefined {
  const text = Buffer.from(bytes).toString("latin1");
  return pattern.test(text) ? Buffer.from(text, encoding) : undefined;
}
