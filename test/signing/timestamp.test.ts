/** Timestamps on signatures by key and by certificate: made by OpenSSL as the authority, believed only where they should be. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { utf8 } from "../../src/base/index.ts";
import { OID, parseDsse, toPem } from "../../src/codec/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import {
  loadEcSigner,
  makeBundle,
  readSignerPolicy,
  requirePolicy,
  signModel,
  type Trust,
  trustAuthorities,
  trustKeys,
  trustTimestamps,
  verifyBundle,
  withCertificates,
  withTimestamps,
} from "../../src/signing/index.ts";
import { codeOf, makePair, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";
import { makeAuthority, makeCertificate, type Party, sequence } from "../support/der-writer.ts";
import { StampingAuthority, type TokenOptions } from "../support/tsa.ts";

const OPENSSL = "/usr/bin/openssl";
const NO_OPENSSL = "no OpenSSL here: apt-get install openssl";
const DAY = 86_400_000;
const NOW = Date.UTC(2026, 5, 1);

const root = makeAuthority({ subject: "Root" });
const leaf = makeCertificate({
  subject: "Signer",
  issuer: root,
  keyUsage: ["digitalSignature"],
  extendedKeyUsage: [OID.codeSigning],
  notBefore: NOW - 30 * DAY,
  notAfter: NOW - 10 * DAY,
});
const pemOf = (party: Pick<Party, "der">) => toPem("CERTIFICATE", party.der);
const pkcs8 = ({ privateKey }: Party) => Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }).toString());
const signer = loadEcSigner(pkcs8(leaf));
const certified = withCertificates(signer, { certificate: pemOf(leaf) }, NOW - 20 * DAY);
const model = writeModel({ "weights.bin": "0123456789" });
const authority = new StampingAuthority();
const other = new StampingAuthority();

const byAuthority = (at = NOW): Trust => trustAuthorities([{ pem: pemOf(root), subject: "CN=Signer" }], at);
const withTsa = (trust: Trust, tsa: StampingAuthority = authority, at = NOW) =>
  trustTimestamps(trust, [pemOf(tsa.root)], at);

/** A bundle by certificate whose timestamps a private authority made as asked. */
async function stamped(...options: (Partial<TokenOptions> & { by?: StampingAuthority })[]): Promise<Uint8Array> {
  const stamp = async (signature: Uint8Array) =>
    options.map(({ by = authority, ...more }) => by.stamp({ bytes: signature, at: NOW - 20 * DAY, ...more }));
  return (await signModel({ root: model, signer: { ...certified, stamp } })).bundle;
}

const judge = (bundle: Uint8Array, trust: Trust) => codeOf(() => verifyBundle(bundle, trust).keyId);

test("an expired certificate verifies with a trusted timestamp from its days, and without one it does not", async () => {
  const bundle = await stamped({});
  assert.equal(await judge(bundle, byAuthority()), "CERTIFICATE_NOT_TRUSTED");
  assert.equal(await judge(bundle, withTsa(byAuthority(), other)), "CERTIFICATE_NOT_TRUSTED");
  assert.equal(await judge(bundle, withTsa(byAuthority())), undefined);
  const { seenAt } = verifyBundle(bundle, withTsa(byAuthority()));
  assert.deepEqual(seenAt, { atMs: NOW - 20 * DAY, accuracyMs: 0, authority: "CN=Stamper" });
  assert.equal(await judge(await stamped(), withTsa(byAuthority())), "CERTIFICATE_NOT_TRUSTED");
  assert.equal(await judge(bundle, byAuthority(NOW - 20 * DAY)), undefined);
  const stranger = trustAuthorities([{ pem: pemOf(root), subject: "CN=Other" }], NOW);
  assert.equal(await judge(bundle, withTsa(stranger)), "SIGNER_NOT_TRUSTED");
});

