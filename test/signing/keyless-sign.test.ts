/** Signing without a key: the bundle verifies offline under its own root only, and no service can make us write a wrong one. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { fromBase64, type ModelkeepError, utf8 } from "../../src/base/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import {
  type KeylessOptions,
  loadTrustedKey,
  openKeylessSigner,
  signModel,
  signStatement,
  trustIdentities,
  verifyBundle,
  verifyStatement,
} from "../../src/signing/index.ts";
import { codeOf, writeModel } from "../sealing/support.ts";
import { implicit, makeKeys } from "../support/der-writer.ts";
import { KeylessCounterpart, makeToken, type Reply, type ServiceName } from "./keyless-sign-counterpart.ts";
import { SigstoreInstance } from "./sigstore-instance.ts";

const SIGNER = { identity: "signer@example.com", issuer: "https://id.example.com" };
const root = writeModel({ "weights.bin": "weights", "odd name\n.txt": "", ".hidden/config.json": "{}" });
const counterpart = await KeylessCounterpart.start();

type Overrides = Partial<KeylessOptions> & { readonly version?: 1 | 2; readonly token?: KeylessOptions["token"] };

function optionsFor({ version = 2, ...overrides }: Overrides = {}): KeylessOptions {
  return {
    fetch: globalThis.fetch,
    clock: systemClock,
    random: systemRandom,
    limits: { attempts: 2, backoffMilliseconds: 1, certificateMilliseconds: 2_000, logMilliseconds: 2_000 },
    token: { env: { SIGSTORE_ID_TOKEN: makeToken() } },
    endpoints: counterpart.endpoints(version),
    trustedRoot: counterpart.trustedRoot(),
    ...overrides,
  };
}

async function signWith(overrides: Overrides = {}) {
  const signer = await openKeylessSigner(optionsFor(overrides));
  return { signer, ...(await signModel({ root, signer })) };
}

/** The code of what went wrong, and that nothing wrong was said on the way. */
async function refusal(
  overrides: Overrides = {},
): Promise<{ code: string | undefined; error: ModelkeepError | undefined }> {
  const token = makeToken();
  try {
    await signWith({ token: { env: { SIGSTORE_ID_TOKEN: token } }, ...overrides });
    return { code: undefined, error: undefined };
  } catch (error) {
    for (let inner = error; inner instanceof Error; inner = inner.cause) {
      const said = `${inner.stack} ${JSON.stringify(inner)} ${inner.message}`;
      for (const part of token.split(".").slice(1)) assert.ok(!said.includes(part), "the token is in an error");
    }
    return { code: (error as ModelkeepError).code, error: error as ModelkeepError };
  }
}

/** Runs with the counterpart changed, and puts it right again. */
async function changed(change: Partial<KeylessCounterpart>, work: () => Promise<void>): Promise<void> {
  const keys = Object.keys(change) as (keyof KeylessCounterpart)[];
  const before = Object.fromEntries(keys.map((key) => [key, counterpart[key]]));
  Object.assign(counterpart, change);
  try {
    await work();
  } finally {
    Object.assign(counterpart, before);
  }
}

test("a bundle of every kind of log verifies offline under its own root and under no other", async () => {
  const trust = await trustIdentities([SIGNER], counterpart.trustedRoot());
  const other = await trustIdentities([SIGNER], (await KeylessCounterpart.start()).trustedRoot());
  const kinds = [counterpart.endpoints(1), counterpart.endpoints(1, true), counterpart.endpoints(2)];
  const both = { ...counterpart.endpoints(2), logs: kinds.flatMap(({ logs }) => logs).slice(1) };
  for (const endpoints of [...kinds, both]) {
    const { bundle, signer } = await signWith({ endpoints });
    const manifest = verifyBundle(bundle, trust);
    assert.deepEqual(manifest.signer, { method: "keyless", ...SIGNER });
    assert.deepEqual(signer.identity, manifest.signer);
    assert.equal(manifest.keyId, signer.keyId);
    assert.equal(manifest.resources.length, 3);
    const stamped = endpoints.timestampUrls.length > 0;
    assert.equal(
      await codeOf(() => verifyBundle(bundle, other)),
      stamped ? "LOG_NOT_PROVEN" : "CERTIFICATE_NOT_TRUSTED",
    );
    const { verificationMaterial: material } = JSON.parse(Buffer.from(bundle).toString());
    assert.equal(material.tlogEntries.length, endpoints.logs.length);
    assert.equal(material.timestampVerificationData !== undefined, stamped);
  }
});

