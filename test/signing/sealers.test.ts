/** Seals by certificate and by identity: who is trusted for the signature is trusted for the seal, and nobody else. */
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { utf8 } from "../../src/base/index.ts";
import { OID, toPem } from "../../src/codec/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { SEALED_NAMES, sealModel, verifySealed } from "../../src/sealing/index.ts";
import {
  loadEcSigner,
  type ModelSigner,
  openKeylessSigner,
  pinKeys,
  signModel,
  type Trust,
  trustAuthorities,
  trustIdentities,
  trustKeys,
  verifyBundle,
  withCertificates,
} from "../../src/signing/index.ts";
import { codeOf, makeKms, makePair, makeStore, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";
import { makeAuthority, makeCertificate, type Party } from "../support/der-writer.ts";
import { KeylessCounterpart, makeToken } from "./keyless-sign-counterpart.ts";

const SIGNER = { identity: "signer@example.com", issuer: "https://id.example.com" };
const root = makeAuthority({ subject: "Root" });
const certify = (subject: string) =>
  makeCertificate({ subject, issuer: root, keyUsage: ["digitalSignature"], extendedKeyUsage: [OID.codeSigning] });
const leaf = certify("Signer");
const pemOf = (party: Party) => toPem("CERTIFICATE", party.der);
const pkcs8 = ({ privateKey }: Party) => Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }).toString());
const signerOf = (party: Party): ModelSigner =>
  withCertificates(loadEcSigner(pkcs8(party)), { certificate: pemOf(party) }, Date.now());
const model = writeModel({ "weights.bin": "0123456789", "config.json": "{}" });
const counterpart = await KeylessCounterpart.start();
const { wrapper } = await makeKms();

const openKeyless = () =>
  openKeylessSigner({
    fetch: globalThis.fetch,
    clock: systemClock,
    random: systemRandom,
    token: { env: { SIGSTORE_ID_TOKEN: makeToken() } },
    endpoints: counterpart.endpoints(2),
    trustedRoot: counterpart.trustedRoot(),
  });
const identities = (member = SIGNER) => trustIdentities([member], counterpart.trustedRoot());
const byAuthority = (subject = "CN=Signer", anchor = root): Trust =>
  trustAuthorities([{ pem: pemOf(anchor), subject }], Date.now());

async function seal(signer: ModelSigner, sealer = signer) {
  const { bundle } = await signModel({ root: model, signer });
  const manifest = verifyBundle(bundle, pinKeys([signer.publicKeyPem]));
  const store = await makeStore();
  const sealed = { root: model, manifest, bundle, signer: sealer, wrappers: [wrapper], prefix: "" };
  await sealModel({ ...sealed, store, random: systemRandom });
  return { store, prefix: "" };
}

test("a seal by certificate is believed under the authority and the subject, and under nothing else", async () => {
  const source = await seal(signerOf(leaf));
  const judge = (trust: Trust) => codeOf(() => verifySealed({ ...source, trust }));
  const { manifest } = await verifySealed({ ...source, trust: byAuthority() });
  assert.equal(manifest.signer.method, "certificate");
  assert.equal(await judge(byAuthority("CN=Other")), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge(byAuthority("CN=Signer", makeAuthority({ subject: "Root" }))), "CERTIFICATE_NOT_TRUSTED");
  assert.equal(await judge(trustKeys([signerOf(leaf).publicKeyPem])), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge(await identities()), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge(pinKeys([signerOf(leaf).publicKeyPem])), undefined);
  assert.equal(await judge(pinKeys([makePair().publicPem])), "SIGNER_NOT_TRUSTED");
});

test("a seal by an identity is believed for that identity, and for no other", async () => {
  const signer = await openKeyless();
  const source = await seal(signer);
  const judge = (trust: Trust) => codeOf(() => verifySealed({ ...source, trust }));
  assert.equal(await judge(await identities()), undefined);
  assert.equal(await judge(await identities({ ...SIGNER, identity: "b@example.com" })), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge(await trustIdentities([SIGNER])), "LOG_NOT_PROVEN");
  assert.equal(await judge(byAuthority()), "SIGNER_NOT_TRUSTED");
  assert.equal(await judge(pinKeys([signer.publicKeyPem])), undefined);
});

