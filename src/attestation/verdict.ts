/** What judging evidence gives: named rules, each with what was found and what was asked for, and one verdict over them. */

export type RuleResult = "passed" | "failed" | "unchecked";

export interface Rule {
  /** Dotted and stable, for example `snp.policy.debug`. */
  readonly id: string;
  readonly result: RuleResult;
  /** What the evidence says, for people. */
  readonly have?: string;
  /** What was asked for, for people. */
  readonly need?: string;
  /** One sentence; for a failed rule what to do about it. */
  readonly message: string;
}

export interface Verdict<Claims> {
  readonly verdict: "accepted" | "refused";
  /** In the order in which they were looked at. */
  readonly rules: readonly Rule[];
  /** The vendor's word for the platform's firmware, for example `UpToDate`; absent where the vendor has none. */
  readonly tcbStatus?: string;
  /** Ids of the vendor's advisories that speak of this platform. */
  readonly advisories: readonly string[];
  /** What the evidence says about itself; present once it could be read, whatever the verdict. */
  readonly claims?: Claims;
  /** The oldest collateral that was used: when it was issued, and when its issuer promised the next. */
  readonly collateral?: { readonly issuedAt: number; readonly nextUpdateAt: number };
}

type Facts = Pick<Rule, "have" | "need">;

/** Collects rules. A failed rule does not end the list: people want to see all of them. */
export class Rules {
  readonly #list: Rule[] = [];

  get list(): readonly Rule[] {
    return this.#list;
  }

  get verdict(): "accepted" | "refused" {
    const refused = this.#list.length === 0 || this.#list.some(({ result }) => result === "failed");
    return refused ? "refused" : "accepted";
  }

  pass(id: string, message: string, facts: Facts = {}): void {
    this.#list.push({ id, result: "passed", message, ...facts });
  }

  fail(id: string, message: string, facts: Facts = {}): void {
    this.#list.push({ id, result: "failed", message, ...facts });
  }

  /** What this caller did not ask for, or what cannot be told: never a reason to accept. */
  skip(id: string, message: string, facts: Facts = {}): void {
    this.#list.push({ id, result: "unchecked", message, ...facts });
  }

  /** True when it holds. */
  check(id: string, holds: boolean, texts: { readonly passed: string; readonly failed: string } & Facts): boolean {
    const { passed, failed, ...facts } = texts;
    if (holds) this.pass(id, passed, facts);
    else this.fail(id, failed, facts);
    return holds;
  }
}
