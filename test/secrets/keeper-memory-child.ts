/** A process of its own for keeper-memory.test.ts: reads secrets by a driver, holds one, lets it go when it is told to. */
import { once } from "node:events";
import { writeHeapSnapshot } from "node:v8";
import { openDriver } from "./support.ts";

const [uri = "", reference = "", snapshot = ""] = process.argv.slice(2);
const env = Object.fromEntries(Object.entries(process.env).filter((pair): pair is [string, string] => !!pair[1]));
const driver = await openDriver(uri, env);
for (let round = 0; round < 50; round++) (await driver.read(reference, { ttlSeconds: 60 })).key.wipe();
const { key } = await driver.read(reference, { ttlSeconds: 60 });
process.send?.("held");
await once(process, "message");
writeHeapSnapshot(snapshot);
key.wipe();
process.send?.("gone");
await once(process, "message");
process.exit(0);
