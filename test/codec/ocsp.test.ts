/** OCSP: good, revoked, on hold, unknown; and answers that are stale, of a wrong responder, or about another. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  checkOcsp,
  encodeOcspRequest,
  type OcspCheck,
  type OcspResponse,
  OID,
  parseCertificate,
  parseOcspResponse,
  toPem,
} from "../../src/codec/index.ts";
import {
  type Der,
  makeAuthority,
  makeCertificate,
  makeOcspFailure,
  makeOcspResponse,
  makeOcspSingle,
  type OcspOptions,
  type Party,
} from "../support/der-writer.ts";
import { bitFlips, codeOf } from "./certificates.ts";

const NOW = Date.UTC(2026, 0, 1);
const HOUR = 60 * 60 * 1000;

const authority = makeAuthority({ subject: "Authority" });
const device = makeCertificate({ subject: "Device", issuer: authority });
const delegate = makeCertificate({
  subject: "Responder",
  issuer: authority,
  ca: false,
  keyUsage: ["digitalSignature"],
  extendedKeyUsage: [OID.ocspSigning],
});
const cert = (party: Party) => parseCertificate(party.der);

const base = { serial: device.serial, issuer: authority, thisUpdate: NOW - HOUR, nextUpdate: NOW + HOUR } as const;
const make = (more: Partial<OcspOptions> = {}): Der =>
  makeOcspResponse({ ...base, responder: authority, status: "good", ...more });

const usual = { certificate: cert(device), issuer: cert(authority), now: NOW, maxAgeMs: 24 * HOUR };

function outcome(more: Partial<OcspOptions> = {}, check: Partial<OcspCheck> = {}): string {
  const result = checkOcsp({ response: parseOcspResponse(make(more)), ...usual, ...check });
  return result.status === "refused" ? result.rule : result.status;
}

test("good, unknown, revoked with its reason, and a hold that is told apart", () => {
  assert.equal(outcome(), "good");
  assert.equal(outcome({ status: "unknown" }), "unknown");
  const revoked = (reason?: number) => {
    const options = { status: "revoked", revokedAt: NOW - 5000, ...(reason === undefined ? {} : { reason }) } as const;
    return checkOcsp({ response: parseOcspResponse(make(options)), ...usual });
  };
  const { single: _, ...compromised } = revoked(1) as Extract<ReturnType<typeof checkOcsp>, { status: "revoked" }>;
  assert.deepEqual(compromised, { status: "revoked", at: NOW - 5000, reason: "keyCompromise", hold: false });
  const held = revoked(6);
  assert.equal(held.status === "revoked" && held.hold, true);
  const silent = revoked();
  assert.equal(silent.status === "revoked" && silent.reason, "unspecified");
});

test("the responder is the issuer, or one that the issuer made for it", () => {
  for (const responderBy of ["name", "key"] as const) {
    assert.equal(outcome({ responderBy }), "good");
    assert.equal(outcome({ responderBy, responder: delegate }), "good");
    assert.equal(outcome({ responderBy, responder: delegate, certificates: [] }), "responder-not-authorized");
  }
  assert.equal(outcome({ certificates: [] }), "good", "the issuer is known already");
});

test("nobody else is a responder", () => {
  const refusedParties: Record<string, Party> = {
    "no purpose": makeCertificate({ subject: "R", issuer: authority, keyUsage: ["digitalSignature"] }),
    "any purpose": makeCertificate({ subject: "R", issuer: authority, extendedKeyUsage: [OID.anyExtendedKeyUsage] }),
    "the device itself": device,
    "a sibling authority": makeAuthority({ subject: "R", issuer: authority }),
    "wrong key usage": makeCertificate({
      subject: "R",
      issuer: authority,
      keyUsage: ["keyAgreement"],
      extendedKeyUsage: [OID.ocspSigning],
    }),
    expired: makeCertificate({
      subject: "R",
      issuer: authority,
      extendedKeyUsage: [OID.ocspSigning],
      notAfter: NOW - 1,
    }),
    "another authority's": makeCertificate({
      subject: "R",
      issuer: makeAuthority({ subject: "Authority" }),
      extendedKeyUsage: [OID.ocspSigning],
    }),
    "a child of a child": makeCertificate({
      subject: "R",
      issuer: makeAuthority({ subject: "Sub", issuer: authority }),
      extendedKeyUsage: [OID.ocspSigning],
    }),
    self: makeCertificate({ subject: "R", extendedKeyUsage: [OID.ocspSigning] }),
  };
  for (const [why, responder] of Object.entries(refusedParties)) {
    assert.equal(outcome({ responder }), "responder-not-authorized", why);
  }
  const impostor = makeAuthority({ subject: "Authority" });
  assert.equal(outcome({ responder: impostor, responderBy: "name" }), "bad-signature");
});

test("freshness: both ends, the age, the clock of the responder", () => {
  assert.equal(outcome({}, { now: base.nextUpdate }), "good");
  assert.equal(outcome({}, { now: base.nextUpdate + 1 }), "expired");
  assert.equal(outcome({}, { now: Number.NaN }), "not-yet-valid");
  const skew = { clockSkewMs: 1000 };
  assert.equal(outcome({}, { ...skew, now: base.thisUpdate - 1000 }), "good");
  assert.equal(outcome({}, { ...skew, now: base.thisUpdate - 1001 }), "not-yet-valid");
  assert.equal(outcome({ producedAt: NOW + HOUR }), "not-yet-valid");
  assert.equal(outcome({}, { maxAgeMs: HOUR }), "good");
  assert.equal(outcome({}, { maxAgeMs: HOUR - 1 }), "too-old");
  assert.equal(outcome({ nextUpdate: undefined }), "good");
  assert.equal(outcome({ nextUpdate: undefined }, { maxAgeMs: HOUR - 1 }), "too-old");
  assert.equal(outcome({ status: "revoked", nextUpdate: NOW - 1 }), "expired", "an old bad answer is no answer");
});

test("a nonce that was asked for must come back", () => {
  const nonce = randomBytes(32);
  assert.equal(outcome({ nonce }, { nonce }), "good");
  assert.equal(outcome({}, { nonce }), "nonce-mismatch");
  assert.equal(outcome({ nonce: randomBytes(32) }, { nonce }), "nonce-mismatch");
  assert.equal(outcome({ nonce }), "good", "not asked for, not compared");
  assert.equal(
    codeOf(() => parseOcspResponse(make({ nonce: new Uint8Array(129) }))),
    "OCSP_INVALID",
  );
});

test("the answer is about this certificate of this issuer, once", () => {
  for (const hash of ["sha1", "sha256", "sha384", "sha512"] as const) assert.equal(outcome({ hash }), "good");
  assert.equal(outcome({ serial: device.serial + 1n }), "not-about-certificate");
  const sameName = makeAuthority({ subject: "Authority" });
  assert.equal(outcome({ issuer: sameName }), "not-about-certificate", "the key of another");
  assert.equal(outcome({ issuer: { ...authority, name: device.name } }), "not-about-certificate");
  const other = makeOcspSingle({ ...base, serial: 5n, status: "revoked" });
  assert.equal(outcome({ others: [other] }), "good");
  const contradiction = makeOcspSingle({ ...base, status: "revoked" });
  assert.equal(outcome({ others: [contradiction] }), "not-about-certificate", "two answers are none");
});

test("a response that says there is none, and one that nobody can read", () => {
  for (const status of [1, 2, 3, 5, 6, 9]) {
    assert.equal(
      codeOf(() => parseOcspResponse(makeOcspFailure(status))),
      "OCSP_INVALID",
    );
  }
  assert.equal(
    codeOf(() => parseOcspResponse(makeOcspFailure(0))),
    "OCSP_INVALID",
  );
  assert.equal(
    codeOf(() => parseOcspResponse(new Uint8Array())),
    "DER_INVALID",
  );
  assert.equal(
    codeOf(() => parseOcspResponse(make({ status: "revoked", reason: 8 }))),
    "CRL_INVALID",
  );
});

test("no flipped bit turns into another answer that holds", () => {
  const der = make({ status: "revoked", reason: 1, certificates: [] });
  for (const flipped of bitFlips(der)) {
    let response: OcspResponse | undefined;
    const why = codeOf(() => {
      response = parseOcspResponse(flipped);
    });
    if (response) assert.equal(checkOcsp({ response, ...usual }).status, "refused");
    else assert.match(why ?? "", /^(DER|X509|CRL|OCSP)_INVALID$/);
  }
});

test("openssl reads our requests and agrees about the made responses", (t) => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
  } catch {
    return t.skip("no openssl: install the openssl command");
  }
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-ocsp-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const save = (name: string, bytes: Uint8Array | string) => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const nonce = Uint8Array.from({ length: 16 }, (_, index) => index + 1);
  for (const hash of ["sha1", "sha256"] as const) {
    const request = encodeOcspRequest({ certificate: cert(device), issuer: cert(authority), nonce, hash });
    const text = execFileSync("openssl", ["ocsp", "-reqin", save("request.der", request), "-req_text"]).toString();
    assert.match(text, /0410 ?0102030405060708090A0B0C0D0E0F10|01020304/i);
    assert.match(text, new RegExp(`Serial Number: 0*${device.serial.toString(16)}`, "i"));
    assert.match(text, new RegExp(`Hash Algorithm: ${hash}`));
  }
  const ca = save("ca.pem", toPem("CERTIFICATE", authority.der));
  const response = save(
    "response.der",
    make({ responder: delegate, thisUpdate: Date.now() - HOUR, nextUpdate: Date.now() + HOUR }),
  );
  const args = [
    "ocsp",
    "-issuer",
    ca,
    "-serial",
    `0x${device.serial.toString(16)}`,
    "-respin",
    response,
    "-CAfile",
    ca,
  ];
  const answer = execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] }).toString();
  assert.match(answer, /: good/);
});
