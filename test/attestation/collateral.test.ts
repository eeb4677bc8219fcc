/** Collateral: what a file is, fetching from a counterpart of the vendors' services on loopback, bundles, rollback. */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import {
  type CollateralBundle,
  createFetcher,
  makeBundle,
  openBundle,
  openCollateral,
  readCollateralSet,
} from "../../src/attestation/index.ts";
import { ModelkeepError, silentLog, utf8 } from "../../src/base/index.ts";
import { makeAuthority, makeCrl } from "../support/der-writer.ts";
import { runCli } from "./support/cli.ts";
import { bytesOf, hasVectors, ABSENT as NO_VECTORS, textOf } from "./support/dcap-vectors.ts";

const skip = hasVectors ? false : NO_VECTORS;
const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;
const file = (path: string) => ({ name: path, bytes: bytesOf(path) });

const authority = makeAuthority({ subject: "ARK-Genoa" });
const crl = (): Uint8Array =>
  makeCrl({ issuer: authority, thisUpdate: Date.UTC(2026, 0, 1), nextUpdate: Date.UTC(2027, 0, 1) });

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Stands in for AMD's, Intel's and NVIDIA's services; nothing of it is theirs but the recorded files. */
async function counterpart(t: TestContext, handler: Handler): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    handler(request, response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => new Promise((done) => server.close(done)));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

function home(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-collateral-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

const EVAL_18 = "tdx/collateral-2026-03-eval18";

/** The header forms of Intel's service: percent-encoded PEM. */
const intel: Handler = ({ url = "" }, response) => {
  const chain = (name: string) => encodeURIComponent(textOf(`${EVAL_18}/${name}`));
  const send = (body: Uint8Array | string, headers = {}) => response.writeHead(200, headers).end(body);
  if (url === "/tdx/certification/v4/tcb?fmspc=90C06F000000")
    return send(bytesOf(`${EVAL_18}/tcb_info_90c06f000000.json`), {
      "TCB-Info-Issuer-Chain": chain("tcb_signing_chain.pem"),
    });
  if (url === "/tdx/certification/v4/qe/identity")
    return send(bytesOf(`${EVAL_18}/td_qe_identity.json`), {
      "SGX-Enclave-Identity-Issuer-Chain": chain("qe_identity_signing_chain.pem"),
    });
  if (url === "/sgx/certification/v4/pckcrl?ca=platform&encoding=der")
    return send(bytesOf(`${EVAL_18}/pck_crl_platform.der`), {
      "SGX-PCK-CRL-Issuer-Chain": chain("tcb_signing_chain.pem"),
    });
  if (url === "/sgx/certification/v4/rootcacrl")
    return send(Buffer.from(bytesOf(`${EVAL_18}/root_ca_crl.der`)).toString("hex"));
  response.writeHead(404).end();
};

test("Intel: fetched, kept, and enough to judge the quote without a network", { skip }, async (t) => {
  const { url, asked } = await counterpart(t, intel);
  const cwd = home(t);
  const run = (...words: readonly string[]) => runCli(words, { cwd });
  writeFileSync(join(cwd, "quote.json"), bytesOf("tdx/dstack-v4-90c06f-eventlog/quote-report.json"));
  const fetched = await run(
    "collateral",
    "fetch",
    "quote.json",
    "--kind",
    "tdx",
    "--pcs",
    `${url}/`,
    "--folder",
    "kept",
  );
  assert.equal(fetched.exit, 0, fetched.stderr);
  assert.equal(asked.length, 4);
  assert.deepEqual(readdirSync(join(cwd, "kept")), ["intel-tdx-90c06f000000-platform.json"]);
  const words = ["attest", "verify", "quote.json", "--kind", "tdx", "--collateral", "kept", "--json", "--at"];
  const verified = await run(...words, "2026-03-20");
  assert.equal(verified.exit, 0, verified.stdout);
  assert.equal(JSON.parse(verified.stdout).tcbStatus, "UpToDate");
  assert.equal((await run(...words, "2026-06-20")).exit, 4);
});

test("AMD: certificate for the reported firmware, chain and list", { skip }, async (t) => {
  const { url, asked } = await counterpart(t, ({ url: path = "" }, response) => {
    if (path.endsWith("/cert_chain")) return response.end(bytesOf("sev-snp/roots/ask_ark_genoa.pem"));
    if (path.endsWith("/crl")) return response.end(crl());
    response.end(bytesOf("sev-snp/genoa-v5/vcek.der"));
  });
  const cwd = home(t);
  writeFileSync(join(cwd, "report.bin"), bytesOf("sev-snp/genoa-v5/report.bin"));
  const ran = await runCli(["collateral", "fetch", "report.bin", "--kind", "snp", "--kds", url, "--folder", "kept"], {
    cwd,
  });
  assert.equal(ran.exit, 0, ran.stderr);
  assert.ok(asked.some((line) => /^GET \/vcek\/v1\/Genoa\/[0-9a-f]{128}\?blSPL=10&teeSPL=00&snpSPL=27/.test(line)));
  assert.ok(asked.includes("GET /vcek/v1/Genoa/cert_chain") && asked.includes("GET /vcek/v1/Genoa/crl"));
  assert.equal(readdirSync(join(cwd, "kept")).length, 3);
});

test("NVIDIA: manifests of the report's versions", { skip }, async (t) => {
  const { asked, url } = await counterpart(t, (_request, response) => response.writeHead(404).end());
  const cwd = home(t);
  writeFileSync(join(cwd, "gpu.json"), bytesOf("nvidia-gpu/serialized/hopper_evidence.json"));
  const words = ["collateral", "fetch", "gpu.json", "--kind", "nvidia", "--rim", url, "--ocsp", url];
  const ran = await runCli(words, { cwd });
  assert.equal(ran.exit, 6);
  assert.match(ran.stderr, /404/);
  assert.ok(asked.every((line) => /^GET \/v1\/rim\/NV_GPU_(?:DRIVER|VBIOS)_GH100_/.test(line)));
});

test("one question at a time, patience with a busy service, no patience with a no, and a limit of bytes", async (t) => {
  let busy = 2;
  const { url, asked } = await counterpart(t, ({ url: path }, response) => {
    if (path === "/busy" && busy-- > 0) return response.writeHead(503, { "retry-after": "1" }).end();
    if (path === "/no") return response.writeHead(403).end();
    if (path === "/always") return response.writeHead(429).end();
    if (path === "/moved") return response.writeHead(302, { location: "/busy" }).end();
    response.end(new Uint8Array(100));
  });
  const waited: number[] = [];
  const clock = { now: () => 0, monotonic: () => 0 };
  const wait = async (ms: number) => void waited.push(ms);
  const fetcher = createFetcher({ fetch, clock, wait });
  const both = await Promise.all([fetcher.ask({ url: `${url}/busy` }), fetcher.ask({ url: `${url}/busy` })]);
  assert.equal(both[0], both[1]);
  assert.equal(asked.length, 3);
  assert.deepEqual(waited, [1000, 1000]);
  await assert.rejects(fetcher.ask({ url: `${url}/no` }), failsWith("COLLATERAL_UNREACHABLE"));
  assert.equal(asked.filter((line) => line.endsWith("/no")).length, 1);
  await assert.rejects(fetcher.ask({ url: `${url}/always` }), failsWith("COLLATERAL_UNREACHABLE"));
  assert.equal(asked.filter((line) => line.endsWith("/always")).length, 4);
  await assert.rejects(fetcher.ask({ url: `${url}/large`, maxBytes: 99 }), failsWith("COLLATERAL_UNREACHABLE"));
  await assert.rejects(fetcher.ask({ url: `${url}/moved` }), failsWith("COLLATERAL_UNREACHABLE"));
  await assert.rejects(fetcher.ask({ url: "http://127.0.0.1:1/" }), failsWith("COLLATERAL_UNREACHABLE"));
});

function makeKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    keyId: "k",
    privateKey,
    publicKey,
    sign: async (bytes: Uint8Array) => new Uint8Array(sign("sha256", bytes, privateKey)),
    verifies: (bytes: Uint8Array, signature: Uint8Array) => verify("sha256", bytes, publicKey, signature),
  };
}

