/** Revoked certificates: of the signer, of the authorities between, of who stamped; by lists that are right, stale, forged or of somebody else. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { utf8 } from "../../src/base/index.ts";
import { OID, parseCrl, toPem } from "../../src/codec/index.ts";
import {
  loadEcSigner,
  readRevocationLists,
  readSignerPolicy,
  requirePolicy,
  signModel,
  trustAuthorities,
  trustTimestamps,
  verifyBundle,
} from "../../src/signing/index.ts";
import { codeOf, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";
import {
  type CertificateOptions,
  type CrlOptions,
  explicit,
  generalizedTime,
  implicit,
  makeAuthority,
  makeCertificate,
  makeCrl,
  type Party,
  sequence,
} from "../support/der-writer.ts";
import { StampingAuthority } from "../support/tsa.ts";

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 5, 1);
const SIGNED = NOW - 20 * DAY;

const root = makeAuthority({ subject: "Root" });
const middle = makeAuthority({ subject: "Middle", issuer: root, pathLength: 0 });
const makeLeaf = (more: Pick<CertificateOptions, "notAfter" | "extensions"> = {}) =>
  makeCertificate({
    subject: "Signer",
    issuer: middle,
    ca: false,
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.codeSigning],
    ...more,
  });
const leaf = makeLeaf();
const authority = new StampingAuthority();
const model = writeModel({ "weights.bin": "0123456789" });
const pemOf = (...parties: Pick<Party, "der">[]) => parties.map(({ der }) => toPem("CERTIFICATE", der)).join("");
const pkcs8 = ({ privateKey }: Party) => Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }).toString());

async function bundleOf(party: Party, stampedAt?: number, accuracy?: Uint8Array): Promise<Uint8Array> {
  const tail = accuracy ? [accuracy] : [];
  const stamp = async (bytes: Uint8Array) =>
    stampedAt === undefined ? [] : [authority.stamp({ bytes, at: stampedAt, tail })];
  const signer = { ...loadEcSigner(pkcs8(party)), certificates: [party.der, middle.der], stamp };
  return (await signModel({ root: model, signer })).bundle;
}

const plain = await bundleOf(leaf);
const stamped = await bundleOf(leaf, SIGNED);

type Entry = NonNullable<CrlOptions["revoked"]>[number];
const listOf = (issuer: Party, revoked: readonly Entry[] = [], more: Partial<CrlOptions> = {}) =>
  makeCrl({ issuer, revoked, thisUpdate: NOW - DAY, nextUpdate: NOW + DAY, ...more });
const CLEAN = [listOf(root), listOf(middle), listOf(authority.root)];

const REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  caCompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessation: 5,
};
const MORE_REASONS = { hold: 6, privilegeWithdrawn: 9, aaCompromise: 10 };

function judge(bundle: Uint8Array, lists: readonly Uint8Array[], required = false, atMs = NOW) {
  const trust = trustAuthorities([{ pem: pemOf(root), subject: "CN=Signer" }], atMs);
  const revocation = { crls: readRevocationLists(lists), required };
  return codeOf(
    () => verifyBundle(bundle, { ...trustTimestamps(trust, [pemOf(authority.root)], atMs), revocation }).keyId,
  );
}

const revoke = (party: Party, at: number, reason?: number): Entry =>
  reason === undefined ? { serial: party.serial, at } : { serial: party.serial, at, reason };

test("without a word on it nothing is revoked; with one the signer's certificate and every authority's can be", async () => {
  assert.equal(await judge(plain, CLEAN), undefined);
  assert.equal(await judge(plain, CLEAN, true), undefined);
  assert.equal(await judge(plain, [listOf(middle, [revoke(leaf, NOW - DAY)])]), "CERTIFICATE_REVOKED");
  assert.equal(await judge(plain, [listOf(root, [revoke(middle, NOW - DAY)])]), "CERTIFICATE_REVOKED");
  assert.equal(await judge(plain, [listOf(root, [revoke(leaf, NOW - DAY)])]), undefined, "another issuer's number");
  for (const reason of Object.values({ ...REASONS, ...MORE_REASONS }))
    assert.equal(await judge(plain, [listOf(middle, [revoke(leaf, NOW - DAY, reason)])]), "CERTIFICATE_REVOKED");
});

test("what was seen before the revocation holds, unless somebody else may have had the key", async () => {
  const after = (reason?: number) => judge(stamped, [listOf(middle, [revoke(leaf, SIGNED + DAY, reason)])]);
  const before = (reason?: number) => judge(stamped, [listOf(middle, [revoke(leaf, SIGNED - DAY, reason)])]);
  const reachesBack = new Set([REASONS.keyCompromise, REASONS.caCompromise, MORE_REASONS.aaCompromise]);
  for (const reason of [undefined, ...Object.values(REASONS), ...Object.values(MORE_REASONS)]) {
    const wanted = reason !== undefined && reachesBack.has(reason) ? "CERTIFICATE_REVOKED" : undefined;
    assert.equal(await after(reason), wanted, String(reason));
    assert.equal(await before(reason), "CERTIFICATE_REVOKED", String(reason));
  }
  assert.equal(await judge(stamped, [listOf(root, [revoke(middle, SIGNED + DAY, 4)])]), undefined);
  assert.equal(await judge(stamped, [listOf(root, [revoke(middle, SIGNED + DAY, 2)])]), "CERTIFICATE_REVOKED");
  assert.equal(
    await judge(stamped, [listOf(middle, [revoke(leaf, SIGNED)])]),
    "CERTIFICATE_REVOKED",
    "the same second",
  );
});

test("the accuracy of a timestamp and the date since which a key is doubted count against it", async () => {
  const hours = await bundleOf(leaf, SIGNED, sequence(Uint8Array.of(0x02, 0x02, 0x1c, 0x20)));
  const soon = listOf(middle, [revoke(leaf, SIGNED + 3_600_000, 4)]);
  assert.equal(await judge(stamped, [soon]), undefined);
  assert.equal(await judge(hours, [soon]), "CERTIFICATE_REVOKED");
  const doubted = { oid: OID.invalidityDate, value: generalizedTime(SIGNED - DAY) };
  const entry = { ...revoke(leaf, SIGNED + DAY, 4), extensions: [doubted] };
  assert.equal(await judge(stamped, [listOf(middle, [entry])]), "CERTIFICATE_REVOKED");
});

test("a revoked authority's timestamps count for some reasons only", async () => {
  const expired = makeLeaf({ notAfter: SIGNED + DAY });
  const bundle = await bundleOf(expired, SIGNED);
  const by = (reason: number | undefined, at = SIGNED + DAY) =>
    judge(bundle, [listOf(authority.root, [revoke(authority.signer, at, reason)])]);
  assert.equal(await judge(bundle, []), undefined);
  for (const reason of [3, 4, 5]) assert.equal(await by(reason), undefined, String(reason));
  for (const reason of [undefined, 0, 1, 2, 6, 9, 10])
    assert.equal(await by(reason), "CERTIFICATE_NOT_TRUSTED", String(reason));
  assert.equal(await by(4, SIGNED - DAY), "CERTIFICATE_NOT_TRUSTED");
});

test("a list must be the issuer's own, and in force", async () => {
  const revoked = [revoke(leaf, NOW - DAY)];
  const twin = makeAuthority({ subject: "Middle", issuer: root });
  const ignored: Readonly<Record<string, Uint8Array>> = {
    "of another issuer": listOf(authority.root, revoked),
    "of authorities alone": listOf(middle, revoked, { extensions: scope(2) }),
  };
  for (const [what, list] of Object.entries(ignored)) {
    assert.equal(await judge(plain, [list]), undefined, what);
    assert.equal(await judge(plain, [list], true), "REVOCATION_UNKNOWN", what);
  }
  const useless: Readonly<Record<string, Uint8Array>> = {
    "signed by a twin": makeCrl({
      issuer: { ...twin, name: middle.name },
      thisUpdate: NOW - DAY,
      nextUpdate: NOW + DAY,
    }),
    "not yet in force": listOf(middle, [], { thisUpdate: NOW + 1000, nextUpdate: NOW + DAY }),
    "grown old": listOf(middle, [], { thisUpdate: NOW - 2 * DAY, nextUpdate: NOW - DAY }),
    "ending now": listOf(middle, [], { nextUpdate: NOW }),
  };
  for (const [what, list] of Object.entries(useless)) {
    assert.equal(await judge(plain, [list]), "REVOCATION_UNKNOWN", what);
    assert.equal(await judge(plain, [list, ...CLEAN]), undefined, `${what}, beside a good one`);
  }
  const then = listOf(middle, [], { thisUpdate: SIGNED, nextUpdate: SIGNED + DAY });
  assert.equal(await judge(stamped, [then]), "REVOCATION_UNKNOWN", "a timestamp makes no old list fresh");
  const old = { thisUpdate: NOW - 3 * DAY, nextUpdate: NOW - 2 * DAY };
  assert.equal(
    await judge(plain, [listOf(middle, [revoke(leaf, NOW - 4 * DAY)], old), ...CLEAN]),
    "CERTIFICATE_REVOKED",
  );
  const held = listOf(middle, [revoke(leaf, NOW - 4 * DAY, MORE_REASONS.hold)], old);
  assert.equal(await judge(plain, [held, ...CLEAN]), undefined, "a hold that was lifted");
  assert.equal(await judge(plain, [held]), "CERTIFICATE_REVOKED", "a hold of which nothing newer is known");
  assert.equal(await judge(plain, [listOf(middle, revoked, { extensions: scope(1) })]), "CERTIFICATE_REVOKED");
});

const scope = (number: number) => [
  { oid: OID.issuingDistributionPoint, critical: true, value: sequence(implicit(number, Uint8Array.of(0xff))) },
];

/** DistributionPointName with one URI, in a list and in a certificate. */
const at = (uri: string) => explicit(0, explicit(0, implicit(6, utf8(uri))));
const listPoint = (...parts: Uint8Array[]) => [
  { oid: OID.issuingDistributionPoint, critical: true, value: sequence(...parts) },
];
const ownPoint = (...points: Uint8Array[]) => [{ oid: OID.crlDistributionPoints, value: sequence(...points) }];

