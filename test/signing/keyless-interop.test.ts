/** What we sign without a key, judged by sigstore-python under the reference, offline: the same verdicts as ours. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { utf8 } from "../../src/base/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import {
  type KeylessEndpoints,
  openKeylessSigner,
  signModel,
  trustIdentities,
  verifyModel,
} from "../../src/signing/index.ts";
import { codeOf, temporaryFolder, writeModel } from "../sealing/support.ts";
import { KeylessCounterpart, makeToken } from "./keyless-sign-counterpart.ts";
import { REFERENCE_ABSENT, type Reference, startReference } from "./reference.ts";

const SIGNER = { identity: "signer@example.com", issuer: "https://id.example.com" };
const OTHERS = [
  { ...SIGNER, identity: "other@example.com" },
  { ...SIGNER, identity: "signer@example.com.evil.example" },
  { ...SIGNER, identity: "igner@example.com" },
  { ...SIGNER, issuer: "https://id.example.com/" },
];
const counterpart = await KeylessCounterpart.start();
const stranger = await KeylessCounterpart.start();
const model = writeModel({ "weights.bin": "0123456789", "config.json": "{}", ".hidden/one.txt": "" });
let reference: Reference | undefined;
before(() => {
  if (!REFERENCE_ABSENT) reference = startReference();
});
after(() => reference?.stop());

const folder = temporaryFolder();

/** Of a private instance as clients are given it; nobody signs with it here, so that it names no services. */
function trustConfig(of: KeylessCounterpart): string {
  const file = join(folder, `${of === stranger ? "other" : "own"}.json`);
  const signingConfig = {
    mediaType: "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    ...{ caUrls: [], oidcUrls: [], rekorTlogUrls: [], tsaUrls: [] },
    ...{ rekorTlogConfig: { selector: "ANY" }, tsaConfig: { selector: "ANY" } },
  };
  const trustedRoot = JSON.parse(Buffer.from(of.trustedRoot()).toString());
  const mediaType = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json";
  writeFileSync(file, JSON.stringify({ mediaType, trustedRoot, signingConfig }));
  return file;
}

async function signWith(endpoints: KeylessEndpoints): Promise<Uint8Array> {
  const signer = await openKeylessSigner({
    ...{ fetch: globalThis.fetch, clock: systemClock, random: systemRandom, endpoints },
    token: { env: { SIGSTORE_ID_TOKEN: makeToken() } },
    trustedRoot: counterpart.trustedRoot(),
  });
  return (await signModel({ root: model, signer })).bundle;
}

interface Case {
  readonly bundle: Uint8Array;
  readonly root?: string;
  readonly who?: typeof SIGNER;
  readonly under?: KeylessCounterpart;
}

/** Both verdicts; why one refuses is its own affair. */
async function judge({ bundle, root = model, who = SIGNER, under = counterpart }: Case) {
  const signature = join(folder, "model.sig");
  writeFileSync(signature, bundle);
  const trust = await trustIdentities([who], under.trustedRoot());
  let ours = false;
  const code = await codeOf(async () => {
    ours = (await verifyModel({ root, bundle, trust })).verdict === "verified";
  });
  const asked = { op: "verify", model: root, signature, ...who, trust_config: trustConfig(under) } as const;
  const theirs = await reference?.ask(asked);
  return { ours: ours && code === undefined, theirs: theirs?.ok, said: theirs?.error };
}

const LOGS = {
  "a log of the first version": counterpart.endpoints(1),
  "a log of the first version, and a timestamp": counterpart.endpoints(1, true),
  "a log of the second version, and a timestamp": counterpart.endpoints(2),
};

test("sigstore-python verifies what we sign, for that identity and under that root alone", async (t) => {
  if (!reference) return t.skip(REFERENCE_ABSENT);
  for (const [what, endpoints] of Object.entries(LOGS)) {
    const bundle = await signWith(endpoints);
    const good = await judge({ bundle });
    assert.deepEqual([good.ours, good.theirs], [true, true], `${what}: ${good.said}`);
    for (const who of OTHERS) {
      const { ours, theirs } = await judge({ bundle, who });
      assert.deepEqual([ours, theirs], [false, false], `${what}, ${JSON.stringify(who)}`);
    }
    const { ours, theirs } = await judge({ bundle, under: stranger });
    assert.deepEqual([ours, theirs], [false, false], `${what}, under another root`);
    t.diagnostic(`${what}: verified by both, refused by both for ${OTHERS.length} others and another root`);
  }
});

test("whatever is changed in such a bundle or in a file, both refuse", async (t) => {
  if (!reference) return t.skip(REFERENCE_ABSENT);
  const bundle = await signWith(counterpart.endpoints(1));
  const good = await judge({ bundle });
  assert.deepEqual([good.ours, good.theirs], [true, true], good.said);
  const changed = writeModel({ "weights.bin": "012345678X", "config.json": "{}", ".hidden/one.txt": "" });
  const more = writeModel({ "weights.bin": "0123456789", "config.json": "{}", ".hidden/one.txt": "", "evil.py": "" });
  for (const root of [changed, more]) {
    const { ours, theirs } = await judge({ bundle, root });
    assert.deepEqual([ours, theirs], [false, false]);
  }
  for (const [what, change] of Object.entries(CHANGES)) {
    const copy = JSON.parse(Buffer.from(bundle).toString());
    const another = JSON.parse(Buffer.from(await signWith(counterpart.endpoints(1))).toString());
    change(copy, another);
    const { ours, theirs } = await judge({ bundle: utf8(JSON.stringify(copy)) });
    assert.deepEqual([ours, theirs], [false, false], what);
    t.diagnostic(`${what}: refused by both`);
  }
});

interface Bundle {
  verificationMaterial: {
    certificate: { rawBytes: string };
    tlogEntries: { inclusionPromise: { signedEntryTimestamp: string }; integratedTime: string; logIndex: string }[];
  };
  dsseEnvelope: { payload: string; signatures: { sig: string }[] };
}

const flipped = (text: string) => {
  const bytes = Buffer.from(text, "base64");
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return bytes.toString("base64");
};

/** `other` is a bundle of the same signer over the same files. */
const CHANGES: Readonly<Record<string, (bundle: Bundle, other: Bundle) => void>> = {
  "the payload": ({ dsseEnvelope }) => {
    const text = Buffer.from(dsseEnvelope.payload, "base64").toString().replace("weights.bin", "weights.bim");
    dsseEnvelope.payload = Buffer.from(text).toString("base64");
  },
  "the signature": ({ dsseEnvelope: { signatures } }) => {
    for (const one of signatures) one.sig = flipped(one.sig);
  },
  "another certificate of the same identity": ({ verificationMaterial }, other) => {
    verificationMaterial.certificate = other.verificationMaterial.certificate;
  },
  "the entry of another bundle": ({ verificationMaterial }, other) => {
    verificationMaterial.tlogEntries = other.verificationMaterial.tlogEntries;
  },
  "no entry": ({ verificationMaterial }) => {
    verificationMaterial.tlogEntries = [];
  },
  "when it was logged": ({ verificationMaterial: { tlogEntries } }) => {
    for (const entry of tlogEntries) entry.integratedTime = String(Number(entry.integratedTime) + 1);
  },
  "the log's promise": ({ verificationMaterial: { tlogEntries } }) => {
    for (const { inclusionPromise: promise } of tlogEntries)
      promise.signedEntryTimestamp = flipped(promise.signedEntryTimestamp);
  },
};
