/** Signatures with certificates attacked: paths that must not be believed, names that only look alike, keys that do not fit. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import { OID, toPem } from "../../src/codec/index.ts";
import {
  loadEcSigner,
  type ModelSigner,
  makeBundle,
  signModel,
  type Trust,
  trustAuthorities,
  trustKeys,
  verifyBundle,
  withCertificates,
} from "../../src/signing/index.ts";
import { codeOf, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";
import {
  type CertificateOptions,
  commonName,
  DEFAULT_NOT_AFTER,
  DEFAULT_NOT_BEFORE,
  implicit,
  makeAuthority,
  makeCertificate,
  makeKeys,
  name,
  nothing,
  oid,
  type Party,
  sequence,
  setOf,
  utf8String,
} from "../support/der-writer.ts";

const AT = Date.UTC(2026, 5, 1);
const YEAR = 365 * 86_400_000;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const SUBJECT = name(["2.5.4.6", "US"], ["2.5.4.10", "Example"], ["2.5.4.3", "Signer"]);
const SUBJECT_TEXT = "CN=Signer,O=Example,C=US";

const root = makeAuthority({ subject: "Root" });
const middle = makeAuthority({ subject: "Middle", issuer: root, pathLength: 0 });

const makeLeaf = (options: Partial<CertificateOptions> = {}) =>
  makeCertificate({
    subject: SUBJECT,
    issuer: middle,
    ca: false,
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.codeSigning],
    subjectAltNames: [implicit(1, utf8("signer@example.com")), implicit(6, utf8("https://example.com/signer"))],
    ...options,
  });
/** An option that is left out, where the default has one. */
const without = <K extends keyof CertificateOptions>(key: K): Partial<CertificateOptions> => ({ [key]: undefined });

const pemOf = (...parties: Party[]) => parties.map(({ der }) => toPem("CERTIFICATE", der)).join("");
const keyPem = ({ privateKey }: Party) => privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const signerOf = (party: Party): ModelSigner => loadEcSigner(Buffer.from(keyPem(party)));
const trusting = (anchor: Party, subject?: string, atMs = AT): Trust =>
  trustAuthorities([{ pem: pemOf(anchor), subject, anySubject: subject === undefined }], atMs);

const leaf = makeLeaf();
const model = writeModel({ "weights.bin": "0123456789", "config.json": "{}" });

/** A bundle that carries these certificates and is signed by the key of the first, or by another one. */
async function bundleOf(certificates: readonly Party[], key?: Party): Promise<Uint8Array> {
  const [first] = certificates;
  const signer = signerOf(key ?? first ?? assert.fail());
  const certified = { ...signer, certificates: certificates.map(({ der }) => der) };
  return (await signModel({ root: model, signer: certified })).bundle;
}

test("an authority is never trusted for whomever by leaving something out", async () => {
  const pem = pemOf(root);
  for (const input of [{ pem }, { pem, subject: SUBJECT_TEXT, anySubject: true }, { pem, anySubject: false }])
    assert.equal(await codeOf(() => trustAuthorities([input], AT)), "CERTIFICATE_INVALID");
});

const judge = (bundle: Uint8Array | string, trust: Trust) => codeOf(() => verifyBundle(bundle, trust).keyId);
const judgePath = async (certificates: readonly Party[], trust: Trust, key?: Party) =>
  judge(await bundleOf(certificates, key), trust);

