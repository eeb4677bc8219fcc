/** Timestamps: recorded ones of a public authority, made ones with every fault signed all the same, and OpenSSL as the judge. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { utf8 } from "../../src/base/index.ts";
import {
  checkTimestamp,
  encodeTimestampRequest,
  parseCertificate,
  parseCmsSignedData,
  parseTimestampResponse,
  type TimestampToken,
  toPem,
} from "../../src/codec/index.ts";
import { temporaryFolder } from "../sealing/support.ts";
import {
  algorithmIdentifier,
  bits,
  boolean,
  explicit,
  extension,
  generalizedTime,
  implicit,
  integer,
  keyIdOf,
  makeAuthority,
  makeCertificate,
  nothing,
  octets,
  oid,
  type Party,
  sequence,
  setOf,
  sha,
  tlv,
  utf8String,
} from "../support/der-writer.ts";
import { attribute, hashIdentifier, nameOf, purpose, StampingAuthority, type TokenOptions } from "../support/tsa.ts";
import { ABSENT, codeOf, fuzzMs, hasVectors, vectors } from "./certificates.ts";

const AT = Date.UTC(2026, 0, 1);
const BYTES = utf8("a signature");
const authority = new StampingAuthority();
const { root, signer } = authority;
const anchors = [parseCertificate(root.der)];

function tokenOf(response: Uint8Array): TimestampToken {
  const answer = parseTimestampResponse(response);
  assert.ok(answer.granted);
  return answer.token;
}

/** `ok`, the rule that was broken, or the code of what the parser threw. */
function verdictOf(response: Uint8Array, bytes = BYTES, trusted = anchors): string {
  let rule = "";
  const code = codeOf(() => {
    const answer = parseTimestampResponse(response);
    const result = answer.granted && checkTimestamp({ token: answer.token, bytes, anchors: trusted });
    rule = !result ? "not-granted" : result.ok ? "ok" : result.rule;
  });
  return code ?? rule;
}

const judge = (options: Partial<TokenOptions> = {}) => verdictOf(authority.stamp({ bytes: BYTES, ...options }));

test("a timestamp says when, under which policy, how exactly, and of what", () => {
  const tail = [
    sequence(integer(1), implicit(0, Uint8Array.of(0x01, 0xf4)), implicit(1, Uint8Array.of(1))),
    integer(77),
  ];
  const token = tokenOf(authority.stamp({ bytes: BYTES, at: AT, tail }));
  assert.deepEqual(
    [token.at, token.accuracyMs, token.policy, token.nonce, token.serialNumber],
    [AT, 1501, "1.2.3.4", 77n, 7n],
  );
  const fraction = tokenOf(authority.stamp({ bytes: BYTES, time: tlv(0x18, utf8("20260101000000.25Z")) }));
  assert.equal(fraction.at, AT + 250);
  const failure = sequence(sequence(integer(2), sequence(utf8String("no")), bits(Uint8Array.of(0x20), 5)));
  assert.deepEqual(parseTimestampResponse(failure), { granted: false, status: 2 });
});

