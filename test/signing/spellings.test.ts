/** One key written in several ways is one key, and one signer: compressed points, hybrid points, curves written out. */
import assert from "node:assert/strict";
import { createPublicKey, ECDH, type KeyObject } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { OID, toPem } from "../../src/codec/index.ts";
import {
  judgeByPolicy,
  loadEcSigner,
  loadTrustedKey,
  readSignerPolicy,
  signModel,
  trustAuthorities,
  verifyBundle,
} from "../../src/signing/index.ts";
import { codeOf, makePair, temporaryFolder, writeModel } from "../sealing/support.ts";
import {
  bits,
  integer,
  makeAuthority,
  makeCertificate,
  makeKeys,
  octets,
  oid,
  type Party,
  sequence,
} from "../support/der-writer.ts";

const AT = Date.UTC(2026, 5, 1);
const CURVES = {
  "P-256": ["prime256v1", OID.p256],
  "P-384": ["secp384r1", OID.p384],
  "P-521": ["secp521r1", OID.p521],
};
const root = writeModel({ "weights.bin": "0123456789" });

/** The same key with its point in another form. */
function spelt(key: KeyObject, form: "compressed" | "hybrid", kind: keyof typeof CURVES = "P-256"): Uint8Array {
  const { x = "", y = "" } = key.export({ format: "jwk" });
  const point = Buffer.concat([Uint8Array.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  const [curve = "", id = ""] = CURVES[kind];
  const other = ECDH.convertKey(point, curve, undefined, undefined, form) as Buffer;
  return sequence(sequence(oid(OID.ecPublicKey), oid(id)), bits(other));
}

/** A curve by its numbers instead of its name (SEC 1, C.2): P-256 itself. */
function writtenOut(key: KeyObject): Uint8Array {
  const number = (hex: string) => BigInt(`0x${hex}`);
  const bytes = (hex: string) => octets(Buffer.from(hex, "hex"));
  const prime = number("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
  const a = "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc";
  const b = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b";
  const g =
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
  const order = number("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  const curve = sequence(bytes(a), bytes(b));
  const field = sequence(oid("1.2.840.10045.1.1"), integer(prime));
  const parameters = sequence(integer(1), field, curve, bytes(g), integer(order), integer(1));
  const { x = "", y = "" } = key.export({ format: "jwk" });
  const point = Buffer.concat([Uint8Array.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  return sequence(sequence(oid(OID.ecPublicKey), parameters), bits(point));
}

const pem = (der: Uint8Array) => toPem("PUBLIC KEY", der);

test("a public key has one id, however its point and its curve are written", () => {
  for (const kind of ["P-256", "P-384", "P-521"] as const) {
    const { publicKey } = makeKeys(kind);
    const plain = loadTrustedKey(publicKey.export({ type: "spki", format: "pem" }).toString());
    for (const form of ["compressed", "hybrid"] as const) {
      const other = loadTrustedKey(pem(spelt(publicKey, form, kind)));
      assert.deepEqual([other.keyId, other.pem], [plain.keyId, plain.pem], `${kind} ${form}`);
    }
  }
  const { publicKey } = makeKeys();
  const { keyId } = loadTrustedKey(publicKey.export({ type: "spki", format: "pem" }).toString());
  assert.equal(loadTrustedKey(pem(writtenOut(publicKey))).keyId, keyId);
});

test("one key under two names and in two spellings is found in the policy itself", async () => {
  const { publicPem } = makePair();
  const folder = temporaryFolder();
  writeFileSync(join(folder, "alice.pub"), publicPem);
  writeFileSync(join(folder, "policy.yaml"), POLICY("{key: alice.pub}", "{key: bob.pub}"));
  for (const form of ["compressed", "hybrid"] as const) {
    writeFileSync(join(folder, "bob.pub"), pem(spelt(createPublicKey(publicPem), form)));
    assert.equal(await codeOf(() => readSignerPolicy(join(folder, "policy.yaml"))), "SIGNER_POLICY_INVALID", form);
  }
});

const POLICY = (alice: string, bob: string) =>
  `version: 1\nsigners: {alice: ${alice}, bob: ${bob}}\nrules: [{models: ["m@1"], signers: [alice, bob], threshold: 2}]\n`;

const authority = makeAuthority({ subject: "Root" });

/** A certificate of this key whose point is compressed, as a requester may ask an authority for. */
function certify(keys: Party | ReturnType<typeof makeKeys>, subject: string, spki?: Uint8Array): Party {
  const own = spki
    ? { ...keys, publicKey: createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }) }
    : keys;
  return makeCertificate({
    subject,
    issuer: authority,
    keys: own,
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.codeSigning],
  });
}

test("a key that an authority certified in another spelling is not a second signer", async () => {
  const keys = makeKeys();
  const signer = loadEcSigner(Buffer.from(keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString()));
  const certificate = certify(keys, "Bob", spelt(keys.publicKey, "compressed"));
  const bare = (await signModel({ root, signer })).bundle;
  const certified = (await signModel({ root, signer: { ...signer, certificates: [certificate.der] } })).bundle;
  const folder = temporaryFolder();
  writeFileSync(join(folder, "alice.pub"), signer.publicKeyPem);
  writeFileSync(join(folder, "ca.pem"), toPem("CERTIFICATE", authority.der));
  writeFileSync(join(folder, "policy.yaml"), POLICY("{key: alice.pub}", "{ca: ca.pem, subject: CN=Bob}"));
  const policy = await readSignerPolicy(join(folder, "policy.yaml"));
  const signatures = [bare, certified].map((bytes, index) => ({ name: `${index}.sig`, bytes }));
  const verdict = judgeByPolicy(policy, { model: "m@1", signatures, statements: [], atMs: AT });
  assert.deepEqual([verdict.verdict, verdict.signers], ["refused", ["alice", "bob"]]);
  const trust = trustAuthorities([{ pem: toPem("CERTIFICATE", authority.der), subject: "CN=Bob" }], AT);
  assert.equal(verifyBundle(certified, trust).keyId, signer.keyId);
});