test("a path to the named authority verifies, and says who signed", async () => {
  const manifest = verifyBundle(await bundleOf([leaf, middle]), trusting(root, SUBJECT_TEXT));
  assert.equal(manifest.signer.method, "certificate");
  assert.deepEqual(manifest.signer, {
    method: "certificate",
    subject: SUBJECT_TEXT,
    alternativeNames: ["email:signer@example.com", "uri:https://example.com/signer"],
    caDigest: manifest.signer.method === "certificate" ? manifest.signer.caDigest : "",
  });
  assert.equal(manifest.keyId, signerOf(leaf).keyId);
  assert.equal(manifest.signerKey.keyId, manifest.keyId);
  const accepted: Readonly<Record<string, [readonly Party[], Trust]>> = {
    "with the root in the bundle": [[leaf, middle, root], trusting(root)],
    "the root before the rest": [[leaf, root, middle], trusting(root)],
    "with a stranger's certificate": [[leaf, makeAuthority({ subject: "Stranger" }), middle], trusting(root)],
    "the intermediate as the anchor": [[leaf], trusting(middle)],
    "the anchor among others": [
      [leaf, middle],
      trustAuthorities([{ pem: pemOf(makeAuthority({ subject: "Root" }), root), anySubject: true }], AT),
    ],
    "another authority's subject does not fit, this one's does": [
      [leaf, middle],
      trustAuthorities(
        [
          { pem: pemOf(root), subject: "CN=Other" },
          { pem: pemOf(root), subject: SUBJECT_TEXT },
        ],
        AT,
      ),
    ],
    "the first and the last moment": [[leaf, middle], trusting(root, undefined, DEFAULT_NOT_BEFORE)],
    "the last moment": [[leaf, middle], trusting(root, undefined, DEFAULT_NOT_AFTER)],
    "usage alone": [[makeLeaf(without("extendedKeyUsage")), middle], trusting(root)],
    "purpose alone": [[makeLeaf(without("keyUsage")), middle], trusting(root)],
    "any purpose": [[makeLeaf({ extendedKeyUsage: [OID.anyExtendedKeyUsage] }), middle], trusting(root)],
    "P-384": [[makeLeaf({ keyKind: "P-384" }), middle], trusting(root)],
    "P-521": [[makeLeaf({ keyKind: "P-521" }), middle], trusting(root)],
  };
  for (const [what, [path, trust]] of Object.entries(accepted))
    assert.equal(await judgePath(path, trust), undefined, what);
});

test("the subject equals its issuer's name without being it, as in the keys of the reference", async () => {
  const twin = makeLeaf({ subject: "Middle", ca: true });
  assert.equal(await judgePath([twin, middle], trusting(root, "CN=Middle")), undefined);
  assert.equal(await judgePath([twin], trusting(root)), "CERTIFICATE_NOT_TRUSTED");
});

/** Dates that are wrong at AT, and a time at which the same path is right. */
test("every certificate of the path is valid at the given time, the anchor too", async () => {
  const [past, future] = [AT - YEAR, AT + YEAR];
  const cases = { expired: { notAfter: AT - 1000 }, "not yet valid": { notBefore: AT + 1000 } };
  for (const [what, dates] of Object.entries(cases)) {
    const right = what === "expired" ? past : future;
    const anchor = makeAuthority({ subject: "Root", ...dates });
    const authority = makeAuthority({ subject: "Middle", issuer: root, ...dates });
    const paths: [string, Party, readonly Party[]][] = [
      ["leaf", root, [makeLeaf(dates), middle]],
      ["intermediate", root, [makeLeaf({ issuer: authority }), authority]],
      ["anchor", anchor, [makeLeaf({ issuer: anchor })]],
    ];
    for (const [which, trusted, path] of paths) {
      const bundle = await bundleOf(path);
      assert.equal(await judge(bundle, trusting(trusted)), "CERTIFICATE_NOT_TRUSTED", `${which} ${what}`);
      assert.equal(await judge(bundle, trusting(trusted, undefined, right)), undefined, `${which} at its time`);
      assert.equal(await judge(bundle, trusting(trusted, undefined, Number.NaN)), "CERTIFICATE_NOT_TRUSTED", "no time");
    }
  }
});

const under = (issuer: Party) => [makeLeaf({ issuer }), issuer];
const strangeExtension = { extensions: [{ oid: "1.3.6.1.4.1.99999.1", critical: true, value: nothing() }] };

function ruleOf(bundle: Uint8Array): unknown {
  try {
    return verifyBundle(bundle, trusting(root)).keyId;
  } catch (error) {
    return error instanceof ModelkeepError ? error.extra?.rule : error;
  }
}