test("a timestamp that holds", () => {
  const named = (hash: "sha256" | "sha384", ...more: Uint8Array[]) =>
    sequence(sequence(sequence(hashIdentifier(hash), octets(sha(hash, signer.der)), ...more)));
  const issuer = sequence(sequence(explicit(4, root.name)), integer(signer.serial));
  const rsa = authority.certify({ keyKind: "rsa" });
  const ed = authority.certify({ keyKind: "ed25519" });
  const cases: Readonly<Record<string, Partial<TokenOptions>>> = {
    plain: {},
    "granted with changes": { status: 1 },
    "with its chain": { certificates: [signer.der, root.der] },
    "with a stranger's certificate": { certificates: [makeAuthority({ subject: "Other" }).der, signer.der] },
    "imprint of SHA-384": { imprintHash: "sha384" },
    "hash written out": { named: named("sha256") },
    "named by SHA-384": { named: named("sha384") },
    "named with its issuer": { named: named("sha256", issuer) },
    "named with its chain": { named: nameOf(signer.der, root.der) },
    "by key identifier": { signerId: implicit(0, keyIdOf(signer.publicKey)), signerVersion: 3 },
    "names itself": { tail: [explicit(0, explicit(4, signer.name))] },
    "names itself in another form": { tail: [explicit(0, implicit(1, utf8("tsa@example.com")))] },
    ordered: { tail: [boolean(true)] },
    RSA: { signer: rsa, algorithm: "rsa-sha256" },
    "RSA, the hash named once": {
      signer: rsa,
      algorithm: "rsa-sha256",
      algorithmId: sequence(oid("1.2.840.113549.1.1.1"), nothing()),
    },
    PSS: { signer: rsa, algorithm: "pss-sha256" },
    Ed25519: { signer: ed, algorithm: "ed25519" },
    "an extension that is not critical": {
      tail: [explicit(1, extension({ oid: "1.2.3", value: nothing() }))],
    },
  };
  for (const [what, options] of Object.entries(cases)) assert.equal(judge(options), "ok", what);
  assert.equal(verdictOf(authority.stamp({ bytes: BYTES }), BYTES, [parseCertificate(signer.der)]), "ok");
  const bare = authority.stamp({ bytes: BYTES, certificates: [] });
  assert.equal(verdictOf(bare), "no-signer");
  assert.equal(verdictOf(bare, BYTES, [...anchors, parseCertificate(signer.der)]), "ok");
});

/** Everything here is signed with the authority's own key: only the rule stands between it and a yes. */
test("every fault of its form is found, whoever signed it", () => {
  const twice = attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.9.16.1.4"));
  const critical = extension({ oid: "1.2.3", critical: true, value: nothing() });
  const time = (text: string) => ({ time: tlv(0x18, utf8(text)) });
  const accuracy = (...parts: Uint8Array[]) => ({ tail: [sequence(...parts)] });
  const faults: Readonly<Record<string, [Partial<TokenOptions>, string]>> = {
    "version of TSTInfo": [{ version: 2 }, "TIMESTAMP_INVALID"],
    "imprint of SHA-1": [{ imprintHash: "sha1" }, "TIMESTAMP_INVALID"],
    UTCTime: [{ time: tlv(0x17, utf8("260101000000Z")) }, "TIMESTAMP_INVALID"],
    "time without seconds": [time("202601010000Z"), "DER_INVALID"],
    "time with a zone": [time("20260101000000+0100"), "DER_INVALID"],
    "fraction that ends in zero": [time("20260101000000.50Z"), "TIMESTAMP_INVALID"],
    "no such day": [time("20260231000000Z"), "DER_INVALID"],
    "no such day with a fraction": [time("20260231000000.5Z"), "DER_INVALID"],
    "ordering false written out": [{ tail: [boolean(false)] }, "TIMESTAMP_INVALID"],
    "critical extension": [{ tail: [explicit(1, critical)] }, "TIMESTAMP_INVALID"],
    "a field too many": [{ tail: [integer(1), integer(2)] }, "DER_INVALID"],
    "nonce without end": [{ tail: [tlv(0x02, new Uint8Array(40).fill(1))] }, "TIMESTAMP_INVALID"],
    "accuracy of years": [accuracy(integer(10 ** 8)), "TIMESTAMP_INVALID"],
    "accuracy of 1000 ms": [accuracy(implicit(0, Uint8Array.of(0x03, 0xe8))), "TIMESTAMP_INVALID"],
    "accuracy of 0 ms": [accuracy(implicit(0, Uint8Array.of(0))), "TIMESTAMP_INVALID"],
    "accuracy below 0": [accuracy(implicit(0, Uint8Array.of(0x80))), "TIMESTAMP_INVALID"],
    "accuracy with a needless octet": [accuracy(implicit(0, Uint8Array.of(0, 1))), "TIMESTAMP_INVALID"],
    "another content type": [{ contentType: "1.2.840.113549.1.7.1" }, "TIMESTAMP_INVALID"],
    "version of the data": [{ dataVersion: 1 }, "CMS_INVALID"],
    "version of the signer": [{ signerVersion: 3 }, "CMS_INVALID"],
    "two signers": [{ twice: true }, "CMS_INVALID"],
    "no content type": [{ attributes: (usual) => usual.slice(1) }, "CMS_INVALID"],
    "no digest": [{ attributes: (usual) => [...usual.slice(0, 1), ...usual.slice(2)] }, "CMS_INVALID"],
    "another digest": [
      { attributes: ([type = nothing()]) => [type, attribute("1.2.840.113549.1.9.4", octets(new Uint8Array(32)))] },
      "CMS_INVALID",
    ],
    "an attribute twice": [{ attributes: (usual) => [...usual, twice] }, "CMS_INVALID"],
    "two values of one attribute": [
      {
        attributes: ([, ...rest]) => [
          attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.9.16.1.4"), oid("1.2.3")),
          ...rest,
        ],
      },
      "CMS_INVALID",
    ],
    "attributes out of order": [{ unsorted: true, attributes: (usual) => [...usual].sort(descending) }, "CMS_INVALID"],
    "two hashes": [{ algorithm: "ecdsa-sha384" }, "CMS_INVALID"],
    "SHA-1 in the signature": [{ algorithmId: sequence(oid("1.2.840.10045.4.1")) }, "X509_INVALID"],
    "another certificate is named": [{ named: nameOf(root.der) }, "signing-certificate"],
    "no certificate is named": [{ named: undefined }, "signing-certificate"],
    "named with another issuer": [
      {
        named: sequence(
          sequence(
            sequence(
              octets(sha("sha256", signer.der)),
              sequence(sequence(explicit(4, signer.name)), integer(signer.serial)),
            ),
          ),
        ),
      },
      "signing-certificate",
    ],
    "named with another number": [
      {
        named: sequence(
          sequence(
            sequence(octets(sha("sha256", signer.der)), sequence(sequence(explicit(4, root.name)), integer(1n))),
          ),
        ),
      },
      "signing-certificate",
    ],
    "names are none": [{ named: sequence(sequence()) }, "TIMESTAMP_INVALID"],
    "another name of itself": [{ tail: [explicit(0, explicit(4, root.name))] }, "authority-name"],
    "another key signed": [{ signingKey: authority.certify() }, "bad-signature"],
    "certificate of another": [{ certificates: [root.der] }, "no-signer"],
  };
  for (const [what, [options, wanted]] of Object.entries(faults)) assert.equal(judge(options), wanted, what);
  assert.equal(verdictOf(authority.stamp({ bytes: BYTES }), utf8("another")), "wrong-imprint");
});

