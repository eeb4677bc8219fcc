/** The gateway's parts alone: scrubbing in any cut, addresses, the body's model, usage. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { silentLog } from "../../src/base/index.ts";
import { addressAllowed, checkBaseUrl } from "../../src/gateway/address-guard.ts";
import { createProviderService } from "../../src/gateway/index.ts";
import { modelOf, replaceModel } from "../../src/gateway/request-body.ts";
import { ReplyScrubber } from "../../src/gateway/scrub.ts";
import { readUsage, UsageMeter } from "../../src/gateway/usage.ts";
import { GuardedBytes, systemClock } from "../../src/host/index.ts";
import { KeptEvents, MemoryStore } from "../secrets/support.ts";

const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
const runs = seconds > 0 ? { interruptAfterTimeLimit: seconds * 1000, numRuns: 1e9 } : { numRuns: 300 };

function scrub(key: string, chunks: readonly string[]): { text: string; pieces: string[] } {
  const guarded = GuardedBytes.take(Buffer.from(key, "latin1"));
  const scrubber = new ReplyScrubber(guarded);
  const pieces = chunks.map((chunk) => scrubber.push(Buffer.from(chunk, "latin1")).toString("latin1"));
  pieces.push(scrubber.end()?.toString("latin1") ?? "");
  guarded.wipe();
  return { text: pieces.join(""), pieces };
}

test("scrubbing gives the same text however the reply is cut", () => {
  // Few letters, so that beginnings of the key, overlaps and repeats are common.
  const text = fc
    .array(fc.constantFrom("aabaabaa", "a", "b", "aab", "aabaab", "x", "\n\n"))
    .map((parts) => parts.join(""));
  const cuts = fc.array(fc.nat(80), { maxLength: 12 });
  fc.assert(
    fc.property(text, cuts, (whole, at) => {
      const places = [0, ...at.map((cut) => cut % (whole.length + 1)).sort((a, b) => a - b), whole.length];
      const chunks = places.slice(1).map((end, i) => whole.slice(places[i], end));
      const { text: clean } = scrub("aabaabaa", chunks);
      assert.equal(clean, whole.replaceAll("aabaabaa", "***"));
    }),
    runs,
  );
});

test("a frame without the key's beginning is not held back, and goes on as a copy", () => {
  const guarded = GuardedBytes.take(Buffer.from("sk-canary-key"));
  const scrubber = new ReplyScrubber(guarded);
  const frame = Buffer.from("data: {}\n\n");
  const passed = scrubber.push(frame);
  frame.fill(0);
  assert.equal(passed.toString(), "data: {}\n\n", "the piece that was read is wiped after it");
  assert.equal(scrubber.push(Buffer.from("tasks ")).toString(), "tasks ");
  assert.equal(scrubber.push(Buffer.from("mask sk-c")).toString(), "mask ");
  assert.equal(scrubber.push(Buffer.from("ool")).toString(), "sk-cool");
  guarded.wipe();
  assert.throws(() => scrubber.push(frame), { code: "MEMORY_WIPED" });
});

test("addresses: link-local, metadata and the many ways to write them are refused", () => {
  const bad = [
    "169.254.169.254",
    "169.254.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "fe80::1",
    "fe80::1%eth0",
    "::",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "ff02::1",
    "",
    "localhost",
  ];
  for (const address of bad) assert.equal(addressAllowed(address, "anywhere"), false, address);
  for (const address of ["8.8.8.8", "10.1.2.3", "127.0.0.1", "2001:4860::1"])
    assert.ok(addressAllowed(address, "anywhere"));
  for (const address of ["10.1.2.3", "8.8.8.8", "::ffff:10.0.0.1"])
    assert.equal(addressAllowed(address, "loopback"), false);
  assert.ok(addressAllowed("127.8.8.8", "loopback") && addressAllowed("::1", "loopback"));
});

test("base URLs: what is refused, also in disguise", () => {
  const refused = [
    "http://api.openai.com/v1",
    "http://10.0.0.1/",
    "ftp://x/",
    "file:///etc/passwd",
    "https://u:p@api.openai.com/",
    "https://x/?a=1",
    "https://x/#a",
    "https://169.254.169.254/",
    "https://0xa9fea9fe/",
    "https://2852039166/",
    "https://0251.0376.0251.0376/",
    "https://[::ffff:169.254.169.254]/",
    "https://metadata.google.internal/",
    "https://METADATA.google.internal./",
    "http://localhost.evil.com/",
    "http://127.0.0.1.nip.io/",
    "not a url",
    `https://x/${"a".repeat(600)}`,
  ];
  for (const url of refused) assert.throws(() => checkBaseUrl(url), { code: "PROVIDER_URL_REFUSED" }, url);
  for (const url of [
    "https://api.openai.com/v1",
    "http://127.0.0.1:8000/v1",
    "http://[::1]:80/",
    "http://localhost:1/",
    "https://10.0.0.1/v1",
  ]) {
    checkBaseUrl(url);
  }
});

test("a provider whose name resolves to a refused address is not kept", async () => {
  const store = new MemoryStore();
  const providers = await createProviderService({
    store,
    clock: systemClock,
    recorder: new KeptEvents(),
    log: silentLog,
    lookup: (_host, _options, done) =>
      done(null, [
        { address: "8.8.8.8", family: 4 },
        { address: "169.254.169.254", family: 4 },
      ]),
  });
  const input = {
    name: "p",
    kind: "openai",
    baseUrl: "https://rebind.example/v1",
    secret: "k",
    models: ["m"],
  } as const;
  await assert.rejects(providers.set(input, { by: { type: "Admin", id: "a" } }), { code: "PROVIDER_URL_REFUSED" });
  assert.equal(providers.list().length, 0);
  for (const wrong of [
    { name: "A B" },
    { name: "a/b" },
    { models: [] },
    { models: ["a b"] },
    { secret: "" },
    { kind: "x" as "openai" },
  ]) {
    await assert.rejects(providers.set({ ...input, ...wrong }, { by: { type: "Admin", id: "a" } }), {
      code: "PROVIDER_INVALID",
    });
  }
});

test("a deleted provider does not come back with an older answer, a lost message is made up for, and what failed is recorded as failed", async (t) => {
  const by = { type: "Admin", id: "a" };
  const input = { name: "p", kind: "openai", baseUrl: "https://127.0.0.1/v1", secret: "k", models: ["m"] } as const;
  const [store, recorder] = [new MemoryStore(), new KeptEvents()];
  const ports = { store, recorder, clock: systemClock, log: silentLog };
  const [writer, replicaStore] = [await createProviderService(ports), new MemoryStore(store.shared)];
  const list = replicaStore.list.bind(replicaStore);
  let late: Promise<void> | undefined;
  replicaStore.list = async (table, options) => {
    const [page, wait] = [await list(table, options), late];
    late = undefined;
    await wait;
    return page;
  };
  const replica = await createProviderService({ ...ports, store: replicaStore });
  t.after(() => [writer, replica].map((service) => service.close()));
  const gate = Promise.withResolvers<void>();
  late = gate.promise;
  await writer.set(input, { by });
  await writer.delete("p", { by });
  gate.resolve();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(replica.list(), []);
  store.notify = async () => undefined;
  await writer.set(input, { by });
  for (let i = 0; i < 300 && replica.list().length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(replica.list().length, 1);
  store.put = async () => Promise.reject(new Error("gone"));
  await assert.rejects(writer.set(input, { by }), /gone/);
  assert.deepEqual(
    recorder.events.slice(-2).map(({ action, outcome }) => [action, outcome]),
    [
      ["provider.set", "allowed"],
      ["provider.set", "failed"],
    ],
  );
});

test("replacing the model changes nothing else, whatever the JSON", () => {
  const limits = { requestBytes: 1e6 };
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.string({ minLength: 1, maxLength: 50 }),
      fc.boolean(),
      (rest, model, first) => {
        const { model: _, ["__proto__"]: __, ...others } = rest;
        const value = first ? { model, ...others } : { ...others, model };
        const text = JSON.stringify(value, null, first ? 2 : 0);
        if (/"__proto__"/.test(text)) return;
        const body = Buffer.from(text);
        assert.equal(modelOf(body, limits), model);
        const replaced = JSON.parse(replaceModel(body, "other").toString());
        assert.deepEqual(replaced, { ...JSON.parse(text), model: "other" });
      },
    ),
    runs,
  );
});

test("a body of very many short values is refused before it is parsed, and a large batch is not", () => {
  const limits = { requestBytes: 16 * 1024 * 1024 };
  const names = Array.from({ length: 500_000 }, (_, i) => `"${i}":0`);
  assert.throws(() => modelOf(Buffer.from(`{"model":"m","a":{${names}}}`), limits), { code: "REQUEST_INVALID" });
  assert.equal(modelOf(Buffer.from(`{"model":"m","input":[${"100256,".repeat(300_000)}1]}`), limits), "m");
});

test("usage is read from the end of a reply, and not from a model's words", () => {
  assert.deepEqual(readUsage('{"usage":{"prompt_tokens":1,"completion_tokens":2}}'), {
    promptTokens: 1,
    completionTokens: 2,
  });
  assert.deepEqual(readUsage('{"usage": {"input_tokens": 5, "output_tokens": 6}}'), {
    promptTokens: 5,
    completionTokens: 6,
  });
  assert.equal(readUsage('{"content":"\\"usage\\":{\\"prompt_tokens\\":999}"}'), undefined);
  assert.equal(readUsage('{"usage":null}'), undefined);
  const meter = new UsageMeter();
  const text = `${"x".repeat(9000)}{"usage":{"prompt_tokens":77,"completion_tokens":88}}`;
  for (let i = 0; i < text.length; i += 7) meter.push(Buffer.from(text.slice(i, i + 7)));
  assert.deepEqual(meter.read(), { promptTokens: 77, completionTokens: 88 });
});
