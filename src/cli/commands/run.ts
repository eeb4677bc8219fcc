/** modelkeep run REF -- CMD {model}: proves what is started, gets the key, and starts it on the model in memory. */
import { resolve } from "node:path";
import { openBlobStore } from "../../artifact/index.ts";
import {
  createInsecureDevCollector,
  INSECURE_DEV_KIND,
  type LaunchDescription,
  measureLaunch,
} from "../../attestation/index.ts";
import { EXIT, ModelkeepError } from "../../base/index.ts";
import { type ApiClient, getModel, modelRef, type PublishedModel, reportLoad } from "../../contract/index.ts";
import { readFileBounded } from "../../host/index.ts";
import { hostPromises, loaderError, type RunReady, runSealedModel } from "../../loader/index.ts";
import { requestPackageKey } from "../../release/index.ts";
import { sealingError, verifySealed } from "../../sealing/index.ts";
import { pinKeys } from "../../signing/index.ts";
import type { Command, CommandContext, CommandInput, CommandResult } from "../command.ts";
import { CODE_BYTES, ensureEnrolled } from "../connect.ts";
import { cliError } from "../errors.ts";
import { formatBytes } from "../terminal.ts";
import { DEVICE_OPTIONS, devicesOf, GUEST_KINDS, openGuestCollector } from "./attest-collect.ts";
import { acceptedSigner, RUN_TRUST_OPTIONS, readRunTrust } from "./run-trust.ts";

const HINT = "modelkeep run keeper@1 --trust signer.pub --tee insecure-dev -- PROGRAM {model}";

/** How long a server may take, after the program's end, to write down that the model was loaded, in milliseconds. */
const REPORT_WAIT_MS = 5_000;

const TEES = [...GUEST_KINDS, INSECURE_DEV_KIND];

interface Asked {
  readonly ref: string;
  readonly program: string;
  readonly words: readonly string[];
}

export const run: Command = {
  name: "run",
  about: "Start a program on a sealed model: {model} becomes a folder in memory, in a namespace of its own.",
  examples: [
    {
      line: "modelkeep run keeper@1 --trust signer.pub --tee insecure-dev -- llama-server -m {model}/keeper.gguf",
      about: "without a TEE, where the policy of the server allows that",
    },
    {
      line: "modelkeep run keeper@1 --tee insecure-dev --print-measurement -- vllm serve {model}",
      about: "what a policy names to allow exactly this start",
    },
  ],
  args: [{ name: "REF", about: "name@version of a published model" }],
  options: [
    ...RUN_TRUST_OPTIONS,
    { flag: "--as", value: "WORKLOAD", about: "ask as this workload instead of the one that is logged in" },
    { flag: "--enrol-code-file", value: "FILE", about: "one-time code for the first start as that workload" },
    {
      flag: "--tee",
      value: "KIND",
      about: "kind of evidence: of this guest, or insecure-dev, which proves nothing",
      choices: TEES,
    },
    ...DEVICE_OPTIONS,
    { flag: "--mount", value: "KIND", about: "how the program reads", choices: ["tmpfs"], default: "tmpfs" },
    { flag: "--verify", value: "WHEN", about: "full: all before the start", choices: ["full"], default: "full" },
    { flag: "--insecure-allow-swap", about: "load although pages of the model may go to a swap device" },
    { flag: "--print-measurement", about: "print the measurement of this start in hex, and start nothing" },
  ],
  takesProgram: true,
  async run(context, input) {
    const asked = readAsked(input);
    return runModel(context, input, asked, await connectAs(context, input));
  },
};

/** The workload's own credentials where one is named; a one-time code makes them on the first start. */
async function connectAs(context: CommandContext, input: CommandInput): Promise<ApiClient> {
  const [as, codeFile] = [input.text("--as"), input.text("--enrol-code-file")];
  if (as === undefined && codeFile === undefined) return context.client();
  const { api } = await ensureEnrolled({
    env: context.env,
    signal: context.signal,
    ...(as === undefined ? {} : { as }),
    readCode: async () =>
      codeFile === undefined ? undefined : readFileBounded(resolve(context.cwd, codeFile), CODE_BYTES),
  });
  return api;
}

function readAsked(input: CommandInput): Asked {
  const [ref = ""] = input.args;
  const [program, ...words] = input.rest;
  if (!modelRef.safeParse(ref).success)
    throw cliError("USAGE", { detail: `${ref.slice(0, 100)} is not name@version`, hint: HINT });
  if (program === undefined) throw cliError("USAGE", { detail: "the program is missing", hint: HINT });
  return { ref, program, words };
}