test("a list of one of an issuer's parts says nothing of the others", async () => {
  const [first, second] = [at("http://ca.example/1.crl"), at("http://ca.example/2.crl")];
  const part = (point: Uint8Array, revoked: readonly Entry[] = [], more: Partial<CrlOptions> = {}) =>
    listOf(middle, revoked, { extensions: listPoint(point), ...more });
  const ofFirst = makeLeaf({ extensions: ownPoint(sequence(first)) });
  const bundle = await bundleOf(ofFirst);
  const gone = [revoke(ofFirst, NOW - DAY)];
  assert.equal(await judge(bundle, [part(first), listOf(root)], true), undefined);
  assert.equal(await judge(bundle, [listOf(middle), listOf(root)], true), undefined, "a list of all");
  for (const required of [true, false])
    assert.equal(await judge(bundle, [part(second), listOf(root)], required), "REVOCATION_UNKNOWN");
  assert.equal(await judge(plain, [part(first), listOf(root)], true), "REVOCATION_UNKNOWN", "no point of its own");
  assert.equal(await judge(bundle, [part(first, gone), part(second)]), "CERTIFICATE_REVOKED");
  assert.equal(await judge(bundle, [part(second, gone), part(first)]), "CERTIFICATE_REVOKED", "named anyway");
  const old = { thisUpdate: NOW - 3 * DAY };
  const held = [revoke(ofFirst, NOW - 4 * DAY, MORE_REASONS.hold)];
  assert.equal(await judge(bundle, [part(first, held, old), part(second)]), "CERTIFICATE_REVOKED", "who lifts a hold");
  assert.equal(await judge(bundle, [part(first, held, old), part(first)]), undefined);
  const relative = explicit(0, explicit(1, sequence()));
  assert.equal(await judge(bundle, [part(relative), listOf(root)], true), "REVOCATION_UNKNOWN");
  const strange: Readonly<Record<string, Uint8Array>> = {
    "for some reasons": sequence(first, implicit(1, Uint8Array.of(1, 0x40))),
    "of another issuer": sequence(first, explicit(2, explicit(4, root.name))),
    unreadable: Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x01),
  };
  for (const [what, point] of Object.entries(strange)) {
    const leafOf = await bundleOf(makeLeaf({ extensions: ownPoint(point) }));
    assert.equal(await judge(leafOf, [part(first), listOf(root)], true), "REVOCATION_UNKNOWN", what);
  }
});

