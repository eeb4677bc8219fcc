/** SLSA provenance v1 of a training run, from a descriptor in YAML and the CI system it runs in. */
import { z } from "zod";
import { signingError } from "./errors.ts";
import { parseYamlFile } from "./policy-yaml.ts";
import { type CiRun, readCiRun, withoutCredentials } from "./provenance-ci.ts";

const TRAINING_BUILD_TYPE = "urn:modelkeep:training:v1";
const LOCAL_BUILDER = "urn:modelkeep:builder:local";

const text = z.string().min(1).max(2_048);
const uri = text.transform(withoutCredentials);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits");
const time = z.iso.datetime({ offset: true });
const value = z.union([
  text,
  z.number(),
  z.boolean(),
  z.null(),
  z.array(z.union([text, z.number(), z.boolean()])).max(1_000),
]);

/** Digests of models and of datasets are the root digests of their signatures, or those of their one file. */
const descriptor = z.strictObject({
  version: z.literal(1),
  build_type: uri.optional(),
  builder: uri.optional(),
  code: z.strictObject({
    repository: uri,
    commit: z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, "40 or 64 lower-case hex digits"),
  }),
  datasets: z
    .array(z.strictObject({ name: text, uri: uri.optional(), sha256 }))
    .max(1_000)
    .default([]),
  base_model: z.strictObject({ name: text, uri: uri.optional(), sha256 }).optional(),
  container: z.strictObject({ image: uri, sha256 }).optional(),
  parameters: z.record(z.string().max(200), value).default({}),
  started_at: time.optional(),
  finished_at: time.optional(),
});

type Descriptor = z.output<typeof descriptor>;

/**
 * The predicate. Of `env` only a fixed list of variables is read. Throws DESCRIPTOR_INVALID with the line of every
 * problem, and when the CI system checked out another commit than the descriptor names.
 */
export function makeProvenance(file: Uint8Array, env: Readonly<Record<string, string | undefined>>): unknown {
  const training = parseYamlFile(file, descriptor, "DESCRIPTOR_INVALID");
  const run = readCiRun(env);
  checkTogether(training, run);
  const { parameters, code, started_at, finished_at } = training;
  return {
    buildDefinition: {
      buildType: training.build_type ?? TRAINING_BUILD_TYPE,
      externalParameters: { parameters, code, ...inputsOf(training) },
      ...(run ? { internalParameters: { [run.system]: run.variables } } : {}),
      resolvedDependencies: dependenciesOf(training),
    },
    runDetails: {
      builder: { id: run?.builderId ?? training.builder ?? LOCAL_BUILDER },
      metadata: {
        ...(run ? { invocationId: run.invocationId } : {}),
        ...(started_at === undefined ? {} : { startedOn: started_at }),
        ...(finished_at === undefined ? {} : { finishedOn: finished_at }),
      },
    },
  };
}

function checkTogether({ code, builder, started_at, finished_at }: Descriptor, run: CiRun | undefined): void {
  if (run?.commit !== undefined && run.commit !== code.commit)
    throw signingError("DESCRIPTOR_INVALID", {
      detail: `code.commit is ${code.commit}, ${run.system} has ${run.commit}`,
    });
  if (run && builder !== undefined)
    throw signingError("DESCRIPTOR_INVALID", { detail: `builder: in ${run.system} the run says itself who it is` });
  if (started_at && finished_at && Date.parse(started_at) > Date.parse(finished_at))
    throw signingError("DESCRIPTOR_INVALID", { detail: "it finished before it started" });
}

function inputsOf({ datasets, base_model, container }: Descriptor): Record<string, unknown> {
  return {
    datasets: datasets.map(({ name }) => name),
    ...(base_model ? { baseModel: base_model.name } : {}),
    ...(container ? { container: container.image } : {}),
  };
}

function dependenciesOf({ code, datasets, base_model, container }: Descriptor): Record<string, unknown>[] {
  const named = (kind: string, input: { name: string; uri?: string | undefined; sha256: string }) => ({
    name: `${kind}:${input.name}`,
    ...(input.uri === undefined ? {} : { uri: input.uri }),
    digest: { sha256: input.sha256 },
  });
  return [
    { name: "code", uri: code.repository, digest: { gitCommit: code.commit } },
    ...(base_model ? [named("base-model", base_model)] : []),
    ...datasets.map((dataset) => named("dataset", dataset)),
    ...(container ? [{ name: "container", uri: container.image, digest: { sha256: container.sha256 } }] : []),
  ];
}
