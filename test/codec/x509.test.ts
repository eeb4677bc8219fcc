/** Certificates: the recorded ones agree with Node, and what no authority should issue is refused. */
import assert from "node:assert/strict";
import { type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { toHex, utf8 } from "../../src/base/index.ts";
import {
  type Certificate,
  nameToText,
  OID,
  parseCertificate,
  parseDer,
  verifySignedBy,
} from "../../src/codec/index.ts";
import {
  algorithmIdentifier,
  bits,
  boolean,
  type CertificateOptions,
  commonName,
  type Der,
  explicit,
  extension,
  generalizedTime,
  implicit,
  integer,
  keyIdOf,
  makeAuthority,
  makeCertificate,
  makeKeys,
  name,
  nothing,
  octets,
  oid,
  sequence,
  signBytes,
  spkiOf,
  tlv,
  utcTime,
} from "../support/der-writer.ts";
import {
  ABSENT,
  allCertificates,
  bitFlips,
  codeOf,
  fuzzMs,
  hasVectors,
  readChain,
  readVector,
} from "./certificates.ts";

const certificate = (options: Partial<CertificateOptions> = {}) => makeCertificate({ subject: "Subject", ...options });
const codeFor = (options: Partial<CertificateOptions>) => codeOf(() => parseCertificate(certificate(options).der));
const CODES = /^(DER|X509)_INVALID$/;

/** What Node's reader says, in our words. Node prints the serial number zero as one digit. */
function agree(ours: Certificate, node: X509Certificate, file: string): void {
  assert.equal(ours.serialHex, node.serialNumber.toLowerCase().padStart(2, "0"), file);
  assert.equal(ours.notBefore, Date.parse(node.validFrom), file);
  assert.equal(ours.notAfter, Date.parse(node.validTo), file);
  assert.equal(ours.sha256, node.fingerprint256.replaceAll(":", "").toLowerCase(), file);
  assert.equal(toHex(ours.spki), node.publicKey.export({ type: "spki", format: "der" }).toString("hex"), file);
  const names = node.subject?.split("\n").filter((line) => line.startsWith("CN=")) ?? [];
  if (ours.subject.commonName !== undefined) assert.deepEqual(names, [`CN=${ours.subject.commonName}`], file);
}

test("recorded certificates are read as Node reads them", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const all = [...allCertificates("tee"), ...allCertificates("oms")];
  for (const { der, file } of all) agree(parseCertificate(der), new X509Certificate(der), file);
  assert.ok(all.length > 100, `${all.length} certificates`);
});

test("AMD: serial number zero, RSASSA-PSS with a salt of 48 bytes, and extensions that are not DER", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const vcek = parseCertificate(readVector("tee/sev-snp/milan-v2-azure/vcek.der"));
  const [ask, ark] = readChain("tee/sev-snp/roots/ask_ark_milan.pem");
  assert.ok(ask && ark);
  assert.equal(vcek.serialNumber, 0n);
  assert.deepEqual(vcek.signatureAlgorithm, { kind: "rsa-pss", hash: "sha384", saltBytes: 48 });
  assert.equal(vcek.extensions.get("1.3.6.1.4.1.3704.1.4")?.value.length, 64);
  assert.deepEqual(
    [vcek, ask, ark].map((one, at, path) => verifySignedBy(one, (path[at + 1] ?? ark).publicKey)),
    [true, true, true],
  );
  const otherSalt = { ...vcek, signatureAlgorithm: { kind: "rsa-pss", hash: "sha384", saltBytes: 47 } as const };
  assert.equal(verifySignedBy(otherSalt, ask.publicKey), false);
  assert.equal(verifySignedBy(vcek, ark.publicKey), false);
});

