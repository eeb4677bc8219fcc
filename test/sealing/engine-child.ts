/** Opens a sealed model over two threads with the engine that the environment names, and says which one that was. */
import { openBlobStore } from "../../src/artifact/index.ts";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { chooseAead, systemRandom as random } from "../../src/host/index.ts";
import { openIntoFolder } from "../../src/sealing/index.ts";
import { trustKeys } from "../../src/signing/index.ts";

const [kms = "", sealed = "", trusted = "", output = ""] = process.argv.slice(2);
const wrappers = [await openKeyWrapper(kms, { random })];
const store = await openBlobStore(sealed);
await openIntoFolder({ store, prefix: "", trust: trustKeys([trusted]), wrappers, random, threads: 2 }, output);
process.stdout.write((await chooseAead()).engine.name);