test("another signer of the same authority or identity seals nothing in the first one's name", async () => {
  const [first, second] = [signerOf(leaf), signerOf(certify("Signer"))];
  assert.equal(await codeOf(() => seal(first, second)), "SEALER_NOT_SIGNER");
  const [source, other] = [await seal(first), await seal(second)];
  const foreign = await other.store.readAll(SEALED_NAMES.seal, 1_000_000);
  await source.store.write(SEALED_NAMES.seal, [foreign]);
  assert.equal(await codeOf(() => verifySealed({ ...source, trust: byAuthority() })), "SIGNATURE_INVALID");
  const [one, two] = [await openKeyless(), await openKeyless()];
  assert.equal(await codeOf(() => seal(one, two)), "SEALER_NOT_SIGNER");
  const [mine, his] = [await seal(one), await seal(two)];
  await mine.store.write(SEALED_NAMES.seal, [await his.store.readAll(SEALED_NAMES.seal, 1_000_000)]);
  assert.equal(await codeOf(async () => verifySealed({ ...mine, trust: await identities() })), "SIGNATURE_INVALID");
});

test("a pinned key is one key: a bundle of another, or one that was changed, is refused whatever it says", async () => {
  const signer = signerOf(leaf);
  const { bundle } = await signModel({ root: model, signer });
  const pinned = pinKeys([signer.publicKeyPem]);
  assert.equal(await codeOf(() => verifyBundle(bundle, pinned).keyId), undefined);
  const json = JSON.parse(Buffer.from(bundle).toString());
  const statement = JSON.parse(Buffer.from(json.dsseEnvelope.payload, "base64").toString());
  statement.subject[0].name = "other";
  json.dsseEnvelope.payload = Buffer.from(JSON.stringify(statement)).toString("base64");
  assert.equal(await codeOf(() => verifyBundle(utf8(JSON.stringify(json)), pinned).keyId), "SIGNATURE_INVALID");
  const other = (await signModel({ root: model, signer: signerOf(certify("Signer")) })).bundle;
  assert.equal(await codeOf(() => verifyBundle(other, pinned).keyId), "SIGNER_NOT_TRUSTED");
});

test("the command line seals and opens by certificate and by identity", async () => {
  const folder = temporaryFolder();
  const write = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const { uri } = await makeKms();
  const [key, certificate, ca] = [
    write("k.pem", pkcs8(leaf)),
    write("l.pem", pemOf(leaf)),
    write("ca.pem", pemOf(root)),
  ];
  const run = async (...words: string[]) => (await modelkeep(words)).exit;
  const by = ["--key", key, "--certificate", certificate];
  assert.equal(await run("seal", model, "--kms", uri, ...by, "--output", join(folder, "a")), 0);
  let opened = 0;
  const open = (from: string, ...words: string[]) =>
    run("open", join(folder, from), "--kms", uri, "--output", join(folder, `out-${opened++}`), ...words);
  assert.equal(await open("a", "--ca", ca, "--subject", "CN=Signer"), 0);
  assert.equal(await open("a", "--ca", ca, "--subject", "CN=Other"), 4);
  assert.equal(await open("a", "--ca", ca), 2);
  assert.equal(await open("a"), 2);
  assert.deepEqual(readdirSync(join(folder, "out-0")).sort(), readdirSync(model).sort());
  const trustedRoot = write("root.json", counterpart.trustedRoot());
  const { url } = counterpart;
  const services = ["--fulcio", `${url}/fulcio`, "--rekor", `${url}/rekor`, "--timestamp-authority", `${url}/tsa`];
  const keyless = ["--keyless", "--identity-token-file", write("token", makeToken()), ...services];
  const sealed = [
    "seal",
    model,
    "--kms",
    uri,
    ...keyless,
    "--trusted-root",
    trustedRoot,
    "--output",
    join(folder, "b"),
  ];
  assert.equal(await run(...sealed), 0);
  const identity = ["--issuer", SIGNER.issuer, "--trusted-root", trustedRoot];
  assert.equal(await open("b", "--identity", SIGNER.identity, ...identity), 0);
  assert.equal(await open("b", "--identity", "b@example.com", ...identity), 4);
});
