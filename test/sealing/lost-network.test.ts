/** Every operation on a sealed model in a store whose network goes away in the middle, and comes back: refused, then finished. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { BlobStore } from "../../src/artifact/index.ts";
import { openBlobStore } from "../../src/artifact/index.ts";
import {
  addRecipients,
  copySealed,
  joinParts,
  openIntoFolder,
  openWithKms,
  rewrapSealed,
  sealModel,
  sealPart,
  shredSealed,
} from "../../src/sealing/index.ts";
import { signModel, trustKeys, verifyBundle } from "../../src/signing/index.ts";
import { FaultyProxy } from "../artifact/faulty-proxy.ts";
import * as peers from "../artifact/store-peers.ts";
import {
  codeOf,
  MemorySink,
  MIB,
  makeKms,
  makePair,
  makeStore,
  random,
  temporaryFolder,
  writeModel,
} from "./support.ts";

const contentOf = (mib: number) => ({
  "large.bin": randomBytes(mib * MIB),
  "b.bin": randomBytes(2 * MIB + 1),
  "config.json": "{}",
});
/** Large enough for several parts of an upload; and for ranges that two parts of a sealing share. */
const [SMALL, LARGE] = [contentOf(6), contentOf(18)];
const LIMITS = { ...peers.QUICK, attempts: 1, resumes: 0, partBytes: 5 * MIB };
/** The store says that it did not answer, or that what it answered cannot be what was meant. */
const LOST = new Set(["BLOBS_UNREACHABLE", "BLOB_DAMAGED"]);

const pair = makePair();
const trust = trustKeys([pair.publicPem]);
const [one, two] = await Promise.all([makeKms(), makeKms()]);
const [moto, azurite, fakeGcs, registry] = await Promise.all([
  peers.startMotoS3(),
  peers.startAzurite(),
  peers.startFakeGcs(),
  peers.startRegistry(),
]);

interface Through {
  readonly proxy: FaultyProxy;
  /** A new client, as after a restart; `direct` past the proxy. */
  open(limits?: object): Promise<BlobStore>;
}

async function through(kind: string, peer: peers.StorePeer): Promise<Through> {
  const proxy = await FaultyProxy.start(peer.origin);
  const place = `p${randomBytes(6).toString("hex")}`;
  const uri = kind === "oci" ? `oci://${new URL(proxy.origin).host}/models/${place}:v1` : peer.uri(place);
  const env = Object.fromEntries(
    Object.entries(peer.env).map(([name, value]) => [name, value.replace(peer.origin, proxy.origin)]),
  );
  return { proxy, open: (limits = LIMITS) => openBlobStore(uri, { env, random, limits }) };
}

async function signedModel(content: typeof SMALL) {
  const root = writeModel(content);
  const { bundle } = await signModel({ root, signer: pair.signer });
  const manifest = verifyBundle(bundle, trust);
  return { part: { root, manifest, prefix: "", random, wrappers: [one.wrapper] }, bundle, signer: pair.signer };
}
const [small, large] = [await signedModel(SMALL), await signedModel(LARGE)];

async function assertOpens(store: BlobStore, ...wrappers: (typeof one.wrapper)[]): Promise<void> {
  const into = new MemorySink();
  await openWithKms({ store, prefix: "", trust, wrappers, into, random });
  const isSmall = into.content("large.bin").length === SMALL["large.bin"].length;
  for (const [path, content] of Object.entries(isSmall ? SMALL : LARGE))
    assert.ok(into.content(path).equals(Buffer.from(content)), path);
}

interface Operation {
  readonly what: string;
  readonly registryToo: boolean;
  prepare(store: BlobStore): Promise<unknown>;
  work(store: BlobStore): Promise<unknown>;
  /** While the network is gone, by what another client sees through it when it is back. */
  between(store: BlobStore): Promise<void>;
  /** Codes with which the second run may say that the first had done all of it. */
  readonly doneBefore: readonly string[];
  after(store: BlobStore): Promise<void>;
}

const whole = async (store: BlobStore) => {
  if (await store.stat("seal.json")) return assertOpens(store, one.wrapper);
  assert.equal(
    await codeOf(() =>
      openWithKms({ store, prefix: "", trust, wrappers: [one.wrapper], into: new MemorySink(), random }),
    ),
    "BLOB_NOT_FOUND",
  );
};
const nothing = async () => undefined;
const seal = (store: BlobStore) => sealModel({ ...small, ...small.part, store });

