/** Matches every published model again when advisories or models change, and tells of what is new. */
import {
  type Clock,
  entityText,
  fromUtf8,
  type Log,
  ModelkeepError,
  parseJson,
  type Recorder,
  utf8,
} from "../base/index.ts";
import { type JudgedMatch, SEVERITIES } from "../bom/index.ts";
import type { AffectedWeakness, StandingWaiver } from "../contract/index.ts";
import type { RecordStore } from "../store/index.ts";
import type { AdvisorySource, Assessment, Known } from "./advisories.ts";
import { SERVER_LIMITS } from "./limits.ts";
import type { Metrics } from "./metrics.ts";
import type { ModelRegistry } from "./models.ts";
import type { Waivers } from "./waivers.ts";

/** By weakness: the models that were told of. */
const TOLD = "advisory-alerts";
/** By `name@version`: when a host last said that it loaded the model. */
const LOADS = "model-loads";

/** The match under way may have passed the model's place before it was there. */
const NEED_ATTEMPTS = 2;

export interface AdvisoryWatchPorts {
  readonly source: AdvisorySource;
  readonly models: Pick<ModelRegistry, "list" | "known">;
  readonly waivers: Pick<Waivers, "standing">;
  readonly store: RecordStore;
  readonly recorder: Recorder;
  readonly metrics: Pick<Metrics, "add" | "set">;
  readonly clock: Pick<Clock, "now">;
  readonly log: Log;
}

export class AdvisoryWatch {
  readonly #ports: AdvisoryWatchPorts;
  readonly #timer: NodeJS.Timeout;
  #assessments: ReadonlyMap<string, Assessment> = new Map();
  #weaknesses: readonly AffectedWeakness[] = [];
  #matchedAtMs: number | undefined;
  #isDue = true;
  /** The waivers of the last match: another one, or the end of one, is a reason to match again. */
  #waived = "";
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(ports: AdvisoryWatchPorts) {
    this.#ports = ports;
    this.#timer = setInterval(() => void this.look(), SERVER_LIMITS.advisoryLookMs).unref();
  }

  /** Of the last match; undefined for a model that is newer than that. */
  of(ref: string): Assessment | undefined {
    return this.#assessments.get(ref);
  }

  /** As `of`, after another match where the last one did not see the model: it is new, or so is this process. */
  async need(ref: string): Promise<Assessment | undefined> {
    for (let attempt = 0; attempt < NEED_ATTEMPTS && !this.of(ref); attempt++) {
      this.soon();
      await this.look();
    }
    return this.of(ref);
  }

  affected(): { readonly matchedAtMs: number | undefined; readonly weaknesses: readonly AffectedWeakness[] } {
    return { matchedAtMs: this.#matchedAtMs, weaknesses: this.#weaknesses };
  }

  /** At the next look everything is matched again. */
  soon(): void {
    this.#isDue = true;
  }

  /** Looks for another index, and matches when there is one or it is due. Never fails; what was known before stays. */
  look(): Promise<void> {
    this.#running ??= this.#look().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#running;
    this.#ports.source.close();
  }

  async #look(): Promise<void> {
    const { source, clock, log, metrics } = this.#ports;
    const about = "1 while published models could not be matched against the advisories of now.";
    try {
      const isNew = await source.refresh();
      const waivers = await this.#ports.waivers.standing();
      const isWaivedAnew = idsOf(waivers) !== this.#waived;
      const isOld = clock.now() - (this.#matchedAtMs ?? 0) >= SERVER_LIMITS.advisoryMatchMs;
      if (isNew || isOld || isWaivedAnew || this.#isDue) await this.#matchAll(waivers);
      metrics.set("modelkeep_advisories_stale", about, {}, 0);
    } catch (error) {
      this.#isDue = true;
      metrics.set("modelkeep_advisories_stale", about, {}, 1);
      log.error("published models could not be matched", { error });
    }
  }

  async #matchAll(waivers: readonly StandingWaiver[]): Promise<void> {
    this.#isDue = false;
    const { source, models, clock } = this.#ports;
    const found = new Map<string, Assessment>();
    for (let after: string | undefined; !this.#closed; ) {
      const page = await models.list(after);
      for (const { name, version } of page.models) {
        const ref = `${name}@${version}`;
        const known = await models.known(ref);
        if (known) found.set(ref, assessAny(source, { ...known, waivers }, clock.now()));
      }
      after = page.next;
      if (after === undefined) break;
    }
    if (this.#closed) return;
    const weaknesses = weaknessesOf(found, await this.#runningModels());
    for (const weakness of weaknesses) await this.#tell(weakness);
    this.#assessments = found;
    this.#weaknesses = weaknesses;
    this.#matchedAtMs = clock.now();
    this.#waived = idsOf(waivers);
    this.#count();
  }

  async #runningModels(): Promise<ReadonlySet<string>> {
    const since = this.#ports.clock.now() - SERVER_LIMITS.runningMs;
    const found = new Set<string>();
    for (let after: string | undefined; ; ) {
      const page = await this.#ports.store.list(LOADS, {
        limit: SERVER_LIMITS.modelsPerPage,
        ...(after === undefined ? {} : { after }),
      });
      for (const { id, value } of page.records) if (Number(fromUtf8(value)) >= since) found.add(id);
      after = page.next;
      if (after === undefined) return found;
    }
  }

