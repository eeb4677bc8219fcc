/** Azure's virtual TPM by tpm2-tools on a software TPM (swtpm), the paravisor's report and Azure's address by counterparts. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createPublicKey, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { azureProfile } from "../../src/attestation/azure/profile.ts";
import { verifyAzureSnp } from "../../src/attestation/azure/snp.ts";
import { createAzureCollector } from "../../src/attestation/index.ts";
import { snpProfile } from "../../src/attestation/snp/profile.ts";
import { createSnpJudge } from "../../src/attestation/snp/verifier.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { toPem } from "../../src/codec/index.ts";
import { systemFetch } from "../../src/host/index.ts";
import { freePort } from "../support/ports.ts";
import { hclReportData, makeHcl, runtimeOf } from "./support/azure.ts";
import { runCli } from "./support/cli.ts";
import { makePlatform, makeReport, makeVek, NOW, TCB, usualCrl } from "./support/snp.ts";

const ABSENT =
  existsSync("/usr/bin/swtpm") && existsSync("/usr/bin/tpm2_quote")
    ? false
    : "needs a software TPM: apt-get install swtpm tpm2-tools";
const REPORT_DATA = new Uint8Array(64).map((_, index) => index + 1);
const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;
const failedOf = (rules: readonly { id: string; result: string }[]) =>
  rules.filter(({ result }) => result === "failed").map(({ id }) => id);

interface Tpm {
  readonly tcti: string;
  readonly folder: string;
  readonly key: KeyObject;
  tool(name: string, ...words: readonly string[]): Buffer;
}

const TOOL_MS = 10_000;
const STARTS = 20;

/** tpm2-tools find the control channel at the port after the data channel. */
async function startTpm(t: TestContext): Promise<Tpm> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-swtpm-"));
  const port = await freePort();
  const words = ["socket", "--tpm2", "--tpmstate", `dir=${folder}`, "--flags", "not-need-init,startup-clear"];
  const channels = ["--server", `type=tcp,port=${port}`, "--ctrl", `type=tcp,port=${port + 1}`];
  const child = spawn("swtpm", [...words, ...channels], { stdio: "ignore" });
  const closed = once(child, "close");
  t.after(async () => {
    child.kill();
    await closed;
    rmSync(folder, { recursive: true });
  });
  const tcti = `swtpm:host=127.0.0.1,port=${port}`;
  const tool = (name: string, ...more: readonly string[]) =>
    execFileSync(name, ["-T", tcti, ...more], { cwd: folder, stdio: ["ignore", "pipe", "pipe"], timeout: TOOL_MS });
  for (let tries = 1; ; tries++) {
    try {
      tool("tpm2_getrandom", "4");
      break;
    } catch (error) {
      if (tries === STARTS || child.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  const kind = "restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda";
  tool("tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", "rsa2048:rsassa-sha256:null", "-a", kind, "-c", "ak.ctx");
  tool("tpm2_evictcontrol", "-C", "o", "-c", "ak.ctx", "0x81000003");
  tool("tpm2_readpublic", "-c", "0x81000003", "-f", "pem", "-o", "ak.pem");
  return { tcti, folder, tool, key: createPublicKey(readFileSync(join(folder, "ak.pem"))) };
}

/** As on Azure, but for the zeros behind the report: a software TPM has less room for one index. */
function install(tpm: Tpm, hcl: Uint8Array): void {
  const bytes = hcl.subarray(0, hcl.findLastIndex((byte) => byte !== 0) + 1);
  writeFileSync(join(tpm.folder, "hcl.bin"), bytes);
  tpm.tool("tpm2_nvdefine", "0x01400001", "-C", "o", "-s", String(bytes.length), "-a", "ownerread|ownerwrite");
  tpm.tool("tpm2_nvwrite", "0x01400001", "-C", "o", "-i", "hcl.bin");
}

async function listen(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

async function machine(t: TestContext) {
  const tpm = await startTpm(t);
  const { n, e } = tpm.key.export({ format: "jwk" });
  const runtime = Buffer.from(
    runtimeOf({ keys: [{ kid: "HCLAkPub", key_ops: ["sign"], kty: "RSA", n, e }] }),
  ).toString();
  const platform = makePlatform();
  const vek = makeVek(platform);
  install(
    tpm,
    makeHcl(makeReport(vek, { change: (report) => report.set(hclReportData({ runtime }), 0x50) }), { runtime }),
  );
  const pem = (party: { der: Uint8Array }) => toPem("CERTIFICATE", party.der);
  const body = { vcekCert: pem(vek), certificateChain: pem(platform.ask) + pem(platform.ark), tcbm: "" };
  const asked: string[] = [];
  const metadata = await listen(t, ({ method, url, headers }, response) => {
    asked.push(`${method} ${url} ${headers.metadata}`);
    response.end(JSON.stringify(body));
  });
  const judge = createSnpJudge({
    profile: snpProfile.parse({ minimum_tcb: { Genoa: TCB } }),
    crls: [usualCrl(platform)],
    anchors: platform.anchors,
  });
  const verify = (data: Uint8Array, expectedReportData = REPORT_DATA) =>
    verifyAzureSnp({ data, judge, azure: azureProfile.parse({ allow_any_pcrs: true }), now: NOW, expectedReportData });
  return { tpm, metadata, asked, verify, ports: { fetch: systemFetch, tcti: tpm.tcti, metadata } };
}

test("a machine's evidence is collected by the real tools and accepted; another exchange and changed registers are not", {
  skip: ABSENT,
  timeout: 60_000,
}, async (t) => {
  const { tpm, asked, verify, ports, metadata } = await machine(t);
  const collector = await createAzureCollector(ports);
  assert.equal(collector.kind, "az-snp-vtpm");
  const { data } = await collector.collect(REPORT_DATA);
  const verdict = verify(data);
  assert.deepEqual(failedOf(verdict.rules), []);
  assert.equal(verdict.claims?.azure?.selected.length, 24);
  assert.deepEqual(asked, ["GET /metadata/THIM/amd/certification true"]);
  assert.deepEqual(failedOf(verify(data, new Uint8Array(64)).rules), ["azure.quote.binding"]);
  tpm.tool("tpm2_pcrextend", `8:sha256=${"ab".repeat(32)}`);
  const later = verify((await collector.collect(REPORT_DATA)).data);
  assert.deepEqual(failedOf(later.rules), []);
  assert.notEqual(later.claims?.azure?.pcrs[8], verdict.claims?.azure?.pcrs[8]);
  const mixed = { ...JSON.parse(Buffer.from(data).toString()) };
  mixed.tpm_quote.pcrs[8] = later.claims?.azure?.pcrs[8];
  assert.deepEqual(failedOf(verify(Buffer.from(JSON.stringify(mixed))).rules), ["azure.pcr.digest"]);
  const words = ["attest", "collect", "--from", "azure", "--tcti", tpm.tcti, "--metadata", metadata, "--json"];
  const typed = await runCli([...words, "--nonce", Buffer.from(REPORT_DATA).toString("hex")], { cwd: tpm.folder });
  assert.equal(typed.exit, 0, typed.stderr);
  assert.deepEqual(failedOf(verify(Buffer.from(JSON.parse(typed.stdout).evidence, "base64")).rules), []);
});

test("without tools, without a paravisor, or without Azure's address there is no evidence, and it is said why", {
  skip: ABSENT,
  timeout: 60_000,
}, async (t) => {
  const tpm = await startTpm(t);
  const ports = { fetch: systemFetch, tcti: tpm.tcti };
  await assert.rejects(createAzureCollector({ ...ports, toolsFolder: tpm.folder }), failsWith("COLLECT_UNAVAILABLE"));
  await assert.rejects(createAzureCollector(ports), failsWith("COLLECT_FAILED"), "no such index");
  writeFileSync(join(tpm.folder, "hcl.bin"), Buffer.alloc(64, 1));
  tpm.tool("tpm2_nvdefine", "0x01400001", "-C", "o", "-s", "64", "-a", "ownerread|ownerwrite");
  tpm.tool("tpm2_nvwrite", "0x01400001", "-C", "o", "-i", "hcl.bin");
  await assert.rejects(createAzureCollector(ports), failsWith("COLLECT_FAILED"), "another content");
  const good = await machine(t);
  const answers: readonly RequestListener[] = [
    (_request, response) => response.writeHead(404).end(),
    (_request, response) => response.end("{}"),
    (_request, response) => response.end("x".repeat(200_000)),
    (_request, response) => response.writeHead(302, { location: good.metadata }).end(),
  ];
  for (const answer of answers) {
    const collector = await createAzureCollector({ ...good.ports, metadata: await listen(t, answer) });
    await assert.rejects(collector.collect(REPORT_DATA), failsWith("COLLECT_FAILED"));
  }
  const collector = await createAzureCollector(good.ports);
  await assert.rejects(collector.collect(REPORT_DATA.subarray(1)), failsWith("COLLECT_FAILED"));
});
