/** Opens a KMS key and a sealed model, keeps them in use, and waits to be looked at. */
import { openBlobStore } from "../../src/artifact/index.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { systemRandom as random } from "../../src/host/index.ts";
import { openWithKms } from "../../src/sealing/index.ts";
import { trustKeys } from "../../src/signing/index.ts";
import { MemorySink } from "./support.ts";

const [kms = "", store = "", trusted = ""] = process.argv.slice(2);
const wrapper = await openKeyWrapper(kms, { random });
const trust = trustKeys([trusted]);
const into = new MemorySink();
await openWithKms({
  store: await openBlobStore(store),
  prefix: "",
  trust,
  wrappers: [wrapper],
  into,
  random,
  threads: 2,
});
into.files.clear();
for (let round = 0; round < 5; round++) {
  globalThis.gc?.();
  await new Promise((resolve) => setTimeout(resolve, 50));
}
process.on("message", () => process.exit(wrapper.uri === "" ? 1 : 0));
process.send?.("ready");
