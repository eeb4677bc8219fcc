/** Development evidence: refused unless allowed in so many words, and judged as strictly as real evidence. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  ATTESTATION_LIMITS,
  createInsecureDevCollector,
  createInsecureDevVerifier,
  createVerifiers,
  INSECURE_DEV_KIND,
  measureLaunch,
  parseLaunch,
} from "../../src/attestation/index.ts";
import { fromUtf8, ModelkeepError, parseJson, utf8 } from "../../src/base/index.ts";
import { jcs } from "../../src/codec/index.ts";

const launch = {
  program: "llama-server",
  arguments: ["-m", "{model}/keeper.gguf"],
  model: "keeper@1",
  package_id: "pkg-1",
  verify: "full",
} as const;
const reportData = new Uint8Array(randomBytes(64));
const now = 1_800_000_000_000;

const refused = (rule: string) => (error: unknown) =>
  error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" && error.extra?.rule === rule;

async function evidence() {
  return createInsecureDevCollector({ launch }).collect(reportData);
}

function changed(data: Uint8Array, change: (value: Record<string, unknown>) => void): Uint8Array {
  const value = parseJson(data) as Record<string, unknown>;
  change(value);
  return isWellFormed(value) ? jcs(value) : utf8(JSON.stringify(value));
}

/** Evidence has one spelling; what cannot be spelled so is sent as JSON has it. */
function isWellFormed(value: unknown): boolean {
  return !JSON.stringify(value).includes("\\ud800");
}

test("without the permission there is no verifier, and the evidence is refused", async () => {
  assert.throws(
    () => createInsecureDevVerifier({ allowInsecureDev: false }),
    (error) => error instanceof ModelkeepError && error.code === "INSECURE_NOT_ALLOWED",
  );
  for (const verifiers of [createVerifiers(), createVerifiers({}), createVerifiers({ allowInsecureDev: false })]) {
    assert.deepEqual(verifiers.kinds, []);
    await assert.rejects(verifiers.verify(await evidence(), { reportData }, now), refused("evidence.kind"));
  }
});

test("claims: SHA-384 of the canonical launch description, always debug", async () => {
  const claims = await createVerifiers({ allowInsecureDev: true }).verify(await evidence(), { reportData }, now);
  assert.equal(claims.measurement, createHash("sha384").update(jcs(launch)).digest("hex"));
  assert.equal(claims.kind, INSECURE_DEV_KIND);
  assert.equal(claims.debug, true);
  assert.deepEqual(claims.reportData, reportData);
});

test("every word of the launch changes the measurement", () => {
  const base = measureLaunch(launch);
  const others = [
    { ...launch, program: "llama-cli" },
    { ...launch, arguments: ["-m", "{model}/keeper.gguf", "--verbose"] },
    { ...launch, arguments: ["-m {model}/keeper.gguf"] },
    { ...launch, model: "keeper@2" },
    { ...launch, package_id: "pkg-2" },
  ];
  assert.equal(new Set([base, ...others.map(measureLaunch)]).size, others.length + 1);
});

test("other report data, changed fields, other keys and other shapes are refused", async () => {
  const verifiers = createVerifiers({ allowInsecureDev: true });
  const { kind, data } = await evidence();
  const judge = (bytes: Uint8Array) => verifiers.verify({ kind, data: bytes }, { reportData }, now);
  const other = new Uint8Array(randomBytes(64));
  await assert.rejects(verifiers.verify({ kind, data }, { reportData: other }, now), refused("evidence.report-data"));
  await assert.rejects(
    verifiers.verify({ kind, data }, { reportData: other.subarray(1) }, now),
    refused("evidence.report-data"),
  );
  await assert.rejects(verifiers.verify({ kind: "snp", data }, { reportData }, now), refused("evidence.kind"));
  const tamper: [string, (value: Record<string, unknown>) => void][] = [
    ["evidence.signature", (v) => Object.assign(v, { launch: { ...launch, program: "sh" } })],
    ["evidence.signature", (v) => Object.assign(v, { report_data: Buffer.from(other).toString("hex") })],
    ["evidence.signature", (v) => Object.assign(v, { signature: Buffer.alloc(64).toString("base64") })],
    ["evidence.signature", (v) => Object.assign(v, { signature: "" })],
    ["evidence.format", (v) => Object.assign(v, { public_key: "AAAA" })],
    ["evidence.format", (v) => Object.assign(v, { more: 1 })],
    ["evidence.format", (v) => Object.assign(v, { kind: "snp" })],
    ["evidence.format", (v) => Object.assign(v, { launch: { ...launch, verify: "lazy" } })],
    ["evidence.format", (v) => Object.assign(v, { launch: { ...launch, program: "\ud800" } })],
    ["evidence.format", (v) => void delete v.launch],
  ];
  for (const [rule, change] of tamper)
    await assert.rejects(judge(changed(data, change)), refused(rule), String(change));
  await assert.rejects(judge(new Uint8Array(ATTESTATION_LIMITS.evidenceBytes + 1)), refused("evidence.size"));
});

test("a key of another kind does not count as a signature", async () => {
  const verifiers = createVerifiers({ allowInsecureDev: true });
  const { kind, data } = await evidence();
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const forged = changed(data, (value) => {
    value.public_key = publicKey.export({ type: "spki", format: "der" }).toString("base64");
    value.signature = sign(null, Buffer.from("x"), privateKey).toString("base64");
  });
  await assert.rejects(verifiers.verify({ kind, data: forged }, { reportData }, now), refused("evidence.format"));
});

test("no bit of the evidence can be flipped (property)", async () => {
  const verifiers = createVerifiers({ allowInsecureDev: true });
  const { kind, data } = await evidence();
  await fc.assert(
    fc.asyncProperty(fc.nat(data.length * 8 - 1), async (bit) => {
      const flipped = data.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await assert.rejects(
        verifiers.verify({ kind, data: flipped }, { reportData }, now),
        (error) => error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED",
      );
    }),
    { numRuns: 300 },
  );
});

test("any bytes as evidence end in a refusal, never in another error (property)", async () => {
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
  const verifiers = createVerifiers({ allowInsecureDev: true });
  const { data } = await evidence();
  const text = fromUtf8(data);
  const inputs = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }),
    fc.json().map(utf8),
    fc
      .tuple(fc.nat(text.length), fc.string(), fc.nat(20))
      .map(([at, insert, cut]) => utf8(text.slice(0, at) + insert + text.slice(at + cut + 1))),
  );
  await fc.assert(
    fc.asyncProperty(inputs, async (bytes) => {
      fc.pre(!Buffer.from(bytes).equals(data));
      await assert.rejects(
        verifiers.verify({ kind: INSECURE_DEV_KIND, data: bytes }, { reportData }, now),
        (error) => error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED",
      );
    }),
    seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 },
  );
});

test("a launch description that is not one is refused when it is made", () => {
  for (const bad of [null, {}, { ...launch, arguments: "x" }, { ...launch, program: "" }, { ...launch, more: 1 }]) {
    assert.throws(
      () => parseLaunch(bad),
      (error) => error instanceof ModelkeepError && error.code === "LAUNCH_INVALID",
    );
  }
});
