/** Decides with Cedar: policies are parsed once, decisions are remembered for as long as the engine lives. */
import { createHash } from "node:crypto";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import type { PolicyDecision, PolicyRequest } from "../base/index.ts";
import { policyError } from "./errors.ts";
import { POLICY_LIMITS } from "./limits.ts";
import { parsePoliciesOrFail } from "./parse.ts";
import type { Engine, PolicyInfo } from "./policy.ts";
import { POLICY_SCHEMA } from "./schema.ts";

const SCHEMA_NAME = "modelkeep";

/** The evaluator keeps parsed sets by name and forgets none: names of engines that are gone are used again. */
const freeNames: string[] = [];
let namesGiven = 0;
const ended = new FinalizationRegistry<string>((name) => freeNames.push(name));

export class PolicyEngine implements Engine {
  readonly policies: readonly PolicyInfo[];
  readonly digest: string;
  readonly #name: string;
  readonly #forbids: ReadonlySet<string>;
  readonly #decisions = new Map<string, PolicyDecision>();

  private constructor(name: string, text: string, policies: readonly PolicyInfo[]) {
    this.#name = name;
    this.policies = policies;
    this.digest = createHash("sha256").update(text).digest("hex");
    this.#forbids = new Set(policies.filter(({ effect }) => effect === "forbid").map(({ id }) => id));
  }

  /** Fails with POLICY_INVALID when the text cannot be parsed; `checkPolicy` also holds it against the schema. */
  static load(text: string): PolicyEngine {
    loadSchema();
    const parsed = parsePoliciesOrFail(text);
    const name = freeNames.pop() ?? `set${++namesGiven}`;
    const staticPolicies = Object.fromEntries(parsed.map(({ info, source }) => [info.id, source.text]));
    const answer = cedar.preparsePolicySet(name, { staticPolicies });
    if (answer.type === "failure") throw policyError("POLICY_INVALID", { detail: answer.errors[0]?.message ?? "" });
    const engine = new PolicyEngine(
      name,
      text,
      parsed.map(({ info }) => info),
    );
    ended.register(engine, name);
    return engine;
  }

  /** Never throws: what cannot be evaluated is refused. */
  decide(request: PolicyRequest): PolicyDecision {
    const key = keyOf(request);
    const known = key === undefined ? undefined : this.#decisions.get(key);
    if (known) return known;
    const decision = this.#evaluate(request);
    if (key !== undefined) this.#remember(key, decision);
    return decision;
  }

  #remember(key: string, decision: PolicyDecision): void {
    if (this.#decisions.size >= POLICY_LIMITS.cachedDecisions) this.#decisions.clear();
    this.#decisions.set(key, decision);
  }

  #evaluate(request: PolicyRequest): PolicyDecision {
    if (request.groups.length > POLICY_LIMITS.groups) {
      return refused(`the principal is in more than ${POLICY_LIMITS.groups} groups`);
    }
    if (!isShallow(request.context, POLICY_LIMITS.contextLevels)) {
      return refused(`the context is nested deeper than ${POLICY_LIMITS.contextLevels} levels`);
    }
    try {
      return this.#ask(request);
    } catch {
      return refused("the evaluator failed");
    }
  }

  #ask(request: PolicyRequest): PolicyDecision {
    const { principal, action, resource, context } = request;
    const parents = request.groups.map((id) => ({ type: "Group", id }));
    const answer = cedar.statefulIsAuthorized({
      principal: { ...principal },
      action: { type: "Action", id: action },
      resource: { ...resource },
      context: context as cedar.Context,
      entities: [{ uid: { ...principal }, attrs: {}, parents }],
      preparsedPolicySetId: this.#name,
      preparsedSchemaName: SCHEMA_NAME,
      validateRequest: true,
    });
    if (answer.type === "failure") return refused(answer.errors[0]?.message ?? "the request is not valid");
    const { decision, diagnostics } = answer.response;
    const errors = diagnostics.errors.map(({ policyId, error }) => `${policyId}: ${error.message}`);
    // A forbid that could not be evaluated must not fall away silently.
    const lostForbid = diagnostics.errors.find(({ policyId }) => this.#forbids.has(policyId));
    if (lostForbid) return { allowed: false, policies: [lostForbid.policyId], errors };
    return { allowed: decision === "allow", policies: [...diagnostics.reason].sort(), errors };
  }
}

let schemaLoaded = false;

function loadSchema(): void {
  if (schemaLoaded) return;
  const answer = cedar.preparseSchema(SCHEMA_NAME, POLICY_SCHEMA);
  if (answer.type === "failure") throw new Error(`the policy schema: ${answer.errors[0]?.message}`);
  schemaLoaded = true;
}

function refused(error: string): PolicyDecision {
  return { allowed: false, policies: [], errors: [error] };
}

function keyOf(request: PolicyRequest): string | undefined {
  if (!isShallow(request.context, POLICY_LIMITS.contextLevels)) return undefined;
  const { principal, groups, action, resource, context } = request;
  try {
    const key = JSON.stringify([principal.type, principal.id, groups, action, resource.type, resource.id, context]);
    return key.length <= POLICY_LIMITS.cachedKeyCharacters ? key : undefined;
  } catch {
    return undefined;
  }
}

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isShallow(inner, levels - 1));
}
