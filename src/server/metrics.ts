/** Counters and gauges in the Prometheus text format; label values come from closed sets only. */

type Labels = Readonly<Record<string, string>>;

/** Series of one name; beyond it new label sets are counted as `other`. */
const MAX_SERIES = 1_000;

interface Family {
  readonly type: "counter" | "gauge";
  readonly about: string;
  readonly series: Map<string, number>;
}

export interface ExternalCounter {
  readonly name: string;
  readonly about: string;
  readonly samples: readonly { readonly labels: Labels; readonly value: number }[];
}

export class Metrics {
  readonly #families = new Map<string, Family>();
  readonly #sources: (() => readonly ExternalCounter[])[] = [];

  /** Counters that another module keeps, read at each rendering. */
  addSource(read: () => readonly ExternalCounter[]): void {
    this.#sources.push(read);
  }

  add(name: string, about: string, labels: Labels, amount = 1): void {
    const { series } = this.#family(name, "counter", about);
    const key = seriesKey(series, labels);
    series.set(key, (series.get(key) ?? 0) + amount);
  }

  set(name: string, about: string, labels: Labels, value: number): void {
    const { series } = this.#family(name, "gauge", about);
    series.set(seriesKey(series, labels), value);
  }

  countRequest(method: string, status: number, seconds: number): void {
    const labels = { method: KNOWN_METHODS.has(method) ? method : "other", status: String(status) };
    this.add("modelkeep_http_requests_total", "Requests to the API.", labels);
    this.add("modelkeep_http_request_seconds_total", "Time spent on requests to the API, in seconds.", labels, seconds);
  }

  render(): string {
    const lines: string[] = [];
    for (const { name, about, samples } of this.#sources.flatMap((read) => read())) {
      lines.push(`# HELP ${name} ${about}`, `# TYPE ${name} counter`);
      for (const { labels, value } of samples) lines.push(`${name}${labelText(labels)} ${value}`);
    }
    for (const [name, family] of [...this.#families].sort(([a], [b]) => (a < b ? -1 : 1))) {
      lines.push(`# HELP ${name} ${family.about}`, `# TYPE ${name} ${family.type}`);
      for (const [labels, value] of family.series) lines.push(`${name}${labels} ${value}`);
    }
    return `${lines.join("\n")}\n`;
  }

  #family(name: string, type: Family["type"], about: string): Family {
    let family = this.#families.get(name);
    if (!family) {
      family = { type, about, series: new Map() };
      this.#families.set(name, family);
    }
    return family;
  }
}

const KNOWN_METHODS = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);

function seriesKey(series: ReadonlyMap<string, number>, labels: Labels): string {
  const key = labelText(labels);
  return series.has(key) || series.size < MAX_SERIES ? key : '{overflow="other"}';
}

function labelText(labels: Labels): string {
  const entries = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return entries.length === 0 ? "" : `{${entries.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
