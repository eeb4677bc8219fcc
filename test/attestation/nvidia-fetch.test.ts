/** NVIDIA's services, as counterparts of a test authority written from their documentation: fetched once, kept, and enough to judge. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type TestContext, test } from "node:test";
import { createFetcher, fetchCollateral, readCollateralSet } from "../../src/attestation/index.ts";
import { parseGpuEvidence } from "../../src/attestation/nvidia/evidence.ts";
import { verifyNrasToken } from "../../src/attestation/nvidia/nras.ts";
import { createNvidiaJudge } from "../../src/attestation/nvidia/verifier.ts";
import { ModelkeepError, toBase64, utf8 } from "../../src/base/index.ts";
import { parseCertificate } from "../../src/codec/index.ts";
import { systemClock, systemFetch, systemRandom } from "../../src/host/index.ts";
import { makeCertificate, makeOcspResponse, type Party } from "../support/der-writer.ts";
import { goodAnswer } from "./support/nras.ts";
import {
  CC_ON,
  failedRules,
  golden,
  makeDevice,
  makeDeviceRoot,
  makeNras,
  makeRim,
  makeRimSigner,
  NONCE,
  NOW,
  profileOf,
  writeReport,
} from "./support/nvidia.ts";

const HOUR = 3_600_000;
const root = makeDeviceRoot();
const devices = [makeDevice({ root }), makeDevice({ root })];
const signer = makeRimSigner();
const active = (from: number, to: number) =>
  new Map(Array.from({ length: to - from }, (_, i) => [from + i, [golden(from + i)]] as const));
const RIMS: Readonly<Record<string, Uint8Array>> = {
  "NV_GPU_DRIVER_GH100_580.1": makeRim({ version: "580.1", active: active(0, 20) }, signer),
  NV_GPU_VBIOS_1010_0205_862_9600740020: makeRim({ version: "96.00.74.00.20", active: active(20, 35) }, signer),
};
const anchors = {
  device: [parseCertificate(root.der).sha256],
  rim: [parseCertificate(signer.parties.at(-1)?.der ?? root.der).sha256],
};

const evidence = utf8(
  JSON.stringify({
    device_evidence_list: devices.map(({ parties: [leaf], pem }) => ({
      ...{ arch: "HOPPER", evidence: toBase64(writeReport(leaf.privateKey)), certificate: toBase64(utf8(pem)) },
    })),
    cc_state: CC_ON,
  }),
);

/** By serial number: the certificate and who issued it. */
const issuedBy = new Map<string, Party>();
for (const { parties } of devices) for (const [i, party] of parties.slice(0, -1).entries()) note(party, parties[i + 1]);
for (const [i, party] of signer.parties.slice(0, -1).entries()) note(party, signer.parties[i + 1]);

function note(party: Party, issuer: Party | undefined): void {
  if (issuer) issuedBy.set(parseCertificate(party.der).serialHex, issuer);
}

interface Behaviour {
  readonly answeredAt?: number;
  readonly revoked?: string;
  /** What the responder says about the nonce. */
  readonly nonce?: "echo" | "none" | "another";
  readonly busy?: number;
}