const operations: readonly Operation[] = [
  {
    what: "seal",
    registryToo: true,
    prepare: nothing,
    work: seal,
    between: whole,
    doneBefore: ["SEALED_EXISTS"],
    after: (store) => assertOpens(store, one.wrapper),
  },
  {
    what: "part",
    registryToo: false,
    prepare: nothing,
    work: (store) => sealPart({ ...large.part, store, part: 0, parts: 2 }),
    between: whole,
    doneBefore: [],
    async after(store) {
      await sealPart({ ...large.part, store, part: 1, parts: 2 });
      await joinParts({ ...large, ...large.part, store });
      await assertOpens(store, one.wrapper);
    },
  },
  {
    what: "join",
    registryToo: false,
    async prepare(store) {
      for (const part of [0, 1]) await sealPart({ ...large.part, store, part, parts: 2 });
    },
    work: (store) => joinParts({ ...large, ...large.part, store }),
    between: whole,
    doneBefore: ["SEALED_EXISTS"],
    after: (store) => assertOpens(store, one.wrapper),
  },
  {
    what: "open",
    registryToo: true,
    prepare: seal,
    async work(store) {
      const folder = temporaryFolder();
      const options = { store, prefix: "", trust, wrappers: [one.wrapper], random };
      try {
        await openIntoFolder(options, join(folder, "opened"));
      } catch (error) {
        assert.deepEqual(readdirSync(folder), [], "no plaintext stays");
        throw error;
      }
      assert.ok(existsSync(join(folder, "opened/large.bin")));
    },
    between: nothing,
    doneBefore: [],
    after: nothing,
  },
  {
    what: "push",
    registryToo: true,
    prepare: nothing,
    work: async (store) => copySealed({ from: await sealedHere(), to: { store, prefix: "" } }),
    between: whole,
    doneBefore: [],
    after: (store) => assertOpens(store, one.wrapper),
  },
  {
    what: "rewrap",
    registryToo: true,
    prepare: seal,
    work: (store) => rewrapSealed(store, "", [one.wrapper, two.wrapper], [two.wrapper]),
    between: (store) => assertOpens(store, one.wrapper, two.wrapper),
    doneBefore: [],
    after: (store) => assertOpens(store, two.wrapper),
  },
  {
    what: "add a recipient",
    registryToo: true,
    prepare: seal,
    work: (store) => addRecipients(store, "", [one.wrapper], [two.wrapper]),
    between: (store) => assertOpens(store, one.wrapper),
    doneBefore: [],
    async after(store) {
      for (const { wrapper } of [one, two]) await assertOpens(store, wrapper);
    },
  },
  {
    what: "shred",
    registryToo: true,
    prepare: seal,
    work: (store) => shredSealed(store, ""),
    between: nothing,
    doneBefore: [],
    after: async (store) => assert.equal(await store.stat("envelope.json"), undefined),
  },
];

let here: { store: BlobStore; prefix: string } | undefined;
async function sealedHere() {
  if (here) return here;
  const store = await makeStore();
  await seal(store);
  here = { store, prefix: "" };
  return here;
}

const FAULTS = [{ cutAfter: 10 }, { loseAnswer: true }, { cutAfter: 100_000 }] as const;

for (const [kind, peer] of Object.entries({ s3: moto, az: azurite, gs: fakeGcs, oci: registry }))
  for (const { what, registryToo, prepare, work, between, doneBefore, after } of operations) {
    if (kind === "oci" && !registryToo) continue;
    test(
      `${kind}: ${what}, without the network in the middle`,
      typeof peer === "string" ? { skip: peer } : {},
      async (t) => {
        assert.ok(typeof peer !== "string");
        const counting = await through(kind, peer);
        await prepare(await counting.open());
        counting.proxy.break(() => undefined);
        await work(await counting.open());
        const requests = counting.proxy.asked.length;
        let lost = 0;
        const faults = FAULTS.slice(0, kind === "s3" ? 3 : 2);
        for (const [round, fault] of faults.entries()) {
          const { proxy, open } = await through(kind, peer);
          await prepare(await open());
          const from = 1 + Math.floor((requests - 1) * ((round + Math.random()) / faults.length));
          proxy.break((_, count) => (count >= from ? fault : undefined));
          const store = await open();
          const code = await codeOf(() => work(store));
          if (code !== undefined) {
            lost++;
            assert.ok(
              LOST.has(code) || code === "INVALID_JSON" || code === "SEALED_INVALID",
              `${code} from request ${from} of ${requests}`,
            );
          }
          proxy.break(() => undefined);
          await between(await open());
          const again = await codeOf(async () => work(await open()));
          assert.ok(again === undefined || doneBefore.includes(again), again);
          await after(await open());
        }
        t.diagnostic(`lost in ${lost} of ${faults.length}, of ${requests} requests`);
        assert.ok(lost > 0);
      },
    );
  }
