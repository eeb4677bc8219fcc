/** Key release under attack: replay, concurrency, swapped keys, other models, other measurements, floods. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { createInsecureDevCollector, createVerifiers, measureLaunch } from "../../src/attestation/index.ts";
import {
  type AuditEvent,
  baseError,
  type Caller,
  type Clock,
  ModelkeepError,
  silentLog,
  toBase64Url,
  toProblem,
} from "../../src/base/index.ts";
import { type ApiClient, challengeRelease, type Route, releaseKey, releaseRequest } from "../../src/contract/index.ts";
import { GuardedBytes, systemRandom } from "../../src/host/index.ts";
import { PolicyEngine } from "../../src/policy/index.ts";
import {
  createReleaseService,
  RELEASE_LIMITS,
  type ReleasableModel,
  type ReleaseService,
  reportDataOf,
  requestPackageKey,
} from "../../src/release/index.ts";
import { openStore, type RecordStore } from "../../src/store/index.ts";

const folder = await mkdtemp(join(tmpdir(), "modelkeep-release-"));
const stores: RecordStore[] = [];
after(async () => {
  for (const store of stores) await store.close();
  await rm(folder, { recursive: true, force: true });
});

const model: ReleasableModel = {
  ref: "keeper@1",
  packageId: "pkg-keeper-1",
  rootDigest: "ab".repeat(32),
  signerKeyId: "cd".repeat(32),
  scanVerdict: "clean",
  vulnerabilities: { critical: 0, high: 0, medium: 0, low: 0, malware: 0 },
};
const packageKey = new Uint8Array(randomBytes(32));
const launch = (program = "engine") =>
  ({ program, arguments: ["{model}"], model: model.ref, package_id: model.packageId, verify: "full" }) as const;
const caller: Caller = {
  principal: { type: "Workload", id: "inference" },
  groups: [],
  tokenId: "t1",
  expiresAt: 0,
  keyThumbprint: "thumb",
};

const POLICY = `
@id("keeper-on-dev") permit (principal == Workload::"inference", action == Action::"releaseKey", resource == Model::"keeper@1")
when { context.attestation.kind == "insecure-dev" && context.attestation.measurement == "${measureLaunch(launch())}"
       && context.signature.keyId == "${model.signerKeyId}" && context.scan.verdict == "clean" };
@id("no-malware") forbid (principal, action == Action::"releaseKey", resource) when { context.vulnerabilities.malware > 0 };`;

interface Setup {
  readonly service: ReleaseService;
  readonly events: AuditEvent[];
  readonly clock: Clock & { advance(ms: number): void };
  readonly store: RecordStore;
  readonly handed: Uint8Array[];
}

let count = 0;

async function setup(
  options: {
    insecure?: boolean;
    policy?: string;
    found?: Partial<ReleasableModel>;
    recorder?: (event: AuditEvent) => void;
  } = {},
): Promise<Setup> {
  let time = 1_800_000_000_000;
  const advance = (ms: number) => {
    time += ms;
  };
  const clock = { now: () => time, monotonic: () => time, advance };
  const rootKey = GuardedBytes.take(systemRandom.bytes(32));
  const store = await openStore({
    url: `sqlite:${join(folder, `${++count}.db`)}`,
    rootKey,
    clock,
    random: systemRandom,
    log: silentLog,
  });
  stores.push(store);
  const events: AuditEvent[] = [];
  const handed: Uint8Array[] = [];
  const engine = PolicyEngine.load(options.policy ?? POLICY);
  const service = createReleaseService({
    store,
    authorizer: () => engine,
    verifiers: createVerifiers({ allowInsecureDev: options.insecure ?? true }),
    findModel: async (ref) => (ref === model.ref ? { ...model, ...options.found } : undefined),
    unwrapKey: async () => {
      const key = packageKey.slice();
      handed.push(key);
      return key;
    },
    recorder: {
      async record(event) {
        options.recorder?.(event);
        events.push(event);
      },
    },
    clock,
    random: systemRandom,
    log: silentLog,
  });
  return { service, events, clock, store, handed };
}

/** What the wire does, without the wire: JSON there and back, checked by the schemas of the contract. */
function apiOf(
  service: ReleaseService,
  tap: (id: string, body: Record<string, unknown>) => Record<string, unknown> = (_, body) => body,
  as = caller,
): ApiClient {
  const call = async (route: Route, input: { body?: unknown }) => {
    const body = route.body.parse(tap(route.id, JSON.parse(JSON.stringify(input.body)))) as never;
    if (route.id === challengeRelease.id) {
      const { nonce, expiresAt } = await service.challenge(as);
      return route.reply.parse({ nonce, expires_at: new Date(expiresAt).toISOString() });
    }
    assert.equal(route.id, releaseKey.id);
    return route.reply.parse(tap("reply", JSON.parse(JSON.stringify(await service.release(body, as)))));
  };
  return { serverUrl: "test", call: call as ApiClient["call"] };
}