const descending = (a: Uint8Array, b: Uint8Array) => Buffer.compare(b, a);

test("only a certificate for stamping alone, valid then, and of the named authority stamps", () => {
  const by = (party: Party, more: Partial<TokenOptions> = {}) => judge({ signer: party, at: AT, ...more });
  const middle = (options = {}) => makeAuthority({ subject: "Stamp middle", issuer: root, ...options });
  const under = (issuer: Party) => {
    const party = makeCertificate({ subject: "Stamper", issuer, extensions: purpose() });
    const signerId = sequence(issuer.name, integer(party.serial));
    return by(party, { signerId, certificates: [party.der, issuer.der], named: nameOf(party.der) });
  };
  assert.equal(under(middle()), "ok");
  assert.equal(under(middle({ extendedKeyUsage: ["1.3.6.1.5.5.7.3.8"] })), "ok");
  assert.equal(under(middle({ extendedKeyUsage: ["1.3.6.1.5.5.7.3.3"] })), "extended-key-usage");
  assert.equal(under(middle({ ca: false })), "not-a-ca");
  assert.equal(under(makeAuthority({ subject: "Stamp root" })), "key-identifier");
  const cases: Readonly<Record<string, [Party, string]>> = {
    "not critical": [authority.certify({ extensions: purpose(false) }), "stamping-purpose"],
    "another purpose too": [authority.certify({ extensions: purpose(true, "1.3.6.1.5.5.7.3.3") }), "stamping-purpose"],
    "no purpose": [authority.certify({ extensions: [] }), "stamping-purpose"],
    "for signing code": [
      authority.certify({ extensions: [], extendedKeyUsage: ["1.3.6.1.5.5.7.3.3"] }),
      "stamping-purpose",
    ],
    "usage of an authority": [authority.certify({ keyUsage: ["digitalSignature", "keyCertSign"] }), "stamping-purpose"],
    "usage of nothing repudiated": [authority.certify({ keyUsage: ["nonRepudiation"] }), "ok"],
    "expired then": [authority.certify({ notAfter: AT - 1000 }), "expired"],
    "not yet valid then": [authority.certify({ notBefore: AT + 1000 }), "not-yet-valid"],
    "expired since": [authority.certify({ notAfter: AT + 1000 }), "ok"],
  };
  for (const [what, [party, wanted]] of Object.entries(cases)) assert.equal(by(party), wanted, what);
  const chained = makeCertificate({ subject: "Stamper", issuer: middle(), extensions: purpose() });
  assert.equal(judge({ signer: chained, signerId: sequence(root.name, integer(chained.serial)) }), "no-signer");
});

