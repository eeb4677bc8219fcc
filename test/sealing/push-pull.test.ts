/** Push, open and pull against real servers of each kind: whole, resumed after a kill, refused when another model is there. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { openBlobStore } from "../../src/artifact/index.ts";
import { copySealed } from "../../src/sealing/index.ts";
import { FaultyProxy } from "../artifact/faulty-proxy.ts";
import * as peers from "../artifact/store-peers.ts";
import {
  codeOf,
  type Made,
  MIB,
  makeKms,
  makePair,
  makeSealed,
  modelkeep,
  openMade,
  temporaryFolder,
} from "./support.ts";

const [moto, azurite, fakeGcs, registry] = await Promise.all([
  peers.startMotoS3(),
  peers.startAzurite(),
  peers.startFakeGcs(),
  peers.startRegistry(),
]);
const LARGE = randomBytes(23 * MIB);
const FILES = { "weights.bin": LARGE, "more/weights-2.bin": randomBytes(6 * MIB), "config.json": "{}", empty: "" };

/** Relative names and contents of all files of a folder. */
function contents(folder: string): Map<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(folder.length + 1), readFileSync(path)] as const;
    }),
  );
}

const place = () => `p${randomBytes(6).toString("hex")}`;
const places = { s3: moto, az: azurite, gs: fakeGcs, oci: registry };

for (const [kind, peer] of Object.entries(places))
  test(
    `${kind}: push, open and pull; the second time nothing is moved`,
    typeof peer === "string" ? { skip: peer } : {},
    async () => {
      assert.ok(typeof peer !== "string");
      const made = await makeSealed(FILES);
      const uri = peer.uri(place());
      const cwd = temporaryFolder();
      const run = async (...words: string[]) => {
        const { exit, stdout, stderr } = await modelkeep([...words, "--json"], cwd, peer.env);
        return { exit, data: JSON.parse(stdout || stderr) };
      };
      const pushed = await run("push", made.folder, uri);
      assert.deepEqual(
        [pushed.exit, pushed.data.copied_blobs, pushed.data.kept_blobs],
        [0, 8, 0],
        JSON.stringify(pushed),
      );
      const again = await run("push", made.folder, uri);
      assert.deepEqual([again.data.copied_blobs, again.data.kept_blobs, again.data.bytes], [0, 8, 0]);
      const pulled = await run("pull", uri, "pulled");
      assert.equal(pulled.exit, 0, JSON.stringify(pulled));
      assert.deepEqual(contents(join(cwd, "pulled")), contents(made.folder));
      const store = await openBlobStore(uri, { env: peer.env });
      const sink = await openMade(made, { store });
      assert.ok(sink.content("weights.bin").equals(LARGE));
      const other = await makeSealed({ a: "another model" });
      assert.equal((await run("push", other.folder, uri)).data.code, "SEALED_EXISTS");
      const none = temporaryFolder();
      writeFileSync(join(none, "weights.bin"), "plaintext");
      const refused = await run("push", none, peer.uri(place()));
      assert.deepEqual([refused.exit, refused.data.code], [1, "NOT_SEALED"]);
    },
  );

const child = (from: string, to: string, env: Record<string, string>) =>
  spawn(process.execPath, ["--no-warnings", fileURLToPath(new URL("./push-child.ts", import.meta.url)), from, to], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });

async function finished(process: ChildProcess): Promise<{ copiedBlobs: number; keptBlobs: number; bytes: number }> {
  let text = "";
  process.stdout?.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = await once(process, "close");
  assert.equal(code, 0);
  return JSON.parse(text);
}

const killed: readonly (readonly [string, peers.StorePeer | string, (path: string, method: string) => boolean])[] = [
  ["s3", moto, (path, method) => method === "PUT" && path.includes("partNumber=2")],
  ["oci", registry, (_, method) => method === "PATCH"],
];

