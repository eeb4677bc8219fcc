/** Files that are sealed side by side: the same as one after the other, and what goes wrong with one neither hangs nor harms the other. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Sha256Streams } from "../../src/host/index.ts";
import { sealModel } from "../../src/sealing/index.ts";
import { signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import { codeOf, MIB, makeKms, makePair, makeStore, openMade, random, temporaryFolder, writeModel } from "./support.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

test("streams in any order, of any length, alone and in company have the digests of node:crypto", async (t) => {
  const streams = await Sha256Streams.load();
  if (!streams.inPairs)
    t.diagnostic("one stream at a time: this processor has no SHA instructions, or koffi is missing");
  const stream = fc.array(fc.oneof(fc.nat(200), fc.nat(9_000)), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.array(stream, { minLength: 1, maxLength: 5 }), async (all) => {
      const digests = await Promise.all(
        all.map(async (lengths) => {
          const chunks = lengths.map((length) => randomBytes(length));
          const opened = streams.open();
          for (const chunk of chunks) {
            const shared = new Uint8Array(new SharedArrayBuffer(chunk.length));
            shared.set(chunk);
            await opened.update(shared);
          }
          const digest = opened.digest();
          opened.close();
          return digest === sha256(Buffer.concat(chunks));
        }),
      );
      assert.ok(digests.every(Boolean));
    }),
    { numRuns: 200 },
  );
});

const CONTENT = {
  "a.bin": randomBytes(20 * MIB + 777),
  "b.bin": randomBytes(17 * MIB),
  "c.bin": randomBytes(16 * MIB + 1),
  "config.json": "{}",
  empty: "",
};

async function scene(threads: number) {
  const root = writeModel(CONTENT);
  const [pair, { wrapper }, folder] = [makePair(), await makeKms(), temporaryFolder()];
  const store = await makeStore(folder);
  const { bundle } = await signModel({ root, signer: pair.signer });
  const manifest = verifyBundle(bundle, trustKeys([pair.publicPem]));
  const { signer } = pair;
  const options = { root, bundle, manifest, signer, wrappers: [wrapper], store, prefix: "", random, threads };
  return { root, folder, options, made: { root, folder, store, prefix: "", pair, wrapper } as never };
}

for (const threads of [1, 2, 3])
  test(`every file opens as it was, and the record says the right digests: ${threads} threads`, async () => {
    const { options, made } = await scene(threads);
    const { files } = await sealModel(options);
    assert.deepEqual(
      files.map(({ path, sha256: digest }) => [path, digest]),
      Object.entries(CONTENT)
        .map(([path, content]) => [path, sha256(Buffer.from(content))])
        .sort(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
    );
    const sink = await openMade(made);
    for (const [path, content] of Object.entries(CONTENT)) assert.ok(sink.content(path).equals(Buffer.from(content)));
  });

test("a file that is not as it was signed, cut, or not there ends both, and leaves no seal", async () => {
  const changes: [string, (path: string) => void, string][] = [
    ["a.bin", (path) => truncateSync(path, MIB), "MODEL_CHANGED"],
    ["b.bin", (path) => writeFileSync(path, randomBytes(17 * MIB)), "MODEL_NOT_AS_SIGNED"],
    ["c.bin", (path) => rmSync(path), "MODEL_NOT_AS_SIGNED"],
  ];
  for (const threads of [1, 2])
    for (const [name, change, code] of changes) {
      const { root, folder, options } = await scene(threads);
      const walkedThenChanged = name === "a.bin";
      if (!walkedThenChanged) change(join(root, name));
      let seen = false;
      const progress = () => {
        if (!seen && walkedThenChanged) change(join(root, name));
        seen = true;
      };
      assert.equal(await codeOf(() => sealModel({ ...options, progress })), code, name);
      assert.equal(existsSync(join(folder, "seal.json")), false);
      const left = existsSync(join(folder, "files")) ? readdirSync(join(folder, "files")) : [];
      assert.deepEqual(
        left.filter((one) => one.startsWith(".tmp-")),
        [],
        "nothing half-written stays",
      );
      writeFileSync(join(root, name), CONTENT[name as "a.bin"]);
      await sealModel(options);
    }
});

test("an interrupt ends both, and the next run keeps what was finished", async () => {
  const { folder, options, made } = await scene(2);
  const stop = new AbortController();
  const progress = () => {
    if (existsSync(join(folder, "files/0.done"))) stop.abort(new Error("stopped"));
  };
  await assert.rejects(sealModel({ ...options, progress, signal: stop.signal }), /stopped/);
  const before = readFileSync(join(folder, "files/0.floe"));
  const { resumedFiles } = await sealModel(options);
  assert.ok(resumedFiles >= 1, String(resumedFiles));
  assert.ok(readFileSync(join(folder, "files/0.floe")).equals(before));
  const sink = await openMade(made);
  for (const [path, content] of Object.entries(CONTENT)) assert.ok(sink.content(path).equals(Buffer.from(content)));
});
