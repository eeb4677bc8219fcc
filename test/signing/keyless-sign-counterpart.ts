/** A counterpart of Fulcio, Rekor 1 and 2, a timestamp authority and a CI platform on loopback, written from their API references. */
import assert from "node:assert/strict";
import { createHash, createPublicKey, type KeyObject, randomBytes, sign, verify, X509Certificate } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { concatBytes, utf8 } from "../../src/base/index.ts";
import { derInteger, derOctets, dssePae, jcs, parseDer, parsePem, toPem } from "../../src/codec/index.ts";
import type { KeylessEndpoints } from "../../src/signing/index.ts";
import {
  algorithmIdentifier,
  explicit,
  generalizedTime,
  integer,
  type Keys,
  makeAuthority,
  makeCertificate,
  makeKeys,
  octets,
  oid,
  type Party,
  sequence,
  setOf,
  spkiOf,
} from "../support/der-writer.ts";
import { type BundleOptions, SigstoreInstance } from "./sigstore-instance.ts";

export type ServiceName = "fulcio" | "rekor1" | "rekor2" | "tsa" | "actions";
export interface Reply {
  readonly status: number;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}
/** What goes wrong instead of the answer that was made: another one, silence, half of it, or a broken connection. */
type Twist = (made: Reply) => Reply | "silence" | "half" | "cut";

const sha256 = (...parts: Uint8Array[]) =>
  new Uint8Array(
    createHash("sha256")
      .update(concatBytes(...parts))
      .digest(),
  );
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
const json = (value: unknown, status = 200): Reply => ({ status, body: JSON.stringify(value) });

/** A token with these claims over a good one's; only its claims are looked at. */
export function makeToken(claims: Readonly<Record<string, unknown>> = {}): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 300;
  const all = { iss: "https://id.example.com", aud: "sigstore", sub: "1", email: "signer@example.com", exp, ...claims };
  return `${part({ alg: "RS256" })}.${part(all)}.${randomBytes(64).toString("base64url")}`;
}

