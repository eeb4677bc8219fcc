/** Policy: what the default refuses, what a check finds and where, and what no text or request may do to the evaluator. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { PolicyRequest } from "../../src/base/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import {
  checkPolicy,
  DEFAULT_POLICY,
  explain,
  POLICY_LIMITS,
  PolicyEngine,
  parseCases,
  testPolicy,
} from "../../src/policy/index.ts";

const clean = {
  signature: { keyId: "aa", rootDigest: "bb" },
  scan: { verdict: "clean" },
  vulnerabilities: { critical: 0, high: 0, medium: 0, low: 0, malware: 0 },
};
const attested = { ...clean, attestation: { kind: "insecure-dev", measurement: "cc", debug: true } };

function request(part: Partial<PolicyRequest>): PolicyRequest {
  return {
    principal: { type: "Workload", id: "demo" },
    groups: [],
    action: "useModel",
    resource: { type: "ProviderModel", id: "openai/gpt" },
    context: {},
    ...part,
  };
}

const code = (wanted: string) => (error: unknown) => error instanceof ModelkeepError && error.code === wanted;

const ACTIONS: readonly [string, string, Record<string, unknown>][] = [
  ["useModel", "ProviderModel", {}],
  ["checkoutSecret", "Secret", {}],
  ["releaseKey", "Model", attested],
  ["publishModel", "Model", clean],
  ["enrol", "Server", {}],
  ["manageSecret", "Secret", {}],
  ["manageProvider", "Server", {}],
  ["managePolicy", "Server", {}],
  ["revokeToken", "Server", {}],
  ["readAudit", "Server", {}],
  ["readModel", "Model", {}],
];

test("the default policy is valid, and refuses a workload everything", () => {
  assert.deepEqual(checkPolicy(DEFAULT_POLICY).errors, []);
  const engine = PolicyEngine.load(DEFAULT_POLICY);
  for (const [action, type, context] of ACTIONS) {
    const decision = engine.decide(request({ action, resource: { type, id: "x" }, context }));
    assert.deepEqual(decision, { allowed: false, policies: [], errors: [] }, action);
  }
});

test("the default policy lets administrators administer, and not use, check out or load", () => {
  const engine = PolicyEngine.load(DEFAULT_POLICY);
  const admin = { principal: { type: "Admin", id: "ada" }, groups: ["admins"] };
  const allowed = ACTIONS.filter(
    ([action, type, context]) =>
      engine.decide(request({ ...admin, action, resource: { type, id: "x" }, context })).allowed,
  ).map(([action]) => action);
  assert.deepEqual(
    allowed,
    ACTIONS.map(([action]) => action).filter((a) => !["useModel", "checkoutSecret", "releaseKey"].includes(a)),
  );
});

test("the default policy publishes nothing that is not clean", () => {
  const engine = PolicyEngine.load(DEFAULT_POLICY);
  const ask = (context: Record<string, unknown>) =>
    engine.decide(
      request({
        principal: { type: "Admin", id: "ada" },
        groups: ["admins"],
        action: "publishModel",
        resource: { type: "Model", id: "m@1" },
        context,
      }),
    ).allowed;
  assert.equal(ask(clean), true);
  for (const verdict of ["suspicious", "malicious", "unscannable", "malformed"]) {
    assert.equal(ask({ ...clean, scan: { verdict } }), false);
  }
  assert.equal(ask({ ...clean, vulnerabilities: { ...clean.vulnerabilities, critical: 1 } }), false);
  assert.equal(ask({ ...clean, vulnerabilities: { ...clean.vulnerabilities, malware: 1 } }), false);
});

test("a request outside the schema is refused, whatever policy says", () => {
  const engine = PolicyEngine.load("permit(principal, action, resource);");
  assert.equal(engine.decide(request({})).allowed, true);
  const wrong: Partial<PolicyRequest>[] = [
    { action: "drop" },
    { resource: { type: "Secret", id: "x" } },
    { principal: { type: "Root", id: "x" } },
    { context: { more: 1 } },
    { action: "releaseKey", resource: { type: "Model", id: "m@1" }, context: clean },
    {
      action: "releaseKey",
      resource: { type: "Model", id: "m@1" },
      context: { ...attested, attestation: { kind: "snp", measurement: "cc", debug: "false" } },
    },
    { groups: Array.from({ length: POLICY_LIMITS.groups + 1 }, (_, i) => `g${i}`) },
  ];
  for (const part of wrong) {
    const decision = engine.decide(request(part));
    assert.equal(decision.allowed, false, JSON.stringify(part).slice(0, 200));
    assert.equal(decision.errors.length, 1);
  }
});

test("a group is a group, not part of a name", () => {
  const engine = PolicyEngine.load(DEFAULT_POLICY);
  const ask = (groups: string[]) =>
    engine.decide(request({ groups, action: "enrol", resource: { type: "Server", id: "local" } })).allowed;
  assert.equal(ask(["admins"]), true);
  for (const group of ["Admins", "admins ", 'admins", Group::"x', "admins\0", ""]) assert.equal(ask([group]), false);
});

test("a forbid whose condition fails to evaluate refuses", () => {
  const engine = PolicyEngine.load(`
    @id("all") permit(principal, action, resource);
    @id("sum") forbid(principal, action == Action::"publishModel", resource)
      when { context.vulnerabilities.high * 4611686018427387904 > 0 };`);
  const ask = (high: number) =>
    engine.decide(
      request({
        action: "publishModel",
        resource: { type: "Model", id: "m@1" },
        context: { ...clean, vulnerabilities: { ...clean.vulnerabilities, high } },
      }),
    );
  assert.equal(ask(0).allowed, true);
  const decision = ask(1000);
  assert.equal(decision.allowed, false);
  assert.deepEqual(decision.policies, ["sum"]);
  assert.equal(decision.errors.length, 1);
});

test("a check names line, policy and what is wrong", () => {
  const text = '// é\n@id("one")\npermit(principal, action == Action::"useModel", resource)\nwhen { context.foo };\n';
  const { ok, errors } = checkPolicy(text);
  assert.equal(ok, false);
  assert.deepEqual([errors[0]?.line, errors[0]?.policy], [4, "one"]);
  assert.match(errors[0]?.message ?? "", /attribute `foo`/);
  assert.equal(checkPolicy("permit(principal, action, resource)\n\n  whem { true };").errors[0]?.line, 3);
  assert.equal(checkPolicy('permit(principal, action == Action::"fly", resource);').ok, false);
  assert.equal(checkPolicy("permit(principal == ?principal, action, resource);").ok, false);
});

test("two policies of one id are refused, and so are ids that would not print", () => {
  const one = '@id("a") permit(principal, action, resource);';
  assert.match(checkPolicy(`${one}\n${one}`).errors[0]?.message ?? "", /twice/);
  assert.equal(checkPolicy('@id("a b") permit(principal, action, resource);').ok, false);
  assert.throws(() => PolicyEngine.load(`${one}${one}`), code("POLICY_INVALID"));
});

test("semicolons and quotes in strings and comments do not cut a policy", () => {
  const text =
    '@about("a;b \\" ; //") permit(principal == Workload::"x;y", action, resource); // ; "\npermit(principal, action, resource);';
  assert.deepEqual(
    checkPolicy(text).policies.map(({ id, about }) => [id, about]),
    [
      ["policy1", 'a;b " ; //'],
      ["policy2", undefined],
    ],
  );
});

/** Each of these once brought the evaluator's stack down, and with it every later decision. */
const DEEP: Record<string, (n: number) => string> = {
  parentheses: (n) => `${"(".repeat(n)}true${")".repeat(n)}`,
  "negated parentheses": (n) => `${"!(".repeat(n)}true${")".repeat(n)}`,
  and: (n) => `${"true && ".repeat(n)}true`,
  or: (n) => `${"true || ".repeat(n)}true`,
  plus: (n) => `${"1 + ".repeat(n)}1 == 2`,
  times: (n) => `${"1 * ".repeat(n)}1 == 2`,
  conditionals: (n) => `${"if true then true else ".repeat(n)}true`,
  sets: (n) => `${"[".repeat(n)}1${"]".repeat(n)} == [1]`,
  records: (n) => `${"{a: ".repeat(n)}1${"}".repeat(n)} == 1`,
  attributes: (n) => `context${".a".repeat(n)} == 1`,
  indices: (n) => `context${'["a"]'.repeat(n)} == 1`,
  calls: (n) => `[1]${".contains(1)".repeat(n)}`,
};

