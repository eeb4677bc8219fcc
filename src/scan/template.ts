/** Looks for Jinja templates that reach out of their sandbox (CVE-2024-34359 and kin). */
import type { Inspection } from "./inspection.ts";
import { SCAN_LIMITS } from "./limits.ts";

interface Pattern {
  readonly rule: string;
  readonly severity: "malicious" | "suspicious";
  readonly pattern: RegExp;
  readonly message: string;
}

/** Against the code of a template only, after its escapes were undone. */
const PATTERNS: readonly Pattern[] = [
  {
    rule: "template-dunder",
    severity: "malicious",
    pattern: /__\w{2,40}__/,
    message: "a template reaches for internals of Python objects",
  },
  {
    rule: "template-import",
    severity: "malicious",
    pattern: /\b(?:os|posix|subprocess|sys|shutil|socket|importlib|builtins|pty)\s*\.\s*[A-Za-z_]\w*\s*\(/,
    message: "a template calls into a module of Python",
  },
  {
    rule: "template-call",
    severity: "malicious",
    pattern: /(?:^|[^.\w])(?:eval|exec|compile|__import__|popen|system|getattr|setattr|globals|locals|open|input)\s*\(/,
    message: "a template calls a function that runs code or opens files",
  },
  {
    rule: "template-attr-filter",
    severity: "suspicious",
    pattern: /\|\s*attr\s*\(|\|\s*map\s*\(\s*attribute\s*=\s*['"]_/,
    message: "a template reads attributes by computed names",
  },
  {
    rule: "template-gadget",
    severity: "suspicious",
    pattern: /\b(?:lipsum|cycler|joiner|get_flashed_messages|url_for)\b|['"]__['"]|\[\s*['"]_['"]/,
    message: "a template uses what attacks start from and chats do not need",
  },
  {
    rule: "template-char-code",
    severity: "suspicious",
    pattern: /(?:^|[^.\w])chr\s*\(/,
    message: "a template builds text from character codes",
  },
];

export function looksLikeTemplate(text: string): boolean {
  return text.includes("{{") || text.includes("{%");
}

export function scanTemplate(text: string, where: string, inspection: Inspection): void {
  if (text.length > SCAN_LIMITS.templateCharacters) {
    inspection.report("template-size", "malformed", `${where} is a template of ${text.length} characters`);
  }
  scanTemplateCode(text, where, inspection);
}

/** As scanTemplate, for a text of any length that has templates in it. */
export function scanTemplateCode(text: string, where: string, inspection: Inspection): void {
  const code = unescapeAll(codeOf(text));
  for (const { rule, severity, pattern, message } of PATTERNS) {
    if (pattern.test(code)) inspection.report(rule, severity, `${where}: ${message}`);
  }
}

/** What stands inside {{ }} and {% %}; an open end counts to the end of the text. Comments do not run. */
function codeOf(text: string): string {
  const parts: string[] = [];
  for (let at = nextOpening(text, 0); at !== -1; ) {
    const kind = text[at + 1];
    const close = text.indexOf(kind === "{" ? "}}" : kind === "%" ? "%}" : "#}", at + 2);
    const end = close === -1 ? text.length : close;
    if (kind !== "#") parts.push(text.slice(at + 2, end));
    at = nextOpening(text, end);
  }
  return parts.join("\n");
}

function nextOpening(text: string, from: number): number {
  for (let at = text.indexOf("{", from); at !== -1; at = text.indexOf("{", at + 1)) {
    const next = text[at + 1];
    if (next === "{" || next === "%" || next === "#") return at;
  }
  return -1;
}

/** Undoes string escapes and joins neighbouring literals, so that '\x5f_cl' ~ 'ass__' reads as one name. */
function unescapeAll(code: string): string {
  return code
    .replace(/\\+x([0-9a-fA-F]{2})|\\+u([0-9a-fA-F]{4})|\\+([0-7]{3})/g, (_all, x?: string, u?: string, o?: string) =>
      String.fromCharCode(o ? Number.parseInt(o, 8) : Number.parseInt(x ?? u ?? "", 16)),
    )
    .replace(/(['"])\s{0,20}[+~]?\s{0,20}\1/g, "");
}
