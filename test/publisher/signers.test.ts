/** Who publishes may be a certificate holder or an identity: registered, released and run under the policy that names them, and else not. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openBlobStore } from "../../src/artifact/index.ts";
import { createInsecureDevCollector } from "../../src/attestation/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { acceptedSigner } from "../../src/cli/commands/run-trust.ts";
import { OID, toPem } from "../../src/codec/index.ts";
import { getPolicy, setPolicy } from "../../src/contract/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { publishSealed } from "../../src/publisher/index.ts";
import { requestPackageKey } from "../../src/release/index.ts";
import { verifySealed } from "../../src/sealing/index.ts";
import {
  loadEcSigner,
  openKeylessSigner,
  pinKeys,
  readSignerPolicy,
  withCertificates,
} from "../../src/signing/index.ts";
import { temporaryFolder } from "../sealing/support.ts";
import { fileUri, startTestServer } from "../server/support.ts";
import { KeylessCounterpart, makeToken } from "../signing/keyless-sign-counterpart.ts";
import { makeAuthority, makeCertificate, type Party } from "../support/der-writer.ts";
import { StampingAuthority } from "../support/tsa.ts";
import { writeModel } from "./support.ts";

const DAY = 86_400_000;
const root = makeAuthority({ subject: "Root" });
const stamper = new StampingAuthority();
const counterpart = await KeylessCounterpart.start();
const pemOf = (party: Party) => toPem("CERTIFICATE", party.der);

const openKeyless = () =>
  openKeylessSigner({
    fetch: globalThis.fetch,
    clock: systemClock,
    random: systemRandom,
    token: { env: { SIGSTORE_ID_TOKEN: makeToken() } },
    endpoints: counterpart.endpoints(2),
    trustedRoot: counterpart.trustedRoot(),
  });

function holder(subject: string, notAfter = Date.now() + DAY) {
  const keyUsage = ["digitalSignature"] as const;
  const leaf = makeCertificate({ subject, issuer: root, keyUsage, extendedKeyUsage: [OID.codeSigning], notAfter });
  const key = loadEcSigner(Buffer.from(leaf.privateKey.export({ type: "pkcs8", format: "pem" }).toString()));
  return withCertificates(key, { certificate: pemOf(leaf) }, Math.min(Date.now(), notAfter - 1000));
}

const POLICY = `version: 1
trusted_root: root.json
timestamp_authorities: [stamp.pem]
signers:
  release: { ca: ca.pem, subject: "CN=Release" }
  pipeline: { identity: "signer@example.com", issuer: "https://id.example.com" }
rules: [{ models: ["*@*"], signers: [release, pipeline], require: [seal, bom, findings] }]
`;

async function prepare(t: TestContext) {
  const folder = temporaryFolder();
  const kms = fileUri(folder, "models.kek");
  await createKeyFile(kms, systemRandom);
  writeFileSync(join(folder, "ca.pem"), pemOf(root));
  writeFileSync(join(folder, "stamp.pem"), pemOf(stamper.root));
  writeFileSync(join(folder, "root.json"), counterpart.trustedRoot());
  const signer_policy = join(folder, "signers.yaml");
  writeFileSync(signer_policy, POLICY);
  const keep = await startTestServer({ flags: { kms: [kms], insecure_dev_attestation: true, signer_policy } });
  t.after(() => keep.stop());
  writeModel(join(folder, "tiny"));
  mkdirSync(join(folder, "store"));
  const options = {
    root: join(folder, "tiny"),
    name: "tiny",
    wrappers: [await openKeyWrapper(kms, { random: systemRandom })],
    store: await openBlobStore(fileUri(folder, "store")),
    api: keep.admin.api,
    random: systemRandom,
  };
  return { keep, options, policy: await readSignerPolicy(signer_policy) };
}

test("a certificate holder and an identity publish, get their keys released, and are run", async (t) => {
  const { keep, options, policy } = await prepare(t);
  const { api } = keep.admin;
  const { text } = await api.call(getPolicy, {});
  await api.call(setPolicy, {
    body: { text: `${text}\npermit (principal, action == Action::"releaseKey", resource);` },
  });
  const expired = holder("Release", Date.now() - DAY);
  const stamp = async (bytes: Uint8Array) => [stamper.stamp({ bytes, at: Date.now() - 2 * DAY })];
  const signers = {
    certificate: holder("Release"),
    stamped: { ...expired, stamp },
    keyless: await openKeyless(),
  };
  for (const [version, signer] of Object.entries(signers)) {
    const { model } = await publishSealed({ ...options, signer, version });
    assert.equal(model.signer_key_id, signer.keyId, version);
    const { publicKeys: keys } = await acceptedSigner({ publicKeys: [], policy }, model, Date.now());
    assert.deepEqual(keys, [signer.publicKeyPem], version);
    const place = { store: options.store, prefix: model.prefix };
    assert.equal((await verifySealed({ ...place, trust: pinKeys(keys) })).packageId, model.package_id, version);
    const launch = {
      program: "p",
      arguments: [],
      model: `tiny@${version}`,
      package_id: model.package_id,
      verify: "full" as const,
    };
    const collector = createInsecureDevCollector({ launch });
    const key = await requestPackageKey({ api, collector, model: launch.model, packageId: model.package_id });
    key.wipe();
  }
});

test("whom the policy does not name is not registered, under whatever certificate or key he signs", async (t) => {
  const { options } = await prepare(t);
  const strangers = {
    "another subject": holder("Other"),
    "expired and not stamped": holder("Release", Date.now() - DAY),
    "a bare key": loadEcSigner(
      Buffer.from(makeAuthority({ subject: "x" }).privateKey.export({ type: "pkcs8", format: "pem" }).toString()),
    ),
  };
  for (const [what, signer] of Object.entries(strangers)) {
    const published = publishSealed({ ...options, signer, version: "1" });
    await assert.rejects(published, { code: "SIGNER_POLICY_REFUSED" }, what);
  }
});