test("a timestamp that does not hold counts as none", async () => {
  const cases: Readonly<Record<string, Partial<TokenOptions> & { by?: StampingAuthority }>> = {
    "of another authority": { by: other },
    "of something else": { bytes: utf8("another signature") },
    "after the certificate expired": { at: NOW - 5 * DAY },
    "before the certificate began": { at: NOW - 40 * DAY },
    "from the future": { at: NOW + DAY },
    "signed by another key": { signingKey: other.signer },
    "not granted": { status: 2 },
    "an unnamed certificate": { named: undefined },
  };
  for (const [what, options] of Object.entries(cases)) {
    assert.equal(await judge(await stamped(options), withTsa(byAuthority())), "CERTIFICATE_NOT_TRUSTED", what);
    assert.equal(
      await judge(await stamped(options, {}), withTsa(byAuthority())),
      undefined,
      `${what}, beside a good one`,
    );
  }
  const bundle = JSON.parse(Buffer.from(await stamped({})).toString());
  const [good] = bundle.verificationMaterial.timestampVerificationData.rfc3161Timestamps;
  for (const bad of [7, null, {}, { signedTimestamp: "!" }, { signedTimestamp: "AAAA" }, { signedTimestamp: 5 }]) {
    bundle.verificationMaterial.timestampVerificationData.rfc3161Timestamps = [bad];
    assert.equal(await judge(utf8(JSON.stringify(bundle)), withTsa(byAuthority())), "CERTIFICATE_NOT_TRUSTED");
    bundle.verificationMaterial.timestampVerificationData.rfc3161Timestamps = [bad, good];
    assert.equal(await judge(utf8(JSON.stringify(bundle)), withTsa(byAuthority())), undefined);
  }
  bundle.verificationMaterial.timestampVerificationData.rfc3161Timestamps = new Array(17).fill(good);
  assert.equal(await judge(utf8(JSON.stringify(bundle)), withTsa(byAuthority())), "BUNDLE_INVALID");
});

test("a time that may lie after the certificate's end does not rescue it, however exact it looks", async () => {
  const hours = sequence(Uint8Array.of(0x02, 0x02, 0x1c, 0x20));
  const late = { at: NOW - 10 * DAY - 3_600_000 };
  assert.equal(await judge(await stamped(late), withTsa(byAuthority())), undefined);
  assert.equal(
    await judge(await stamped({ ...late, tail: [hours] }), withTsa(byAuthority())),
    "CERTIFICATE_NOT_TRUSTED",
  );
  const early = { at: NOW - 10 * DAY - 3 * 3_600_000, tail: [hours] };
  assert.equal(await judge(await stamped(early), withTsa(byAuthority())), undefined);
});

test("the timestamp of one signature is none of another", async () => {
  const [first, second] = [await stamped({}), await stamped({})].map((bytes) =>
    JSON.parse(Buffer.from(bytes).toString()),
  );
  second.verificationMaterial.timestampVerificationData = first.verificationMaterial.timestampVerificationData;
  assert.equal(await judge(utf8(JSON.stringify(second)), withTsa(byAuthority())), "CERTIFICATE_NOT_TRUSTED");
});

test("the earliest time that fits the certificate is told, of a key signature any", async () => {
  const bundle = await stamped({ at: NOW - 40 * DAY }, { at: NOW - 15 * DAY }, { at: NOW - 18 * DAY });
  assert.equal(verifyBundle(bundle, withTsa(byAuthority())).seenAt?.atMs, NOW - 18 * DAY);
  const { signer: key, publicPem } = makePair();
  const stamp = async (bytes: Uint8Array) => [authority.stamp({ bytes, at: NOW - DAY })];
  const { bundle: byKey } = await signModel({ root: model, signer: { ...key, stamp } });
  const trust = trustKeys([publicPem]);
  assert.equal(verifyBundle(byKey, trust).seenAt, undefined);
  assert.equal(verifyBundle(byKey, withTsa(trust)).seenAt?.atMs, NOW - DAY);
  assert.equal(verifyBundle(byKey, withTsa(trust, other)).seenAt, undefined);
});

test("a path is tried at the earliest few times alone: anybody can add more", async () => {
  const early = [44, 43, 42, 41].map((days) => ({ at: NOW - days * DAY }));
  assert.equal(await judge(await stamped(...early.slice(1), {}), withTsa(byAuthority())), undefined);
  assert.equal(await judge(await stamped(...early, {}), withTsa(byAuthority())), "CERTIFICATE_NOT_TRUSTED");
  const later = Array.from({ length: 15 }, (_, index) => ({ at: NOW - index * 1000 }));
  assert.equal(await judge(await stamped(...later, {}), withTsa(byAuthority())), undefined);
});

