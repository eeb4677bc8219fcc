/** Matches and scorecard as one page of HTML that loads nothing and runs nothing. */
import { SEVERITIES } from "../advisories/severity.ts";
import { countMatches } from "../findings.ts";
import type { Scorecard } from "../score/score.ts";
import type { JudgedMatch } from "../vex/judge.ts";
import { whyClosed } from "./sarif.ts";

export interface ReportParts {
  readonly title: string;
  /** Absent when nothing was matched. */
  readonly packages?: number;
  readonly matches: readonly JudgedMatch[];
  readonly score?: Scorecard;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

const STYLE = `:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;width:100%;margin:1rem 0 2rem}caption{text-align:left;font-weight:600;padding:.4rem 0}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #c4c4c4}
td{overflow-wrap:anywhere}.word{font-weight:600;white-space:nowrap}
.critical,.high,.malware,.missing{color:#a30000}.medium,.declared{color:#7a4a00}.low,.unknown{color:#3d3d3d}.filled,.derived{color:#0b5a1e}
.closed td{color:#555}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}th,td{border-color:#555}
.critical,.high,.malware,.missing{color:#ff9c9c}.medium,.declared{color:#ffc46b}.low,.unknown{color:#cfcfcf}.filled,.derived{color:#8fe3a3}
.closed td{color:#b5b5b5}}`;

export function toHtml(parts: ReportParts): string {
  const { title, packages, matches, score } = parts;
  const open = matches.filter(({ state }) => state === "open").sort((a, b) => weightOf(b) - weightOf(a));
  const closed = matches.filter(({ state }) => state !== "open");
  const counts = Object.entries(countMatches(open)).filter(([, number]) => number > 0);
  const summary =
    counts.length === 0
      ? "Nothing is known against them."
      : `${counts.map(([word, number]) => `${number} ${word}`).join(", ")}.`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p>${packages === undefined ? "" : `${packages} packages were matched. ${summary} `}Written on ${new Date(parts.nowMs).toISOString().slice(0, 10)}.</p>
${section("Open", open, false)}${section("Closed by VEX or a waiver", closed, true)}${score ? scoreTable(score) : ""}</main>
</body>
</html>
`;
}

/** Malware first, then what is known to be used, then the worst. */
function weightOf({ malware, kev, severity, score }: JudgedMatch): number {
  return Number(malware) * 1000 + Number(kev) * 100 + SEVERITIES.indexOf(severity) * 20 + score;
}

function section(title: string, matches: readonly JudgedMatch[], isClosed: boolean): string {
  if (matches.length === 0) return "";
  const last = isClosed ? "Why" : "What to do";
  return `<h2>${title}</h2>
<table>
<caption>${matches.length} ${matches.length === 1 ? "weakness" : "weaknesses"}, ${title.charAt(0).toLowerCase()}${title.slice(1)}</caption>
<thead><tr><th scope="col">Severity</th><th scope="col">Package</th><th scope="col">Weakness</th><th scope="col">${last}</th></tr></thead>
<tbody>
${matches.map((match) => rowOf(match, isClosed)).join("\n")}
</tbody>
</table>
`;
}

function rowOf(match: JudgedMatch, isClosed: boolean): string {
  const word = match.malware ? "malware" : match.severity;
  const score = match.score > 0 && !match.malware ? ` ${match.score}` : "";
  const use = [
    ...(match.kev ? ["known to be exploited"] : []),
    ...(match.epss === undefined ? [] : [`EPSS ${(100 * match.epss).toFixed(1)} %`]),
  ];
  const todo = match.malware
    ? "Remove the package."
    : match.fixed.length === 0
      ? "No fix is known."
      : `Update to ${match.fixed.slice(0, 3).join(", ")}.`;
  const about = [match.summary, ...use]
    .filter((text) => text !== "")
    .map(escapeHtml)
    .join("<br>");
  return `<tr${isClosed ? ' class="closed"' : ""}><td class="word ${word}">${word}${score}</td><th scope="row">${escapeHtml(`${match.package} ${match.version}`)}</th><td>${escapeHtml([match.id, ...match.aliases].join(", "))}<br>${about}</td><td>${escapeHtml(isClosed ? whyClosed(match) : todo)}</td></tr>`;
}

function scoreTable({ elements, percent }: Scorecard): string {
  const rows = elements.map(
    ({ id, title, state, evidence, todo }) =>
      `<tr><th scope="row">${escapeHtml(id)}</th><td>${escapeHtml(title)}</td><td class="word ${state}">${state}</td><td>${escapeHtml(evidence || todo)}</td></tr>`,
  );
  return `<h2>Minimum elements</h2>
<table>
<caption>${percent} % of the elements of "SBOM for AI" (G7) are there</caption>
<thead><tr><th scope="col">Element</th><th scope="col">What</th><th scope="col">State</th><th scope="col">Evidence, or the next step</th></tr></thead>
<tbody>
${rows.join("\n")}
</tbody>
</table>
`;
}

function escapeHtml(text: string): string {
  return text
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;")
    .replace(/'/g, "&#39;");
}
