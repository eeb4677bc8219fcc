/** Appraisal profiles and the verifiers that they make: what is not named is refused, and errors point at their line. */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import {
  appraisalProfile,
  appraise,
  createVerifiers,
  openReferenceValues,
  parseAppraisalProfile,
  profileForInspection,
  readCollateralSet,
  signReferenceValues,
  verdictToJson,
  withReferenceValues,
} from "../../src/attestation/index.ts";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import { dssePae, dsseToJson } from "../../src/codec/index.ts";
import { bytesOf, hasVectors, ABSENT as NO_VECTORS, quote } from "./support/dcap-vectors.ts";

const profileOf = (text: string) => parseAppraisalProfile(utf8(text));

function detailOf(text: string): string {
  try {
    profileOf(text);
  } catch (error) {
    assert.ok(error instanceof ModelkeepError && error.code === "PROFILE_INVALID", String(error));
    return error.message;
  }
  assert.fail(`accepted: ${text}`);
}

test("an empty profile accepts no TEE, an empty section the strict defaults of its own", () => {
  const empty = profileOf("");
  assert.deepEqual([empty.snp, empty.tdx, empty.sgx, empty.nvidia, empty.azure], Array(5).fill(undefined));
  const { snp, tdx, sgx, nvidia, azure } = profileOf("snp: {}\ntdx: {}\nsgx: {}\nnvidia: {}\nazure: {}\n");
  assert.equal(snp?.allow_debug || tdx?.allow_debug || sgx?.allow_debug || nvidia?.allow_devtools, false);
  assert.equal(snp?.require_crl && tdx?.require_revocation_lists && sgx?.require_revocation_lists, true);
  assert.equal(nvidia?.require_ocsp && nvidia?.require_rims, true);
  assert.equal(snp?.allow_any_tcb || azure?.allow_any_pcrs, false);
  assert.deepEqual(tdx?.accepted_tcb_statuses, ["UpToDate"]);
});

test("the specification lists every field of every section, and its example is a profile", () => {
  const text = readFileSync(join(import.meta.dirname, "../../spec/appraisal-profile.md"), "utf8");
  for (const [section, schema] of Object.entries(appraisalProfile.shape)) {
    const inner = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
    if (!(inner instanceof z.ZodObject)) continue;
    const part = text.split(`\n## ${section}\n`)[1]?.split("\n## ")[0] ?? "";
    const missing = Object.keys(inner.shape).filter(
      (field) => field !== "tee" && !new RegExp(`^\\| \`${field}\` +\\|`, "m").test(part),
    );
    assert.deepEqual(missing, [], section);
  }
  const example = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
  const fill = (bytes: number) => "ab".repeat(bytes);
  const { snp, nvidia } = profileOf(example.replace(/\[[0-9a-f]{4}\.\.\.\]/g, `[${fill(48)}]`));
  assert.equal(snp?.minimum_tcb.Genoa?.snp, 23);
  assert.equal(nvidia?.gpu_count, 8);
});

test("every problem names its line and its field", () => {
  const text = "version: 1\nsnp:\n  vmpl:\n    - 0\n    - 9\n  colour: red\ntdx:\n  allow_debug: maybe\n";
  const detail = detailOf(text);
  for (const part of [/line 5: snp\.vmpl\.1: /, /line 6: snp\.colour: /, /line 8: tdx\.allow_debug: /])
    assert.match(detail, part);
  assert.match(detailOf("snp: {}\nsnp: {}\n"), /line 2/);
  assert.match(detailOf("snp:\n\t- 1\n"), /line 2/);
  assert.match(detailOf("tdx:\n  accepted_tcb_statuses: [Revoked]\n"), /line 2: tdx\.accepted_tcb_statuses\.0/);
  assert.match(detailOf("sgx:\n  mr_enclaves: [abc]\n"), /line 2: sgx\.mr_enclaves\.0/);
  assert.match(detailOf("nonsense: 1\n"), /line 1: nonsense: there is no such field/);
  assert.match(detailOf("version: 2\n"), /line 1: version/);
  assert.match(detailOf("a: &a [1]\nb: *a\n"), /./);
  assert.match(detailOf("- 1\n"), /line 1/);
});