test("whoever demands a list for every certificate gets no answer without one", async () => {
  assert.equal(await judge(plain, [], true), "REVOCATION_UNKNOWN");
  assert.equal(await judge(plain, [listOf(middle)], true), "REVOCATION_UNKNOWN");
  assert.equal(await judge(plain, [listOf(root)], true), "REVOCATION_UNKNOWN");
  assert.equal(await judge(plain, [listOf(root), listOf(middle)], true), undefined);
  const expired = makeLeaf({ notAfter: SIGNED + DAY });
  const bundle = await bundleOf(expired, SIGNED);
  assert.equal(await judge(bundle, CLEAN, true), "REVOCATION_UNKNOWN", "the issuer may have left out what expired");
  const then = listOf(middle, [], { thisUpdate: SIGNED, nextUpdate: SIGNED + 2 * DAY });
  assert.equal(await judge(bundle, [then, ...CLEAN], true), undefined, "a list of those days");
  assert.equal(
    await judge(bundle, [then, listOf(root), listOf(middle)], true),
    "CERTIFICATE_NOT_TRUSTED",
    "the stamper's",
  );
});

test("files that hold no list are errors, each list in a file counts", async () => {
  const pem = (der: Uint8Array) => toPem("X509 CRL", der);
  const both = utf8(`${pem(listOf(root))}${pem(listOf(middle, [revoke(leaf, NOW - DAY)]))}`);
  assert.equal(await judge(plain, [both]), "CERTIFICATE_REVOKED");
  const wrong = [
    utf8("no list"),
    utf8(pemOf(root)),
    root.der,
    Uint8Array.of(0x30),
    utf8(pem(root.der)),
    Uint8Array.of(0xff),
  ];
  const indirect = listOf(middle, [], { extensions: indirectPoint });
  for (const file of [...wrong, indirect, listOf(middle, [], { nextUpdate: undefined })])
    assert.equal(await codeOf(() => readRevocationLists([file]).length), "CRL_UNREADABLE");
  assert.equal(await codeOf(() => readRevocationLists(new Array(65).fill(listOf(root))).length), "CRL_UNREADABLE");
});