test("a bundle comes back as it was; any changed byte, another key, another name is refused", async () => {
  const key = makeKey();
  const bundle: CollateralBundle = { createdAt: 1_700_000_000_000, files: [{ name: "amd-crl.der", bytes: crl() }] };
  const text = utf8(await makeBundle(bundle, key));
  assert.deepEqual(openBundle(text, [makeKey(), key]), bundle);
  assert.throws(() => openBundle(text, [makeKey()]), failsWith("COLLATERAL_BUNDLE_INVALID"));
  assert.throws(() => openBundle(text, []), failsWith("COLLATERAL_BUNDLE_INVALID"));
  for (const name of ["../evil", "/etc/passwd", ".hidden", "a/b", "", "a\u0000"]) {
    const evil = utf8(await makeBundle({ ...bundle, files: [{ name, bytes: crl() }] }, key));
    assert.throws(() => openBundle(evil, [key]), failsWith("COLLATERAL_BUNDLE_INVALID"), name);
  }
  const twice = [...bundle.files, { name: "AMD-crl.der", bytes: crl() }];
  const double = utf8(await makeBundle({ ...bundle, files: twice }, key));
  assert.throws(() => openBundle(double, [key]), failsWith("COLLATERAL_BUNDLE_INVALID"));
  await assert.rejects(
    makeBundle({ ...bundle, files: [{ name: "x", bytes: utf8("x") }] }, key),
    failsWith("COLLATERAL_UNREADABLE"),
  );
  const end = text.length - 2;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: end }), fc.integer({ min: 1, max: 255 }), (place, change) => {
      const changed = Uint8Array.from(text);
      changed[place] = (changed[place] ?? 0) ^ change;
      try {
        assert.deepEqual(openBundle(changed, [key]), bundle);
      } catch (error) {
        assert.ok(failsWith("COLLATERAL_BUNDLE_INVALID")(error), String(error));
      }
    }),
    { numRuns: 200 },
  );
});

