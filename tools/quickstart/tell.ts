/** The main job, told step by step: each one runs the command that a user would type and shows what came of it. */
import { createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../checks/source.ts";
import { endStaying, readyLine, type Staying, type Surroundings } from "./processes.ts";
import type { Story } from "./story.ts";

const MODEL = "keeper@1";
const MODEL_FOLDER = `${root}/examples/model/keeper`;
const LOCKFILE = `${root}/examples/model/requirements.txt`;
const ADVISORIES = `${root}/examples/advisories`;
const QUESTION = "Who keeps the lighthouse?";

/** What one step leaves for the next. */
interface Stage {
  readonly around: Surroundings;
  readonly story: Story;
  readonly kms: string;
  readonly storeUri: string;
  readonly signer: { readonly key: string; readonly publicKey: string };
  readonly engineKey: string;
}

export async function tell(around: Surroundings, story: Story): Promise<void> {
  const stage: Stage = {
    around,
    story,
    kms: pathToFileURL(around.path("models.kek")).href,
    storeUri: pathToFileURL(around.path("store")).href,
    signer: makeKey(around, "signer"),
    engineKey: randomBytes(24).toString("base64url"),
  };
  mkdirSync(around.path("store"));
  around.onCommand = (line) => story.command(line);
  await startServer(stage);
  const published = await publish(stage);
  await allow(stage, published);
  const engine = await runEngine(stage);
  await openGateway(stage, engine);
  const asking = await ask(stage);
  await refuseTamperedWeight(stage);
  await refuseStranger(stage);
  await refuseRevoked(stage, asking);
  await refuseMeasurement(stage);
  await showRecord(stage);
}

async function startServer({ around, story, kms }: Stage): Promise<void> {
  story.step("Start the server with embedded defaults, and log in with the one-time code that it made");
  await around.run(["kms", "init", kms]);
  const code = around.path("code");
  const server = around.start(
    [
      ...["serve", "--json", "--listen", "127.0.0.1:0", "--kms", kms, "--bootstrap-code-file", code],
      "--insecure-dev-attestation",
    ],
    "",
  );
  const { url } = await server.until(readyLine);
  await around.run(["login", "--server", String(url)], { input: readFileSync(code) });
  story.done(`the server answers at ${url}`);
}

async function publish({ around, story, kms, storeUri, signer }: Stage): Promise<Record<string, unknown>> {
  story.step("Publish a real model: scan, bill of materials, advisories, signature, seal, push");
  await around.run(["advisories", "import", ADVISORIES]);
  const published = await around.json([
    ...["publish", MODEL_FOLDER, "--name", "keeper", "--version", "1", "--to", storeUri],
    ...["--key", signer.key, "--kms", kms, "--lockfile", LOCKFILE],
  ]);
  story.line(`root ${short(published.root_digest)}, signed by ${short(published.signer_key_id)}`);
  const files = readdirSync(around.path("store", "keeper", "1", "files")).length;
  story.done(`sealed and pushed: ${files} blobs of ciphertext in the store`);
  return published;
}

async function allow({ around, story, signer, engineKey }: Stage, published: Record<string, unknown>): Promise<void> {
  story.step("Write the policy: one measured program may have the key, one workload may ask the model");
  const { measurement } = await around.json(["run", MODEL, "--print-measurement", ...engineCommand(signer, engineKey)]);
  const policy = around.path("policy.cedar");
  const [text] = [await around.run(["policy", "show"])].map(({ stdout }) => stdout);
  writeFileSync(policy, withRules(text ?? "", String(published.signer_key_id), String(measurement)));
  await around.run(["policy", "check", policy]);
  await around.run(["policy", "set", policy]);
  await around.run(["audit", "verify"]);
  story.done(`the program's measurement is ${short(measurement)}`);
}

/** The default policy with the publisher's key named, and what the two workloads of this story may do. */
function withRules(base: string, keyId: string, measurement: string): string {
  const named = base.replace(
    'context.scan.verdict == "clean" &&',
    `context.signature.keyId == "${keyId}" &&\n  context.scan.verdict == "clean" &&`,
  );
  if (named === base) throw new Error("the default policy has another shape than this story expects");
  return `${named}
@id("keeper-on-this-program")
@about("the key of keeper@1 goes to one measured program, for a model that one publisher signed and that is clean")
permit (principal == Workload::"inference", action == Action::"releaseKey", resource == Model::"${MODEL}")
when {
  context.attestation.kind == "insecure-dev" &&
  context.attestation.measurement == "${measurement}" &&
  context.signature.keyId == "${keyId}" &&
  context.scan.verdict == "clean"
};

@id("inference-reads-keeper")
permit (principal == Workload::"inference", action == Action::"readModel", resource == Model::"${MODEL}");

@id("demo-asks-keeper")
@about("the demo application may ask the model keeper")
permit (principal == Workload::"demo", action == Action::"useModel", resource == ProviderModel::"local/keeper");
`;
}

function engineCommand(signer: Stage["signer"], engineKey: string, port = "0"): string[] {
  const digest = createHash("sha256").update(engineKey).digest("hex");
  const words = ["--model", "{model}", "--port", port, "--api-key-sha256", digest];
  return [
    ...["--trust", signer.publicKey, "--tee", "insecure-dev", "--insecure-allow-swap"],
    ...["--", "node", "examples/engine/server.mjs", ...words],
  ];
}

async function runEngine({ around, story, signer, engineKey }: Stage): Promise<string> {
  story.step("Run llama.cpp on the model: evidence, key release, verification, decryption into memory only");
  const code = await enrol(around, "inference");
  const engine = around.start(
    ["run", MODEL, "--as", "inference", "--enrol-code-file", code, ...engineCommand(signer, engineKey)],
    "",
  );
  const { url } = await engine.until(readyLine);
  for (const line of engine.output().stderr.trim().split("\n")) story.line(line);
  story.done(`the engine answers at ${url}`);
  return String(url);
}

async function openGateway({ around, story, engineKey }: Stage, engineUrl: string): Promise<void> {
  story.step("Put the engine's key into the server, and the engine behind the gateway");
  await around.run(["secret", "put", "engine-key"], { input: engineKey });
  await around.run([
    ...["provider", "set", "local", "--base-url", `${engineUrl}/v1`, "--secret", "engine-key", "--model", "keeper"],
  ]);
  story.done("applications will never see that key");
}

async function ask({ around, story }: Stage): Promise<Staying> {
  story.step("Ask the model through the gateway, with the unmodified OpenAI client and a token of minutes");
  const code = await enrol(around, "demo");
  const asking = around.start([
    ...["agent", "--as", "demo", "--enrol-code-file", code],
    ...["--", "node", "examples/quickstart/ask.mjs", "keeper", QUESTION, QUESTION],
  ]);
  const answer = await asking.until(firstLine);
  story.line(`> ${QUESTION}`);
  story.line(answer);
  if (answer.startsWith("refused") || answer.trim() === "") throw new Error(`no answer: ${answer}`);
  story.done("answered");
  return asking;
}

async function refuseTamperedWeight({ around, story, signer, engineKey }: Stage): Promise<void> {
  story.step("Refused: one byte of a sealed weight was changed");
  const blob = largestBlob(around.path("store", "keeper", "1", "files"));
  const bytes = readFileSync(blob);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(blob, bytes);
  const { stderr } = await around.run(["run", MODEL, "--as", "inference", ...engineCommand(signer, engineKey)], {
    expect: 4,
  });
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(blob, bytes);
  story.done(errorLine(stderr));
}

async function refuseStranger({ around, story, kms, storeUri }: Stage): Promise<void> {
  story.step("Refused: the same model, signed by a stranger");
  const stranger = makeKey(around, "stranger");
  const { stderr } = await around.run(
    [
      ...["publish", MODEL_FOLDER, "--name", "keeper", "--version", "2", "--to", storeUri],
      ...["--key", stranger.key, "--kms", kms, "--lockfile", LOCKFILE],
    ],
    { expect: 3 },
  );
  story.done(errorLine(stderr));
}

async function refuseRevoked({ around, story }: Stage, asking: Staying): Promise<void> {
  story.step("Refused: a token that was revoked a moment ago, in the application that just used it");
  await around.run(["token", "revoke", "--principal", "demo"]);
  asking.child.stdin?.end("\n");
  const refusal = await asking.until((stdout) => stdout.split("\n").find((line) => line.startsWith("refused")));
  await endStaying(asking);
  story.done(refusal);
}

async function refuseMeasurement({ around, story, signer, engineKey }: Stage): Promise<void> {
  story.step("Refused: a program that policy does not name (the same one, told to listen elsewhere)");
  const other = engineCommand(signer, engineKey, "4711");
  const { stderr } = await around.run(["run", MODEL, "--as", "inference", ...other], { expect: 5 });
  story.done(errorLine(stderr));
}

async function showRecord({ around, story }: Stage): Promise<void> {
  story.step("The chain of custody, from the audit log; and the log verified");
  const { stdout } = await around.run(["audit", "list", "--model", MODEL]);
  story.line(stdout);
  const { stdout: verified } = await around.run(["audit", "verify"]);
  story.done(verified.trim());
}

/** A one-time code for a workload, in a file that only this user can read. */
async function enrol(around: Surroundings, workload: string): Promise<string> {
  const { code } = await around.json(["token", "issue", "--for", workload]);
  const path = around.path(`${workload}.code`);
  writeFileSync(path, `${code}\n`, { mode: 0o600 });
  return path;
}

function makeKey(around: Surroundings, name: string): { key: string; publicKey: string } {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = around.path(`${name}.pem`);
  const publicKey = around.path(`${name}.pub`);
  writeFileSync(key, pair.privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(publicKey, pair.publicKey.export({ type: "spki", format: "pem" }));
  return { key, publicKey };
}

function largestBlob(folder: string): string {
  const paths = readdirSync(folder).map((name) => join(folder, name));
  return paths.sort((a, b) => statSync(b).size - statSync(a).size)[0] ?? "";
}

function firstLine(stdout: string): string | undefined {
  return stdout.includes("\n") ? stdout.split("\n")[0] : undefined;
}

function errorLine(stderr: string): string {
  return stderr.split("\n").find((line) => line.startsWith("error:")) ?? stderr.trim();
}

function short(value: unknown): string {
  return `${String(value).slice(0, 16)}…`;
}