const indirectPoint = [
  { oid: OID.issuingDistributionPoint, critical: true, value: sequence(implicit(4, Uint8Array.of(0xff))) },
];

test("no bit of a list can change and hide a revocation", async () => {
  const list = listOf(middle, [revoke(leaf, NOW - DAY, 1)]);
  const flips = fc.tuple(fc.nat({ max: list.length - 1 }), fc.integer({ min: 1, max: 255 }));
  const property = fc.asyncProperty(flips, async ([at, by]) => {
    const copy = Uint8Array.from(list);
    copy[at] = (copy[at] ?? 0) ^ by;
    if ((await codeOf(() => parseCrl(copy).sha256)) !== undefined) return;
    assert.notEqual(await judge(plain, [copy, listOf(root)], true), undefined);
  });
  const interruptAfterTimeLimit = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 2) * 1000;
  await fc.assert(property, { numRuns: 50_000, interruptAfterTimeLimit });
});

test("the command line and the policy ask lists", async () => {
  const folder = temporaryFolder();
  const write = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const [place, now] = [writeModel({ "weights.bin": "0123456789" }), Date.now()];
  const key = write("signer.pem", pkcs8(leaf));
  const [certificate, chain, ca] = [
    write("l.pem", pemOf(leaf)),
    write("m.pem", pemOf(middle)),
    write("ca.pem", pemOf(root)),
  ];
  const dates = { thisUpdate: now - DAY, nextUpdate: now + DAY };
  const clean = write("clean.crl", listOf(middle, [], dates));
  const roots = write("root.crl", toPem("X509 CRL", listOf(root, [], dates)));
  const bad = write("bad.crl", listOf(middle, [revoke(leaf, now - 2 * DAY)], dates));
  const signed = await modelkeep(["sign", place, "--key", key, "--certificate", certificate, "--chain", chain]);
  assert.equal(signed.exit, 0, signed.stderr);
  const verify = async (...words: string[]) =>
    (await modelkeep(["verify", place, "--ca", ca, "--subject", "CN=Signer", ...words])).exit;
  assert.equal(await verify("--crl", clean), 0);
  assert.equal(await verify("--crl", clean, "--require-revocation-check"), 1);
  assert.equal(await verify("--crl", clean, "--crl", roots, "--require-revocation-check"), 0);
  assert.equal(await verify("--require-revocation-check"), 1);
  assert.equal(await verify("--crl", bad), 4);
  assert.equal(await verify("--crl", ca), 1);
  const rules = `signers: { release: { ca: ca.pem, subject: "CN=Signer" } }\nrules: [{ models: ["*@*"], signers: [release] }]\n`;
  const ask = async (more: string) => {
    const file = write("policy.yaml", `version: 1\n${more}${rules}`);
    const question = { model: "m@1", signatures: [{ name: "model.sig", bytes: plain }], statements: [], atMs: now };
    return codeOf(async () => requirePolicy(await readSignerPolicy(file), question).signers);
  };
  assert.equal(await ask("crls: [clean.crl]\n"), undefined);
  assert.equal(await ask("crls: [bad.crl]\n"), "SIGNER_POLICY_REFUSED");
  assert.equal(await ask("require_revocation_check: true\n"), "REVOCATION_UNKNOWN");
  assert.equal(await ask("crls: [clean.crl, root.crl]\nrequire_revocation_check: true\n"), undefined);
  assert.equal(await ask("crls: [ca.pem]\n"), "CRL_UNREADABLE");
});
