/** A small model, a signer, a key service and a server that knows it: what a publication needs. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { openBlobStore } from "../../src/artifact/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import type { PublishOptions } from "../../src/publisher/index.ts";
import type { Config } from "../../src/server/index.ts";
import { loadEcSigner } from "../../src/signing/index.ts";
import { ecKey } from "../loader/support.ts";
import { fileUri, startTestServer, type TestServer } from "../server/support.ts";

export interface PublishFixture {
  readonly folder: string;
  readonly root: string;
  readonly keep: TestServer;
  readonly options: PublishOptions;
}

/** A safetensors file with one tensor, a configuration and a lockfile. */
export function writeModel(root: string, requirement = "urllib3==2.8.0"): void {
  mkdirSync(root, { recursive: true });
  const header = Buffer.from(JSON.stringify({ w: { dtype: "F32", shape: [300_000], data_offsets: [0, 1_200_000] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(join(root, "model.safetensors"), Buffer.concat([length, header, Buffer.alloc(1_200_000, 7)]));
  writeFileSync(
    join(root, "config.json"),
    JSON.stringify({ model_type: "llama", architectures: ["LlamaForCausalLM"] }),
  );
  writeFileSync(join(root, "requirements.txt"), `${requirement}\n`);
}

export async function preparePublish(t: TestContext, flags: Partial<Config> = {}): Promise<PublishFixture> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-publish-"));
  const kms = fileUri(folder, "models.kek");
  await createKeyFile(kms, systemRandom);
  const keep = await startTestServer({ flags: { kms: [kms], insecure_dev_attestation: true, ...flags } });
  t.after(async () => {
    await keep.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const root = join(folder, "tiny");
  writeModel(root);
  mkdirSync(join(folder, "store"));
  const options: PublishOptions = {
    root,
    name: "tiny",
    version: "1",
    signer: loadEcSigner(ecKey().privatePem),
    wrappers: [await openKeyWrapper(kms, { random: systemRandom })],
    store: await openBlobStore(fileUri(folder, "store")),
    api: keep.admin.api,
    random: systemRandom,
  };
  return { folder, root, keep, options };
}