test("more than one named certificate limits the path", () => {
  const middle = makeAuthority({ subject: "Stamp middle", issuer: root });
  const party = makeCertificate({ subject: "Stamper", issuer: middle, extensions: purpose() });
  const signerId = sequence(middle.name, integer(party.serial));
  const by = (named: Uint8Array) => judge({ signer: party, signerId, certificates: [party.der, middle.der], named });
  assert.equal(by(nameOf(party.der, middle.der)), "ok");
  assert.equal(by(nameOf(party.der, root.der)), "signing-certificate");
});

test("an answer is granted with a token, or not and without one", () => {
  const good = authority.token({ bytes: BYTES });
  const answer = (status: number, ...rest: Uint8Array[]) =>
    codeOf(() => parseTimestampResponse(sequence(sequence(integer(status)), ...rest)));
  assert.equal(answer(0, good), undefined);
  assert.equal(answer(0), "TIMESTAMP_INVALID");
  assert.equal(answer(2, good), "TIMESTAMP_INVALID");
  assert.equal(answer(9), "TIMESTAMP_INVALID");
  assert.equal(answer(0, good, good), "DER_INVALID");
  assert.deepEqual(parseTimestampResponse(sequence(sequence(integer(2)))), { granted: false, status: 2 });
  assert.equal(
    codeOf(() => parseCmsSignedData(good)),
    undefined,
  );
  assert.equal(
    codeOf(() => parseCmsSignedData(setOf(good))),
    "DER_INVALID",
  );
  assert.equal(
    codeOf(() => parseCmsSignedData(sequence(oid("1.2.3"), explicit(0, good)))),
    "CMS_INVALID",
  );
  assert.equal(
    codeOf(() => parseTimestampResponse(new Uint8Array(100_000))),
    "DER_INVALID",
  );
});

test("no change of a byte makes another time, another content or another error than ours", () => {
  const response = authority.stamp({ bytes: BYTES, at: AT, certificates: [signer.der] });
  const told = (token: TimestampToken) => [token.at, token.policy, token.serialNumber, token.nonce, token.accuracyMs];
  const wanted = told(tokenOf(response));
  const change = fc.tuple(fc.nat({ max: response.length - 1 }), fc.integer({ min: 1, max: 255 }));
  const changes = fc.array(change, { minLength: 1, maxLength: 3 });
  const property = fc.property(changes, (list) => {
    const copy = Uint8Array.from(response);
    for (const [at, by] of list) copy[at] = (copy[at] ?? 0) ^ by;
    if (verdictOf(copy) === "ok") assert.deepEqual(told(tokenOf(copy)), wanted);
  });
  fc.assert(property, { numRuns: 200_000, interruptAfterTimeLimit: fuzzMs });
  for (let length = 0; length < response.length; length++)
    assert.notEqual(verdictOf(response.subarray(0, length)), "ok");
  const any = fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => assert.notEqual(verdictOf(bytes), "ok"));
  fc.assert(any, { numRuns: 100_000, interruptAfterTimeLimit: fuzzMs / 2 });
});

