/** Certification paths: real ones to their pins, and made ones that break one rule each. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Certificate,
  type ChainInput,
  type ChainResult,
  checkChain,
  OID,
  parseCertificate,
} from "../../src/codec/index.ts";
import {
  commonName,
  implicit,
  keyIdOf,
  makeAuthority,
  makeCertificate,
  makeKeys,
  name,
  octets,
  oid,
  type Party,
  printableString,
  sequence,
  setOf,
} from "../support/der-writer.ts";
import { ABSENT, hasVectors, readChain, readLeafAndChain, readVector } from "./certificates.ts";

const NOW = Date.UTC(2026, 0, 1);
const DAY = 24 * 60 * 60 * 1000;

const root = makeAuthority({ subject: "Root" });
const middle = makeAuthority({ subject: "Middle", issuer: root, pathLength: 0 });
const leaf = makeCertificate({ subject: "Leaf", issuer: middle, keyUsage: ["digitalSignature"] });

const cert = (party: Party) => parseCertificate(party.der);

function check(end: Party, others: readonly Party[], more: Partial<ChainInput> = {}): ChainResult {
  const anchors = [{ certificate: cert(root) }];
  return checkChain({ leaf: cert(end), intermediates: others.map(cert), anchors, now: NOW, ...more });
}

const outcome = (result: ChainResult) =>
  result.ok ? result.path.map(({ subject }) => subject.commonName).join(" ") : `${result.rule} ${result.index}`;

test("a path from the leaf to the anchor, by certificate or by pin, in whatever order the peer sent it", () => {
  assert.equal(outcome(check(leaf, [middle])), "Leaf Middle Root");
  assert.equal(outcome(check(leaf, [root, leaf, middle, middle])), "Leaf Middle Root");
  const pins = [{ sha256: cert(root).sha256.toUpperCase() }];
  assert.equal(outcome(check(leaf, [middle, root], { anchors: pins })), "Leaf Middle Root");
  assert.equal(outcome(check(leaf, [middle], { anchors: pins })), "no-path 1", "the pinned one was not sent");
  assert.equal(outcome(check(leaf, [middle, root], { anchors: [] })), "no-path 2");
});

test("an intermediate may be the anchor, the leaf only when it is asked for", () => {
  assert.equal(outcome(check(leaf, [], { anchors: [{ certificate: cert(middle) }] })), "Leaf Middle");
  const self = { anchors: [{ certificate: cert(leaf) }] };
  assert.equal(outcome(check(leaf, [middle, root], self)), "no-path 2");
  assert.equal(outcome(check(leaf, [], { ...self, allowLeafAnchor: true })), "Leaf");
});

test("every certificate of the path is inside its dates, both ends counted", () => {
  const { notBefore, notAfter } = cert(leaf);
  for (const now of [notBefore, notAfter]) assert.equal(outcome(check(leaf, [middle], { now })), "Leaf Middle Root");
  assert.equal(outcome(check(leaf, [middle], { now: notBefore - 1 })), "not-yet-valid 0");
  assert.equal(outcome(check(leaf, [middle], { now: notAfter + 1 })), "expired 0");
  assert.equal(outcome(check(leaf, [middle], { now: Number.NaN })), "not-yet-valid 0");
  const old = makeAuthority({ subject: "Old", issuer: root, notAfter: NOW - DAY });
  assert.equal(outcome(check(makeCertificate({ subject: "x", issuer: old }), [old])), "expired 1");
  const young = makeAuthority({ subject: "Young", issuer: root, notBefore: NOW + DAY });
  assert.equal(outcome(check(makeCertificate({ subject: "x", issuer: young }), [young])), "not-yet-valid 1");
});

test("an anchor's own dates count unless the caller says otherwise", () => {
  const old = makeAuthority({ subject: "Old root", notAfter: NOW - DAY });
  const end = makeCertificate({ subject: "End", issuer: old });
  const anchors = [{ certificate: cert(old) }];
  assert.equal(outcome(check(end, [], { anchors })), "expired 1");
  assert.equal(outcome(check(end, [], { anchors, ignoreAnchorDates: true })), "End Old root");
});

test("only an authority issues: CA flag, keyCertSign, path length", () => {
  const plain = makeCertificate({ subject: "Plain", issuer: root });
  const noFlag = makeCertificate({ subject: "No flag", issuer: root, ca: false, keyUsage: ["keyCertSign"] });
  const noUsage = makeAuthority({ subject: "No usage", issuer: root, keyUsage: ["cRLSign", "digitalSignature"] });
  for (const [issuer, rule] of [
    [plain, "not-a-ca 1"],
    [noFlag, "not-a-ca 1"],
    [noUsage, "key-usage 1"],
    [leaf, "not-a-ca 1"],
  ] as const) {
    assert.equal(outcome(check(makeCertificate({ subject: "End", issuer }), [issuer, middle])), rule);
  }
  const below = makeAuthority({ subject: "Below", issuer: middle });
  assert.equal(outcome(check(makeCertificate({ subject: "End", issuer: below }), [below, middle])), "path-length 2");
});

test("a self-issued authority does not count for the path length, and a loop ends", () => {
  const keys = makeKeys();
  const again = makeAuthority({ subject: "Middle", issuer: middle, keys });
  const end = makeCertificate({ subject: "End", issuer: again });
  assert.equal(outcome(check(end, [again, middle])), "End Middle Middle Root");
  const a = makeAuthority({ subject: "A" });
  const b = makeAuthority({ subject: "B", issuer: a });
  const loop = makeAuthority({ subject: "A", issuer: b, keys: a });
  const lost = makeCertificate({ subject: "Lost", issuer: b });
  assert.equal(check(lost, [a, b, loop]).ok, false);
});

test("a path that is too long, and a peer that sends too much", () => {
  const parties = [root];
  for (let level = 0; level < 12; level++) {
    parties.push(makeAuthority({ subject: `Level ${level}`, issuer: parties.at(-1) ?? root }));
  }
  const end = makeCertificate({ subject: "End", issuer: parties.at(-1) ?? root });
  assert.equal(outcome(check(end, parties)), "too-deep 9");
  assert.equal(check(end, parties, { maxDepth: 14 }).ok, true);
  assert.equal(outcome(check(leaf, new Array<Party>(65).fill(middle))), "too-many 0");
});

test("a peer cannot make the search expensive: authorities that all signed each other", () => {
  const keys = makeKeys();
  const same = Array.from({ length: 30 }, () =>
    makeAuthority({ subject: "Same", keys, issuer: { name: commonName("Same"), ...keys } }),
  );
  const end = makeCertificate({ subject: "End", issuer: same[0] ?? root });
  const result = check(end, same);
  assert.equal(result.ok, false);
});

test("a signature by somebody else with the same name", () => {
  const impostor = makeAuthority({ subject: "Root", keyIdentifiers: false });
  const end = makeCertificate({ subject: "End", issuer: impostor, authorityKeyId: keyIdOf(root.publicKey) });
  assert.equal(outcome(check(end, [])), "bad-signature 0");
  assert.equal(outcome(check(end, [impostor])), "bad-signature 1", "and the impostor is no anchor");
  const honest = makeCertificate({ subject: "End", issuer: impostor });
  assert.equal(outcome(check(honest, [])), "key-identifier 0");
});

test("the right issuer is found among others with its name", () => {
  const others = [1, 2, 3].map(() => makeAuthority({ subject: "Middle", issuer: root, keyIdentifiers: false }));
  assert.equal(outcome(check(leaf, [...others, middle])), "Leaf Middle Root");
});

test("names are compared by their bytes", () => {
  const printable = sequence(setOf(sequence(oid("2.5.4.3"), printableString("Root"))));
  const spaced = makeCertificate({ subject: "End", issuer: { ...root, name: printable } });
  assert.equal(outcome(check(spaced, [])), "name-mismatch 0");
  const cased = makeCertificate({ subject: "End", issuer: { ...root, name: commonName("root") } });
  assert.equal(outcome(check(cased, [])), "name-mismatch 0");
  const longer = name(["2.5.4.3", "Root"], ["2.5.4.10", "Example"]);
  assert.equal(outcome(check(makeCertificate({ subject: "End", issuer: { ...root, name: longer } }), [])), "no-path 0");
});

test("critical extensions that nobody understands, on every level", () => {
  const strange = { oid: "1.3.6.1.4.1.99999.1", critical: true, value: octets(Uint8Array.of(1)) };
  const end = makeCertificate({ subject: "End", issuer: middle, extensions: [strange] });
  assert.equal(outcome(check(end, [middle])), "unknown-critical 0");
  assert.equal(check(end, [middle], { understoodCritical: [strange.oid] }).ok, true);
  const authority = makeAuthority({ subject: "Authority", issuer: root, extensions: [strange] });
  assert.equal(outcome(check(makeCertificate({ subject: "x", issuer: authority }), [authority])), "unknown-critical 1");
  const mild = makeCertificate({ subject: "End", issuer: middle, extensions: [{ ...strange, critical: false }] });
  assert.equal(check(mild, [middle]).ok, true);
});

test("name constraints are refused, because they are not evaluated", () => {
  const subtree = sequence(sequence(implicit(2, new TextEncoder().encode("example.com"))));
  for (const critical of [true, false]) {
    const value = sequence(subtree);
    const authority = makeAuthority({
      subject: "C",
      issuer: root,
      extensions: [{ oid: OID.nameConstraints, critical, value }],
    });
    assert.equal(
      outcome(check(makeCertificate({ subject: "x", issuer: authority }), [authority])),
      "name-constraints 1",
    );
  }
});

test("what the leaf must be", () => {
  const signer = makeCertificate({ subject: "S", issuer: middle, extendedKeyUsage: [OID.codeSigning] });
  const any = makeCertificate({ subject: "S", issuer: middle, extendedKeyUsage: [OID.anyExtendedKeyUsage] });
  const code = { leafRules: { extendedKeyUsage: [OID.codeSigning] } };
  assert.equal(check(signer, [middle], code).ok, true);
  assert.equal(outcome(check(any, [middle], code)), "extended-key-usage 0");
  assert.equal(outcome(check(leaf, [middle], code)), "extended-key-usage 0");
  assert.equal(check(leaf, [middle], { leafRules: { keyUsage: ["digitalSignature"], endEntity: true } }).ok, true);
  assert.equal(outcome(check(leaf, [middle], { leafRules: { keyUsage: ["keyAgreement"] } })), "key-usage 0");
  assert.equal(outcome(check(signer, [middle], { leafRules: { keyUsage: ["digitalSignature"] } })), "key-usage 0");
  assert.equal(outcome(check(middle, [], { leafRules: { endEntity: true } })), "leaf-is-ca 0");
});

test("an intermediate that is for one purpose issues for no other", () => {
  const tls = makeAuthority({ subject: "TLS", issuer: root, extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] });
  const signer = makeCertificate({ subject: "S", issuer: tls, extendedKeyUsage: [OID.codeSigning] });
  assert.equal(
    outcome(check(signer, [tls], { leafRules: { extendedKeyUsage: [OID.codeSigning] } })),
    "extended-key-usage 1",
  );
});

test("authorities of every accepted kind of key", () => {
  for (const keyKind of ["P-256", "P-384", "P-521", "rsa", "ed25519"] as const) {
    const authority = makeAuthority({ subject: "Kind", keyKind });
    const end = makeCertificate({ subject: "End", issuer: authority });
    assert.equal(check(end, [], { anchors: [{ certificate: cert(authority) }] }).ok, true, keyKind);
  }
});

const MILAN = "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd";
const DEVICE_ROOT = /^102bf659d541/;

test("recorded chains end at their pins", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const vcek = parseCertificate(readVector("tee/sev-snp/milan-v2-azure/vcek.der"));
  const amd = {
    leaf: vcek,
    intermediates: readChain("tee/sev-snp/roots/ask_ark_milan.pem"),
    anchors: [{ sha256: MILAN }],
  };
  assert.equal(checkChain({ ...amd, now: Date.UTC(2024, 0, 1) }).ok, true);
  assert.equal(outcome(checkChain({ ...amd, now: Date.UTC(2035, 0, 1) })), "expired 0");
  assert.equal(
    checkChain({ ...amd, intermediates: readChain("tee/sev-snp/roots/ask_ark_genoa.pem"), now: NOW }).ok,
    false,
  );
  const forged = parseCertificate(readVector("tee/sev-snp/untrusted-vcek/vcek-invalid-legacy.der"));
  assert.equal(checkChain({ ...amd, leaf: forged, now: Date.UTC(2024, 0, 1) }).ok, false);
  for (const folder of ["hopper-580.159.03", "hopper-550.90.07", "blackwell", "switch-ls10"]) {
    const { leaf: device, rest } = readLeafAndChain("tee/nvidia-gpu", folder, "cert_chain.pem");
    const pin = rest.at(-1) as Certificate;
    assert.match(pin.sha256, DEVICE_ROOT);
    const result = checkChain({ leaf: device, intermediates: rest, anchors: [{ sha256: pin.sha256 }], now: NOW });
    assert.equal(result.ok, true, `${folder}: ${outcome(result)}`);
  }
});
