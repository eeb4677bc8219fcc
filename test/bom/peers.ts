/** The peers that bills of materials are held against, and the words for when they are absent. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { bomEnvironmentFolder, bomToolsFolder, spdxSchemaFile } from "../../tools/peers/bom-places.ts";

export const PEERS_ABSENT = "no peers: node tools/bootstrap.mjs peers bom";
export const hasPeers = [
  join(bomToolsFolder, "installed"),
  join(bomEnvironmentFolder, "installed"),
  spdxSchemaFile,
].every((path) => existsSync(path));

export interface OsvApi {
  readonly url: string;
  stop(): void;
}

/** The counterpart of osv.dev in Python, over the records of the vectors. */
export async function startOsvApi(dump: string): Promise<OsvApi> {
  const script = join(import.meta.dirname, "../../tools/peers/python/osv_api.py");
  const child: ChildProcess = spawn(join(bomToolsFolder, "bin/python"), [script, dump], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = await new Promise<string>((resolve, reject) => {
    child.stdout?.once("data", (data: Buffer) => resolve(data.toString().trim()));
    child.once("exit", () => reject(new Error("the counterpart of osv.dev ended")));
  });
  return { url: `http://127.0.0.1:${port}/v1/query`, stop: () => void child.kill() };
}