const collector = (program?: string) => createInsecureDevCollector({ launch: launch(program) });

function ask(
  service: ReleaseService,
  part: { program?: string; tap?: Parameters<typeof apiOf>[1]; as?: Caller; model?: string; packageId?: string } = {},
) {
  return requestPackageKey({
    api: apiOf(service, part.tap, part.as),
    collector: collector(part.program),
    model: part.model ?? model.ref,
    packageId: part.packageId ?? model.packageId,
  });
}

const notGranted = (rule: string) => (error: unknown) => {
  assert.ok(error instanceof ModelkeepError, String(error));
  assert.deepEqual([error.code, error.status, error.exit, error.extra?.rule], ["KEY_NOT_GRANTED", 403, 5, rule]);
  const told = JSON.stringify(toProblem(error));
  assert.ok(
    !told.includes(measureLaunch(launch())) && !told.includes(model.signerKeyId),
    "a refusal names expected values",
  );
  return true;
};

async function request(
  service: ReleaseService,
  nonce: string,
  part: { publicKey?: string; model?: string; boundTo?: Partial<Parameters<typeof reportDataOf>[0]> } = {},
) {
  const { createECDH } = await import("node:crypto");
  const ecdh = createECDH("prime256v1");
  const publicKey = part.publicKey ?? toBase64Url(ecdh.generateKeys());
  const binding = { nonce, publicKey, model: part.model ?? model.ref };
  const evidence = await collector().collect(reportDataOf({ ...binding, ...part.boundTo }));
  return service.release(
    {
      nonce,
      public_key: publicKey,
      model: binding.model,
      evidence: { kind: evidence.kind, data: toBase64Url(evidence.data) },
    },
    caller,
  );
}

test("a key is released to the measurement that policy names, recorded, and wiped here", async () => {
  const { service, events, handed } = await setup();
  const key = await ask(service);
  assert.ok(key.use((bytes) => Buffer.from(bytes).equals(packageKey)));
  assert.deepEqual(
    handed.map((bytes) => [...bytes].every((byte) => byte === 0)),
    [true],
  );
  assert.equal(events.length, 1);
  const [event] = events;
  assert.deepEqual(
    [event?.action, event?.outcome, event?.principal, event?.resource, event?.modelRoot, event?.reason],
    ["key.release", "allowed", 'Workload::"inference"', 'Model::"keeper@1"', model.rootDigest, ["keeper-on-dev"]],
  );
  assert.equal(event?.data?.measurement, measureLaunch(launch()));
  const told = JSON.stringify(events);
  assert.ok(!told.includes(Buffer.from(packageKey).toString("hex")) && !told.includes(toBase64Url(packageKey)));
});