test("what a made certificate says", () => {
  const authority = makeAuthority({ subject: "Authority" });
  const made = certificate({
    issuer: authority,
    subject: name(["2.5.4.6", "DE"], ["2.5.4.3", "a,b=\u202ec"]),
    serial: 0x80n,
    ca: false,
    keyUsage: ["digitalSignature", "decipherOnly"],
    extendedKeyUsage: [OID.codeSigning],
    subjectAltNames: [
      implicit(6, utf8("https://example.com/x")),
      implicit(1, utf8("a@example.com")),
      implicit(7, Uint8Array.of(127, 0, 0, 1)),
      explicit(4, commonName("X")),
    ],
  });
  const read = parseCertificate(made.der);
  assert.equal(read.serialHex, "80");
  assert.equal(read.subject.commonName, "a,b=\u202ec");
  assert.equal(nameToText(read.subject), "CN=a\\,b\\=\\u{202e}c,C=DE");
  assert.deepEqual([...(read.keyUsage ?? [])], ["digitalSignature", "decipherOnly"]);
  assert.deepEqual(read.basicConstraints, { ca: false });
  assert.deepEqual(read.extendedKeyUsage, [OID.codeSigning]);
  assert.deepEqual(read.subjectAltNames, [
    { kind: "uri", value: "https://example.com/x" },
    { kind: "email", value: "a@example.com" },
    { kind: "ip", value: "7f000001" },
    { kind: "directory", value: toHex(commonName("X")) },
  ]);
  assert.deepEqual(read.subjectKeyIdentifier, keyIdOf(made.publicKey));
  assert.deepEqual(read.authorityKeyIdentifier, keyIdOf(authority.publicKey));
  assert.deepEqual(read.unknownCritical, []);
  assert.deepEqual(parseCertificate(certificate({ pathLength: 3, ca: true }).der).basicConstraints, {
    ca: true,
    pathLength: 3,
  });
});

test("two common names are none, so that nobody picks the wrong one", () => {
  const two = name(["2.5.4.3", "good"], ["2.5.4.3", "evil"]);
  assert.equal(parseCertificate(certificate({ subject: two }).der).subject.commonName, undefined);
});

test("the certificate keeps its own bytes", () => {
  const der = Uint8Array.from(certificate().der);
  const read = parseCertificate(der);
  const before = toHex(read.tbs);
  der.fill(0);
  assert.equal(toHex(read.tbs), before);
});

const extra = (type: string, value: Uint8Array, critical = false) => ({ extensions: [{ oid: type, critical, value }] });

test("extensions that contradict themselves", () => {
  const twice = extra("1.2.3", octets(utf8("x"))).extensions;
  assert.equal(codeFor({ extensions: [...twice, ...twice] }), "X509_INVALID");
  assert.equal(codeFor({ ca: false, pathLength: 1 }), "X509_INVALID");
  assert.equal(codeFor({ ca: true, pathLength: -1 }), "DER_INVALID");
  assert.equal(codeFor(extra(OID.keyUsage, bits(new Uint8Array(1)))), "X509_INVALID", "no usage");
  assert.equal(codeFor(extra(OID.extendedKeyUsage, sequence())), "X509_INVALID", "no purpose");
  assert.equal(codeFor(extra(OID.subjectAltName, sequence())), "X509_INVALID", "no name");
  assert.equal(codeFor(extra(OID.basicConstraints, utf8("?"))), "DER_INVALID");
  assert.equal(codeFor(extra(OID.basicConstraints, Buffer.concat([sequence(), nothing()]))), "DER_INVALID");
  for (const bad of ["a\0b", "a b", "", "ä", "a\nb"]) {
    assert.equal(codeFor({ subjectAltNames: [implicit(2, utf8(bad))] }), "X509_INVALID", JSON.stringify(bad));
  }
  assert.deepEqual(parseCertificate(certificate(extra("1.2.3", utf8("raw"), true)).der).unknownCritical, ["1.2.3"]);
});

test("serial numbers: zero is legal, a negative one only when asked for, a long one never", () => {
  assert.equal(parseCertificate(certificate({ serial: 0n }).der).serialHex, "00");
  assert.equal(codeFor({ serial: -5n }), "X509_INVALID");
  const negative = parseCertificate(certificate({ serial: -5n }).der, { allowNegativeSerial: true });
  assert.equal(negative.serialNumber, -5n);
  assert.equal(codeFor({ serial: 2n ** 160n - 1n }), undefined);
  assert.equal(codeFor({ serial: 2n ** 168n }), "X509_INVALID");
});

interface Parts {
  readonly version?: Der[];
  readonly inner?: Der;
  readonly outer?: Der;
  readonly key?: Der;
  readonly issuer?: Der;
  readonly tail?: Der[];
  readonly signature?: Der;
}

/** A certificate of which every part can be another. */
function assemble(parts: Parts): Uint8Array {
  const keys = makeKeys();
  const algorithm = algorithmIdentifier("ecdsa-sha256");
  const tbs = sequence(
    ...(parts.version ?? [explicit(0, integer(2))]),
    integer(1),
    parts.inner ?? algorithm,
    parts.issuer ?? commonName("I"),
    sequence(utcTime(0), generalizedTime(253_402_300_799_000)),
    commonName("S"),
    parts.key ?? spkiOf(keys.publicKey),
    ...(parts.tail ?? [explicit(3, sequence(extension({ oid: "1.2.3", value: utf8("x") })))]),
  );
  const signature = signBytes(tbs, keys.privateKey, "ecdsa-sha256");
  return sequence(tbs, parts.outer ?? parts.inner ?? algorithm, parts.signature ?? bits(signature));
}

