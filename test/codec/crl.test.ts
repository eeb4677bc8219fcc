/** Revocation lists: recorded ones, and made ones that are stale, of another issuer, or about something else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Crl,
  checkCrl,
  findRevocation,
  isRevoked,
  OID,
  parseCertificate,
  parseCrl,
  parsePem,
} from "../../src/codec/index.ts";
import {
  boolean,
  type CrlOptions,
  commonName,
  type Der,
  enumerated,
  explicit,
  implicit,
  integer,
  keyIdOf,
  makeAuthority,
  makeCertificate,
  makeCrl,
  sequence,
} from "../support/der-writer.ts";
import { ABSENT, bitFlips, codeOf, hasVectors, readVector } from "./certificates.ts";

const NOW = Date.UTC(2026, 0, 1);
const DAY = 24 * 60 * 60 * 1000;

const authority = makeAuthority({ subject: "Authority" });
const issuer = parseCertificate(authority.der);
const base = { issuer: authority, thisUpdate: NOW - DAY, nextUpdate: NOW + DAY };
const make = (more: Partial<CrlOptions> = {}): Der => makeCrl({ ...base, ...more });

function outcome(der: Der, now = NOW, by = issuer): string {
  const result = checkCrl({ crl: parseCrl(der), issuer: by, now });
  return result.ok ? "ok" : result.rule;
}

test("a list names what is revoked, when and why", () => {
  const revoked = [
    { serial: 0n, at: NOW - 1000, reason: 1 },
    { serial: 2n ** 150n, at: NOW - 2000 },
    { serial: 7n, at: NOW - 3000, reason: 6 },
  ];
  const crl = parseCrl(make({ revoked, number: 12n }));
  assert.deepEqual(findRevocation(crl, 0n), { at: NOW - 1000, reason: "keyCompromise" });
  assert.deepEqual(findRevocation(crl, 2n ** 150n), { at: NOW - 2000, reason: "unspecified" });
  assert.equal(findRevocation(crl, 7n)?.reason, "certificateHold");
  assert.equal(isRevoked(crl, 7n), true);
  assert.equal(isRevoked(crl, 1n), false);
  assert.equal(crl.number, 12n);
  assert.equal(outcome(make({ revoked })), "ok");
  assert.equal(parseCrl(make()).revoked.size, 0);
});

test("a list is current from thisUpdate on and before nextUpdate", () => {
  assert.equal(outcome(make(), base.thisUpdate), "ok");
  assert.equal(outcome(make(), base.thisUpdate - 1), "not-yet-valid");
  assert.equal(outcome(make(), base.nextUpdate - 1), "ok");
  assert.equal(outcome(make(), base.nextUpdate), "expired");
  assert.equal(outcome(make(), Number.NaN), "not-yet-valid");
});

test("a list is its issuer's: name, key, authority and usage", () => {
  const other = makeAuthority({ subject: "Other" });
  assert.equal(outcome(make({ issuer: other })), "issuer-mismatch");
  const same = { ...other, name: commonName("Authority") };
  assert.equal(outcome(make({ issuer: same })), "key-identifier");
  assert.equal(outcome(make({ issuer: same, authorityKeyId: keyIdOf(authority.publicKey) })), "bad-signature");
  const plain = makeCertificate({ subject: "Authority", keys: authority });
  assert.equal(outcome(make(), NOW, parseCertificate(plain.der)), "not-a-ca");
  const noList = makeAuthority({ subject: "Authority", keys: authority, keyUsage: ["keyCertSign"] });
  assert.equal(outcome(make(), NOW, parseCertificate(noList.der)), "key-usage");
});

const code = (more: Partial<CrlOptions>) => codeOf(() => parseCrl(make(more)));

test("lists that say less than they must, or are of another kind", () => {
  assert.equal(code({}), undefined);
  assert.equal(code({ nextUpdate: undefined }), "CRL_INVALID");
  for (const field of ["number", "authorityKeyId"] as const) {
    const crl = parseCrl(make({ [field]: undefined }));
    assert.equal(checkCrl({ crl, issuer, now: NOW }).ok, true, field);
    const strict = checkCrl({ crl, issuer, now: NOW, requireIdentifiers: true });
    assert.deepEqual(strict, { ok: false, rule: "incomplete" }, field);
  }
  const bare = { number: undefined, authorityKeyId: undefined };
  assert.equal(outcome(make(bare)), "ok");
  const point = (...parts: Der[]) => [{ oid: OID.issuingDistributionPoint, critical: true, value: sequence(...parts) }];
  const yes = Uint8Array.of(0xff);
  assert.equal(
    code({ extensions: [{ oid: OID.deltaCrlIndicator, critical: true, value: integer(1) }] }),
    "CRL_INVALID",
  );
  assert.equal(code({ extensions: point(implicit(4, yes)) }), "CRL_INVALID", "indirect");
  assert.equal(code({ extensions: point(implicit(3, Uint8Array.of(1, 0x40))) }), "CRL_INVALID", "some reasons");
  assert.equal(code({ extensions: point(implicit(5, yes)) }), "CRL_INVALID", "attribute certificates");
  assert.equal(code({ extensions: [{ oid: "1.2.3.4", critical: true, value: boolean(true) }] }), "CRL_INVALID");
  assert.equal(parseCrl(make({ extensions: point(implicit(1, yes)) })).scope, "users");
  assert.equal(parseCrl(make({ extensions: point(implicit(2, yes)) })).scope, "authorities");
});

test("entries that cannot be read for sure", () => {
  const entry = { serial: 5n, at: NOW };
  assert.equal(code({ revoked: [entry, entry] }), "CRL_INVALID", "twice");
  for (const reason of [7, 8, 11]) assert.equal(code({ revoked: [{ ...entry, reason }] }), "CRL_INVALID");
  const elsewhere = { oid: OID.certificateIssuer, critical: true, value: sequence(explicit(4, commonName("X"))) };
  assert.equal(code({ revoked: [{ ...entry, extensions: [elsewhere] }] }), "CRL_INVALID");
  const strange = { oid: "1.2.3.4", critical: true, value: enumerated(1) };
  assert.equal(code({ revoked: [{ ...entry, extensions: [strange] }] }), "CRL_INVALID");
});

test("no flipped bit survives, whatever it does to the list", () => {
  const der = make({ revoked: [{ serial: 77n, at: NOW, reason: 1 }] });
  for (const flipped of bitFlips(der)) {
    let crl: Crl | undefined;
    const why = codeOf(() => {
      crl = parseCrl(flipped);
    });
    if (crl) assert.equal(checkCrl({ crl, issuer, now: NOW }).ok, false);
    else assert.match(why ?? "", /^(DER|X509|CRL)_INVALID$/);
  }
});

test("recorded lists of Intel", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const folder = "tee/tdx/collateral-2026-03-eval18";
  const pck = parseCrl(readVector(folder, "pck_crl_platform.der"));
  assert.equal(pck.revoked.size, 57);
  const root = parseCrl(readVector(folder, "root_ca_crl.der"));
  assert.equal(root.revoked.size, 0);
  const set = JSON.parse(Buffer.from(readVector("tee/sgx/phala-v3-00a067110000/collateral.json")).toString());
  const [processor, top] = parsePem(set.pck_crl_issuer_chain).map(({ der }) => parseCertificate(der));
  assert.ok(processor && top);
  assert.equal(checkCrl({ crl: root, issuer: top, now: Date.UTC(2026, 2, 20) }).ok, true);
  const own = parseCrl(Buffer.from(set.pck_crl, "hex"));
  assert.equal(checkCrl({ crl: own, issuer: processor, now: Date.UTC(2025, 5, 25) }).ok, true);
  assert.deepEqual(checkCrl({ crl: own, issuer: processor, now: NOW }), { ok: false, rule: "expired" });
  const platform = checkCrl({ crl: pck, issuer: processor, now: Date.UTC(2026, 2, 20) });
  assert.deepEqual(platform, { ok: false, rule: "issuer-mismatch" }, "platform and processor are two authorities");
});
