/** Keyless signatures of a private Sigstore instance: every curve, and certificates that the authority should not have made. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { utf8 } from "../../src/base/index.ts";
import { type Trust, trustIdentities, verifyBundle } from "../../src/signing/index.ts";
import { codeOf } from "../sealing/support.ts";
import { ia5String, implicit, makeKeys, nothing, utf8String } from "../support/der-writer.ts";
import { type BundleOptions, ISSUER_V1, ISSUER_V2, SIGNED_AT, SigstoreInstance } from "./sigstore-instance.ts";

const DIGEST = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
const [NAME, ISSUER] = ["signer@example.com", "https://id.example.com"];

const PAYLOAD = utf8(
  JSON.stringify({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: "model", digest: { sha256: createHash("sha256").update(DIGEST, "hex").digest("hex") } }],
    predicateType: "https://model_signing/signature/v1.0",
    predicate: {
      resources: [{ name: "weights.bin", digest: DIGEST, algorithm: "sha256" }],
      serialization: { method: "files", hash_type: "sha256", allow_symlinks: false },
    },
  }),
);

const instance = new SigstoreInstance();
const trusting = (identity = NAME, issuer = ISSUER, from = instance): Promise<Trust> =>
  trustIdentities([{ identity, issuer }], from.trustedRoot());
const judge = async (options: BundleOptions, trust?: Trust) => {
  const trusted = trust ?? (await trusting());
  return codeOf(() => verifyBundle(instance.bundle(PAYLOAD, options), trusted).keyId);
};

test("every curve of OMS signs without a key to keep, each with its own hash", async () => {
  for (const keyKind of ["P-256", "P-384", "P-521"] as const) {
    const manifest = verifyBundle(instance.bundle(PAYLOAD, { keyKind }), await trusting());
    assert.deepEqual(manifest.signer, { method: "keyless", identity: NAME, issuer: ISSUER }, keyKind);
    const { privateKey: signingKey } = makeKeys(keyKind);
    assert.equal(await judge({ keyKind, signingKey }), "SIGNATURE_INVALID", keyKind);
  }
  for (const keyKind of ["rsa", "ed25519"] as const)
    assert.equal(await judge({ keyKind }), "SIGNING_METHOD_UNSUPPORTED", keyKind);
});

test("another instance proves nothing, even under the same names", async () => {
  const other = await trusting(NAME, ISSUER, new SigstoreInstance());
  assert.equal(await judge({}, other), "CERTIFICATE_NOT_TRUSTED");
  const publicGood = await trustIdentities([{ identity: NAME, issuer: ISSUER }]);
  assert.equal(await judge({}, publicGood), "CERTIFICATE_NOT_TRUSTED");
});

test("the log took the entry while the certificate was valid", async () => {
  assert.equal(await judge({ loggedAt: SIGNED_AT + 600_000 }), undefined);
  assert.equal(await judge({ loggedAt: SIGNED_AT + 602_000 }), "CERTIFICATE_NOT_TRUSTED");
  assert.equal(await judge({ loggedAt: SIGNED_AT - 2_000 }), "CERTIFICATE_NOT_TRUSTED");
});

test("one identity and one issuer, in the form that the specification gives them", async () => {
  const url = "https://example.com/workflow@refs/heads/main";
  const uri = { certificate: { subjectAltNames: [implicit(6, utf8(url))] } };
  assert.equal(await judge(uri, await trusting(url)), undefined);
  const v1 = { oid: ISSUER_V1, value: utf8(ISSUER) };
  const v2 = { oid: ISSUER_V2, value: utf8String(ISSUER) };
  assert.equal(await judge({ issuerExtensions: [v1] }), undefined);
  assert.equal(await judge({ issuerExtensions: [v2] }), undefined);
  const mail = implicit(1, utf8(NAME));
  const refused: Readonly<Record<string, BundleOptions>> = {
    "no issuer": { issuerExtensions: [] },
    "two issuers": { issuerExtensions: [{ ...v1, value: utf8("https://other.example") }, v2] },
    "an issuer in another form": { issuerExtensions: [{ oid: ISSUER_V2, value: ia5String(ISSUER) }] },
    "no name": { certificate: { subjectAltNames: [implicit(2, utf8("example.com"))] } },
    "two names": { certificate: { subjectAltNames: [mail, implicit(1, utf8("other@example.com"))] } },
    "a name of two kinds": { certificate: { subjectAltNames: [mail, implicit(6, utf8(url))] } },
    "for servers": { certificate: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] } },
    "for encryption": { certificate: { keyUsage: ["keyEncipherment"] } },
    "an unknown critical extension": {
      certificate: { extensions: [{ oid: "1.3.6.1.4.1.99999.1", critical: true, value: nothing() }] },
    },
  };
  for (const [what, options] of Object.entries(refused))
    assert.equal(await judge(options), "CERTIFICATE_NOT_TRUSTED", what);
});

test("the issuer is part of who it is", async () => {
  assert.equal(await judge({ issuer: "https://id.example.com/" }), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge({ issuer: "https://id.example.org" }), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge({ identity: "Signer@example.com" }), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge({ identity: "signer@example.com.example.org" }), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge({}, await trusting("signer@example.com|.*")), "SIGNER_NOT_TRUSTED");
});

/** Every place in a JSON value, as the keys that lead there. */
function placesIn(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => placesIn(inner, [...path, key]))];
}

function replaceAt(value: unknown, [key, ...rest]: readonly string[], replacement: unknown): unknown {
  if (key === undefined) return replacement;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
  copy[key] = replaceAt(copy[key], rest, replacement);
  return copy;
}

/** What says the same as before: the proof's own word about what its checkpoint signs, no hashes, another spelling of 0. */
function saysTheSame(path: string, value: unknown): boolean {
  if (/inclusionProof,(rootHash|treeSize)$/.test(path)) return true;
  if (path.endsWith("hashes")) return !Array.isArray(value) || value.length === 0;
  return path.endsWith("logIndex") && (typeof value === "object" || Number(value) === 0);
}

test("any value in any place of a bundle is refused by one of our codes", async () => {
  const trust = await trusting();
  const whole = JSON.parse(instance.bundle(PAYLOAD)) as unknown;
  const places = placesIn(whole);
  const budgetMs = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 2) * 1000;
  const values = fc.oneof(
    fc.jsonValue(),
    fc.base64String(),
    fc.constantFrom(null, "-1", "0x0", "99999999999999999999", "\0"),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), values, async (path, value) => {
      const before = path.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], whole);
      fc.pre(JSON.stringify(before) !== JSON.stringify(value) && !saysTheSame(path.join(), value));
      const code = await codeOf(() => verifyBundle(JSON.stringify(replaceAt(whole, path, value)), trust).keyId);
      assert.notEqual(code, undefined, `${path.join(".")} = ${JSON.stringify(value)}`);
    }),
    { numRuns: 100_000, interruptAfterTimeLimit: budgetMs },
  );
});

test("any value in any place of a trusted root makes no error of its own kind", async () => {
  const whole = JSON.parse(Buffer.from(instance.trustedRoot()).toString()) as unknown;
  const bundle = instance.bundle(PAYLOAD);
  const budgetMs = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 2) * 500;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...placesIn(whole)),
      fc.oneof(fc.jsonValue(), fc.base64String()),
      async (path, value) => {
        const root = utf8(JSON.stringify(replaceAt(whole, path, value)));
        await codeOf(async () =>
          verifyBundle(bundle, await trustIdentities([{ identity: NAME, issuer: ISSUER }], root)),
        );
      },
    ),
    { numRuns: 100_000, interruptAfterTimeLimit: budgetMs },
  );
});