test("a policy names whose timestamps count", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "root.pem"), pemOf(root));
  writeFileSync(join(folder, "tsa.pem"), pemOf(authority.root));
  const rules = `signers: { release: { ca: root.pem, subject: "CN=Signer" } }\nrules: [{ models: ["*@*"], signers: [release] }]\n`;
  writeFileSync(join(folder, "bare.yaml"), `version: 1\n${rules}`);
  writeFileSync(join(folder, "timed.yaml"), `version: 1\ntimestamp_authorities: [tsa.pem]\n${rules}`);
  const signatures = [{ name: "model.sig", bytes: await stamped({}) }];
  const ask = async (file: string) =>
    requirePolicy(await readSignerPolicy(join(folder, file)), { model: "m@1", signatures, statements: [], atMs: NOW });
  assert.deepEqual((await ask("timed.yaml")).signers, ["release"]);
  assert.equal(await codeOf(() => ask("bare.yaml")), "SIGNER_POLICY_REFUSED");
});

/** OpenSSL as the timestamp authority, behind HTTP. */
class OpensslAuthority {
  readonly folder = temporaryFolder();
  /** How the token names its certificate; OpenSSL's own choice is SHA-1. */
  essHash = "sha256";
  readonly server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as IncomingMessage) chunks.push(chunk as Buffer);
    assert.equal(request.headers["content-type"], "application/timestamp-query");
    writeFileSync(join(this.folder, "asked.tsq"), Buffer.concat(chunks));
    const made = this.run("ts", "-reply", "-config", "ts.cnf", "-queryfile", this.replay ?? "asked.tsq");
    response.writeHead(this.status, { "content-type": "application/timestamp-reply" }).end(made);
  });
  status = 200;
  /** A request that is answered in place of the one that came. */
  replay: string | undefined;

  static async start(): Promise<OpensslAuthority> {
    const one = new OpensslAuthority();
    one.#prepare();
    one.configure();
    await new Promise<void>((resolve) => one.server.listen(0, "127.0.0.1", resolve));
    after(() => {
      one.server.closeAllConnections();
      one.server.close();
    });
    return one;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/tsa`;
  }

  run(...words: string[]): Buffer {
    return execFileSync(OPENSSL, words, { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
  }

  #prepare(): void {
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    this.run("req", "-x509", ...curve, "-subj", "/CN=TSA root", "-keyout", "root.key", "-out", "root.pem");
    this.run("req", ...curve, "-subj", "/O=Example/CN=TSA", "-keyout", "tsa.key", "-out", "tsa.csr");
    const extensions =
      "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\nbasicConstraints=CA:false\n";
    writeFileSync(join(this.folder, "tsa.ext"), extensions);
    const sign = ["-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile", "tsa.ext"];
    this.run("x509", "-req", "-in", "tsa.csr", ...sign, "-out", "tsa.pem", "-days", "30");
    writeFileSync(join(this.folder, "serial"), "01\n");
  }

  configure(): void {
    const lines = [
      "[tsa]",
      "default_tsa = own",
      "[own]",
      `serial = ${join(this.folder, "serial")}`,
      `signer_cert = ${join(this.folder, "tsa.pem")}`,
      `signer_key = ${join(this.folder, "tsa.key")}`,
      "signer_digest = sha256",
      `ess_cert_id_alg = ${this.essHash}`,
      "default_policy = 1.2.3.4",
      "other_policies = 1.2.3.5",
      "digests = sha256, sha384",
      "accuracy = secs:1, millisecs:500",
      "ordering = yes",
      "tsa_name = yes",
    ];
    writeFileSync(join(this.folder, "ts.cnf"), lines.join("\n"));
  }
}

const ports = {
  fetch: globalThis.fetch,
  clock: systemClock,
  random: systemRandom,
  limits: { attempts: 1, timestampMilliseconds: 5_000 },
};

test("OpenSSL stamps what we sign, verifies it, and we believe it", async (t) => {
  if (!existsSync(OPENSSL)) return t.skip(NO_OPENSSL);
  const tsa = await OpensslAuthority.start();
  const { signer: key, publicPem } = makePair();
  const rootPem = readFileSync(join(tsa.folder, "root.pem"));
  const options = { urls: [tsa.url, tsa.url], policy: "1.2.3.5", authorities: [rootPem] };
  const bundle = await makeBundle(utf8("{}"), withTimestamps(key, options, ports));
  const json = JSON.parse(Buffer.from(bundle).toString());
  const { rfc3161Timestamps } = json.verificationMaterial.timestampVerificationData;
  assert.equal(rfc3161Timestamps.length, 2);
  const [only] = parseDsse(json.dsseEnvelope).signatures;
  writeFileSync(join(tsa.folder, "data"), only?.signature ?? assert.fail());
  for (const { signedTimestamp } of rfc3161Timestamps) {
    writeFileSync(join(tsa.folder, "reply.tsr"), Buffer.from(signedTimestamp, "base64"));
    tsa.run("ts", "-verify", "-data", "data", "-in", "reply.tsr", "-CAfile", "root.pem");
  }
  const { bundle: whole } = await signModel({ root: model, signer: withTimestamps(key, options, ports) });
  const { seenAt } = verifyBundle(whole, trustTimestamps(trustKeys([publicPem]), [rootPem], Date.now()));
  assert.ok(seenAt && Math.abs(seenAt.atMs - Date.now()) < 60_000);
  assert.deepEqual([seenAt.accuracyMs, seenAt.authority], [1500, "CN=TSA,O=Example"]);
  const make = (more: object, clock = systemClock) =>
    codeOf(() => makeBundle(utf8("{}"), withTimestamps(key, { ...options, ...more }, { ...ports, clock })));
  assert.equal(await make({ authorities: [pemOf(authority.root)] }), "TIMESTAMP_WRONG");
  assert.equal(await make({ authorities: undefined }), undefined);
  assert.equal(await make({ policy: "1.2.3.6" }), "TIMESTAMP_WRONG");
  assert.equal(await make({ policy: "1.2.x" }), "TIMESTAMP_INVALID");
  assert.equal(await make({}, { ...systemClock, now: () => Date.now() + DAY }), "TIMESTAMP_WRONG");
  writeFileSync(join(tsa.folder, "old.tsq"), readFileSync(join(tsa.folder, "asked.tsq")));
  tsa.replay = "old.tsq";
  assert.equal(await make({}), "TIMESTAMP_WRONG");
  tsa.replay = undefined;
  tsa.essHash = "sha1";
  tsa.configure();
  assert.equal(await make({}), "TIMESTAMP_WRONG");
  tsa.status = 500;
  assert.equal(await make({}), "TIMESTAMP_REFUSED");
  for (const url of ["ftp://tsa.example", "https://me:secret@tsa.example", "tsa.example", "http://a/#b"])
    assert.equal(await make({ urls: [url] }), "INVALID_INPUT", url);
  assert.equal(await make({ urls: new Array(17).fill(tsa.url) }), "INVALID_INPUT");
  assert.equal(await make({ urls: ["http://127.0.0.1:9/"] }), "TIMESTAMP_UNREACHABLE");
});

test("the command line stamps, verifies after the certificate's end, and leaves nothing where no stamp came", async (t) => {
  if (!existsSync(OPENSSL)) return t.skip(NO_OPENSSL);
  const tsa = await OpensslAuthority.start();
  const folder = temporaryFolder();
  const write = (name: string, content: string | Buffer) => {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const short = makeCertificate({
    subject: "Signer",
    issuer: root,
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.codeSigning],
    notBefore: Date.now() - DAY,
    notAfter: Date.now() + DAY,
  });
  const key = write("signer.pem", pkcs8(short));
  const certificate = write("signer.crt", pemOf(short));
  const ca = write("ca.pem", pemOf(root));
  const tsaRoot = join(tsa.folder, "root.pem");
  const place = writeModel({ "weights.bin": "0123456789" });
  const sign = (...words: string[]) => modelkeep(["sign", place, "--key", key, "--certificate", certificate, ...words]);
  assert.equal((await sign("--timestamp", "http://127.0.0.1:9/")).exit, 6);
  assert.equal((await sign("--timestamp", tsa.url, "--tsa", ca)).exit, 1);
  assert.equal((await sign("--tsa", tsaRoot)).exit, 2);
  assert.deepEqual(readdirSync(place), ["weights.bin"]);
  assert.equal((await sign("--timestamp", tsa.url, "--tsa", tsaRoot)).exit, 0);
  const later = new Date(Date.now() + 2 * DAY).toISOString();
  const verify = (...words: string[]) =>
    modelkeep(["verify", place, "--ca", ca, "--subject", "CN=Signer", "--at", later, ...words]);
  const refused = await verify();
  assert.equal(refused.exit, 4);
  assert.match(refused.stderr, /--tsa/);
  const done = await verify("--tsa", tsaRoot, "--json");
  assert.equal(done.exit, 0, done.stderr);
  assert.equal(JSON.parse(done.stdout).seen_at.authority, "CN=TSA,O=Example");
  assert.equal((await verify("--tsa", ca)).exit, 4);
});
