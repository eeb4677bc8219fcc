/** Keys in memory: after a sealed model was opened they are in locked pages or nowhere, and a key file's text is gone. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openKeyWrapper } from "../../src/backends/index.ts";
import type { GuardedBytes } from "../../src/host/index.ts";
import {
  FLOE_1_MIB,
  FLOE_HEADER_BYTES,
  Floe,
  parseEnvelope,
  SEALED_NAMES,
  unwrapPackageKey,
} from "../../src/sealing/index.ts";
import { fileAad, fileKey } from "../../src/sealing/layout.ts";
import { KIB, type Made, MIB, makeKms, makeSealed, random } from "./support.ts";

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

/** Of the first file: threads and the library that computes get a copy of it. */
function segmentKeyOf({ folder, sealed }: Made, packageKey: GuardedBytes): Buffer {
  const { packageId, files } = sealed;
  const [file] = files;
  assert.ok(file);
  const key = fileKey(packageKey, packageId, file.path);
  const header = readFileSync(join(folder, file.blob)).subarray(0, FLOE_HEADER_BYTES);
  using floe = Floe.decrypt(key, fileAad(packageId, file.path), FLOE_1_MIB, header, random);
  return floe.withSegmentKey(0, (bytes) => Buffer.from(bytes));
}

test("the KEK rests encrypted, its text is nowhere, and the model's keys are gone after opening", async (t) => {
  if (process.getuid?.() !== 0 || !existsSync("/proc/self/smaps"))
    return t.skip("reading another process needs root on Linux: run the tests as root");
  const { uri } = await makeKms();
  const wrapper = await openKeyWrapper(uri, { random });
  const made = await makeSealed({ "weights.bin": Buffer.alloc(3 * MIB, 1), b: "2" }, { wrapper });
  const hex = readFileSync(new URL(uri), "utf8").split("\n")[1]?.split(" ")[1] ?? "";
  const envelope = parseEnvelope(await made.store.readAll(SEALED_NAMES.envelope, 64 * KIB));
  using packageKey = await unwrapPackageKey(envelope, [wrapper]);
  const needles = {
    control: Buffer.from(uri),
    "KEK text": Buffer.from(hex.slice(8)),
    "KEK text in two bytes": Buffer.from(hex.slice(8), "utf16le"),
    KEK: Buffer.from(hex, "hex"),
    "package key": packageKey.use((key) => Buffer.from(key)),
    "segment key": segmentKeyOf(made, packageKey),
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
  const { control, ...keys } = found;
  assert.ok((control?.elsewhere ?? 0) > 0, "the scan finds what is there");
  for (const [name, { locked, elsewhere }] of Object.entries(keys)) {
    assert.equal(elsewhere, 0, `${name} outside of locked pages`);
    assert.equal(locked, 0, name);
  }
});
