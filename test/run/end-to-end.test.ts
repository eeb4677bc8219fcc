/** A load over the wire: a real server, a workload enrolled by a one-time code, and the command as a process of its own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { fromUtf8, utf8 } from "../../src/base/index.ts";
import {
  type ApiClient,
  BOM_PREDICATE_TYPE,
  FINDINGS_PREDICATE_TYPE,
  getPolicy,
  issueEnrolment,
  publishModel,
  revokeToken,
  setPolicy,
} from "../../src/contract/index.ts";
import { connect, enrol } from "../../src/sdk/index.ts";
import { loadConfig, startServer } from "../../src/server/index.ts";
import { loadEcSigner, signStatement } from "../../src/signing/index.ts";
import { canMount, type SealedFixture, sealFixture } from "../loader/support.ts";

const COMMAND = fileURLToPath(new URL("../../bin/modelkeep.mjs", import.meta.url));
const REF = "tiny@1";

async function startWithAdmin(t: TestContext, fixture: SealedFixture): Promise<{ url: string; admin: ApiClient }> {
  const codeFile = join(fixture.folder, "bootstrap");
  const home = join(fixture.folder, "server");
  const flags = { listen: "127.0.0.1:0", kms: [fixture.kekUri], insecure_dev_attestation: true, log_level: "error" };
  const { config } = await loadConfig({ env: { HOME: home }, flags });
  const server = await startServer({
    config,
    version: "0",
    writeLog: () => undefined,
    talk: () => undefined,
    bootstrapCodeFile: codeFile,
  });
  t.after(() => server.close());
  const code = fs.readFileSync(codeFile, "utf8").trim();
  const credentials = await enrol({ serverUrl: server.url, code });
  return { url: server.url, admin: (await connect({ credentials })).api };
}

async function publish(admin: ApiClient, fixture: SealedFixture): Promise<void> {
  const signer = loadEcSigner(fixture.privateKey);
  const { rootDigest, envelope, seal } = fixture.sealed;
  const say = (predicateType: string, predicate: unknown) =>
    signStatement({ predicateType, predicate, rootDigest, name: "tiny", signer });
  const vulnerabilities = { critical: 0, high: 0, medium: 0, low: 0, unknown: 0, malware: 0 };
  await admin.call(publishModel, {
    body: {
      name: "tiny",
      version: "1",
      public_key: fixture.publicKey,
      bundle: fromUtf8(fixture.bundle),
      statements: {
        seal,
        bom: await say(BOM_PREDICATE_TYPE, { bomFormat: "CycloneDX", specVersion: "1.6", components: [] }),
        findings: await say(FINDINGS_PREDICATE_TYPE, {
          scan_verdict: "clean",
          vulnerabilities,
          advisories_matched: true,
        }),
      },
      envelope: JSON.stringify(envelope),
      store_uri: fixture.storeUri,
      prefix: fixture.prefix,
    },
  });
}

async function allow(admin: ApiClient, before: string, measurement: string): Promise<void> {
  const rules = `
@id("inference-reads") permit (principal == Workload::"inference", action == Action::"readModel", resource);
@id("inference-loads") permit (principal == Workload::"inference", action == Action::"releaseKey", resource == Model::"${REF}")
when { context.attestation.kind == "insecure-dev" && context.attestation.measurement == "${measurement}" };`;
  await admin.call(setPolicy, { body: { text: before + rules } });
}

async function type(fixture: SealedFixture, words: readonly string[], url: string) {
  const child = spawn(process.execPath, [COMMAND, ...words], {
    cwd: fixture.folder,
    env: { PATH: process.env.PATH, HOME: fixture.folder, MODELKEEP_SERVER: url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

test("a workload enrols, proves its start, and its program reads the model; revoked, it gets no key", {
  timeout: 120_000,
}, async (t) => {
  if (process.platform !== "linux" || !canMount())
    return t.skip("needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000");
  const fixture = await sealFixture(t);
  const { url, admin } = await startWithAdmin(t, fixture);
  await publish(admin, fixture);
  const { text } = await admin.call(getPolicy, {});
  await allow(admin, text, "00");
  const { code } = await admin.call(issueEnrolment, { body: { workload: "inference" } });
  fs.writeFileSync(join(fixture.folder, "code"), utf8(`${code}\n`), { mode: 0o600 });
  fs.writeFileSync(join(fixture.folder, "signer.pub"), fixture.publicKey);
  const program = ["--", "sh", "-c", "sha256sum {model}/weights.bin | cut -c1-64; exit 4"];
  const words = ["run", REF, "--as", "inference", "--trust", "signer.pub", "--tee", "insecure-dev"];

  const enrolling = ["--enrol-code-file", "code", "--print-measurement"];
  const measured = await type(fixture, [...words, ...enrolling, ...program], url);
  assert.equal(measured.code, 0, measured.stderr);
  const refused = await type(fixture, [...words, ...program], url);
  assert.deepEqual([refused.code, refused.stdout], [5, ""], refused.stderr);

  await allow(admin, text, measured.stdout.trim());
  const ran = await type(fixture, [...words, ...program], url);
  assert.equal(ran.code, 4, ran.stderr);
  assert.equal(ran.stdout.trim(), createHash("sha256").update(fixture.weights).digest("hex"));

  await admin.call(revokeToken, { body: { principal: { type: "Workload", id: "inference" } } });
  const revoked = await type(fixture, [...words, ...program], url);
  assert.deepEqual([revoked.code, revoked.stdout], [3, ""], revoked.stderr);
});