export class KeylessCounterpart {
  readonly instance = new SigstoreInstance();
  readonly #second: Keys = makeKeys("ed25519");
  readonly #stampRoot: Party = makeAuthority({ subject: "Private TSA root" });
  readonly #stamper: Party = makeCertificate({
    subject: "Private TSA",
    issuer: this.#stampRoot,
    keyUsage: ["digitalSignature"],
    extensions: [{ oid: "2.5.29.37", critical: true, value: sequence(oid("1.3.6.1.5.5.7.3.8")) }],
  });
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  /** The tokens that the authority knows; any when empty. */
  readonly tokens = new Set<string>();
  readonly asked: ServiceName[] = [];
  /** Everything that came in, as text. */
  readonly heard: string[] = [];
  twists: Partial<Record<ServiceName, Twist>> = {};
  /** What the certificate says otherwise. */
  certificate: BundleOptions = {};
  /** A key that the certificate is for, whatever was asked. */
  certifiedKey: KeyObject | undefined;
  stamp: { at?: number; nonce?: bigint | undefined; bytes?: Uint8Array; key?: KeyObject; status?: number } = {};
  /** Changes the entry's body before it is logged. */
  changeBody: (body: object) => object = (body) => body;

  static async start(): Promise<KeylessCounterpart> {
    const counterpart = new KeylessCounterpart();
    await new Promise<void>((resolve) => counterpart.#server.listen(0, "127.0.0.1", resolve));
    after(() => {
      counterpart.#server.closeAllConnections();
      counterpart.#server.close();
    });
    return counterpart;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  endpoints(version: 1 | 2, stamped = version === 2): KeylessEndpoints {
    return {
      authorityUrl: `${this.url}/fulcio`,
      logs: [{ url: `${this.url}/rekor`, version }],
      timestampUrls: stamped ? [`${this.url}/tsa`] : [],
    };
  }

  /** That of the instance, with the second log and the timestamp authority. */
  trustedRoot(): Uint8Array {
    const root = JSON.parse(Buffer.from(this.instance.trustedRoot()).toString());
    const validFor = { start: "2024-01-01T00:00:00Z" };
    const { publicKey } = this.#second;
    root.tlogs.push({
      baseUrl: "https://log2.example",
      hashAlgorithm: "SHA2_256",
      publicKey: { rawBytes: base64(spkiOf(publicKey)), keyDetails: "PKIX_ED25519", validFor },
      logId: { keyId: base64(this.#secondId()) },
    });
    const certificates = [this.#stamper, this.#stampRoot].map(({ der }) => ({ rawBytes: base64(der) }));
    const subject = { organization: "", commonName: "Private TSA" };
    root.timestampAuthorities.push({ subject, uri: "https://tsa.example", certChain: { certificates }, validFor });
    return utf8(JSON.stringify(root));
  }

  /** The log's identity as C2SP's signed notes have it for Ed25519. */
  #secondId(): Uint8Array {
    return sha256(utf8("log2.example\n"), Uint8Array.of(1), spkiOf(this.#second.publicKey).subarray(-32));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    this.heard.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)} ${body.toString("latin1")}`);
    const [name, make] = this.#route(request, body);
    this.asked.push(name);
    let made: Reply;
    try {
      made = make();
    } catch (error) {
      made = json({ code: 3, message: String(error) }, 400);
    }
    const sent = this.twists[name]?.(made) ?? made;
    if (sent === "silence") return;
    if (sent === "cut") return void response.destroy();
    const final = sent === "half" ? made : sent;
    const bytes = Buffer.from(final.body);
    response.writeHead(final.status, { ...final.headers, "content-length": bytes.length });
    if (sent !== "half") return void response.end(bytes);
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
  }

  #route(request: IncomingMessage, body: Buffer): [ServiceName, () => Reply] {
    const url = new URL(request.url ?? "/", this.url);
    if (url.pathname === "/fulcio/api/v2/signingCert") return ["fulcio", () => this.#certify(body)];
    if (url.pathname === "/rekor/api/v1/log/entries") return ["rekor1", () => this.#logFirst(body)];
    if (url.pathname === "/rekor/api/v2/log/entries") return ["rekor2", () => this.#logSecond(body)];
    if (url.pathname === "/tsa") return ["tsa", () => this.#timestamp(body)];
    return ["actions", () => this.#actions(request, url)];
  }

  #actions(request: IncomingMessage, url: URL): Reply {
    assert.equal(url.pathname, "/actions");
    assert.equal(url.searchParams.get("api-version"), "2.0");
    assert.equal(request.headers.authorization, "bearer request-secret");
    const audience = url.searchParams.get("audience");
    const token = makeToken({
      iss: "https://token.actions.githubusercontent.com",
      aud: audience,
      email: undefined,
      sub: "repo:o/r:ref:refs/heads/main",
      job_workflow_ref: "o/r/.github/workflows/sign.yml@refs/heads/main",
    });
    return json({ count: token.length, value: token });
  }

  #certify(body: Buffer): Reply {
    const { certificateSigningRequest, credentials } = JSON.parse(body.toString());
    if (this.tokens.size > 0 && !this.tokens.has(credentials.oidcIdentityToken))
      return json({ code: 16, message: `the token ${credentials.oidcIdentityToken} is not known` }, 401);
    const [block] = parsePem(Buffer.from(certificateSigningRequest, "base64").toString());
    assert.equal(block?.label, "CERTIFICATE REQUEST");
    const [info, , bits] = parseDer(block.der).children;
    const asked = createPublicKey({ key: Buffer.from(info?.children[2]?.raw ?? []), format: "der", type: "spki" });
    assert.ok(verify("sha256", info?.raw ?? new Uint8Array(), asked, bits?.content.subarray(1) ?? new Uint8Array()));
    const claims = JSON.parse(Buffer.from(credentials.oidcIdentityToken.split(".")[1], "base64url").toString());
    const workflow = claims.job_workflow_ref && `https://github.com/${claims.job_workflow_ref}`;
    const publicKey = this.certifiedKey ?? asked;
    const now = Math.floor(Date.now() / 1000) * 1000;
    const options = { identity: workflow ?? claims.email, issuer: claims.iss, ...this.certificate };
    const validity = { notBefore: now - 1000, notAfter: now + 600_000, ...this.certificate.certificate };
    const { der } = this.instance.certify({ publicKey }, { ...options, certificate: validity });
    const certificates = [der, this.instance.authority.der].map((each) => toPem("CERTIFICATE", each));
    return json({ signedCertificateEmbeddedSct: { chain: { certificates } } });
  }

  #logFirst(request: Buffer): Reply {
    const { kind, apiVersion, spec } = JSON.parse(request.toString());
    const envelope = JSON.parse(spec.proposedContent.envelope);
    const pem = Buffer.from(spec.proposedContent.verifiers[0], "base64").toString();
    const payload = bytesOf(envelope.payload);
    const signature = bytesOf(envelope.signatures[0].sig);
    const { publicKey } = new X509Certificate(pem);
    assert.ok(verify("sha256", dssePae(envelope.payloadType, payload), publicKey, signature));
    const hashOf = (bytes: Uint8Array) => ({ algorithm: "sha256", value: hex(sha256(bytes)) });
    const stored = {
      envelopeHash: hashOf(utf8(spec.proposedContent.envelope)),
      payloadHash: hashOf(payload),
      signatures: [{ signature: envelope.signatures[0].sig, verifier: spec.proposedContent.verifiers[0] }],
    };
    const body = jcs(this.changeBody({ apiVersion, kind, spec: stored }));
    const { privateKey, publicKey: logKey } = this.instance.log;
    const logId = sha256(spkiOf(logKey));
    const [logIndex, integratedTime] = [4_000_001, Math.floor(Date.now() / 1000)];
    const promise = jcs({ body: base64(body), integratedTime, logID: hex(logId), logIndex });
    const { other, root } = twoLeaves(body);
    const checkpoint = note("log.example", root, logId, (bytes) => sign("sha256", bytes, privateKey));
    const entry = {
      body: base64(body),
      integratedTime,
      logID: hex(logId),
      logIndex,
      verification: {
        inclusionProof: { checkpoint, hashes: [hex(other)], logIndex: 1, rootHash: hex(root), treeSize: 2 },
        signedEntryTimestamp: base64(sign("sha256", promise, privateKey)),
      },
    };
    return json({ [`${hex(randomBytes(8))}${hex(sha256(Uint8Array.of(0), body))}`]: entry }, 201);
  }

  #logSecond(request: Buffer): Reply {
    const { digest, signature } = JSON.parse(request.toString()).hashedRekordRequestV002;
    assert.equal(bytesOf(digest).length, 32);
    assert.equal(signature.verifier.keyDetails, "PKIX_ECDSA_P256_SHA_256");
    assert.ok(new X509Certificate(bytesOf(signature.verifier.x509Certificate.rawBytes)).publicKey);
    const data = { algorithm: "SHA2_256", digest };
    const spec = { hashedRekordV002: { data, signature } };
    const body = jcs(this.changeBody({ apiVersion: "0.0.2", kind: "hashedrekord", spec }));
    const { other, root } = twoLeaves(body);
    const logId = this.#secondId();
    const envelope = note("log2.example", root, logId, (bytes) => sign(null, bytes, this.#second.privateKey));
    return json({
      logIndex: "1",
      logId: { keyId: base64(logId) },
      kindVersion: { kind: "hashedrekord", version: "0.0.2" },
      integratedTime: "0",
      inclusionPromise: null,
      inclusionProof: {
        logIndex: "1",
        rootHash: base64(root),
        treeSize: "2",
        hashes: [base64(other)],
        checkpoint: { envelope },
      },
      canonicalizedBody: base64(body),
    });
  }

  #timestamp(request: Buffer): Reply {
    const [version, imprint, nonce, wantsCertificate] = parseDer(request).children;
    assert.ok(version && imprint && nonce && wantsCertificate && derInteger(version) === 1n);
    if (this.stamp.status) return { status: 201, body: sequence(sequence(integer(this.stamp.status))) };
    const digest = this.stamp.bytes ? sha256(this.stamp.bytes) : derOctets(imprint.children[1] ?? assert.fail());
    const echoed = "nonce" in this.stamp ? this.stamp.nonce : derInteger(nonce);
    const hash = sequence(oid("2.16.840.1.101.3.4.2.1"));
    const info = sequence(
      integer(1),
      oid("1.3.6.1.4.1.57264.2"),
      sequence(hash, octets(digest)),
      integer(99),
      generalizedTime(this.stamp.at ?? Date.now()),
      ...(echoed === undefined ? [] : [integer(echoed)]),
    );
    const attribute = (type: string, value: Uint8Array) => sequence(oid(type), setOf(value));
    const attributes = setOf(
      attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.9.16.1.4")),
      attribute("1.2.840.113549.1.9.4", octets(sha256(info))),
    );
    const signature = sign("sha256", attributes, this.stamp.key ?? this.#stamper.privateKey);
    const tagged = Uint8Array.from(attributes);
    tagged[0] = 0xa0;
    const signerInfo = sequence(
      integer(1),
      sequence(this.#stampRoot.name, integer(this.#stamper.serial)),
      hash,
      tagged,
      algorithmIdentifier("ecdsa-sha256"),
      octets(signature),
    );
    const content = sequence(oid("1.2.840.113549.1.9.16.1.4"), explicit(0, octets(info)));
    const signedData = sequence(integer(3), setOf(hash), content, explicit(0, this.#stamper.der), setOf(signerInfo));
    const token = sequence(oid("1.2.840.113549.1.7.2"), explicit(0, signedData));
    return { status: 201, body: sequence(sequence(integer(0)), token) };
  }
}

/** A tree of two entries, of which ours is the second (RFC 6962, section 2.1). */
function twoLeaves(body: Uint8Array): { other: Uint8Array; root: Uint8Array } {
  const other = sha256(Uint8Array.of(0), utf8("somebody else's"));
  return { other, root: sha256(Uint8Array.of(1), other, sha256(Uint8Array.of(0), body)) };
}

function note(name: string, root: Uint8Array, id: Uint8Array, by: (bytes: Uint8Array) => Uint8Array): string {
  const text = `${name}\n2\n${base64(root)}\n`;
  return `${text}\n\u2014 ${name} ${base64(concatBytes(id.subarray(0, 4), by(utf8(text))))}\n`;
}