test("trap 15: export here, import there; an older bundle is refused until it is asked for", async (t) => {
  const cwd = home(t);
  const { privateKey, publicKey } = makeKey();
  writeFileSync(join(cwd, "key.pem"), privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(join(cwd, "key.pub"), publicKey.export({ type: "spki", format: "pem" }));
  mkdirSync(join(cwd, "here"));
  writeFileSync(join(cwd, "here/amd-crl.der"), crl());
  writeFileSync(join(cwd, "here/readme.txt"), "not collateral");
  const run = (...words: readonly string[]) => runCli(["collateral", ...words], { cwd });
  const exported = (name: string) => run("export", "--key", "key.pem", "--folder", "here", "--output", name);
  const imported = (...words: readonly string[]) => run("import", ...words, "--trust", "key.pub", "--folder", "there");
  assert.equal((await exported("old.json")).exit, 0);
  await new Promise((done) => setTimeout(done, 5));
  assert.equal((await exported("new.json")).exit, 0);
  assert.equal((await imported("new.json")).exit, 0);
  assert.deepEqual(readdirSync(join(cwd, "there")).sort(), [".imported", "amd-crl.der"]);
  assert.deepEqual(readFileSync(join(cwd, "there/amd-crl.der")), readFileSync(join(cwd, "here/amd-crl.der")));
  assert.equal((await imported("new.json")).exit, 0, "the same again");
  const older = await imported("old.json", "--json");
  assert.equal(older.exit, 4);
  assert.match(older.stdout, /COLLATERAL_ROLLBACK/);
  assert.equal((await imported("old.json", "--allow-older")).exit, 0);
  assert.equal((await run("import", "new.json", "--folder", "there")).exit, 2, "nobody is trusted unless named");
  writeFileSync(join(cwd, "there/.imported"), "soon\n");
  assert.equal((await imported("new.json")).exit, 4);
  rmSync(join(cwd, "here/amd-crl.der"));
  assert.equal((await exported("none.json")).exit, 1);
});

test("files are known by what they are", { skip }, () => {
  const set = readCollateralSet([
    file("sev-snp/roots/ask_ark_milan.pem"),
    file("sev-snp/genoa-v5/vcek.der"),
    file(`${EVAL_18}/root_ca_crl.der`),
    file(`${EVAL_18}/td_qe_identity.json`),
    file(`${EVAL_18}/tcb_info_90c06f000000.json`),
    file("nvidia-gpu/switch-ls10/vbios_rim.xml"),
    { name: "hex", bytes: utf8(`${Buffer.from(bytesOf(`${EVAL_18}/pck_crl_platform.der`)).toString("hex")}\n`) },
    { ...file("tdx/phala-v4-b0c06f/quote.bin"), named: false },
  ]);
  const counts = [set.certificates, set.chains, set.crls, set.tcbInfos, set.qeIdentities, set.rims].map(
    (x) => x.length,
  );
  assert.deepEqual(counts, [3, 1, 2, 1, 1, 1]);
  assert.deepEqual(set.passedOver, ["tdx/phala-v4-b0c06f/quote.bin"]);
  assert.throws(() => readCollateralSet([file("tdx/phala-v4-b0c06f/quote.bin")]), failsWith("COLLATERAL_UNREADABLE"));
});

test("files of any bytes are collateral or COLLATERAL_UNREADABLE, never a crash", () => {
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Uint8Array.from([0x30, 0x82, 1, 0, ...bytes])),
    fc.json().map(utf8),
    fc.json().map((text) => utf8(`{"tcb_info":${text}}`)),
    fc.json().map((text) => utf8(`{"keys":${text}}`)),
    fc.string().map((text) => utf8(`-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`)),
  );
  fc.assert(
    fc.property(any, (bytes) => {
      try {
        readCollateralSet([{ name: "x", bytes }]);
      } catch (error) {
        assert.ok(failsWith("COLLATERAL_UNREADABLE")(error), String(error));
      }
      readCollateralSet([{ name: "x", bytes, named: false }]);
    }),
    { numRuns: 500 },
  );
});

test("a server's collateral is the same object until files change, and the last good one when they break", async (t) => {
  const folder = home(t);
  writeFileSync(join(folder, "a.der"), crl());
  let now = 0;
  const clock = { now: () => 0, monotonic: () => now };
  const current = await openCollateral({ paths: [folder], clock, log: silentLog });
  const first = await current();
  now = 61_000;
  assert.equal(await current(), first);
  writeFileSync(join(folder, "b.der"), crl());
  assert.equal(await current(), first, "not before a minute has passed");
  now = 122_000;
  const second = await current();
  assert.equal(second.crls.length, 2);
  rmSync(folder, { recursive: true });
  now = 183_000;
  assert.equal(await current(), second);
  mkdirSync(folder);
  await assert.rejects(openCollateral({ paths: [join(folder, "none")], clock, log: silentLog }));
});
