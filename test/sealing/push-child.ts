/** Pushes or pulls a sealed model, to be killed meanwhile. Words: from, to. */
import { openBlobStore } from "../../src/artifact/index.ts";
import { copySealed } from "../../src/sealing/index.ts";

const [from = "", to = ""] = process.argv.slice(2);
const limits = { partBytes: 5 * 1024 * 1024, backoffMilliseconds: 5 };
const [source, target] = await Promise.all([from, to].map((uri) => openBlobStore(uri, { limits })));
if (!source || !target) throw new Error("two URIs");
const result = await copySealed({ from: { store: source, prefix: "" }, to: { store: target, prefix: "" } });
process.stdout.write(JSON.stringify(result));