test("nobody is asked before there is something to sign, and each service is asked once", async () => {
  counterpart.asked.length = 0;
  const signer = await openKeylessSigner(optionsFor());
  assert.deepEqual(counterpart.asked, []);
  await signModel({ root, signer });
  assert.deepEqual(counterpart.asked, ["fulcio", "tsa", "rekor2"]);
});

test("two bundles have two keys", async () => {
  const [first, second] = [await signWith(), await signWith()];
  assert.notEqual(first.signer.keyId, second.signer.keyId);
});

test("a statement of the same signer is checked with the key of its certificate", async () => {
  const { signer, bundle, rootDigest } = await signWith();
  const predicateType = "https://example.com/statement";
  const statement = await signStatement({
    predicateType,
    predicate: { good: true },
    rootDigest,
    name: "model",
    signer,
  });
  const { signerKey } = verifyBundle(bundle, await trustIdentities([SIGNER], counterpart.trustedRoot()));
  const trust = { publicKeys: [loadTrustedKey(signerKey.pem)] };
  assert.deepEqual(verifyStatement(statement, { trust, predicateType, rootDigest }).predicate, { good: true });
});

const answers = (reply: Partial<Reply>) => (made: Reply) => ({ ...made, ...reply });
const SERVICES: readonly (readonly [ServiceName, 1 | 2])[] = [
  ["fulcio", 2],
  ["tsa", 2],
  ["rekor1", 1],
  ["rekor2", 2],
];

test("a service that fails, is silent or breaks off: refused by a code, and nothing is made", async () => {
  for (const [service, version] of SERVICES) {
    const token = service === "fulcio";
    const twists = {
      "status 400": [answers({ status: 400 }), token ? "KEYLESS_TOKEN_REFUSED" : "KEYLESS_SERVICE_REFUSED"],
      "status 403": [answers({ status: 403 }), token ? "KEYLESS_TOKEN_REFUSED" : "KEYLESS_SERVICE_REFUSED"],
      "status 404": [answers({ status: 404 }), "KEYLESS_SERVICE_REFUSED"],
      "status 409": [answers({ status: 409 }), "KEYLESS_SERVICE_REFUSED"],
      "status 500": [answers({ status: 500 }), "KEYLESS_SERVICE_REFUSED"],
      "status 503": [answers({ status: 503 }), "KEYLESS_SERVICE_REFUSED"],
      "a redirect": [
        answers({ status: 307, headers: { location: `${counterpart.url}/tsa` } }),
        "KEYLESS_SERVICE_REFUSED",
      ],
      "an empty answer": [answers({ body: "" }), "KEYLESS_ANSWER_INVALID"],
      "an empty object": [answers({ body: "{}" }), "KEYLESS_ANSWER_INVALID"],
      "half an answer": [
        (made: Reply) => answers({ body: made.body.slice(0, made.body.length >> 1) })(made),
        "KEYLESS_ANSWER_INVALID",
      ],
      "an endless answer": [answers({ body: new Uint8Array(1024 * 1024 + 1) }), "KEYLESS_ANSWER_INVALID"],
      "a body that breaks off": [() => "half", "KEYLESS_UNREACHABLE"],
      "a broken connection": [() => "cut", "KEYLESS_UNREACHABLE"],
      silence: [() => "silence", "KEYLESS_UNREACHABLE"],
    } as const;
    for (const [what, [twist, expected]] of Object.entries(twists)) {
      const limits = { attempts: 1, certificateMilliseconds: 150, timestampMilliseconds: 150, logMilliseconds: 150 };
      const patient = what === "silence" ? { limits } : {};
      await changed({ twists: { [service]: twist } }, async () => {
        assert.equal((await refusal({ version, ...patient })).code, expected, `${service}: ${what}`);
      });
    }
  }
});