test("no depth of a policy brings the evaluator down", () => {
  for (const [shape, make] of Object.entries(DEEP)) {
    for (const n of [1, 10, 15, 20, 30, 60, 100, 300, 399, 400, 1000, 20_000]) {
      const text = `permit(principal, action, resource) when { ${make(n)} };`;
      const { errors } = checkPolicy(text);
      try {
        PolicyEngine.load(text).decide(request({}));
      } catch (error) {
        assert.ok(code("POLICY_INVALID")(error), `${shape} ${n} ${errors[0]?.message} ${error}`);
      }
    }
  }
  assert.equal(PolicyEngine.load("permit(principal, action, resource);").decide(request({})).allowed, true);
});

test("no text brings the evaluator down (property)", () => {
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
  const word = fc.constantFrom(
    ...'permit forbid ( ) [ ] { } principal action resource context when unless ; , . :: == != < && || ! - + * if then else in has like is @id ("a") "x" \\ " // \n 1 true Group Action::"useModel" é \u0000'.split(
      " ",
    ),
  );
  const texts = fc.oneof(
    fc.array(word, { maxLength: 200 }).map((words) => words.join(" ")),
    fc.string({ unit: "binary" }),
  );
  const bounds = seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 };
  fc.assert(
    fc.property(texts, (text) => {
      const { ok } = checkPolicy(text);
      const { ok: wrapped } = checkPolicy(`permit(principal, action, resource) when { ${text} };`);
      if (ok || wrapped) assert.equal(typeof PolicyEngine.load(DEFAULT_POLICY).decide(request({})).allowed, "boolean");
    }),
    bounds,
  );
  assert.equal(checkPolicy(DEFAULT_POLICY).ok, true);
});