test("paths that must not be believed", async () => {
  const impostor = makeAuthority({ subject: "Middle", issuer: makeAuthority({ subject: "Root" }) });
  const falseRoot = makeAuthority({ subject: "Root" });
  const below = makeAuthority({ subject: "Below", issuer: middle });
  const selfSigned = makeCertificate({ subject: SUBJECT, keyUsage: ["digitalSignature"] });
  const cases: Readonly<Record<string, [string, readonly Party[]]>> = {
    "the usage is another one": ["key-usage", [makeLeaf({ keyUsage: ["keyEncipherment"] }), middle]],
    "the purpose is another one": ["extended-key-usage", [makeLeaf({ extendedKeyUsage: [SERVER_AUTH] }), middle]],
    "neither usage nor purpose": [
      "key-usage",
      [makeLeaf({ ...without("keyUsage"), ...without("extendedKeyUsage") }), middle],
    ],
    "an authority without the flag": [
      "not-a-ca",
      under(makeAuthority({ subject: "Middle", issuer: root, ...without("ca") })),
    ],
    "an authority that says it is none": [
      "not-a-ca",
      under(makeAuthority({ subject: "Middle", issuer: root, ca: false })),
    ],
    "an authority that may not sign certificates": [
      "key-usage",
      under(makeAuthority({ subject: "Middle", issuer: root, keyUsage: ["cRLSign"] })),
    ],
    "an authority for servers only": [
      "extended-key-usage",
      under(makeAuthority({ subject: "Middle", issuer: root, extendedKeyUsage: [SERVER_AUTH] })),
    ],
    "an authority below one that allows none": ["path-length", [makeLeaf({ issuer: below }), below, middle]],
    "a leaf that issues": ["not-a-ca", [makeLeaf({ issuer: leaf }), leaf, middle]],
    "an unknown critical extension of the leaf": ["unknown-critical", [makeLeaf(strangeExtension), middle]],
    "an unknown critical extension of the authority": [
      "unknown-critical",
      under(makeAuthority({ subject: "Middle", issuer: root, ...strangeExtension })),
    ],
    "the names of the authority, another key": ["key-identifier", under(impostor)],
    "the leaf of one, the certificate of the other": [
      "bad-signature",
      [makeLeaf({ issuer: impostor, keyIdentifiers: false }), middle],
    ],
    "a root of the same name in the bundle": ["key-identifier", [makeLeaf({ issuer: falseRoot }), falseRoot]],
    "signed by itself": ["no-path", [selfSigned]],
    "the intermediate is missing": ["no-path", [leaf]],
    "the signer is not the first": ["key-usage", [middle, leaf]],
    "only the authority": ["key-usage", [root]],
    "a name in other capitals": ["name-mismatch", under({ ...middle, name: commonName("middle") })],
  };
  for (const [what, [rule, path]] of Object.entries(cases)) {
    const bundle = await bundleOf(path);
    assert.equal(await judge(bundle, trusting(root)), "CERTIFICATE_NOT_TRUSTED", what);
    assert.equal(ruleOf(bundle), rule, what);
  }
  assert.equal(await judgePath([selfSigned], trusting(selfSigned)), "CERTIFICATE_NOT_TRUSTED", "its own anchor");
});

test("the anchor is the caller's, never the bundle's", async () => {
  const bundle = await bundleOf([leaf, middle, root]);
  assert.equal(await judge(bundle, trusting(makeAuthority({ subject: "Root" }))), "CERTIFICATE_NOT_TRUSTED");
  assert.equal(await judge(bundle, trustKeys([])), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge(bundle, trustAuthorities([], AT)), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge(bundle, trustKeys([signerOf(leaf).publicKeyPem])), "SIGNER_NOT_TRUSTED", "its key by name");
  const keyBundle = (await signModel({ root: model, signer: signerOf(leaf) })).bundle;
  assert.equal(await judge(keyBundle, trusting(root)), "SIGNER_NOT_TRUSTED", "a key bundle by its authority");
});

test("the certificate is that of the key that signed", async () => {
  assert.equal(await judgePath([leaf, middle], trusting(root), makeLeaf()), "SIGNATURE_INVALID");
  for (const keyKind of ["rsa", "ed25519"] as const)
    assert.equal(await judgePath([makeLeaf({ keyKind }), middle], trusting(root), leaf), "SIGNING_METHOD_UNSUPPORTED");
});