test("the two algorithms are the same, and one that is accepted", () => {
  assert.equal(
    codeOf(() => parseCertificate(assemble({}))),
    undefined,
  );
  assert.equal(
    codeOf(() => parseCertificate(assemble({ outer: algorithmIdentifier("ecdsa-sha384") }))),
    "X509_INVALID",
  );
  const refusedAlgorithms = [
    sequence(oid("1.2.840.113549.1.1.5"), nothing()),
    sequence(oid("1.2.840.10045.4.1")),
    sequence(oid("1.2.840.113549.1.1.4"), nothing()),
    sequence(oid(OID.ecdsaWithSha256), nothing()),
    sequence(oid(OID.ed25519), nothing()),
    sequence(oid(OID.sha256WithRsa), integer(1)),
    sequence(oid(OID.rsaPss)),
    sequence(oid(OID.rsaPss), sequence()),
    algorithmIdentifier("pss-sha256", 5000),
  ];
  for (const inner of refusedAlgorithms) {
    assert.equal(
      codeOf(() => parseCertificate(assemble({ inner }))),
      "X509_INVALID",
      toHex(inner),
    );
  }
});

test("RSASSA-PSS states one hash, MGF1 with it, and the usual trailer", () => {
  const hash = (type: string) => sequence(oid(type), nothing());
  const pss = (main: string, mgf: string, mgfHash: string, ...more: Der[]) =>
    sequence(
      oid(OID.rsaPss),
      sequence(
        explicit(0, hash(main)),
        explicit(1, sequence(oid(mgf), hash(mgfHash))),
        explicit(2, integer(32)),
        ...more,
      ),
    );
  const code = (inner: Der) => codeOf(() => parseCertificate(assemble({ inner })));
  assert.equal(code(pss(OID.sha256, OID.mgf1, OID.sha256)), undefined);
  assert.equal(code(pss(OID.sha256, OID.mgf1, OID.sha256, explicit(3, integer(1)))), undefined);
  assert.equal(code(pss(OID.sha256, OID.mgf1, OID.sha256, explicit(3, integer(2)))), "X509_INVALID");
  assert.equal(code(pss(OID.sha256, OID.mgf1, OID.sha384)), "X509_INVALID");
  assert.equal(code(pss(OID.sha1, OID.mgf1, OID.sha1)), "X509_INVALID");
  assert.equal(code(pss(OID.sha256, "1.2.3", OID.sha256)), "X509_INVALID");
});

test("the salt of RSASSA-PSS is exactly what the certificate states", () => {
  const keys = makeKeys("rsa");
  const make = (saltBytes: number, statedSaltBytes: number) =>
    parseCertificate(certificate({ keys, algorithm: "pss-sha256", saltBytes, statedSaltBytes }).der);
  assert.equal(verifySignedBy(make(32, 32), keys.publicKey), true);
  assert.equal(verifySignedBy(make(20, 20), keys.publicKey), true);
  assert.equal(verifySignedBy(make(20, 32), keys.publicKey), false);
  assert.equal(verifySignedBy(make(32, 20), keys.publicKey), false);
});

test("public keys of other kinds, sizes and curves", () => {
  const code = (key: Der) => codeOf(() => parseCertificate(assemble({ key })));
  const p256 = parseDer(spkiOf(makeKeys().publicKey));
  const point = p256.children[1]?.raw ?? new Uint8Array();
  const algorithm = (...parts: Der[]) => sequence(sequence(...parts), point);
  assert.equal(code(algorithm(oid(OID.ecPublicKey), oid(OID.p256))), undefined);
  assert.equal(code(algorithm(oid(OID.ecPublicKey), oid("1.3.132.0.10"))), "X509_INVALID", "another curve");
  assert.equal(code(algorithm(oid(OID.ecPublicKey), sequence(integer(1)))), "X509_INVALID", "a curve written out");
  assert.equal(code(algorithm(oid(OID.ecPublicKey))), "X509_INVALID", "no curve");
  assert.equal(code(algorithm(oid(OID.ecPublicKey), oid(OID.p384))), "X509_INVALID", "a point of another curve");
  assert.equal(code(algorithm(oid("1.3.101.110"))), "X509_INVALID", "X25519");
  const rsa = (modulus: bigint, exponent: bigint) =>
    sequence(sequence(oid(OID.rsaEncryption), nothing()), bits(sequence(integer(modulus), integer(exponent))));
  assert.equal(code(rsa(2n ** 2047n + 1n, 65537n)), undefined);
  assert.equal(code(rsa(2n ** 1023n + 1n, 65537n)), "X509_INVALID", "short");
  assert.equal(code(rsa(2n ** 16383n + 1n, 65537n)), "X509_INVALID", "long");
  assert.equal(code(rsa(2n ** 2047n + 1n, 1n)), "X509_INVALID", "exponent one");
  assert.equal(code(rsa(2n ** 2047n + 1n, 2n ** 200n + 1n)), "X509_INVALID", "slow exponent");
});