test("limits of text and number of policies", () => {
  assert.equal(checkPolicy(" ".repeat(POLICY_LIMITS.textBytes)).ok, true);
  assert.equal(checkPolicy(" ".repeat(POLICY_LIMITS.textBytes + 1)).ok, false);
  const many = "permit(principal, action, resource);".repeat(POLICY_LIMITS.policies);
  assert.equal(checkPolicy(many).ok, true);
  assert.match(checkPolicy(`${many}permit(principal, action, resource);`).errors[0]?.message ?? "", /more than/);
});

test("engines do not disturb each other, and many do not pile up names", () => {
  const yes = PolicyEngine.load("permit(principal, action, resource);");
  const no = PolicyEngine.load("forbid(principal, action, resource);");
  for (let i = 0; i < 200; i++) PolicyEngine.load(`@id("p${i}") permit(principal, action, resource);`);
  assert.equal(yes.decide(request({ principal: { type: "Workload", id: "later" } })).allowed, true);
  assert.equal(no.decide(request({ principal: { type: "Workload", id: "later" } })).allowed, false);
});

test("a decision is remembered, and is the same", () => {
  const engine = PolicyEngine.load(DEFAULT_POLICY);
  assert.equal(engine.decide(request({})), engine.decide(request({})));
  assert.notEqual(engine.decide(request({})), engine.decide(request({ groups: ["admins"] })));
});

test("explain names the policy and its reason, or those that did not hold", () => {
  const engine = PolicyEngine.load(DEFAULT_POLICY);
  const admin = { principal: { type: "Admin", id: "ada" }, groups: ["admins"] };
  const yes = explain(engine, request({ ...admin, action: "enrol", resource: { type: "Server", id: "local" } }));
  assert.match(yes.summary, /allowed.*admins-administer \(members of the group admins/);
  const no = explain(
    engine,
    request({
      ...admin,
      action: "publishModel",
      resource: { type: "Model", id: "m@1" },
      context: { ...clean, scan: { verdict: "malicious" } },
    }),
  );
  assert.equal(no.allowed, false);
  assert.deepEqual(
    no.didNotHold.map(({ id }) => id),
    ["admins-publish-clean-models"],
  );
});

test("cases from YAML and JSON, and what is wrong in them", () => {
  const yaml = `
- name: an administrator enrols
  principal: Admin::"ada"
  groups: [admins]
  action: enrol
  resource: Server::"local"
  expect: allow
  policies: [admins-administer]
- principal: Workload::"demo"
  action: useModel
  resource: ProviderModel::"openai/gpt"
  expect: allow
`;
  const { ok, results } = testPolicy(DEFAULT_POLICY, parseCases(yaml));
  assert.equal(ok, false);
  assert.deepEqual(
    results.map(({ name, passed }) => [name, passed]),
    [
      ["an administrator enrols", true],
      ["case 2", false],
    ],
  );
  assert.equal(
    parseCases(
      JSON.stringify(parseCases(yaml).map((c) => ({ ...c, principal: 'Admin::"a"', resource: 'Server::"local"' }))),
    ).length,
    2,
  );
  for (const bad of ["", "[]", "- {}", "- principal: x", "&a [*a, *a]", "{", "\0", `- ${yaml}`, "[".repeat(100_000)]) {
    assert.throws(() => parseCases(bad), code("POLICY_CASES_INVALID"), bad.slice(0, 40));
  }
});
