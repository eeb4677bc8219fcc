/** One look into one file: where findings go, and the budget that all containers inside it share. */
import type { ByteSource } from "../artifact/index.ts";
import { SCAN_LIMITS } from "./limits.ts";
import { type Finding, type Severity, VERDICTS, type Verdict, worstVerdict } from "./verdict.ts";

/** Reports what it finds in the source; never throws for what stands in the file. */
export type Scanner = (source: ByteSource, inspection: Inspection) => void;

/** Findings of one file, without doubles; beyond the limit only what makes the verdict worse is kept. */
export class Findings {
  readonly #list: Finding[] = [];
  readonly #seen = new Set<string>();
  #worst: Verdict = "clean";

  add(finding: Finding): void {
    const key = `${finding.rule}\n${finding.message}`;
    const worse = VERDICTS.indexOf(finding.severity) > VERDICTS.indexOf(this.#worst);
    if (this.#seen.has(key) || (this.#list.length >= SCAN_LIMITS.findingsPerFile && !worse)) return;
    this.#worst = worstVerdict([this.#worst, finding.severity]);
    this.#seen.add(key);
    this.#list.push(finding);
  }

  get list(): readonly Finding[] {
    return this.#list;
  }

  get verdict(): Verdict {
    return this.#worst;
  }
}

class Budget {
  members = 0;
  unpackedBytes = 0;
  nestedPickles = 0;
}

export class Inspection {
  /** The file, or the path inside an archive. */
  readonly name: string;
  readonly findings: Findings;
  readonly #depth: number;
  readonly #budget: Budget;
  readonly #inspect: Scanner;

  constructor(name: string, inspect: Scanner, outer?: Inspection) {
    this.name = name;
    this.findings = outer?.findings ?? new Findings();
    this.#inspect = inspect;
    this.#depth = outer ? outer.#depth + 1 : 0;
    this.#budget = outer ? outer.#budget : new Budget();
  }

  report(rule: string, severity: Severity, message: string): void {
    this.findings.add({ rule, severity, message: this.#depth === 0 ? message : `${shorten(this.name)}: ${message}` });
  }

  /** Looks at something that was found inside, under the same budget. */
  inside(source: ByteSource, name: string): void {
    if (this.#depth >= SCAN_LIMITS.depth) {
      this.report("archive-depth", "unscannable", `containers are nested deeper than ${SCAN_LIMITS.depth}`);
    } else if (++this.#budget.members > SCAN_LIMITS.totalMembers) {
      this.report("archive-members", "unscannable", `over ${SCAN_LIMITS.totalMembers} files inside`);
    } else {
      this.#inspect(source, new Inspection(this.#depth === 0 ? name : `${this.name}!${name}`, this.#inspect, this));
    }
  }

  /** True while there is room for that many more unpacked bytes; reports when there is not. */
  spend(unpackedBytes: number): boolean {
    this.#budget.unpackedBytes += unpackedBytes;
    if (this.#budget.unpackedBytes <= SCAN_LIMITS.unpackedBytes) return true;
    this.report("archive-size", "unscannable", `over ${SCAN_LIMITS.unpackedBytes} bytes inside`);
    return false;
  }

  spendNestedPickle(): boolean {
    return ++this.#budget.nestedPickles <= SCAN_LIMITS.pickleNestedCount;
  }
}

/** A name from a file, short enough for a message. */
export function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 119)}…` : text;
}