  /**
   * Once for each model, whichever replica is first: the record is written before anybody is told. A model for which
   * somebody speaks now is forgotten, so that it is told of again when nobody does any more.
   */
  async #tell(weakness: AffectedWeakness): Promise<void> {
    const { store } = this.#ports;
    const before = await store.get(TOLD, weakness.id);
    const known = new Set(before ? (parseJson(before.value) as string[]) : []);
    const isTold = weakness.models.every((ref) => known.has(ref));
    const closed = new Set([...weakness.not_affected, ...weakness.waived]);
    const all = [...new Set([...known, ...weakness.models])].filter((ref) => !closed.has(ref)).sort();
    if (isTold && all.length === known.size) return;
    try {
      await store.put(TOLD, weakness.id, utf8(JSON.stringify(all)), { ifVersion: before?.version ?? 0 });
    } catch (error) {
      if (error instanceof ModelkeepError && error.code === "VERSION_CONFLICT") return;
      throw error;
    }
    if (!isTold) await this.#record(weakness);
  }

  async #record(weakness: AffectedWeakness): Promise<void> {
    const { recorder, log } = this.#ports;
    const { id, aliases, severity, malware, kev, packages, models, running, not_affected, waived } = weakness;
    log.warn(eventText(weakness), { id, severity, malware, kev });
    const server = entityText({ type: "Server", id: "local" });
    await recorder.record({
      action: "advisory.match",
      outcome: "allowed",
      principal: server,
      resource: server,
      reason: [id],
      data: {
        aliases: aliases.slice(0, 10),
        severity,
        malware,
        kev,
        packages: packages.slice(0, 20),
        affected: models.length,
        running: running.length,
        not_affected: not_affected.length,
        waived: waived.length,
        models: models.slice(0, 50),
      },
    });
  }

  #count(): void {
    const { metrics } = this.#ports;
    const about = "Published models that something of this severity is known against; malware is a severity here.";
    for (const word of [...SEVERITIES, "malware"] as const) {
      const affected = [...this.#assessments.values()].filter(({ counts }) => counts[word] > 0).length;
      metrics.set("modelkeep_models_affected", about, { severity: word }, affected);
    }
    metrics.set(
      "modelkeep_models_affected_kev",
      "Published models with a weakness that is known to be exploited.",
      {},
      [...this.#assessments.values()].filter(({ kev }) => kev > 0).length,
    );
  }
}

const idsOf = (waivers: readonly StandingWaiver[]) => waivers.map(({ id }) => id).join(" ");

/** `CVE-… affects 3 models, 2 running; 1 not affected, 1 waived`. */
function eventText({ id, aliases, models, running, ...closed }: AffectedWeakness): string {
  const named = aliases.find((alias) => alias.startsWith("CVE-")) ?? id;
  const more = [
    ...(closed.not_affected.length === 0 ? [] : [`${closed.not_affected.length} not affected`]),
    ...(closed.waived.length === 0 ? [] : [`${closed.waived.length} waived`]),
  ];
  const end = more.length === 0 ? "" : `; ${more.join(", ")}`;
  return `${named} affects ${models.length} models, ${running.length} running${end}`;
}

/** A document beyond the limits says nothing, and that is no reason to match no other. */
function assessAny(source: AdvisorySource, known: Known, nowMs: number): Assessment {
  try {
    return source.assess(known, nowMs);
  } catch (error) {
    if (!(error instanceof ModelkeepError) || error.code !== "BOM_INVALID") throw error;
    return source.assess({ ...known, bom: {} }, nowMs);
  }
}

/** Malware first, then the worst, then those that most models have. */
function weaknessesOf(found: ReadonlyMap<string, Assessment>, running: ReadonlySet<string>): AffectedWeakness[] {
  const byId = new Map<string, Gathered>();
  for (const [ref, { matches }] of found) {
    for (const match of matches) {
      const gathered = byId.get(match.id) ?? { match, packages: new Set(), states: new Map() };
      byId.set(match.id, gathered);
      gathered.packages.add(match.purl);
      if (gathered.states.get(ref) !== "open") gathered.states.set(ref, match.state);
    }
  }
  const rank = ({ malware, severity }: AffectedWeakness) =>
    malware ? SEVERITIES.length : SEVERITIES.indexOf(severity);
  return [...byId.values()]
    .map((gathered) => toWeakness(gathered, running))
    .sort((a, b) => rank(b) - rank(a) || b.models.length - a.models.length || (a.id < b.id ? -1 : 1));
}

/** A weakness in every model that has it; a model is open while one of its packages is. */
interface Gathered {
  readonly match: JudgedMatch;
  readonly packages: Set<string>;
  readonly states: Map<string, JudgedMatch["state"]>;
}

function toWeakness({ match, packages, states }: Gathered, running: ReadonlySet<string>): AffectedWeakness {
  const { id, aliases, severity, malware, kev } = match;
  const inState = (...wanted: readonly JudgedMatch["state"][]) =>
    [...states].flatMap(([ref, state]) => (wanted.includes(state) ? [ref] : []));
  const models = inState("open");
  return {
    id,
    aliases: [...aliases],
    severity,
    malware,
    kev,
    packages: [...packages],
    models,
    running: models.filter((name) => running.has(name)),
    not_affected: inState("not_affected", "fixed"),
    waived: inState("waived"),
  };
}

/** A host cannot be forced to tell; what it tells is kept for the next match. */
export async function noteLoad(store: RecordStore, ref: string, nowMs: number): Promise<void> {
  await store.put(LOADS, ref, utf8(String(nowMs)));
}