test("requests name the digest, the nonce and the policy; a policy that is none is refused", () => {
  const question = { digest: sha("sha256", BYTES), nonce: Uint8Array.of(0x41, 2) };
  for (const policy of ["", "1", "1.2.", "3.1", "1.40", "a.b", "1.2.03", "1..2", `1.2${".1".repeat(40)}`])
    assert.equal(
      codeOf(() => encodeTimestampRequest({ ...question, policy })),
      "TIMESTAMP_INVALID",
      policy,
    );
  const policy = "2.999.4294967295.128.127.1";
  const wanted = sequence(
    integer(1),
    sequence(hashIdentifier("sha256"), octets(question.digest)),
    oid("2.999.4294967295.128.127.1"),
    integer(0x4102),
    boolean(true),
  );
  assert.deepEqual(Buffer.from(encodeTimestampRequest({ ...question, policy })), Buffer.from(wanted));
});

test("OpenSSL judges our private authority's timestamps as we do", (t) => {
  const openssl = "/usr/bin/openssl";
  if (!existsSync(openssl)) return t.skip("no OpenSSL here: apt-get install openssl");
  const folder = temporaryFolder();
  writeFileSync(join(folder, "data"), BYTES);
  writeFileSync(join(folder, "root.pem"), toPem("CERTIFICATE", root.der));
  const accepts = (options: Partial<TokenOptions>) => {
    writeFileSync(join(folder, "reply.tsr"), authority.stamp({ bytes: BYTES, at: AT, ...options }));
    const words = [
      "ts",
      "-verify",
      "-data",
      "data",
      "-in",
      "reply.tsr",
      "-CAfile",
      "root.pem",
      "-attime",
      `${AT / 1000}`,
    ];
    return spawnSync(openssl, words, { cwd: folder }).status === 0;
  };
  const cases: Partial<TokenOptions>[] = [
    {},
    { named: nameOf(root.der) },
    { signer: authority.certify({ extensions: purpose(false) }) },
    { signer: authority.certify({ extensions: purpose(true, "1.3.6.1.5.5.7.3.3") }) },
    { signingKey: authority.certify() },
    { imprintHash: "sha384" },
    { tail: [integer(5)] },
    { status: 2 },
  ];
  for (const [index, options] of cases.entries())
    assert.equal(accepts(options), judge({ at: AT, ...options }) === "ok", String(index));
  assert.match(execFileSync(openssl, ["version"]).toString(), /OpenSSL/);
});

test("timestamps of the public authority are read", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  let read = 0;
  for (const file of globSync(join(vectors, "oms/sigstore-conformance/*/bundle.sigstore.json"))) {
    const bundle = JSON.parse(readFileSync(file, "utf8"));
    for (const { signedTimestamp } of bundle.verificationMaterial?.timestampVerificationData?.rfc3161Timestamps ?? []) {
      const token = tokenOf(new Uint8Array(Buffer.from(signedTimestamp, "base64")));
      assert.ok(token.at > Date.UTC(2023, 0, 1) && token.at < Date.UTC(2027, 0, 1), file);
      read++;
    }
  }
  t.diagnostic(`${read} timestamps`);
  assert.ok(read >= 10, String(read));
});

test("names of certificates beyond the limit are refused", () => {
  const many = sequence(sequence(...Array.from({ length: 17 }, () => sequence(octets(sha("sha256", signer.der))))));
  assert.equal(judge({ named: many }), "TIMESTAMP_INVALID");
  const certificates = Array.from({ length: 17 }, () => signer.der);
  assert.equal(judge({ certificates }), "CMS_INVALID");
  const filler = Array.from({ length: 33 }, (_, index) => attribute(`1.2.3.${index}`, nothing()));
  assert.equal(judge({ attributes: (usual) => [...usual, ...filler] }), "CMS_INVALID");
  assert.equal(judge({ algorithmId: algorithmIdentifier("ecdsa-sha512") }), "CMS_INVALID");
  assert.equal(judge({ time: generalizedTime(AT) }), "ok");
});
