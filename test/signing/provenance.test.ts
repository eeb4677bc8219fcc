/** Provenance from a training descriptor: what of the environment gets into it, and what must not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { utf8 } from "../../src/base/index.ts";
import { makeProvenance, STATEMENT_KINDS } from "../../src/signing/index.ts";
import { codeOf } from "../sealing/support.ts";

const COMMIT = "abcdef0123456789abcdef0123456789abcdef01";
const HEX = "0f".repeat(32);
const DESCRIPTOR = `version: 1
code: {repository: "https://user:canary@example.com/train.git", commit: ${COMMIT}}
datasets:
  - {name: web, uri: "https://token-canary@data.example.com/web", sha256: ${HEX}}
base_model: {name: base@1, sha256: ${HEX}}
container: {image: registry.example.com/train, sha256: ${HEX}}
parameters: {epochs: 3, learning_rate: 0.001, layers: [1, 2]}
started_at: 2026-01-31T12:00:00Z
finished_at: 2026-01-31T13:00:00Z
`;

const GITHUB = {
  GITHUB_ACTIONS: "true",
  GITHUB_SERVER_URL: "https://github.com",
  GITHUB_REPOSITORY: "o/r",
  GITHUB_SHA: COMMIT,
  GITHUB_WORKFLOW_REF: "o/r/.github/workflows/train.yml@refs/heads/main",
  GITHUB_RUN_ID: "7",
  GITHUB_RUN_ATTEMPT: "1",
};
const GITLAB = {
  GITLAB_CI: "true",
  CI_SERVER_URL: "https://gitlab.example.com",
  CI_PROJECT_PATH: "o/r",
  CI_COMMIT_SHA: COMMIT,
  CI_JOB_URL: "https://gitlab.example.com/o/r/-/jobs/7",
  CI_RUNNER_ID: "3",
};
const BUILDKITE = {
  BUILDKITE: "true",
  BUILDKITE_ORGANIZATION_SLUG: "o",
  BUILDKITE_PIPELINE_SLUG: "p",
  BUILDKITE_REPO: "https://canary@example.com/r.git",
  BUILDKITE_COMMIT: COMMIT,
  BUILDKITE_BUILD_URL: "https://buildkite.com/o/p/builds/7",
  BUILDKITE_JOB_ID: "j",
};
/** What stands beside the allowed variables in such environments. */
const SECRETS = {
  GITHUB_TOKEN: "canary",
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: "canary",
  CI_JOB_TOKEN: "canary",
  CI_REPOSITORY_URL: "https://gitlab-ci-token:canary@gitlab.example.com/o/r.git",
  BUILDKITE_AGENT_ACCESS_TOKEN: "canary",
  AWS_SECRET_ACCESS_KEY: "canary",
};

interface Provenance {
  buildDefinition: {
    buildType: string;
    externalParameters: Record<string, unknown>;
    resolvedDependencies: { name: string }[];
  };
  runDetails: { builder: { id: string }; metadata: Record<string, string> };
}

function provenance(env: Record<string, string> = {}, text = DESCRIPTOR): Provenance {
  return makeProvenance(utf8(text), { ...SECRETS, ...env }) as Provenance;
}

test("descriptor and CI run become SLSA provenance, and no secret of the environment gets in", () => {
  for (const [env, builder, invocation] of [
    [
      GITHUB,
      "https://github.com/o/r/.github/workflows/train.yml@refs/heads/main",
      "https://github.com/o/r/actions/runs/7/attempts/1",
    ],
    [GITLAB, "https://gitlab.example.com/o/r/-/runners/3", "https://gitlab.example.com/o/r/-/jobs/7"],
    [BUILDKITE, "https://buildkite.com/o/p", "https://buildkite.com/o/p/builds/7#j"],
    [{}, "urn:modelkeep:builder:local", undefined],
  ] as const) {
    const made = provenance(env);
    assert.equal(STATEMENT_KINDS.slsa.content.safeParse(made).success, true);
    assert.deepEqual([made.runDetails.builder.id, made.runDetails.metadata.invocationId], [builder, invocation]);
    assert.deepEqual(
      made.buildDefinition.resolvedDependencies.map(({ name }) => name),
      ["code", "base-model:base@1", "dataset:web", "container"],
    );
    assert.deepEqual(made.buildDefinition.externalParameters.parameters, {
      epochs: 3,
      learning_rate: 0.001,
      layers: [1, 2],
    });
    assert.doesNotMatch(JSON.stringify(made), /canary/);
  }
});

test("a variable that nobody allowed never gets in, whatever it is called", () => {
  const names = fc.string({ unit: fc.constantFrom(..."ABCDEGHIKLTU_"), minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(names, (name) => {
      assert.doesNotMatch(JSON.stringify(provenance({ [name]: "stray-canary", ...GITHUB })), /canary/);
    }),
    { numRuns: 200 },
  );
});

test("another commit than the one that is checked out, and runs that do not say who they are, are refused", () => {
  const other = { ...GITHUB, GITHUB_SHA: COMMIT.replace("a", "b") };
  assert.throws(() => provenance(other), { code: "DESCRIPTOR_INVALID" });
  const { GITHUB_WORKFLOW_REF: _, ...nameless } = GITHUB;
  assert.throws(() => provenance(nameless), { code: "DESCRIPTOR_INVALID" });
  assert.throws(() => provenance(GITHUB, `${DESCRIPTOR}builder: "urn:me"\n`), { code: "DESCRIPTOR_INVALID" });
  assert.equal(provenance({}, `${DESCRIPTOR}builder: "urn:me"\n`).runDetails.builder.id, "urn:me");
});

test("what is wrong in a descriptor is told with its line", async () => {
  for (const [from, to, line] of [
    [COMMIT, "main", 2],
    [`sha256: ${HEX}}\nbase`, "sha256: 12}\nbase", 4],
    ["name: web, ", "", 4],
    ["version: 1", "version: 3", 1],
    ["parameters:", "paramters:", 7],
    ["2026-01-31T13", "yesterday", 9],
    ["2026-01-31T13", "2026-01-31T11", undefined],
  ] as const) {
    const text = DESCRIPTOR.replace(from, to);
    assert.notEqual(text, DESCRIPTOR);
    assert.equal(await codeOf(() => provenance({}, text)), "DESCRIPTOR_INVALID", to);
    if (line !== undefined) assert.throws(() => provenance({}, text), { message: new RegExp(`line ${line}:`) }, to);
  }
});