test("shapes that are not a certificate of version 3", () => {
  const code = (parts: Parts) => codeOf(() => parseCertificate(assemble(parts)));
  assert.equal(code({ version: [], tail: [] }), undefined, "version 1 has no extensions");
  assert.equal(code({ version: [] }), "X509_INVALID");
  assert.equal(code({ version: [explicit(0, integer(1))] }), "X509_INVALID");
  assert.equal(code({ version: [explicit(0, integer(3))] }), "X509_INVALID");
  assert.equal(code({ issuer: sequence() }), "X509_INVALID");
  assert.equal(code({ tail: [implicit(1, Uint8Array.of(0, 1))] }), "X509_INVALID", "unique identifier");
  assert.equal(code({ tail: [explicit(3, sequence())] }), "X509_INVALID", "no extension");
  assert.equal(code({ tail: [explicit(3, sequence()), nothing()] }), "DER_INVALID");
  assert.equal(code({ signature: bits(Uint8Array.of(2), 1) }), "DER_INVALID");
  const critical = sequence(oid("1.2.3"), boolean(false), octets(utf8("x")));
  assert.equal(code({ tail: [explicit(3, sequence(critical))] }), undefined, "a default written out is harmless");
  assert.equal(
    code({ issuer: sequence(tlv(0x31, sequence(oid("2.5.4.3"), tlv(0x0c, Uint8Array.of(0xc0, 0x80))))) }),
    "DER_INVALID",
  );
});

test("a key of another kind never verifies, and never throws", () => {
  const kinds = ["P-256", "P-384", "rsa", "ed25519"] as const;
  const keys = kinds.map((kind) => makeKeys(kind));
  for (const own of keys) {
    const read = parseCertificate(certificate({ keys: own }).der);
    for (const other of keys) assert.equal(verifySignedBy(read, other.publicKey), own === other);
    for (const signature of [new Uint8Array(), new Uint8Array(64), new Uint8Array(600)]) {
      assert.equal(verifySignedBy({ ...read, signature }, own.publicKey), false);
    }
  }
});

const verifies = (der: Uint8Array, key: KeyObject) => {
  let holds = false;
  const why = codeOf(() => {
    holds = verifySignedBy(parseCertificate(der), key);
  });
  assert.match(why ?? "DER_INVALID", CODES);
  return holds;
};

test("no flipped bit verifies, and nothing cut short is read", () => {
  const issuer = makeAuthority({ subject: "Authority" });
  const { der } = certificate({ issuer, ca: true, keyUsage: ["keyCertSign"], extendedKeyUsage: [OID.codeSigning] });
  assert.equal(verifies(der, issuer.publicKey), true);
  for (const flipped of bitFlips(der)) assert.equal(verifies(flipped, issuer.publicKey), false);
  for (let length = 0; length < der.length; length++) {
    assert.equal(
      codeOf(() => parseCertificate(der.subarray(0, length))),
      "DER_INVALID",
    );
  }
  assert.equal(
    codeOf(() => parseCertificate(Uint8Array.of(...der, 0))),
    "DER_INVALID",
  );
});

test("no flipped bit of a recorded certificate verifies", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const vcek = readVector("tee/sev-snp/milan-v2-azure/vcek.der");
  const [ask] = readChain("tee/sev-snp/roots/ask_ark_milan.pem");
  assert.ok(ask);
  for (const flipped of bitFlips(vcek, 1500)) assert.equal(verifies(flipped, ask.publicKey), false);
});

test("random damage of several bytes gives a coded error or a certificate that does not verify", () => {
  const issuer = makeAuthority({ subject: "Authority" });
  const { der } = certificate({ issuer, subjectAltNames: [implicit(6, utf8("https://example.com"))], ca: false });
  const end = Date.now() + fuzzMs / 2;
  for (let round = 0; Date.now() < end; round++) {
    const bytes = Uint8Array.from(der);
    for (const value of randomBytes(1 + (round % 4)))
      bytes[(value * 31 + round) % bytes.length] = randomBytes(1)[0] ?? 0;
    if (Buffer.compare(bytes, der) !== 0) assert.equal(verifies(bytes, issuer.publicKey), false);
  }
});
