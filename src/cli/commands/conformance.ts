/** modelkeep conformance: the flags by which the OMS conformance suite drives an implementation; the exit code is the answer. */
import { relative, resolve, sep } from "node:path";
import { baseError, EXIT } from "../../base/index.ts";
import { readFileBounded, writeFileAtomic } from "../../host/index.ts";
import {
  type HashType,
  loadEcSigner,
  SIGNING_LIMITS,
  type SignOptions,
  signModel,
  type Trust,
  trustAuthorities,
  trustIdentities,
  trustKeys,
  verifyModel,
  withCertificates,
} from "../../signing/index.ts";
import type { Command, CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

const LIMITS = { repeats: 1_000, threads: 64, chainFiles: 8 } as const;

const METHOD: CommandOption = {
  flag: "--method",
  value: "METHOD",
  about: "how it is signed",
  choices: ["key", "certificate", "sigstore"],
  required: true,
};
const SHARED: readonly CommandOption[] = [
  METHOD,
  { flag: "--model-path", value: "PATH", about: "folder, or a single file", required: true },
  { flag: "--cert-chain", value: "PEM", about: "to sign: intermediates; to verify: anchors", repeatable: true },
  { flag: "--ignore-paths", value: "PATH", about: "absolute path to leave out", repeatable: true },
];
const SIGNING: readonly CommandOption[] = [
  { flag: "--private-key", value: "PEM", about: "EC key that signs" },
  { flag: "--signing-cert", value: "PEM", about: "its certificate" },
];
const VERIFYING: readonly CommandOption[] = [
  { flag: "--public-key", value: "PEM", about: "the signer's" },
  { flag: "--identity", value: "NAME", about: "the keyless signer" },
  { flag: "--identity-provider", value: "URL", about: "who vouches for it" },
  { flag: "--ignore-unsigned-files", about: "files that the signature does not list are no failure" },
];
const HASHING: readonly CommandOption[] = [
  { flag: "--hash-algorithm", value: "NAME", about: "of the files", choices: ["sha256", "blake2b", "blake3"] },
  { flag: "--shard-size", value: "BYTES", about: "a digest for every so many bytes" },
  { flag: "--max-workers", value: "COUNT", about: "threads that hash" },
];

const FOR = "for the OMS conformance suite";
const EXAMPLES = (line: string) => [{ line: `modelkeep conformance ${line}`, about: FOR }];

export const conformanceSign: Command = {
  name: "conformance sign-model",
  about: `Sign a model by the flags of the adapter protocol, ${FOR}.`,
  examples: EXAMPLES(
    "sign-model --method key --private-key signer.pem --model-path /models/m --output-bundle /tmp/m.sig",
  ),
  options: [
    ...SHARED,
    { flag: "--output-bundle", value: "FILE", about: "where the signature goes", required: true },
    ...SIGNING,
    ...HASHING,
  ],
  async run(context, input) {
    const output = resolve(context.cwd, input.need("--output-bundle"));
    const { bundle } = await signModel(await signOptions(context, input, [output]));
    await writeFileAtomic(output, bundle);
    return { data: {} };
  },
};

export const conformanceVerify: Command = {
  name: "conformance verify-model",
  about: `Verify a model by the flags of the adapter protocol, ${FOR}.`,
  examples: EXAMPLES("verify-model --method key --public-key signer.pub --model-path /models/m --bundle /tmp/m.sig"),
  options: [
    ...SHARED,
    { flag: "--bundle", value: "FILE", about: "the signature", required: true },
    ...VERIFYING,
    ...HASHING,
  ],
  async run(context, input) {
    const { verdict } = await verifyModel(await verifyOptions(context, input));
    return { data: {}, exit: verdict === "verified" ? EXIT.done : EXIT.verificationFailed };
  },
};

export const conformanceCapabilities: Command = {
  name: "conformance capabilities",
  about: `Print what the adapter can do beyond the protocol, ${FOR}.`,
  examples: EXAMPLES("capabilities"),
  async run({ version }) {
    const data = {
      flags: HASHING.map(({ flag }) => flag),
      hash_algorithms: ["sha256", "blake2b", "blake3"],
      benchmark_model: true,
      client_version: version,
    };
    return { data, text: JSON.stringify(data) };
  },
};

export const conformanceBenchmark: Command = {
  name: "conformance benchmark-model",
  about: `Sign or verify a model several times and print the times, ${FOR}.`,
  examples: EXAMPLES(
    "benchmark-model --operation sign --method key --private-key signer.pem --model-path /models/m --repeat 3",
  ),
  options: [
    { flag: "--operation", value: "NAME", about: "what is timed", choices: ["sign", "verify"], required: true },
    { flag: "--repeat", value: "COUNT", about: "how often", default: "1" },
    ...SHARED,
    { flag: "--bundle", value: "FILE", about: "the signature, to verify" },
    { flag: "--output-bundle", value: "FILE", about: "left out of the model; nothing is written" },
    ...SIGNING,
    ...VERIFYING,
    ...HASHING,
    { flag: "--chunk-size", value: "BYTES", about: "taken and not used: chunks have a length of their own" },
  ],
  async run(context, input) {
    const repeats = numberOf(input, "--repeat", LIMITS.repeats) ?? 1;
    const output = input.text("--output-bundle");
    const work =
      input.need("--operation") === "sign"
        ? async () => signModel(await signOptions(context, input, output ? [resolve(context.cwd, output)] : []))
        : async () => mustVerify(await verifyModel(await verifyOptions(context, input)));
    const times: number[] = [];
    for (let round = 0; round < repeats; round++) {
      const started = context.clock.monotonic();
      await work();
      times.push(context.clock.monotonic() - started);
    }
    const data = { times_ms: times };
    return { data, text: JSON.stringify(data) };
  },
};

function mustVerify({ verdict }: { readonly verdict: string }): void {
  if (verdict !== "verified") throw baseError("INVALID_INPUT", { detail: "the model that is timed does not verify" });
}

/** The suite's keys come out of an archive and are open to everybody, so their mode is not looked at. */
async function signOptions(
  context: CommandContext,
  input: CommandInput,
  outputs: readonly string[],
): Promise<SignOptions> {
  if (input.need("--method") === "sigstore")
    throw cliError("USAGE", { detail: "the protocol gives no identity to sign with: --method key or certificate" });
  const root = resolve(context.cwd, input.need("--model-path"));
  const key = loadEcSigner(await read(context, input.need("--private-key")));
  const isCertified = input.need("--method") === "certificate";
  const signer = isCertified
    ? withCertificates(
        key,
        { certificate: await read(context, input.need("--signing-cert")), chain: await readChain(context, input) },
        context.clock.now(),
      )
    : key;
  return { root, signer, ignore: insideOf(context, input, root, outputs), ...hashingOf(input), ...watched(context) };
}

async function verifyOptions(context: CommandContext, input: CommandInput) {
  const root = resolve(context.cwd, input.need("--model-path"));
  const bundle = resolve(context.cwd, input.need("--bundle"));
  const { threads } = hashingOf(input);
  return {
    root,
    bundle: await readFileBounded(bundle, SIGNING_LIMITS.bundleBytes),
    trust: await trustOf(context, input),
    ignore: insideOf(context, input, root, [bundle]),
    ignoreUnsigned: input.on("--ignore-unsigned-files"),
    ...(threads === undefined ? {} : { threads }),
    ...watched(context),
  };
}

async function trustOf(context: CommandContext, input: CommandInput): Promise<Trust> {
  const method = input.need("--method");
  if (method === "key") return trustKeys([await read(context, input.need("--public-key"))]);
  if (method === "sigstore")
    return trustIdentities([{ identity: input.need("--identity"), issuer: input.need("--identity-provider") }]);
  input.need("--cert-chain");
  return trustAuthorities([{ pem: await readChain(context, input), anySubject: true }], context.clock.now());
}

/** Absolute paths of the protocol as the signature names them; what lies elsewhere says nothing. */
function insideOf(context: CommandContext, input: CommandInput, root: string, more: readonly string[]): string[] {
  const given = input.all("--ignore-paths").map((path) => resolve(context.cwd, path));
  return [...new Set([...given, ...more])].flatMap((path) => {
    const inner = relative(root, path);
    return inner === "" || inner === ".." || inner.startsWith(`..${sep}`) ? [] : [inner.split(sep).join("/")];
  });
}

function hashingOf(input: CommandInput): { hashType?: HashType; shardBytes?: number; threads?: number } {
  const hash = input.text("--hash-algorithm") as HashType | undefined;
  const shardBytes = numberOf(input, "--shard-size", Number.MAX_SAFE_INTEGER);
  const threads = numberOf(input, "--max-workers", LIMITS.threads);
  return {
    ...(hash === undefined ? {} : { hashType: hash }),
    ...(shardBytes === undefined ? {} : { shardBytes }),
    ...(threads === undefined ? {} : { threads }),
  };
}

function numberOf(input: CommandInput, flag: string, most: number): number | undefined {
  const text = input.text(flag);
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= most) return value;
  throw cliError("USAGE", { detail: `${flag} ${text}: a whole number from 1 to ${most}` });
}

async function readChain(context: CommandContext, input: CommandInput): Promise<Uint8Array> {
  const paths = input.all("--cert-chain");
  if (paths.length > LIMITS.chainFiles) throw cliError("USAGE", { detail: `over ${LIMITS.chainFiles} --cert-chain` });
  return Buffer.concat(await Promise.all(paths.map((path) => read(context, path))));
}

const read = (context: CommandContext, path: string) =>
  readFileBounded(resolve(context.cwd, path), SIGNING_LIMITS.keyFileBytes);
const watched = ({ progress, signal }: CommandContext) => ({ progress, signal });
