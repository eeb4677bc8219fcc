/** Keys in memory: after a sealed model was opened they are in locked pages or nowhere, and a key file's text is gone. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, openSync, readFileSync, readSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { parseEnvelope, SEALED_NAMES, unwrapPackageKey } from "../../src/sealing/index.ts";
import { KIB, MIB, makeKms, makeSealed, random } from "./support.ts";

const BLOCK = 4 * MIB;
const OVERLAP = 128;

/** Needles found in readable pages of another process: how often in locked pages, how often elsewhere. */
function scan(pid: number, needles: Readonly<Record<string, Buffer>>) {
  const found: Record<string, { locked: number; elsewhere: number }> = {};
  for (const name of Object.keys(needles)) found[name] = { locked: 0, elsewhere: 0 };
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const block = Buffer.alloc(BLOCK + OVERLAP);
  for (const entry of readFileSync(`/proc/${pid}/smaps`, "latin1").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
    const [, from = "0", to = "0"] = /^([0-9a-f]+)-([0-9a-f]+)/.exec(entry) ?? [];
    const place = /VmFlags:.* lo\b/.test(entry) ? "locked" : "elsewhere";
    const [start, end] = [BigInt(`0x${from}`), BigInt(`0x${to}`)];
    for (let at = start; at < end; at += BigInt(BLOCK)) {
      const read = readPage(memory, block, Math.min(block.length, Number(end - at)), at);
      for (const [name, needle] of Object.entries(needles)) {
        const count = found[name];
        for (
          let i = block.indexOf(needle);
          count && i >= 0 && i + needle.length <= read;
          i = block.indexOf(needle, i + 1)
        )
          if (i < BLOCK) count[place]++;
      }
    }
  }
  return found;
}

function readPage(memory: number, block: Buffer, length: number, at: bigint): number {
  try {
    return readSync(memory, block, 0, length, at);
  } catch {
    return 0;
  }
}

test("the KEK is in locked memory only, its text nowhere, and the package key is gone after opening", async (t) => {
  if (process.getuid?.() !== 0 || !existsSync("/proc/self/smaps"))
    return t.skip("reading another process needs root on Linux: run the tests as root");
  const { uri } = await makeKms();
  const wrapper = await openKeyWrapper(uri, { random });
  const made = await makeSealed({ "weights.bin": Buffer.alloc(3 * MIB, 1), b: "2" }, { wrapper });
  const hex = readFileSync(new URL(uri), "utf8").split("\n")[1]?.split(" ")[1] ?? "";
  const envelope = parseEnvelope(await made.store.readAll(SEALED_NAMES.envelope, 64 * KIB));
  using packageKey = await unwrapPackageKey(envelope, [wrapper]);
  const needles = {
    "KEK text": Buffer.from(hex.slice(8)),
    "KEK text in two bytes": Buffer.from(hex.slice(8), "utf16le"),
    KEK: Buffer.from(hex, "hex"),
    "package key": packageKey.use((key) => Buffer.from(key)),
  };
  const child = fork(
    fileURLToPath(new URL("./memory-child.ts", import.meta.url)),
    [uri, made.store.uri, made.pair.publicPem],
    { execArgv: ["--expose-gc"] },
  );
  await once(child, "message");
  const found = scan(child.pid ?? 0, needles);
  child.send("end");
  await once(child, "exit");
  t.diagnostic(JSON.stringify(found));
  assert.ok((found.KEK?.locked ?? 0) > 0, "the scan finds what is there");
  for (const [name, { locked, elsewhere }] of Object.entries(found)) {
    assert.equal(elsewhere, 0, `${name} outside of locked pages`);
    if (name !== "KEK") assert.equal(locked, 0, name);
  }
});
