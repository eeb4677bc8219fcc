/** The museum: sealed models of every format version, opened by this one; and the specification, read by a stranger. */
import assert from "node:assert/strict";
import { chmodSync, cpSync, globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { openKeyWrapper } from "../../src/backends/index.ts";
import { hasLeafHash } from "../../src/host/index.ts";
import { inspectSealed, openWithKms } from "../../src/sealing/index.ts";
import { trustKeys } from "../../src/signing/index.ts";
import { MemorySink, makeStore, random, temporaryFolder } from "../sealing/support.ts";
import { openAsStranger } from "./stranger.ts";

const museum = import.meta.dirname;
const pieces = globSync("sealed-v*", { cwd: museum }).sort();

function plainOf(piece: string): [string, Buffer][] {
  const root = join(museum, piece, "plain");
  const paths = globSync("**/*", { cwd: root }).filter((path) => statSync(join(root, path)).isFile());
  return paths.sort().map((path) => [path, readFileSync(join(root, path))]);
}

test("every piece of the museum still opens", async (t) => {
  assert.deepEqual(pieces, ["sealed-v1", "sealed-v1-blake3", "sealed-v1-leaves", "sealed-v1-parts"]);
  for (const piece of pieces) {
    if (piece.endsWith("-blake3") && !hasLeafHash("blake3")) {
      t.diagnostic(`not ${piece}: npm install @napi-rs/blake-hash`);
      continue;
    }
    const folder = join(temporaryFolder(), piece);
    cpSync(join(museum, piece), folder, { recursive: true });
    chmodSync(join(folder, "models.kek"), 0o600);
    const wrapper = await openKeyWrapper(pathToFileURL(join(folder, "models.kek")).href, { random });
    const store = await makeStore(join(folder, "sealed"));
    const trust = trustKeys([readFileSync(join(folder, "signer.pub"), "utf8")]);
    const into = new MemorySink();
    await openWithKms({ store, prefix: "", trust, wrappers: [wrapper], into, random });
    for (const [path, content] of plainOf(piece)) assert.deepEqual(into.content(path), content, `${piece} ${path}`);
    assert.equal(into.files.size, plainOf(piece).length);
    assert.equal((await inspectSealed(store, "")).files.length, into.files.size);
    t.diagnostic(piece);
  }
});

test("the specification alone is enough to open the piece it describes, and its figures are the true ones", () => {
  for (const piece of ["sealed-v1", "sealed-v1-parts"])
    for (const [path, content] of plainOf(piece))
      assert.deepEqual(openAsStranger(join(museum, piece)).files.get(path), content, `${piece} ${path}`);
  const { steps } = openAsStranger(join(museum, "sealed-v1"));
  const text = readFileSync(join(museum, "../../spec/sealed-model.md"), "utf8");
  for (const [name, value] of Object.entries(steps)) assert.ok(text.includes(value), `${name} is ${value}`);
  const envelope = readFileSync(join(museum, "sealed-v1/sealed/envelope.json"), "utf8").trim();
  assert.ok(text.includes(envelope), "the envelope is quoted as it is");
});
