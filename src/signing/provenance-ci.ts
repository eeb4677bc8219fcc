/** What a CI system says about the run: a fixed list of variables, and nothing else of the environment. */
import { signingError } from "./errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

interface CiSystem {
  readonly name: string;
  /** Set to `true` by the system. */
  readonly mark: string;
  /** None of them holds a secret; URLs lose what stands before their `@`. */
  readonly variables: readonly string[];
  readonly commit: string;
  /** Of the job, from the variables. */
  readonly builderId: (read: (name: string) => string) => string;
  readonly invocationId: (read: (name: string) => string) => string;
}

const SYSTEMS: readonly CiSystem[] = [
  {
    name: "github-actions",
    mark: "GITHUB_ACTIONS",
    variables: [
      "GITHUB_SERVER_URL",
      "GITHUB_REPOSITORY",
      "GITHUB_SHA",
      "GITHUB_REF",
      "GITHUB_WORKFLOW_REF",
      "GITHUB_EVENT_NAME",
      "GITHUB_RUN_ID",
      "GITHUB_RUN_ATTEMPT",
      "RUNNER_ENVIRONMENT",
    ],
    commit: "GITHUB_SHA",
    builderId: (read) => `${read("GITHUB_SERVER_URL")}/${read("GITHUB_WORKFLOW_REF")}`,
    invocationId: (read) =>
      `${read("GITHUB_SERVER_URL")}/${read("GITHUB_REPOSITORY")}/actions/runs/${read("GITHUB_RUN_ID")}/attempts/${read("GITHUB_RUN_ATTEMPT")}`,
  },
  {
    name: "gitlab-ci",
    mark: "GITLAB_CI",
    variables: [
      "CI_SERVER_URL",
      "CI_PROJECT_PATH",
      "CI_COMMIT_SHA",
      "CI_COMMIT_REF_NAME",
      "CI_PIPELINE_ID",
      "CI_PIPELINE_SOURCE",
      "CI_JOB_ID",
      "CI_JOB_URL",
      "CI_RUNNER_ID",
    ],
    commit: "CI_COMMIT_SHA",
    builderId: (read) => `${read("CI_SERVER_URL")}/${read("CI_PROJECT_PATH")}/-/runners/${read("CI_RUNNER_ID")}`,
    invocationId: (read) => read("CI_JOB_URL"),
  },
  {
    name: "buildkite",
    mark: "BUILDKITE",
    variables: [
      "BUILDKITE_ORGANIZATION_SLUG",
      "BUILDKITE_PIPELINE_SLUG",
      "BUILDKITE_REPO",
      "BUILDKITE_COMMIT",
      "BUILDKITE_BRANCH",
      "BUILDKITE_BUILD_ID",
      "BUILDKITE_BUILD_URL",
      "BUILDKITE_JOB_ID",
    ],
    commit: "BUILDKITE_COMMIT",
    builderId: (read) =>
      `https://buildkite.com/${read("BUILDKITE_ORGANIZATION_SLUG")}/${read("BUILDKITE_PIPELINE_SLUG")}`,
    invocationId: (read) => `${read("BUILDKITE_BUILD_URL")}#${read("BUILDKITE_JOB_ID")}`,
  },
];

const MAX_VALUE_CHARACTERS = 2_048;

export interface CiRun {
  readonly system: string;
  readonly builderId: string;
  readonly invocationId: string;
  /** Lower-case hex. */
  readonly commit: string | undefined;
  readonly variables: Readonly<Record<string, string>>;
}

/** Undefined outside of a CI system that is known. Throws DESCRIPTOR_INVALID for one that does not say who it is. */
export function readCiRun(env: Environment): CiRun | undefined {
  const system = SYSTEMS.find(({ mark }) => env[mark] === "true");
  if (!system) return undefined;
  const read = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === "" || value.length > MAX_VALUE_CHARACTERS)
      throw signingError("DESCRIPTOR_INVALID", { detail: `${system.name} gives no usable ${name}` });
    return withoutCredentials(value);
  };
  const present = system.variables.filter((name) => env[name] !== undefined && env[name] !== "");
  const commit = env[system.commit]?.toLowerCase();
  return {
    system: system.name,
    builderId: system.builderId(read),
    invocationId: system.invocationId(read),
    commit: commit !== undefined && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(commit) ? commit : undefined,
    variables: Object.fromEntries(present.map((name) => [name, read(name)])),
  };
}

/** `https://token@host/…` and `https://user:token@host/…` are how runners clone. */
export function withoutCredentials(value: string): string {
  return value.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, "$1");
}
