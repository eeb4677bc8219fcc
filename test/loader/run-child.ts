/** The outer half of the loader as a process of its own, with a key from the sealed model's own envelope. */
import { openBlobStore } from "../../src/artifact/index.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { GuardedBytes, systemRandom } from "../../src/host/index.ts";
import { runSealedModel } from "../../src/loader/index.ts";
import { readEnvelope, unwrapPackageKey } from "../../src/sealing/index.ts";

const job = JSON.parse(process.argv[2] ?? "") as {
  storeUri: string;
  prefix: string;
  kekUri: string;
  publicKeys: string[];
  rootDigest?: string;
  filesDigest?: string;
  wrongKey: boolean;
  allowSwap: boolean;
  command: string[];
};
const abort = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => abort.abort(signal));

async function packageKey(): Promise<GuardedBytes> {
  if (job.wrongKey) return GuardedBytes.take(systemRandom.bytes(32));
  const envelope = await readEnvelope(await openBlobStore(job.storeUri), job.prefix);
  return unwrapPackageKey(envelope, [await openKeyWrapper(job.kekUri, { random: systemRandom })]);
}

try {
  const { exitCode, ready } = await runSealedModel({
    storeUri: job.storeUri,
    prefix: job.prefix,
    packageKey: await packageKey(),
    trust: { publicKeys: job.publicKeys },
    ...(job.rootDigest === undefined ? {} : { rootDigest: job.rootDigest }),
    ...(job.filesDigest === undefined ? {} : { filesDigest: job.filesDigest }),
    command: job.command,
    env: process.env,
    cwd: process.cwd(),
    signal: abort.signal,
    insecureAllowSwap: job.allowSwap,
    onReady: (told) => process.stderr.write(`ready ${JSON.stringify(told)}\n`),
  });
  process.stderr.write(`ended ${exitCode} ${ready.files}\n`);
  process.exitCode = exitCode;
} catch (error) {
  const code = error instanceof ModelkeepError ? error.code : "UNKNOWN";
  process.stderr.write(`error ${code} ${error instanceof Error ? error.message : ""}\n`);
  process.exitCode = 99;
}