test("the subject is compared in every character", async () => {
  const bundle = await bundleOf([leaf, middle]);
  for (const wanted of [SUBJECT_TEXT, "email:signer@example.com", "uri:https://example.com/signer"])
    assert.equal(await judge(bundle, trusting(root, wanted)), undefined, wanted);
  const others = [
    "CN=signer,O=Example,C=US",
    "cn=Signer,o=Example,c=US",
    "C=US,O=Example,CN=Signer",
    "CN=Signer, O=Example, C=US",
    "CN=Signer",
    "Signer",
    "CN=Signer,O=Example,C=US ",
    "CN=Signer\0,O=Example,C=US",
    "CN=Signer,O=Ex\u0430mple,C=US",
    "CN=Sıgner,O=Example,C=US",
    "CN=.*,O=Example,C=US",
    "signer@example.com",
    "email:Signer@example.com",
    "email:signer@EXAMPLE.com",
    "dns:signer@example.com",
    "email:signer@example.com\0",
    "uri:https://example.com",
    "",
  ];
  for (const wanted of others) assert.equal(await judge(bundle, trusting(root, wanted)), "SIGNER_NOT_TRUSTED", wanted);
});

/** A name whose one part holds all these attributes. */
const inOnePart = (...attributes: readonly (readonly [string, string])[]) =>
  sequence(setOf(...attributes.map(([type, value]) => sequence(oid(type), utf8String(value)))));

test("a name cannot be written so that it reads as another one", async () => {
  const names: [ReturnType<typeof name>, string][] = [
    [commonName("Signer\n"), "CN=Signer\\0a"],
    [commonName("Signer,O=Example,C=US"), "CN=Signer\\,O\\=Example\\,C\\=US"],
    [commonName(" Signer "), "CN=\\ Signer\\ "],
    [commonName("#Signer"), "CN=\\#Signer"],
    [commonName("Sig\\ner"), "CN=Sig\\\\ner"],
    [commonName("Sign\u00e9r"), "CN=Sign\u00e9r"],
    [commonName("Signe\u0301r"), "CN=Signe\u0301r"],
    [name(["1.2.840.113549.1.9.1", "a@b.c"]), "1.2.840.113549.1.9.1=a@b.c"],
    [inOnePart(["2.5.4.3", "Signer"], ["2.5.4.10", "Example"]), "CN=Signer+O=Example"],
  ];
  const hidden = makeLeaf({ subject: commonName("Signer\0.example.net") });
  assert.equal(await judgePath([hidden, middle], trusting(root, "CN=Signer")), "BUNDLE_INVALID");
  for (const [subject, text] of names) {
    const bundle = await bundleOf([makeLeaf({ subject }), middle]);
    assert.equal(await judge(bundle, trusting(root, text)), undefined, text);
    for (const other of [
      "CN=Signer",
      "O=Example,CN=Signer",
      SUBJECT_TEXT,
      text.normalize("NFC") === text ? text.normalize("NFD") : text.normalize("NFC"),
    ])
      if (other !== text)
        assert.equal(await judge(bundle, trusting(root, other)), "SIGNER_NOT_TRUSTED", `${text} as ${other}`);
  }
});

test("a bundle with certificates that is not one", async () => {
  const bundle = JSON.parse(Buffer.from(await bundleOf([leaf, middle])).toString());
  const { certificates } = bundle.verificationMaterial.x509CertificateChain;
  const material = (change: object) => ({ verificationMaterial: { ...bundle.verificationMaterial, ...change } });
  const chain = (list: unknown) => material({ x509CertificateChain: { certificates: list } });
  const cases: Readonly<Record<string, object>> = {
    "a key as well": material({ publicKey: { hint: signerOf(leaf).keyId } }),
    "a keyless certificate as well": material({ certificate: certificates[0] }),
    "log entries": material({ tlogEntries: [{}] }),
    "no certificate": chain([]),
    "no list": chain(null),
    "too many": chain(Array.from({ length: 9 }, () => certificates[0])),
    "not base64": chain([{ rawBytes: "-" }, ...certificates]),
    "not DER": chain([{ rawBytes: "AAAA" }, ...certificates]),
    empty: chain([{ rawBytes: "" }, ...certificates]),
    "something after it": chain([
      { rawBytes: Buffer.concat([leaf.der, Buffer.alloc(1)]).toString("base64") },
      certificates[1],
    ]),
    "an older media type": { mediaType: "application/vnd.dev.sigstore.bundle+json;version=0.2" },
  };
  for (const [what, change] of Object.entries(cases))
    assert.equal(await judge(JSON.stringify({ ...bundle, ...change }), trusting(root)), "BUNDLE_INVALID", what);
});

