/** Makes a piece of the museum, once per format version: `node test/museum/make-sealed.ts sealed-v1 sha256 [PARTS]`. Old pieces are never made again. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { systemRandom as random } from "../../src/host/index.ts";
import { joinParts, type LeafHashName, sealModel, sealPart } from "../../src/sealing/index.ts";
import { signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import { makePair } from "../sealing/support.ts";

const [name = "", leafHash = "sha256", parts = "0"] = process.argv.slice(2);
const piece = join(import.meta.dirname, name);
if (name === "" || existsSync(piece)) throw new Error("name a piece that is not there yet");

const root = join(piece, "plain");
mkdirSync(join(root, "weights"), { recursive: true });
writeFileSync(join(root, "config.json"), '{"model_type":"keeper"}\n');
writeFileSync(join(root, "empty"), "");
writeFileSync(join(root, "weights/tensor.bin"), Buffer.from(Array.from({ length: 300 }, (_, index) => index & 255)));

const { signer, publicPem } = makePair();
writeFileSync(join(piece, "signer.pub"), publicPem);
const kek = join(piece, "models.kek");
await createKeyFile(pathToFileURL(kek).href, random);
const { bundle } = await signModel({ root, signer });
const manifest = verifyBundle(bundle, trustKeys([publicPem]));
/** The address of the place it was made at says nothing to anybody else. */
const local = await openKeyWrapper(pathToFileURL(kek).href, { random });
const wrapper = {
  recognises: local.recognises.bind(local),
  unwrap: local.unwrap.bind(local),
  uri: "file:///etc/modelkeep/models.kek",
  wrap: async (...words: Parameters<typeof local.wrap>) => ({
    ...(await local.wrap(...words)),
    kms: "file:///etc/modelkeep/models.kek",
  }),
};
const store = await openBlobStore(pathToFileURL(join(piece, "sealed")).href);
const shared = { root, manifest, wrappers: [wrapper], store, prefix: "", random, leafHash: leafHash as LeafHashName };
for (let part = 0; part < Number(parts); part++) await sealPart({ ...shared, part, parts: Number(parts) });
await (Number(parts) > 0 ? joinParts : sealModel)({ ...shared, bundle, signer });
process.stdout.write(readFileSync(join(piece, "sealed/envelope.json")));
