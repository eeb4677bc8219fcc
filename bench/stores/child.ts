/** One process of the benchmark: `seal MODEL DIR` makes what is moved, `copy FROM TO` moves it and prints seconds. */
import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { systemRandom as random } from "../../src/host/index.ts";
import { copySealed, sealModel } from "../../src/sealing/index.ts";
import { loadEcSigner, signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";

const [job = "", from = "", to = ""] = process.argv.slice(2);

async function seal(): Promise<void> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signer = loadEcSigner(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" })));
  const uri = pathToFileURL(join(to, "..", "models.kek")).href;
  await createKeyFile(uri, random);
  const { bundle } = await signModel({ root: from, signer });
  const manifest = verifyBundle(bundle, trustKeys([signer.publicKeyPem]));
  const store = await openBlobStore(pathToFileURL(to).href);
  const wrappers = [await openKeyWrapper(uri, { random })];
  await sealModel({ root: from, bundle, manifest, signer, wrappers, store, prefix: "", random });
}

async function copy(): Promise<void> {
  const [source, target] = [await openBlobStore(from), await openBlobStore(to)];
  const started = performance.now();
  await copySealed({ from: { store: source, prefix: "" }, to: { store: target, prefix: "" } });
  const seconds = (performance.now() - started) / 1000;
  const peakMib = Math.round(process.resourceUsage().maxRSS / 1024);
  process.stdout.write(`${JSON.stringify({ seconds, peakMib })}\n`);
}

await (job === "seal" ? seal() : copy());
process.exit(0);
