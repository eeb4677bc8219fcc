/** Reference manifests: the recorded ones, wrapping attacks, wrong signers and dates, and what a cache may keep. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createNvidiaCache } from "../../src/attestation/nvidia/cache.ts";
import { parseOcspAnswers } from "../../src/attestation/nvidia/revocation.ts";
import { parseRim, type Rim, verifyRim } from "../../src/attestation/nvidia/rim.ts";
import { fromUtf8, ModelkeepError, utf8 } from "../../src/base/index.ts";
import { makeOcspResponse } from "../support/der-writer.ts";
import {
  ABSENT,
  failedRules,
  golden,
  makeDeviceRoot,
  makeRim,
  makeRimSigner,
  NOW,
  profileOf,
  signRimBody,
  vector,
  writeRimBody,
} from "./support/nvidia.ts";

const profile = profileOf();
const signer = makeRimSigner();
const anchors = [signer.anchor];
const options = { version: "580.1", active: new Map([[0, [golden(0), golden(1)]]]) };
const good = makeRim(options, signer);
const text = fromUtf8(good);
const judge = (xml: Uint8Array | string, more: object = {}) =>
  verifyRim(typeof xml === "string" ? utf8(xml) : xml, { profile, now: NOW, anchors, ...more });

test("recorded manifests: signature, root, measurements and dates", { skip: ABSENT }, () => {
  const at2024 = Date.UTC(2024, 0, 1);
  const at2026 = Date.UTC(2026, 0, 1);
  const cases: [string, number, number, string[]][] = [
    ["hopper-full-set-545.00/driver_rim.swidtag", at2024, 21, []],
    ["hopper-full-set-545.00/driver_rim.swidtag", at2026, 21, ["nvidia.rim.chain"]],
    ["hopper-full-set-545.00/vbios_rim.swidtag", at2024, 12, []],
    ["hopper-full-set-545.00/vbios_rim.swidtag", at2026, 12, ["nvidia.rim.chain"]],
    ["driver-rims/NV_GPU_DRIVER_GH100_550.144.03.xml", at2026, 21, []],
    ["driver-rims/NV_GPU_DRIVER_GH100_550.144.03.xml", at2024, 21, ["nvidia.rim.chain"]],
    ["switch-ls10/vbios_rim.xml", Date.UTC(2026, 8, 1), 31, []],
    ["switch-ls10/vbios_rim.xml", at2026, 31, ["nvidia.rim.chain"]],
    ...[
      "1010_0200_882_96005E0001",
      "1010_0200_882_96005E0003",
      "1010_0200_882_960074001A",
      "1010_0200_882_960074001C",
      "1010_0205_862_96005E0002",
      "1010_0205_862_96005E0004",
      "1010_0205_862_960074001F",
      "1010_0205_862_9600740020",
      "1010_0210_886_9600740011",
      "1010_0215_866_9600740010",
    ].map((id): [string, number, number, string[]] => [`vbios-rims/${id}_PROD.swidtag`, at2024, 12, []]),
  ];
  for (const [path, now, active, failed] of cases) {
    const verdict = verifyRim(vector(path), { profile, now });
    assert.deepEqual(failedRules(verdict), failed, path);
    assert.equal(verdict.claims?.measurements.filter((one) => one.active).length, active, path);
  }
  for (const path of ["incorrect_signature_driver_rim.xml", "NV_GPU_DRIVER_GH100_570.124.03_expired.xml"]) {
    for (const now of [at2024, at2026, Date.UTC(2025, 0, 1, 12)]) {
      assert.deepEqual(failedRules(verifyRim(vector(`negative/${path}`), { profile, now })), ["nvidia.rim.signature"]);
    }
  }
});

test("a manifest of the test authority reads as it was written", () => {
  const verdict = judge(good);
  assert.equal(verdict.verdict, "accepted");
  assert.equal(verdict.claims?.version, "580.1");
  assert.equal(verdict.claims?.product, "GH100");
  assert.deepEqual(verdict.claims?.measurements, [{ index: 0, active: true, values: [golden(0), golden(1)] }]);
  assert.deepEqual(failedRules(verifyRim(good, { profile, now: NOW })), ["nvidia.rim.chain"], "not NVIDIA's root");
});

test("a manifest alone: its signer must not be revoked either, and where nobody was asked nothing has passed", () => {
  const { parties } = signer;
  const times = { thisUpdate: NOW - 3_600_000, nextUpdate: NOW + 3_600_000 };
  const answers = parseOcspAnswers(
    parties.slice(0, -1).map((party, i) => {
      const issuer = parties[i + 1] ?? party;
      return makeOcspResponse({ serial: party.serial, issuer, responder: issuer, status: "good", ...times });
    }),
  );
  const [leaf, issuer] = parties;
  assert.ok(leaf && issuer);
  const about = { serial: leaf.serial, issuer, responder: issuer, ...times };
  const revoked = parseOcspAnswers([makeOcspResponse({ ...about, status: "revoked", reason: 1 })]);
  const rule = "nvidia.rim.revocation";
  assert.deepEqual(failedRules(judge(good, { answers })), []);
  assert.deepEqual(failedRules(judge(good, { answers: [...revoked, ...answers] })), [rule]);
  assert.deepEqual(failedRules(judge(good, { answers: [] })), [rule]);
  assert.deepEqual(failedRules(judge(good, { answers: [], profile: profileOf({ require_ocsp: false }) })), []);
  assert.equal(judge(good).rules.find(({ id }) => id === rule)?.result, "unchecked");
});

test("trap 20: DOCTYPE, entities, instructions, comments and wrapped signatures are refused", () => {
  const signature = /<ds:Signature .*<\/ds:Signature>/.exec(text)?.[0] ?? "";
  const body = text.replace(signature, "");
  const evil = writeRimBody({ ...options, active: new Map([[0, [golden(66)]]]) });
  const inEvil = (piece: string) => evil.replace("</SoftwareIdentity>", () => `${piece}</SoftwareIdentity>`);
  const attacks: Record<string, string> = {
    doctype: `<!DOCTYPE SoftwareIdentity>${text}`,
    entity: `<!DOCTYPE x [<!ENTITY v "580.1">]>${text.replace('"580.1"', '"&v;"')}`,
    instruction: text.replace("<Payload>", "<?x y?><Payload>"),
    comment: text.replace("580.1", "580<!-- -->.1"),
    "signature moved to another body": inEvil(signature),
    "signed body inside another": inEvil(text),
    "signed body inside the signature": inEvil(
      signature.replace("</ds:Signature>", `<ds:Object>${body}</ds:Object></ds:Signature>`),
    ),
    "two signatures": text.replace("</SoftwareIdentity>", `${signature}</SoftwareIdentity>`),
    "signature deeper": text.replace(signature, "").replace("</Payload>", () => `${signature}</Payload>`),
    "reference by id": text.replace('URI=""', 'URI="#a"'),
    "reference outside": text.replace('URI=""', 'URI="file:///etc/passwd"'),
    "no reference": text.replace(/<ds:Reference .*<\/ds:Reference>/, ""),
    "digest SHA-1": text.replace(
      "http://www.w3.org/2001/04/xmldsig-more#sha384",
      "http://www.w3.org/2000/09/xmldsig#sha1",
    ),
    "signature by HMAC": text.replace("ecdsa-sha384", "hmac-sha384"),
    "transform by stylesheet": text.replace(
      "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
      "http://www.w3.org/TR/1999/REC-xslt-19991116",
    ),
    "text behind": `${text}x`,
    "element behind": `${text}<a></a>`,
    "no signature": body,
    empty: "",
  };
  for (const [name, xml] of Object.entries(attacks)) {
    assert.notEqual(xml, text, name);
    assert.deepEqual(failedRules(judge(xml)), ["nvidia.rim.signature"], name);
  }
});

test("trap 20: KeyInfo is believed only under the pinned root, with the signer's own dates and usages", () => {
  const stranger = makeRimSigner();
  assert.deepEqual(failedRules(judge(makeRim(options, stranger))), ["nvidia.rim.chain"], "look-alike names");
  const [leaf, lower, upper, root] = stranger.parties;
  const [, ownLower, ownUpper, ownRoot] = signer.parties;
  assert.ok(leaf && lower && upper && root && ownLower && ownUpper && ownRoot);
  const borrowed = { ...stranger, parties: [leaf, ownLower, ownUpper, ownRoot] };
  assert.deepEqual(failedRules(judge(makeRim(options, borrowed))), ["nvidia.rim.chain"], "another's authorities");
  const extra = { ...stranger, parties: [leaf, lower, upper, root, ownRoot] };
  assert.deepEqual(failedRules(judge(makeRim(options, extra))), ["nvidia.rim.chain"], "the pinned root beside it");
  const swapped = signRimBody(writeRimBody(options), stranger);
  const first = (xml: string) => /<ds:X509Certificate>[^<]*<\/ds:X509Certificate>/.exec(xml)?.[0] ?? "";
  assert.deepEqual(failedRules(judge(swapped.replace(first(swapped), first(text)))), ["nvidia.rim.signature"]);
  const wrong: Parameters<typeof makeRimSigner>[0][] = [
    { leaf: { notAfter: NOW - 1000 } },
    { leaf: { notBefore: NOW + 1000 } },
    { leaf: { keyUsage: ["keyEncipherment"] } },
    { leaf: { ca: true, keyUsage: ["digitalSignature", "keyCertSign"] } },
    { leaf: { extensions: [{ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) }] } },
  ];
  for (const change of wrong) {
    const other = makeRimSigner(change);
    assert.deepEqual(failedRules(judge(makeRim(options, other), { anchors: [other.anchor] })), ["nvidia.rim.chain"]);
  }
  const deviceRoot = makeDeviceRoot();
  const underDevices = makeRimSigner({ root: deviceRoot });
  assert.deepEqual(failedRules(judge(makeRim(options, underDevices))), ["nvidia.rim.chain"], "the root of devices");
});

test("an expired signer counts only where the profile says so, and never before its time", () => {
  const other = makeRimSigner({ leaf: { notBefore: NOW - 2000, notAfter: NOW - 1000 } });
  const rim = makeRim(options, other);
  const allowed = profileOf({ allow_expired_rim: true });
  const at = (now: number, asked = profile) =>
    failedRules(verifyRim(rim, { profile: asked, now, anchors: [other.anchor] }));
  assert.deepEqual(at(NOW - 1500), []);
  assert.deepEqual(at(NOW), ["nvidia.rim.chain"]);
  assert.deepEqual(at(NOW, allowed), []);
  assert.deepEqual(at(NOW - 3000, allowed), ["nvidia.rim.chain"]);
});

test("a cache keeps signatures and forgets dates, pins and what was not used for longest", () => {
  const cache = createNvidiaCache({ rims: 2, paths: 2 });
  assert.deepEqual(failedRules(judge(good, { cache })), []);
  assert.deepEqual(failedRules(judge(good, { cache })), []);
  assert.deepEqual(failedRules(judge(good, { cache, now: Date.UTC(2040, 0, 1) })), ["nvidia.rim.chain"]);
  assert.deepEqual(failedRules(judge(good, { cache, now: Date.UTC(2020, 0, 1) })), ["nvidia.rim.chain"]);
  assert.deepEqual(failedRules(judge(good, { cache, anchors: ["00".repeat(32)] })), ["nvidia.rim.chain"]);
  assert.deepEqual(failedRules(judge(text.replace("580.1", "580.2"), { cache })), ["nvidia.rim.signature"]);
  assert.equal(cache.rims.size, 1, "what is refused is not kept");
  for (const version of ["1.0", "1.1", "1.2"]) judge(makeRim({ ...options, version }, signer), { cache });
  assert.equal(cache.rims.size, 2);
  assert.equal(cache.paths.size, 1, "one signer");
  for (let i = 0; i < 3; i++) {
    const other = makeRimSigner();
    judge(makeRim(options, other), { cache, anchors: [other.anchor] });
  }
  assert.equal(cache.paths.size, 2);
});

test("signed manifests of another shape are refused", () => {
  const ns = (xml: string) => utf8(signRimBody(xml, signer));
  const body = writeRimBody(options);
  const bad: Record<string, string> = {
    "no measurements element": body.replace(/<Payload>.*<\/Payload>/, ""),
    "two payloads": body.replace("</Payload>", "</Payload><Payload></Payload>"),
    "two metas": body.replace("<Payload>", '<Meta colloquialVersion="1.0" product="GH100"></Meta><Payload>'),
    "no version": body.replace(' colloquialVersion="580.1"', ""),
    "an index twice": body.replace("</Payload>", () => `${/<Resource .*<\/Resource>/.exec(body)?.[0]}</Payload>`),
    "fewer alternatives": body.replace('alternatives="2"', 'alternatives="1"'),
    "more alternatives": body.replace('alternatives="2"', 'alternatives="3"'),
    "no alternatives": body.replace('alternatives="2"', 'alternatives="0"'),
    "a number that is none": body.replace('index="0"', 'index="-1"'),
    "neither active nor not": body.replace('active="True"', 'active="1"'),
    "another size": body.replace('size="48"', 'size="32"'),
    "a short hash": body.replace(/(ns2:Hash0="[0-9a-f]{90})[0-9a-f]{6}/, "$1"),
    "a measurement of another namespace": body.replaceAll("Resource", "ns2:Resource"),
    "another type": body.replace('type="Measurement"', 'type="File"'),
  };
  for (const [name, xml] of Object.entries(bad)) {
    assert.notEqual(xml, body, name);
    assert.throws(
      () => parseRim(ns(xml)),
      (error) => error instanceof ModelkeepError && error.extra?.rule === "nvidia.rim.format",
      name,
    );
  }
  assert.throws(() => parseRim(new Uint8Array(300_000)));
});

const content = (rim?: Rim) => [rim?.product, rim?.version, rim?.measurements];

test("no bit of what is signed can be flipped, and no cut crashes (property)", () => {
  const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
  const runs = (some: number) =>
    seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: some };
  fc.assert(
    fc.property(fc.nat(good.length * 8 - 1), (bit) => {
      const flipped = good.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const verdict = judge(flipped);
      if (verdict.verdict === "accepted") assert.deepEqual(content(verdict.claims), content(judge(good).claims));
    }),
    runs(300),
  );
  fc.assert(
    fc.property(fc.nat(good.length - 1), (length) => {
      assert.equal(judge(good.subarray(0, length)).verdict, "refused");
    }),
    runs(150),
  );
});