async function services(t: TestContext, behaviour: Behaviour = {}) {
  const asked: string[] = [];
  let busy = behaviour.busy ?? 0;
  const nras = makeNras();
  const server = createServer(async (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const id = /^\/v1\/rim\/(.+)$/.exec(request.url ?? "")?.[1];
    if (busy-- > 0) return response.writeHead(503, { "retry-after": "0" }).end();
    if (request.url === "/jwks.json") return response.end(nras.jwks);
    if (id !== undefined) {
      const rim = RIMS[id];
      if (!rim) return response.writeHead(404).end();
      return response.end(JSON.stringify({ id, rim: toBase64(rim), sha256: "", last_updated: "", request_id: "1" }));
    }
    response.end(answer(await readAll(request), behaviour));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  return { asked, nras, services: { rim: url, ocsp: `${url}/ocsp`, nras: `${url}/jwks.json` } };
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** Finds the serial number and the nonce in the request, and answers with a certificate of the issuer's responder. */
function answer(request: Buffer, { answeredAt = NOW - HOUR, revoked, nonce = "echo" }: Behaviour): Uint8Array {
  const hex = request.toString("hex");
  const found = [...issuedBy].find(([serial]) => hex.includes(`02${sizeOf(serial)}${serial}`));
  assert.ok(found, "a certificate that this authority knows");
  const [serial, issuer] = found;
  const at = hex.indexOf("2b0601050507300102");
  assert.ok(at > 0, "the question has a nonce");
  const asked = request.subarray(at / 2 + 9 + 4, at / 2 + 9 + 4 + 32);
  const responder = makeCertificate({
    subject: "OCSP responder",
    ...{ issuer, ca: false, keyUsage: ["digitalSignature"], keyKind: "P-384" as const },
    extendedKeyUsage: ["1.3.6.1.5.5.7.3.9"],
  });
  return makeOcspResponse({
    ...{ serial: BigInt(`0x${serial}`), issuer, responder, thisUpdate: answeredAt, nextUpdate: answeredAt + 24 * HOUR },
    status: serial === revoked ? "revoked" : "good",
    ...(nonce === "none" ? {} : { nonce: nonce === "echo" ? asked : new Uint8Array(32) }),
  });
}

const sizeOf = (serial: string) => (serial.length / 2).toString(16).padStart(2, "0");

const fetchFrom = (part: Awaited<ReturnType<typeof services>>, file = evidence) =>
  fetchCollateral({
    ...{ kind: "nvidia", evidence: file, chains: [], services: part.services, random: systemRandom },
    fetcher: createFetcher({ fetch: systemFetch, clock: systemClock, wait: async () => undefined }),
  });

function judge(files: Awaited<ReturnType<typeof fetchCollateral>>, now = NOW) {
  const { rims, ocsp } = readCollateralSet(files);
  const verdict = createNvidiaJudge({ profile: profileOf({ gpu_count: 2 }), rims, ocsp, anchors });
  return failedRules(verdict(parseGpuEvidence(evidence), NONCE, now));
}

test("manifests and answers about every certificate are fetched once each, and are enough for the strict profile", async (t) => {
  const part = await services(t);
  const files = await fetchFrom(part);
  assert.equal(part.asked.filter((line) => line.startsWith("GET /v1/rim/")).length, 2, "both GPUs run the same");
  assert.equal(
    part.asked.filter((line) => line === "POST /ocsp").length,
    2 * 3 + 3,
    "of each device and of the signer",
  );
  assert.deepEqual(judge(files), []);
  assert.deepEqual(judge(files.filter(({ name }) => !name.includes("ocsp"))).slice(0, 1), ["nvidia.device.revocation"]);
  const names = files.map(({ name }) => name).sort();
  assert.deepEqual((await fetchFrom(part)).map(({ name }) => name).sort(), names, "the same names: files are replaced");
});

test("what was fetched is kept until it is stale: then it is refused, and fetching again helps", async (t) => {
  const files = await fetchFrom(await services(t));
  const later = NOW + 48 * HOUR;
  assert.ok(judge(files, later).includes("nvidia.device.revocation"));
  assert.deepEqual(judge(await fetchFrom(await services(t, { answeredAt: later - HOUR })), later), []);
});

test("a revoked certificate of a device or a signer is refused", async (t) => {
  const [chip, upper] = [devices[1]?.parties[1], signer.parties[1]];
  assert.ok(chip && upper);
  const of = async (party: Party) =>
    judge(await fetchFrom(await services(t, { revoked: parseCertificate(party.der).serialHex })));
  assert.deepEqual(await of(chip), ["nvidia.device.revocation"]);
  assert.ok((await of(upper)).every((rule) => rule === "nvidia.rim.revocation"));
});

test("nonce: echoed or left out is an answer, another one is not; a busy service is asked again", async (t) => {
  const unreachable = (error: unknown) => error instanceof ModelkeepError && error.code === "COLLATERAL_UNREACHABLE";
  assert.deepEqual(judge(await fetchFrom(await services(t, { nonce: "none" }))), []);
  await assert.rejects(async () => fetchFrom(await services(t, { nonce: "another" })), unreachable);
  const busy = await services(t, { busy: 2 });
  assert.deepEqual(judge(await fetchFrom(busy)), []);
  assert.ok(busy.asked.length > 11);
});

test("the attestation service: its keys are fetched, and its token is verified with them", async (t) => {
  const part = await services(t);
  const file = goodAnswer(part.nras);
  const files = await fetchFrom(part, file);
  assert.deepEqual(
    files.map(({ name }) => name),
    ["nvidia-nras-keys.json"],
  );
  assert.deepEqual(part.asked, ["GET /jwks.json"]);
  const { nrasKeys } = readCollateralSet(files);
  const check = (keys: typeof nrasKeys, anchor: string) => {
    const profile = profileOf({ nras_anchors: [anchor], gpu_count: 1 });
    const asked = { answer: file, keys, profile, now: NOW + 1000, expectedNonce: NONCE, ccState: CC_ON };
    return failedRules(verifyNrasToken(asked));
  };
  assert.deepEqual(check(nrasKeys, part.nras.anchor), []);
  assert.deepEqual(check([], part.nras.anchor), ["nvidia.nras.key", "nvidia.nras.signature"]);
  assert.deepEqual(check(nrasKeys, "00".repeat(32)), ["nvidia.nras.key", "nvidia.nras.signature"]);
});