test("no bit of certificate, payload or signature can change", async () => {
  const text = Buffer.from(await bundleOf([leaf, middle])).toString();
  const trust = trusting(root);
  const refusals = new Set([
    "BUNDLE_INVALID",
    "CERTIFICATE_NOT_TRUSTED",
    "SIGNATURE_INVALID",
    "SIGNING_METHOD_UNSUPPORTED",
  ]);
  await fc.assert(
    fc.asyncProperty(fc.nat(3), fc.nat(), fc.nat(7), async (field, position, bit) => {
      const bundle = JSON.parse(text);
      const [holder, key] = [
        [bundle.verificationMaterial.x509CertificateChain.certificates[0], "rawBytes"],
        [bundle.verificationMaterial.x509CertificateChain.certificates[1], "rawBytes"],
        [bundle.dsseEnvelope, "payload"],
        [bundle.dsseEnvelope.signatures[0], "sig"],
      ][field] as [Record<string, string>, string];
      const bytes = Buffer.from(holder[key] ?? "", "base64");
      bytes[position % bytes.length] = (bytes[position % bytes.length] ?? 0) ^ (1 << bit);
      holder[key] = bytes.toString("base64");
      const code = await judge(JSON.stringify(bundle), trust);
      assert.ok(code !== undefined && refusals.has(code), `${field} at ${position % bytes.length}.${bit}: ${code}`);
    }),
    { numRuns: 500 },
  );
});

test("nothing is signed with certificates that no verifier would accept", async () => {
  const signer = signerOf(leaf);
  const attempt = (certificate: string, chain?: string, at = AT) =>
    codeOf(() => withCertificates(signer, chain === undefined ? { certificate } : { certificate, chain }, at));
  assert.equal(await attempt(pemOf(leaf), pemOf(middle)), undefined);
  assert.equal(await attempt(pemOf(leaf, middle)), undefined);
  assert.equal(await attempt(pemOf(leaf), pemOf(middle, root)), undefined);
  assert.equal(await attempt(pemOf(leaf)), undefined);
  const keys = { privateKey: leaf.privateKey, publicKey: leaf.publicKey };
  const unusable: [string, string, string | undefined, number?][] = [
    ["another key", pemOf(makeLeaf()), pemOf(middle)],
    ["for servers", pemOf(makeLeaf({ keys, extendedKeyUsage: [SERVER_AUTH] })), pemOf(middle)],
    ["another chain", pemOf(leaf), pemOf(makeAuthority({ subject: "Middle" }))],
    ["expired", pemOf(leaf), pemOf(middle), DEFAULT_NOT_AFTER + 1000],
    ["expired and alone", pemOf(leaf), undefined, DEFAULT_NOT_AFTER + 1000],
    ["not PEM", "certificate", pemOf(middle)],
    ["a private key", keyPem(leaf), undefined],
    ["a private key among them", pemOf(leaf), keyPem(leaf)],
    ["damaged", toPem("CERTIFICATE", leaf.der.subarray(0, 100)), undefined],
    ["too many", pemOf(leaf), pemOf(...Array.from({ length: 8 }, () => middle))],
  ];
  for (const [what, certificate, chain, at] of unusable)
    assert.equal(await attempt(certificate, chain, at), "CERTIFICATE_INVALID", what);
});

test("an authority that cannot be read is an error, not a refusal", async () => {
  for (const pem of ["", "no PEM", keyPem(leaf), toPem("CERTIFICATE", Buffer.from("DER")), Buffer.from([0xff])])
    assert.equal(await codeOf(() => trustAuthorities([{ pem, anySubject: true }], AT)), "CERTIFICATE_INVALID");
});