test("trap 27: a replayed nonce is refused, after a success and after a refusal", async () => {
  const { service, events } = await setup();
  const { nonce } = await service.challenge(caller);
  await request(service, nonce);
  await assert.rejects(request(service, nonce), notGranted("challenge.unknown"));
  const second = await service.challenge(caller);
  await assert.rejects(request(service, second.nonce, { model: "other@1" }), notGranted("model.unknown"));
  await assert.rejects(request(service, second.nonce), notGranted("challenge.unknown"));
  assert.deepEqual(
    events.map(({ outcome }) => outcome),
    ["allowed", "refused", "refused", "refused"],
  );
});

test("of fifty at once with one nonce exactly one gets the key", async () => {
  const { service, handed } = await setup();
  const { nonce } = await service.challenge(caller);
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => request(service, nonce)));
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
  assert.equal(handed.length, 1);
});

test("evidence for another nonce, key or model is refused", async () => {
  const { service, handed } = await setup();
  const other = (await service.challenge(caller)).nonce;
  for (const boundTo of [{ nonce: other }, { publicKey: "A".repeat(87) }, { model: "keeper@2" }]) {
    const { nonce } = await service.challenge(caller);
    await assert.rejects(request(service, nonce, { boundTo }), notGranted("evidence.report-data"));
  }
  assert.equal(handed.length, 0);
});

test("a man in the middle who swaps the public key gets nothing", async () => {
  const { service, handed } = await setup();
  const { createECDH } = await import("node:crypto");
  const mine = toBase64Url(createECDH("prime256v1").generateKeys());
  const tap = (id: string, body: Record<string, unknown>) =>
    id === "releaseKey" ? { ...body, public_key: mine } : body;
  await assert.rejects(ask(service, { tap }), notGranted("evidence.report-data"));
  assert.equal(handed.length, 0);
});

test("an answer that was changed on the way does not open", async () => {
  const { service } = await setup();
  const flip = (text: string) => (text.startsWith("A") ? `B${text.slice(1)}` : `A${text.slice(1)}`);
  for (const change of [
    (b: Record<string, unknown>) => ({ ...b, ciphertext: flip(String(b.ciphertext)) }),
    (b: Record<string, unknown>) => ({ ...b, ciphertext: "AA" }),
    (b: Record<string, unknown>) => ({ ...b, enc: flip(String(b.enc)) }),
    (b: Record<string, unknown>) => ({ ...b, package_id: "pkg-other" }),
  ]) {
    const tap = (id: string, body: Record<string, unknown>) => (id === "reply" ? change(body) : body);
    await assert.rejects(
      ask(service, { tap }),
      (e) => e instanceof ModelkeepError && e.code === "KEY_NOT_OPENED" && e.exit === 4,
    );
  }
});

test("a key of another package than the one asked for does not open", async () => {
  const { service } = await setup();
  await assert.rejects(
    ask(service, { packageId: "pkg-older" }),
    (e) => e instanceof ModelkeepError && e.code === "KEY_NOT_OPENED",
  );
});

test("a measurement that policy does not name is refused, without saying which would do", async () => {
  const { service, events, handed } = await setup();
  await assert.rejects(ask(service, { program: "other-engine" }), notGranted("policy.not-permitted"));
  assert.equal(handed.length, 0);
  assert.deepEqual([events[0]?.outcome, events[0]?.reason], ["refused", ["policy.not-permitted"]]);
});

test("another principal, another signer, malware: refused by policy", async () => {
  const someone = { ...caller, principal: { type: "Workload", id: "someone" } };
  await assert.rejects(ask((await setup()).service, { as: someone }), notGranted("policy.not-permitted"));
  await assert.rejects(
    ask((await setup({ found: { signerKeyId: "ee" } })).service),
    notGranted("policy.not-permitted"),
  );
  const vulnerabilities = { ...model.vulnerabilities, malware: 1 };
  const { service, events } = await setup({ found: { vulnerabilities } });
  await assert.rejects(ask(service), notGranted("policy.forbidden: no-malware"));
  assert.deepEqual(events[0]?.reason, ["policy.forbidden: no-malware", "no-malware"]);
});

