/** The Kubernetes manifests of deploy/: valid for the API server, closed by default, and their command lines do what they say. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { kubernetesValidator } from "../../tools/peers/places.ts";
import { startMotoS3 } from "../artifact/store-peers.ts";
import { askMoto } from "../backends/peers.ts";
import { MIB, modelkeep, temporaryFolder, writeModel } from "./support.ts";

const folder = join(import.meta.dirname, "../../deploy/kubernetes");
const manifests = globSync("*.yaml", { cwd: folder }).sort();

interface Container {
  readonly name: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly securityContext: unknown;
}

interface Job {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly completionMode?: string;
    readonly completions?: number;
    readonly parallelism?: number;
    readonly podFailurePolicy: {
      readonly rules: readonly { readonly onExitCodes?: { readonly containerName: string } }[];
    };
    readonly template: { readonly spec: Record<string, unknown> & { readonly containers: readonly Container[] } };
  };
}

function documentsOf(name: string): Job[] {
  return parseAllDocuments(readFileSync(join(folder, name), "utf8")).map((document) => document.toJS() as Job);
}

function jobOf(name: string): Job {
  const job = documentsOf(name).find(({ kind }) => kind === "Job");
  assert.ok(job, name);
  return job;
}

const [parts, join_] = [jobOf("seal-parts.yaml"), jobOf("seal-join.yaml")];

/** The words of the only container, as the controller of indexed jobs fills them in. */
function wordsOf(job: Job, index = 0): string[] {
  const [container] = job.spec.template.spec.containers;
  assert.deepEqual(container?.command, ["modelkeep"]);
  return (container?.args ?? []).map((word) => word.replace("$(JOB_COMPLETION_INDEX)", String(index)));
}

test("the API server's own schemas know every field", (t) => {
  const validator = kubernetesValidator();
  if (!existsSync(validator))
    return t.skip("kubernetes-validate is not here: node tools/bootstrap.mjs peers kubernetes");
  for (const name of manifests) execFileSync(validator, ["--strict", join(folder, name)], { stdio: "pipe" });
  assert.deepEqual(manifests, ["seal-join.yaml", "seal-parts.yaml"]);
});

test("pods are nobody, see no token that they do not need, and write to no disk", () => {
  for (const job of [parts, join_]) {
    const pod = job.spec.template.spec;
    assert.equal(pod.automountServiceAccountToken, false);
    assert.equal(pod.restartPolicy, "Never");
    assert.partialDeepStrictEqual(pod.securityContext, {
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
    });
    for (const { name, securityContext } of pod.containers) {
      const { rules } = job.spec.podFailurePolicy;
      assert.equal(rules.find(({ onExitCodes }) => onExitCodes)?.onExitCodes?.containerName, name);
      assert.deepEqual(securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
    }
    assert.ok(!readFileSync(join(folder, "seal-parts.yaml"), "utf8").includes("PRIVATE KEY"));
  }
  assert.equal(wordsOf(parts).includes("--key"), false, "parts hold no signing key");
});

test("the command lines as they are written seal a model in parts, against S3 and KMS", async (t) => {
  const moto = await startMotoS3();
  if (typeof moto === "string") return t.skip(moto);
  const env = { ...moto.env, AWS_ENDPOINT_URL: moto.origin };
  const keys: readonly (readonly [string, string, string])[] = [
    ["models", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"],
    ["signer", "ECC_NIST_P256", "SIGN_VERIFY"],
  ];
  let publicPem = "";
  for (const [name, KeySpec, KeyUsage] of keys) {
    const { KeyId } = (await askMoto(moto.origin, "CreateKey", { KeySpec, KeyUsage })).KeyMetadata;
    await askMoto(moto.origin, "CreateAlias", { AliasName: `alias/${name}`, TargetKeyId: KeyId });
    if (name !== "signer") continue;
    const { PublicKey } = await askMoto(moto.origin, "GetPublicKey", { KeyId });
    publicPem = `-----BEGIN PUBLIC KEY-----\n${PublicKey}\n-----END PUBLIC KEY-----\n`;
  }
  const content = {
    "weights.bin": Buffer.alloc(70 * MIB, 3),
    "config.json": "{}",
    "a/b.bin": Buffer.alloc(MIB + 1, 4),
  };
  const home = temporaryFolder();
  const model = writeModel(content, join(home, "model"));
  writeFileSync(join(home, "signer.pub"), publicPem);
  const places: Readonly<Record<string, string>> = {
    "/model": model,
    "/etc/modelkeep/signer.pub": join(home, "signer.pub"),
  };
  const run = async (words: readonly string[]) => {
    const { exit, stdout, stderr } = await modelkeep(
      words.map((word) => places[word] ?? word),
      home,
      env,
    );
    assert.equal(exit, 0, stderr || stdout);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const joining = wordsOf(join_);
  const at = (words: readonly string[], flag: string) => words[words.indexOf(flag) + 1] ?? "";
  await run(["sign", model, "--key", at(joining, "--key"), "--json"]);
  const { completionMode, completions = 0, parallelism } = parts.spec;
  assert.deepEqual([completionMode, parallelism], ["Indexed", completions]);
  const seen = await Promise.all(Array.from({ length: completions }, (_, index) => run(wordsOf(parts, index))));
  assert.deepEqual(
    seen.map(({ part, parts: count }) => [part, count]),
    seen.map((_, index) => [index, completions]),
  );
  const sealed = await run(joining);
  assert.equal(sealed.files, 3);
  const where = at(joining, "--output");
  assert.equal(where, at(wordsOf(parts), "--output"));
  await run(["open", where, "--kms", at(joining, "--kms"), "--trust", "signer.pub", "--output", "opened", "--json"]);
  for (const [path, bytes] of Object.entries(content))
    assert.ok(readFileSync(join(home, "opened", path)).equals(Buffer.from(bytes)), path);
});