test("any statement is signed and opened by certificate, and its payload is the signed bytes", async () => {
  const certified = withCertificates(signerOf(leaf), { certificate: pemOf(leaf), chain: pemOf(middle) }, AT);
  const bundle = await makeBundle(utf8("{}"), certified);
  assert.equal(await judge(bundle, trusting(root)), "BUNDLE_INVALID", "it is no manifest");
});

function writeKeys(): Record<"key" | "certificate" | "chain" | "ca" | "other", string> {
  const folder = temporaryFolder();
  const write = (file: string, text: string) => {
    writeFileSync(join(folder, file), text, { mode: 0o600 });
    return join(folder, file);
  };
  return {
    key: write("signer.pem", keyPem(leaf)),
    certificate: write("signer.crt", pemOf(leaf)),
    chain: write("chain.pem", pemOf(middle)),
    ca: write("ca.pem", pemOf(root)),
    other: write("other.pem", pemOf(makeAuthority({ subject: "Root", ...makeKeys() }))),
  };
}

const ANY = "--any-subject";

test("the command line signs with a certificate and verifies under an authority", async () => {
  const { key, certificate, chain, ca, other } = writeKeys();
  const folder = writeModel({ "weights.bin": "0123456789" });
  const signed = await modelkeep(["sign", folder, "--key", key, "--certificate", certificate, "--chain", chain]);
  assert.equal(signed.exit, 0, signed.stderr);
  const verify = (...words: string[]) =>
    modelkeep(["verify", folder, "--signature", join(folder, "model.sig"), ...words]);
  const good = await verify("--ca", ca, "--subject", SUBJECT_TEXT, "--json");
  assert.equal(good.exit, 0, good.stderr);
  assert.equal(JSON.parse(good.stdout).signer.subject, SUBJECT_TEXT);
  const exits: [number, string[]][] = [
    [0, ["--ca", ca, ANY]],
    [0, ["--ca", other, "--ca", ca, ANY]],
    [0, ["--ca", ca, ANY, "--at", "2026-01-31T12:00:00Z"]],
    [0, ["--ca", ca, ANY, "--at", "2026-01-31T12:00:00.5+02:00"]],
    [4, ["--ca", other, ANY]],
    [4, ["--ca", ca, "--subject", "CN=Signer"]],
    [4, ["--ca", ca, ANY, "--at", "2044-01-01T00:00:00Z"]],
    [4, ["--ca", ca, ANY, "--at", "2014-01-01T00:00:00Z"]],
    [1, ["--ca", key, ANY]],
    [1, ["--ca", join(folder, "absent.pem"), ANY]],
    [2, ["--ca", ca]],
    [2, ["--ca", ca, "--subject", SUBJECT_TEXT, ANY]],
    [2, ["--ca", ca, ANY, "--at", "2026-01-31"]],
    [2, ["--ca", ca, ANY, "--at", "2026-13-31T12:00:00Z"]],
    [2, ["--ca", ca, ANY, "--at", "2026-01-31T12:00:00"]],
    [2, ["--ca", ca, "--subject", ""]],
    [2, ["--ca", ca, "--public-key", key]],
    [2, ["--subject", SUBJECT_TEXT]],
    [2, [ANY, "--public-key", key]],
    [2, ["--crl", key, "--public-key", key]],
    [2, ["--require-revocation-check", "--public-key", key]],
    [2, ["--tsa", ca, "--identity", "a@b.c", "--issuer", "https://example.com"]],
    [2, ["--ca", ca, ANY, "--issuer", "https://example.com"]],
  ];
  for (const [exit, words] of exits) assert.equal((await verify(...words)).exit, exit, words.join(" "));
  const refused = JSON.parse((await verify("--ca", other, ANY, "--json")).stdout);
  assert.deepEqual([refused.verdict, refused.findings[0].rule], ["failed", "certificate-not-trusted"]);
  assert.equal((await modelkeep(["sign", folder, "--key", key, "--chain", chain])).exit, 2);
  assert.equal((await modelkeep(["sign", folder, "--key", key, "--certificate", ca])).exit, 1);
});