for (const [kind, peer, isMoment] of killed)
  test(
    `${kind}: a push that is killed leaves nothing to be seen, and only the rest is moved by the next`,
    typeof peer === "string" ? { skip: peer } : {},
    async () => {
      assert.ok(typeof peer !== "string");
      // The large file is the last one: the others are there when the push is killed.
      const made = await makeSealed({ a: randomBytes(2 * MIB), b: randomBytes(1_000), z: LARGE });
      const proxy = await FaultyProxy.start(peer.origin);
      const name = place();
      const uri = kind === "oci" ? `oci://${new URL(proxy.origin).host}/models/${name}:v1` : peer.uri(name);
      const env = kind === "oci" ? {} : { ...peer.env, AWS_ENDPOINT_URL_S3: proxy.origin };
      const from = pathToFileURL(made.folder).href;
      let moment: () => void = () => undefined;
      const reached = new Promise<void>((resolve) => {
        moment = resolve;
      });
      proxy.break(({ path, method }) => {
        if (!isMoment(path, method)) return undefined;
        setTimeout(moment, 1_000);
        return { silent: true };
      });
      const first = child(from, uri, env);
      await reached;
      first.kill("SIGKILL");
      await once(first, "close");
      proxy.break(() => undefined);
      const reader = await openBlobStore(uri, { env });
      assert.equal(await reader.stat("files/2.floe"), undefined);
      assert.equal(await reader.stat("seal.json"), undefined);
      assert.equal(await codeOf(() => openMade(made, { store: reader })), "BLOB_NOT_FOUND");
      const second = await finished(child(from, uri, env));
      assert.ok(second.keptBlobs >= 4 && second.bytes < LARGE.length + MIB, JSON.stringify(second));
      const sink = await openMade(made, { store: await openBlobStore(uri, { env }) });
      assert.ok(sink.content("z").equals(LARGE));
      if (kind === "s3")
        assert.doesNotMatch(
          await (await fetch(`${peer.origin}/modelkeep-models?uploads&prefix=${name}`)).text(),
          /<Upload>/,
        );
    },
  );

test("a pull whose network goes away goes on later", typeof moto === "string" ? { skip: moto } : {}, async () => {
  assert.ok(typeof moto !== "string");
  const made = await makeSealed(FILES);
  const uri = moto.uri(place());
  const target = await openBlobStore(uri, { env: moto.env });
  await copySealed({ from: { store: made.store, prefix: "" }, to: { store: target, prefix: "" } });
  const proxy = await FaultyProxy.start(moto.origin);
  const env = { ...moto.env, AWS_ENDPOINT_URL_S3: proxy.origin };
  const limits = { ...peers.QUICK, resumes: 1, attempts: 2 };
  const source = await openBlobStore(uri, { env, limits });
  const folder = temporaryFolder();
  const to = { store: await openBlobStore(pathToFileURL(folder).href), prefix: "" };
  proxy.break(({ path }) => (path.includes("0.floe") || path.includes("3.floe") ? undefined : { cutAfter: 10 }));
  const code = await codeOf(() => copySealed({ from: { store: source, prefix: "" }, to }));
  assert.ok(code === "BLOBS_UNREACHABLE" || code === "SEALED_INVALID", code);
  proxy.break(() => undefined);
  await copySealed({ from: { store: await openBlobStore(uri, { env }), prefix: "" }, to });
  assert.deepEqual(contents(folder), contents(made.folder));
});

test(
  "of two pushes of two models to one place one wins, whole",
  typeof moto === "string" ? { skip: moto } : {},
  async () => {
    assert.ok(typeof moto !== "string");
    const { wrapper } = await makeKms();
    const pair = makePair();
    const models: Made[] = await Promise.all(
      [1, 2].map((byte) => makeSealed({ w: Buffer.alloc(MIB, byte) }, { pair, wrapper })),
    );
    const uri = moto.uri(place());
    const codes = await Promise.all(
      models.map(async ({ store }) => {
        const to = { store: await openBlobStore(uri, { env: moto.env }), prefix: "" };
        return codeOf(() => copySealed({ from: { store, prefix: "" }, to }));
      }),
    );
    assert.deepEqual(codes.toSorted(), ["SEALED_EXISTS", undefined]);
    const winner = models[codes.indexOf(undefined)];
    assert.ok(winner);
    const sink = await openMade(winner, { store: await openBlobStore(uri, { env: moto.env }) });
    assert.equal(sink.content("w").length, MIB);
    assert.equal(existsSync(join(winner.folder, "seal.json")), true);
  },
);
