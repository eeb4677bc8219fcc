/** Puts matches, VEX and waivers together: which weaknesses are open, and who says the others are not. */
import type { AdvisoryMatch } from "../advisories/match.ts";
import { SEVERITIES, type SeverityLevel } from "../advisories/severity.ts";
import { bomError } from "../errors.ts";
import { BOM_LIMITS } from "../limits.ts";
import { packageOfPurl } from "../packages.ts";
import type { VexStatement } from "./statement.ts";
import { isExpired, type Waiver } from "./waivers.ts";

export interface JudgedMatch extends AdvisoryMatch {
  /** `open` counts; the others are named with their reason. Malware is always open. */
  readonly state: "open" | "not_affected" | "fixed" | "waived";
  readonly statement?: VexStatement;
  readonly waiver?: Waiver;
}

export interface Judgements {
  readonly statements?: readonly VexStatement[];
  readonly waivers?: readonly Waiver[];
  /** Milliseconds since the epoch: waivers end. */
  readonly nowMs: number;
}

/**
 * In the order given. The newest statement about a weakness of a package holds; VEX comes before waivers. Throws
 * VEX_INVALID for statements that name more than BOM_LIMITS.vexLooks.
 */
export function judgeMatches(matches: readonly AdvisoryMatch[], judgements: Judgements): JudgedMatch[] {
  const spoken = new Spoken(judgements.statements ?? [], matches);
  const waivers = (judgements.waivers ?? [])
    .filter((waiver) => !isExpired(waiver, judgements.nowMs))
    .map((waiver) => ({ waiver, product: waiver.package === undefined ? undefined : productOf(waiver.package) }));
  return matches.map((match) => judge(match, spoken, waivers));
}

interface StandingWaiver {
  readonly waiver: Waiver;
  /** Of its package; undefined where that is broken. */
  readonly product: string | undefined;
}

function judge(match: AdvisoryMatch, spoken: Spoken, waivers: readonly StandingWaiver[]): JudgedMatch {
  if (match.malware) return { ...match, state: "open" };
  const statement = spoken.of(match);
  if (statement?.status === "not_affected" || statement?.status === "fixed")
    return { ...match, state: statement.status, statement };
  const [ids, products] = [idsOf(match), productsOf(match)];
  const found = waivers.find(
    ({ waiver: { id, package: named }, product }) =>
      ids.includes(id) && (named === undefined || (product !== undefined && products.includes(product))),
  );
  const said = statement ? { statement } : {};
  return found ? { ...match, ...said, state: "waived", waiver: found.waiver } : { ...match, ...said, state: "open" };
}

/** What is said of these matches, found without looking at every statement for every match. */
class Spoken {
  /** By product, then by id of the weakness. */
  readonly #newest = new Map<string, Map<string, { readonly order: number; readonly statement: VexStatement }>>();

  constructor(statements: readonly VexStatement[], matches: readonly AdvisoryMatch[]) {
    const wanted = { ids: new Set(matches.flatMap(idsOf)), products: new Set(matches.flatMap(productsOf)) };
    let looks = 0;
    for (const [order, statement] of [...statements].sort((a, b) => b.timeMs - a.timeMs).entries()) {
      const ids = [...new Set(statement.ids)].filter((id) => wanted.ids.has(id));
      if (ids.length === 0) continue;
      looks += statement.products.length;
      mustBeFew(looks);
      const named = new Set(statement.products.flatMap((purl) => productOf(purl) ?? []));
      const products = [...named].filter((product) => wanted.products.has(product));
      looks += ids.length * products.length;
      mustBeFew(looks);
      for (const product of products) this.#add(product, ids, { order, statement });
    }
  }

  #add(product: string, ids: readonly string[], said: { readonly order: number; readonly statement: VexStatement }) {
    const byId = this.#newest.get(product) ?? new Map<string, typeof said>();
    this.#newest.set(product, byId);
    for (const id of ids) if (!byId.has(id)) byId.set(id, said);
  }

  of(match: AdvisoryMatch): VexStatement | undefined {
    const ids = idsOf(match);
    const said = productsOf(match).flatMap((product) => {
      const byId = this.#newest.get(product);
      return byId ? ids.flatMap((id) => byId.get(id) ?? []) : [];
    });
    return said.sort((a, b) => a.order - b.order)[0]?.statement;
  }
}

function mustBeFew(looks: number): void {
  const most = BOM_LIMITS.vexLooks;
  if (looks > most) throw bomError("VEX_INVALID", { detail: `over ${most} weaknesses of products are named` });
}

const idsOf = ({ id, aliases }: AdvisoryMatch): string[] => [id, ...aliases];

/** Every way in which a package URL may name it: release and architecture of a distribution's package may be left out. */
function productsOf({ ecosystem, package: name, version }: AdvisoryMatch): string[] {
  const [family = "", release] = ecosystem.split(":", 2);
  const ecosystems = release === undefined ? [ecosystem] : [...new Set([ecosystem, `${family}:`, `${family}:v`])];
  return ecosystems.flatMap((one) => [productText(one, name, version), productText(one, name)]);
}

/** Undefined for what is no package URL of an ecosystem that has advisories. */
function productOf(purl: string): string | undefined {
  const versioned = /@[^/?#]+(?:[?#]|$)/.test(purl);
  const found = packageOfPurl(versioned ? purl : withVersion(purl));
  return found && productText(found.ecosystem, found.name, ...(versioned ? [found.version] : []));
}

const productText = (...parts: readonly string[]): string => JSON.stringify(parts);

function withVersion(purl: string): string {
  const at = purl.search(/[?#]/);
  return at === -1 ? `${purl}@0` : `${purl.slice(0, at)}@0${purl.slice(at)}`;
}

/** True for what stops a pipeline: malware, and what is open at or above the threshold. `kev` is any severity in use. */
export function isBlocking(match: JudgedMatch, failOn: SeverityLevel | "kev" | undefined): boolean {
  if (match.malware) return true;
  if (match.state !== "open" || failOn === undefined) return false;
  return failOn === "kev" ? match.kev : SEVERITIES.indexOf(match.severity) >= SEVERITIES.indexOf(failOn);
}

/** What is said of every match, for a document: open ones are under investigation. */
export function statementsOf(matches: readonly JudgedMatch[], nowMs: number): VexStatement[] {
  return matches.map((match) => {
    const ids = [match.id, ...match.aliases];
    const base = { ids, products: [match.purl], timeMs: match.statement?.timeMs || nowMs };
    if (match.statement) return { ...match.statement, ...base };
    if (match.malware) return { ...base, status: "affected", action: "remove the package: it was made to do harm" };
    if (!match.waiver) return { ...base, status: "under_investigation" };
    const { owner, reason, expires } = match.waiver;
    return { ...base, status: "affected", action: `accepted by ${owner} until ${expires}: ${reason}` };
  });
}