test("what may be repeated is, and an entry is not sent twice unless the log did not take it", async () => {
  const times = (service: ServiceName) => counterpart.asked.filter((name) => name === service).length;
  for (const [service, version] of SERVICES) {
    const once = (reply: Reply | "cut") => {
      let left = 1;
      return (made: Reply) => (left-- > 0 ? reply : made);
    };
    const log = service.startsWith("rekor");
    for (const [reply, repeated] of [
      [{ status: 503, body: "" }, true],
      [{ status: 429, body: "" }, true],
      [{ status: 502, body: "" }, !log],
      ["cut", !log],
    ] as const) {
      counterpart.asked.length = 0;
      await changed({ twists: { [service]: once(reply) } }, async () => {
        assert.equal((await refusal({ version })).code === undefined, repeated, `${service} ${JSON.stringify(reply)}`);
        assert.equal(times(service), repeated ? 2 : 1);
      });
    }
  }
});

test("a certificate of another key, identity, issuer, time or authority: refused before anything is signed or logged", async () => {
  const { publicKey } = makeKeys();
  const now = Date.now();
  const cases: Readonly<Record<string, Partial<KeylessCounterpart>>> = {
    "another key": { certifiedKey: publicKey },
    "a key of another curve": { certifiedKey: makeKeys("P-384").publicKey },
    "another identity": { certificate: { identity: "other@example.com" } },
    "another issuer": { certificate: { issuer: "https://id.example.org" } },
    "two identities": {
      certificate: {
        certificate: {
          subjectAltNames: ["signer@example.com", "b@example.com"].map((name) => implicit(1, utf8(name))),
        },
      },
    },
    expired: { certificate: { certificate: { notBefore: now - 3_600_000, notAfter: now - 3_000_000 } } },
    "not valid yet": { certificate: { certificate: { notBefore: now + 3_000_000, notAfter: now + 3_600_000 } } },
    "for servers": { certificate: { certificate: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"] } } },
    "another authority": { instance: new SigstoreInstance() },
  };
  const trustedRoot = counterpart.trustedRoot();
  for (const [what, change] of Object.entries(cases)) {
    counterpart.asked.length = 0;
    await changed(change, async () => {
      assert.equal((await refusal({ trustedRoot })).code, "KEYLESS_CERTIFICATE_WRONG", what);
      assert.deepEqual(counterpart.asked, ["fulcio"], what);
    });
  }
  const named = { identity: "named@example.com", issuer: "https://named.example.com" };
  await changed({ certificate: named }, async () => {
    assert.equal((await refusal(named)).code, undefined);
    assert.equal((await refusal({ ...named, identity: "Named@example.com" })).code, "KEYLESS_CERTIFICATE_WRONG");
  });
});

test("the wrong certificate stamp, timestamp, entry or proof: no bundle", async () => {
  const edit = (change: (entry: Record<string, never>) => void) => (made: Reply) => {
    const entry = JSON.parse(made.body.toString());
    change(entry);
    return { ...made, body: JSON.stringify(entry) };
  };
  const zeros = Buffer.alloc(32).toString("base64");
  const hour = 3_600_000;
  const unproven: Readonly<Record<string, [1 | 2, Partial<KeylessCounterpart>]>> = {
    "a stale timestamp": [2, { stamp: { at: Date.now() - hour } }],
    "a timestamp of the future": [2, { stamp: { at: Date.now() + hour } }],
    "a timestamp by another key": [2, { stamp: { key: makeKeys().privateKey } }],
    "an entry of another signature": [
      2,
      {
        changeBody: (body) => {
          const copy = structuredClone(body) as { spec: { hashedRekordV002: { signature: { content: string } } } };
          copy.spec.hashedRekordV002.signature.content = randomBytes(70).toString("base64");
          return copy;
        },
      },
    ],
    "an entry of another digest": [
      2,
      {
        changeBody: (body) => {
          const copy = structuredClone(body) as { spec: { hashedRekordV002: { data: { digest: string } } } };
          copy.spec.hashedRekordV002.data.digest = zeros;
          return copy;
        },
      },
    ],
    "an entry of another payload": [
      1,
      {
        changeBody: (body) => {
          const copy = structuredClone(body) as { spec: { payloadHash: { value: string } } };
          copy.spec.payloadHash.value = "00".repeat(32);
          return copy;
        },
      },
    ],
    "a wrong hash in the proof": [
      2,
      { twists: { rekor2: edit((entry) => void Object.assign(entry.inclusionProof ?? {}, { hashes: [zeros] })) } },
    ],
    "no hash in the proof": [
      2,
      { twists: { rekor2: edit((entry) => void Object.assign(entry.inclusionProof ?? {}, { hashes: [] })) } },
    ],
    "another log": [2, { twists: { rekor2: edit((entry) => void Object.assign(entry, { logId: { keyId: zeros } })) } }],
    "a promise of another time": [
      1,
      {
        twists: {
          rekor1: edit((answer) => {
            for (const entry of Object.values(answer)) Object.assign(entry, { integratedTime: 1_759_851_229 });
          }),
        },
      },
    ],
  };
  for (const [what, [version, change]] of Object.entries(unproven)) {
    await changed(change, async () => assert.equal((await refusal({ version })).code, "KEYLESS_UNPROVEN", what));
  }
  const place = edit((entry) => void Object.assign(entry, { logIndex: "0" }));
  await changed({ twists: { rekor2: place } }, async () =>
    assert.equal((await refusal()).code, "KEYLESS_ANSWER_INVALID"),
  );
  const wrong: Readonly<Record<string, KeylessCounterpart["stamp"]>> = {
    "of other bytes": { bytes: utf8("something else") },
    "of another request": { nonce: 1n },
    "of no request": { nonce: undefined },
    "not granted": { status: 2 },
  };
  for (const [what, stamp] of Object.entries(wrong)) {
    counterpart.asked.length = 0;
    await changed({ stamp }, async () => assert.equal((await refusal()).code, "KEYLESS_TIMESTAMP_WRONG", what));
    assert.ok(!counterpart.asked.includes("rekor2"), what);
  }
});

test("the instance's root is the one it is signed for", async () => {
  const other = (await KeylessCounterpart.start()).trustedRoot();
  assert.equal((await refusal({ trustedRoot: other })).code, "KEYLESS_CERTIFICATE_WRONG");
  assert.equal((await refusal({ trustedRoot: undefined })).code, "KEYLESS_CERTIFICATE_WRONG");
  const parts = JSON.parse(Buffer.from(counterpart.trustedRoot()).toString());
  const without = (part: string) => utf8(JSON.stringify({ ...parts, [part]: [] }));
  for (const part of ["tlogs", "ctlogs", "timestampAuthorities"])
    assert.equal((await refusal({ trustedRoot: without(part) })).code, "KEYLESS_UNPROVEN", part);
});

test("a token that the authority does not know is refused, and repeated by nobody", async () => {
  counterpart.tokens.add("another");
  const { code, error } = await refusal();
  counterpart.tokens.clear();
  assert.equal(code, "KEYLESS_TOKEN_REFUSED");
  assert.equal(error?.exit, 3);
});

test("the stamp of the timestamp authority is in the bundle as it came", async () => {
  let sent: Uint8Array | undefined;
  const twist = (made: Reply) => {
    sent = made.body as Uint8Array;
    return made;
  };
  await changed({ twists: { tsa: twist } }, async () => {
    const { bundle } = await signWith();
    const { verificationMaterial: material } = JSON.parse(Buffer.from(bundle).toString());
    assert.deepEqual(fromBase64(material.timestampVerificationData.rfc3161Timestamps[0].signedTimestamp), sent);
  });
});