test("development evidence is refused by a server that did not allow it", async () => {
  const { service, handed } = await setup({ insecure: false });
  await assert.rejects(ask(service), notGranted("evidence.kind"));
  assert.equal(handed.length, 0);
});

test("a policy that demands a production guest refuses development evidence", async () => {
  const policy = 'permit (principal, action == Action::"releaseKey", resource) when { !context.attestation.debug };';
  await assert.rejects(ask((await setup({ policy })).service), notGranted("policy.not-permitted"));
});

test("an expired challenge is refused", async () => {
  const { service, clock } = await setup();
  const { nonce } = await service.challenge(caller);
  clock.advance(RELEASE_LIMITS.challengeMilliseconds - 1);
  const late = (await service.challenge(caller)).nonce;
  await request(service, nonce);
  clock.advance(RELEASE_LIMITS.challengeMilliseconds);
  await assert.rejects(request(service, late), notGranted("challenge.expired"));
});

test("a challenge of one caller is none of another's, even with the same name", async () => {
  const { service } = await setup();
  const { nonce } = await service.challenge({ ...caller, keyThumbprint: "other" });
  await assert.rejects(request(service, nonce), notGranted("challenge.unknown"));
});

test("a flood of challenges is bounded, for others it is not felt, and it drains", async () => {
  const { service, clock, store } = await setup();
  const flood = await Promise.allSettled(Array.from({ length: 200 }, () => service.challenge(caller)));
  assert.equal(flood.filter(({ status }) => status === "fulfilled").length, RELEASE_LIMITS.openChallengesPerPrincipal);
  for (const result of flood) {
    if (result.status === "rejected") assert.equal((result.reason as ModelkeepError).code, "CHALLENGE_LIMIT");
  }
  await service.challenge({ ...caller, principal: { type: "Workload", id: "b" } });
  clock.advance(RELEASE_LIMITS.challengeMilliseconds + 1);
  await service.challenge({ ...caller, principal: { type: "Workload", id: "c" } });
  assert.equal((await store.list("release-challenges")).records.length, 1);
});

test("what cannot be recorded is not released", async () => {
  const { service } = await setup({
    recorder: () => {
      throw baseError("UNREACHABLE", { detail: "audit" });
    },
  });
  await assert.rejects(ask(service), (error) => error instanceof ModelkeepError && error.code === "UNREACHABLE");
});

test("a public key that is no point of the curve is refused", async () => {
  const { service } = await setup();
  for (const raw of [
    Buffer.alloc(65),
    Buffer.concat([Buffer.of(4), Buffer.alloc(64, 0xff)]),
    Buffer.concat([Buffer.of(2), randomBytes(64)]),
  ]) {
    const { nonce } = await service.challenge(caller);
    await assert.rejects(request(service, nonce, { publicKey: toBase64Url(raw) }), notGranted("request.public-key"));
  }
});

test("any request body is parsed or refused, and ends in a known error (property)", async () => {
  const { service } = await setup();
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom("keeper@1", "A".repeat(43), "A".repeat(87), "insecure-dev", "e30"),
  );
  const body = fc.oneof(
    fc.jsonValue(),
    fc.record({
      nonce: text,
      public_key: text,
      model: text,
      evidence: fc.oneof(fc.jsonValue(), fc.record({ kind: text, data: text })),
    }),
    fc.constantFrom("AA", "e30", "bnVsbA").map((data) => ({
      nonce: "A".repeat(43),
      public_key: "A".repeat(87),
      model: "keeper@1",
      evidence: { kind: "insecure-dev", data },
    })),
  );
  await fc.assert(
    fc.asyncProperty(body, async (value) => {
      const parsed = releaseRequest.safeParse(value);
      if (!parsed.success) return;
      await assert.rejects(
        service.release(parsed.data, caller),
        (error) => error instanceof ModelkeepError && error.code === "KEY_NOT_GRANTED",
      );
    }),
    { numRuns: 300 },
  );
});