test("a profile of any bytes is a profile or PROFILE_INVALID", () => {
  const any = fc.oneof(
    fc.string({ maxLength: 200 }).map(utf8),
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((text) => utf8(`snp: ${text}\n`)),
  );
  fc.assert(
    fc.property(any, (bytes) => {
      try {
        parseAppraisalProfile(bytes);
      } catch (error) {
        assert.ok(error instanceof ModelkeepError && error.code === "PROFILE_INVALID", String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test("evidence of any bytes and any kind ends in a verdict that refuses", async () => {
  const collateral = readCollateralSet([]);
  const kinds = fc.constantFrom("snp" as const, "tdx" as const, "sgx" as const, "nvidia" as const);
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 2_000 }),
    fc.json().map(utf8),
    fc.string().map((text) => utf8(`<${text}`)),
    fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Uint8Array.from([...utf8("HCLA"), ...bytes])),
    fc.json().map((text) => utf8(`{"quote":${text},"event_log":"[]"}`)),
    fc.json().map((text) => utf8(`{"verification_requests":[{"evidence":${text}}]}`)),
    fc.json().map((text) => utf8(`[["JWT",${text}],{}]`)),
  );
  await fc.assert(
    fc.asyncProperty(kinds, any, async (kind, evidence) => {
      const verdict = await appraise({ kind, evidence, collateral, now: 0 });
      assert.equal(verdict.verdict, "refused");
      assert.ok(verdict.rules.some(({ result }) => result === "failed"));
      JSON.stringify(verdictToJson(verdict, 0));
    }),
    { numRuns: 400 },
  );
});

test("a request inside a request is not unpacked for ever", async () => {
  let text = '{"quote":"AA=="}';
  for (let i = 0; i < 5; i++)
    text = JSON.stringify({ verification_requests: [{ evidence: Buffer.from(text).toString("base64url") }] });
  const request = { kind: "sgx", evidence: utf8(text), collateral: readCollateralSet([]), now: 0 } as const;
  const { rules } = await appraise(request);
  assert.equal(rules[0]?.id, "evidence.format");
});

test("without a profile, what was brought along is checked and debug stays refused", () => {
  const profile = profileForInspection(readCollateralSet([]));
  assert.equal(profile.snp?.allow_debug || profile.tdx?.allow_debug || profile.sgx?.allow_debug, false);
  assert.equal(profile.nvidia?.allow_certificate_hold, false);
  assert.equal(profile.snp?.require_crl, false);
  if (!hasVectors) return;
  const crl = readCollateralSet([{ name: "crl", bytes: bytesOf("tdx/collateral-2026-03-eval18/root_ca_crl.der") }]);
  assert.equal(profileForInspection(crl).tdx?.require_revocation_lists, true);
});

test("the verifiers are those of the profile's sections, and never devices alone", () => {
  const kindsOf = (text: string) => createVerifiers({ profile: profileOf(text) }).kinds;
  assert.deepEqual(kindsOf(""), []);
  assert.deepEqual(kindsOf("snp: {}\nnvidia: {}\n"), ["snp"]);
  assert.deepEqual(kindsOf("azure: {}\n"), []);
  assert.deepEqual(kindsOf("snp: {}\ntdx: {}\nsgx: {}\nazure: {}\n"), [
    "az-snp-vtpm",
    "az-tdx-vtpm",
    "sgx",
    "snp",
    "tdx",
  ]);
  assert.deepEqual(createVerifiers().kinds, []);
});

test("a server's verifier: status, product and advisories are claims; other bytes are refused", async (t) => {
  if (!hasVectors) return t.skip(NO_VECTORS);
  const file = (path: string) => ({ name: path, bytes: bytesOf(path) });
  const set = readCollateralSet([
    file("tdx/phala-v4-b0c06f/collateral.json"),
    file("sev-snp/roots/ask_ark_genoa.pem"),
    file("sev-snp/genoa-v5/vcek.der"),
    file("sev-snp/milan-v2-azure/vcek.der"),
  ]);
  const profile = profileOf("tdx: {}\nsnp:\n  allow_any_tcb: true\n  require_crl: false\n");
  const verifiers = createVerifiers({ profile, collateral: async () => set });
  const data = bytesOf("tdx/phala-v4-b0c06f/quote.bin");
  const bound = data.slice(48 + 520, 48 + 584);
  const now = Date.parse("2025-06-25T00:00:00Z");
  const claims = await verifiers.verify({ kind: "tdx", data }, { reportData: bound }, now);
  assert.equal(claims.tcbStatus, "UpToDate");
  assert.deepEqual(claims.advisories, []);
  const refused = (rule: string) => (error: unknown) => error instanceof ModelkeepError && error.extra?.rule === rule;
  await assert.rejects(
    verifiers.verify({ kind: "tdx", data }, { reportData: new Uint8Array(64) }, now),
    refused("dcap.report-data"),
  );
  await assert.rejects(verifiers.verify({ kind: "sgx", data }, { reportData: bound }, now), refused("evidence.kind"));
  const report = bytesOf("sev-snp/genoa-v5/report.bin");
  const later = Date.parse("2026-06-01T00:00:00Z");
  const guest = await verifiers.verify({ kind: "snp", data: report }, { reportData: report.slice(0x50, 0x90) }, later);
  assert.equal(guest.product, "Genoa");
  const hex = utf8(Buffer.from(quote.automata()).toString("hex"));
  await assert.rejects(
    verifiers.verify({ kind: "tdx", data: hex }, { reportData: bound }, now),
    "a server takes one form alone",
  );
});

const DAY_ONE = Date.UTC(2025, 5, 25);
const HEAD = {
  version: 1,
  name: "image",
  issued_at: "2025-06-01T00:00:00Z",
  expires_at: "2026-06-01T00:00:00Z",
} as const;

test("a statement that has ended, or is not good yet, leaves its lists behind: nothing is looked at less", async () => {
  const value = "bb".repeat(48);
  const values = { ...HEAD, tdx: { mr_td: [value] } };
  const profile = profileOf("tdx: {}\n");
  const listAt = (time: string) => withReferenceValues(profile, values, Date.parse(time)).tdx?.mr_td;
  assert.equal(profile.tdx?.mr_td, undefined);
  assert.deepEqual(listAt("2025-06-01T00:00:00Z"), [value]);
  assert.deepEqual(listAt("2026-05-31T23:59:59Z"), [value]);
  assert.deepEqual(listAt("2026-06-01T00:00:00Z"), []);
  assert.deepEqual(listAt("2025-05-31T23:54:00Z"), []);
  const signer = { keyId: "k", sign: async () => new Uint8Array(8) };
  const refused = (error: unknown) => error instanceof ModelkeepError && error.code === "REFERENCE_INVALID";
  for (const part of [
    { expires_at: HEAD.issued_at },
    { expires_at: "2036-01-01T00:00:00Z" },
    { issued_at: "yesterday" },
    { name: "" },
  ])
    await assert.rejects(signReferenceValues({ ...values, ...part }, signer), refused, JSON.stringify(part));
});

test("signed reference values add to lists and loosen nothing", async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signer = { keyId: "k", sign: async (bytes: Uint8Array) => new Uint8Array(sign("sha256", bytes, privateKey)) };
  const key = { verifies: (bytes: Uint8Array, mark: Uint8Array) => verify("sha256", bytes, publicKey, mark) };
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
  const stranger = { verifies: (bytes: Uint8Array, mark: Uint8Array) => verify("sha256", bytes, other, mark) };
  const [one, two] = ["aa".repeat(48), "bb".repeat(48)];
  const text = utf8(
    await signReferenceValues({ ...HEAD, tdx: { mr_td: [two] }, snp: { measurements: [two] } }, signer),
  );
  const values = openReferenceValues(text, [stranger, key]);
  const profile = withReferenceValues(profileOf(`tdx:\n  mr_td: [${one}]\n`), values, DAY_ONE);
  assert.deepEqual(profile.tdx?.mr_td, [one, two]);
  assert.equal(profile.snp, undefined, "a section that is not there stays away");
  assert.equal(profile.tdx?.rtmr0, undefined);
  const refused = (error: unknown) => error instanceof ModelkeepError && error.code === "REFERENCE_INVALID";
  assert.throws(() => openReferenceValues(text, [stranger]), refused);
  assert.throws(() => openReferenceValues(text, []), refused);
  assert.throws(() => openReferenceValues(utf8("{}"), [key]), refused);
  const loose = { ...HEAD, tdx: { allow_debug: true } } as unknown as Parameters<typeof signReferenceValues>[0];
  await assert.rejects(signReferenceValues(loose, signer));
  const payload = utf8(JSON.stringify(loose));
  const payloadType = "application/vnd.modelkeep.reference-values+json";
  const signature = await signer.sign(dssePae(payloadType, payload));
  const forged = JSON.stringify(dsseToJson({ payloadType, payload, signatures: [{ keyId: "k", signature }] }));
  assert.throws(() => openReferenceValues(utf8(forged), [key]), refused);
  if (!hasVectors) return t.skip(NO_VECTORS);
  const collateral = readCollateralSet([{ name: "c", bytes: bytesOf("tdx/phala-v4-b0c06f/collateral.json") }]);
  const evidence = bytesOf("tdx/phala-v4-b0c06f/quote.bin");
  const judge = (tried: typeof profile) =>
    appraise({ kind: "tdx", evidence, collateral, profile: tried, now: Date.parse("2025-06-25T00:00:00Z") });
  assert.deepEqual((await judge(profile)).rules.find(({ result }) => result === "failed")?.id, "tdx.mr-td");
  const { claims } = (await judge(profileOf("tdx: {}"))) as { readonly claims?: { readonly mrTd: string } };
  const good = withReferenceValues(profile, { ...HEAD, tdx: { mr_td: [claims?.mrTd ?? ""] } }, DAY_ONE);
  assert.equal((await judge(good)).verdict, "accepted");
});
