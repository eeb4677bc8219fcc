/** Seals a model and says how far it came; the tests kill it on the way. */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { systemRandom } from "../../src/host/index.ts";
import { sealModel } from "../../src/sealing/index.ts";
import { readSigningKey, trustKeys, verifyBundle } from "../../src/signing/index.ts";

const [root = "", signature = "", key = "", kms = "", output = ""] = process.argv.slice(2);
const signer = await readSigningKey(key);
const bundle = readFileSync(signature);
const sealed = await sealModel({
  root,
  bundle,
  signer,
  manifest: verifyBundle(bundle, trustKeys([signer.publicKeyPem])),
  wrappers: [await openKeyWrapper(kms, { random: systemRandom })],
  store: await openBlobStore(pathToFileURL(output).href),
  prefix: "",
  random: systemRandom,
  progress: () => process.stdout.write("."),
});
process.stdout.write(`\n${JSON.stringify({ resumed: sealed.resumedFiles })}\n`);