/** The part behind the connection: everything that can be refused without a key is refused before the key is asked for. */
async function runModel(
  context: CommandContext,
  input: CommandInput,
  asked: Asked,
  api: ApiClient,
): Promise<CommandResult> {
  if (input.text("--tee") === undefined) throw loaderError("EVIDENCE_NOT_CHOSEN");
  const model = await api.call(getModel, { params: { ref: asked.ref } });
  const launch: LaunchDescription = {
    program: asked.program,
    arguments: asked.words,
    model: asked.ref,
    package_id: model.package_id,
    verify: "full",
  };
  if (input.on("--print-measurement")) {
    if (input.text("--tee") !== INSECURE_DEV_KIND)
      throw cliError("USAGE", { detail: "a guest's measurement is in its evidence: modelkeep attest collect" });
    const measurement = measureLaunch(launch);
    return { data: { kind: INSECURE_DEV_KIND, measurement }, text: measurement };
  }
  const trust = await readRunTrust(context, input, HINT);
  const report = reporter(context, api, asked.ref, model);
  let reported: Promise<void> | undefined;
  try {
    const { publicKeys, ...accepted } = await acceptedSigner(trust, model, context.clock.now(), context.signal);
    await verifyStored(model, publicKeys, context.signal);
    const collector = await openCollector(context, input.need("--tee"), launch);
    await tellPromises(context, collector.kind);
    const packageKey = await requestPackageKey({
      api,
      collector,
      ...devicesOf(context, input),
      model: asked.ref,
      packageId: model.package_id,
    });
    const { exitCode } = await runSealedModel({
      storeUri: model.store_uri,
      prefix: model.prefix,
      packageKey,
      trust: { publicKeys },
      ...accepted,
      rootDigest: model.root_digest,
      packageId: model.package_id,
      command: [asked.program, ...asked.words],
      env: context.env,
      cwd: context.cwd,
      signal: context.signal,
      insecureAllowSwap: input.on("--insecure-allow-swap"),
      progress: context.progress,
      onReady: (ready) => {
        tellReady(context, asked, ready);
        reported = report("loaded");
      },
    });
    await withinReportWait(context, reported);
    return { data: undefined, exit: exitCode };
  } catch (error) {
    if (error instanceof ModelkeepError && error.exit === EXIT.verificationFailed) await report("refused", error.code);
    throw error;
  }
}

/** Tells the server's log what came of the load; a server that cannot be told now is no reason to stop the program. */
function reporter(context: CommandContext, api: ApiClient, ref: string, model: PublishedModel) {
  const { package_id, root_digest } = model;
  return async (outcome: "loaded" | "refused", reason?: string): Promise<void> => {
    const body = { package_id, root_digest, outcome, ...(reason === undefined ? {} : { reason }) };
    try {
      await api.call(reportLoad, { params: { ref }, body });
    } catch (error) {
      const why = error instanceof ModelkeepError ? error.code : "INTERNAL";
      context.talk(`the load is not in the server's log (${why})`);
    }
  };
}

/** A program that ends at once ends before the server has answered: the load is written down all the same. */
async function withinReportWait(context: CommandContext, reported: Promise<void> | undefined): Promise<void> {
  const wait = Promise.withResolvers<"late">();
  const timer = setTimeout(() => wait.resolve("late"), REPORT_WAIT_MS);
  const late = await Promise.race([reported, wait.promise]);
  clearTimeout(timer);
  if (late) context.talk("the load may not be in the server's log: it does not answer");
}

/** Without a key; the loader verifies again, since the store may change in between. */
async function verifyStored(model: PublishedModel, publicKeys: readonly string[], signal: AbortSignal): Promise<void> {
  const store = await openBlobStore(model.store_uri, { signal });
  const seal = await verifySealed({ store, prefix: model.prefix, trust: pinKeys(publicKeys) });
  if (seal.manifest.rootDigest === model.root_digest && seal.packageId === model.package_id) return;
  throw sealingError("SEALED_TAMPERED", { detail: "the store holds another model than the one that was published" });
}

/** Hardware is asked only when it is named, and only the kind that is named. */
async function openCollector(context: CommandContext, tee: string, launch: LaunchDescription) {
  if (tee === INSECURE_DEV_KIND) return createInsecureDevCollector({ launch });
  const collector = await openGuestCollector(context, tee);
  if (collector.kind !== tee)
    throw cliError("USAGE", { detail: `--tee ${tee}: this machine is ${collector.kind}`, hint: "modelkeep doctor" });
  return collector;
}

async function tellPromises(context: CommandContext, kind: string): Promise<void> {
  context.talk(kind === INSECURE_DEV_KIND ? `evidence: ${kind}, which proves nothing` : `evidence: ${kind}`);
  for (const { holds, about } of await hostPromises()) context.talk(`${holds ? "holds" : "not  "}  ${about}`);
}

/** On stderr: stdout belongs to the program. */
function tellReady(context: CommandContext, asked: Asked, ready: RunReady): void {
  const { files, bytes, rootDigest, keyId, noSwap, contained } = ready;
  const told = { ready: true, model: asked.ref, files, bytes, root_digest: rootDigest, key_id: keyId };
  const size = `${files} ${files === 1 ? "file" : "files"}, ${formatBytes(bytes)}`;
  context.talk(
    context.json
      ? JSON.stringify({ ...told, no_swap: noSwap, contained })
      : `${asked.ref}: ${size}, signed by ${keyId.slice(0, 16)}, verified in full; starting ${asked.program}`,
  );
}
