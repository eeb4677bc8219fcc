/** A server process on loopback with one published model, an administrator and a workload that may have its key. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { fromUtf8 } from "../../../src/base/index.ts";
import * as contract from "../../../src/contract/index.ts";
import { connect, enrol } from "../../../src/sdk/index.ts";
import { loadEcSigner, signStatement } from "../../../src/signing/index.ts";
import { type SealedFixture, sealFixture } from "../../loader/support.ts";

const PROCESS = fileURLToPath(new URL("server-process.ts", import.meta.url));
export const REF = "tiny@1";

export interface ServeOptions {
  /** YAML. */
  readonly profile?: string;
  readonly collateral?: ReadonlyMap<string, Uint8Array>;
  readonly anchors?: object;
  readonly flags?: Readonly<Record<string, unknown>>;
  /** Cedar: when the workload gets the key. */
  readonly condition?: string;
}

export interface Served {
  readonly url: string;
  readonly pid: number;
  readonly folder: string;
  readonly fixture: SealedFixture;
  readonly admin: contract.ApiClient;
  readonly workload: contract.ApiClient;
  /** What the process has written to its log so far. */
  readonly log: () => string;
}

export async function serveModel(t: TestContext, options: ServeOptions = {}): Promise<Served> {
  const fixture = await sealFixture(t, 70_000);
  const folder = join(fixture.folder, "server");
  mkdirSync(join(folder, "collateral"), { recursive: true });
  for (const [name, bytes] of options.collateral ?? []) writeFileSync(join(folder, "collateral", name), bytes);
  if (options.profile !== undefined) writeFileSync(join(folder, "profile.yaml"), options.profile);
  const evidence =
    options.profile === undefined
      ? {}
      : { attestation_profile: join(folder, "profile.yaml"), attestation_collateral: [join(folder, "collateral")] };
  const codeFile = join(folder, "code");
  const flags = { kms: [fixture.kekUri], log_level: "error", ...evidence, ...options.flags };
  const started = await startProcess(t, { folder, flags, anchors: options.anchors, codeFile });
  const enrolAs = async (code: string) =>
    (await connect({ credentials: await enrol({ serverUrl: started.url, code }) })).api;
  const admin = await enrolAs(readFileSync(codeFile, "utf8").trim());
  await publish(admin, fixture);
  const { code } = await admin.call(contract.issueEnrolment, { body: { workload: "inference" } });
  await allow(admin, options.condition ?? "true");
  return { ...started, folder, fixture, admin, workload: await enrolAs(code) };
}

async function startProcess(t: TestContext, told: object): Promise<{ url: string; pid: number; log: () => string }> {
  const child = spawn(process.execPath, [PROCESS, JSON.stringify(told)], { stdio: ["ignore", "pipe", "pipe"] });
  t.after(async () => {
    if (child.exitCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "close");
  });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log += chunk;
  });
  for await (const line of createInterface({ input: child.stdout }))
    return { url: JSON.parse(line).url, pid: child.pid ?? 0, log: () => log };
  throw new Error(`the server ended: ${log.slice(0, 2000)}`);
}

async function publish(admin: contract.ApiClient, fixture: SealedFixture): Promise<void> {
  const signer = loadEcSigner(fixture.privateKey);
  const { rootDigest, envelope, seal } = fixture.sealed;
  const say = (predicateType: string, predicate: unknown) =>
    signStatement({ predicateType, predicate, rootDigest, name: "tiny", signer });
  const vulnerabilities = { critical: 0, high: 0, medium: 0, low: 0, unknown: 0, malware: 0 };
  const findings = { scan_verdict: "clean", vulnerabilities, advisories_matched: true };
  await admin.call(contract.publishModel, {
    body: {
      ...{ name: "tiny", version: "1", public_key: fixture.publicKey, bundle: fromUtf8(fixture.bundle) },
      statements: {
        seal,
        bom: await say(contract.BOM_PREDICATE_TYPE, { bomFormat: "CycloneDX", specVersion: "1.6", components: [] }),
        findings: await say(contract.FINDINGS_PREDICATE_TYPE, findings),
      },
      ...{ envelope: JSON.stringify(envelope), store_uri: fixture.storeUri, prefix: fixture.prefix },
    },
  });
}

async function allow(admin: contract.ApiClient, condition: string): Promise<void> {
  const { text, version } = await admin.call(contract.getPolicy, {});
  const rules = `
@id("inference-reads") permit (principal == Workload::"inference", action == Action::"readModel", resource);
@id("inference-loads") permit (principal == Workload::"inference", action == Action::"releaseKey", resource == Model::"${REF}")
when { ${condition} };`;
  await admin.call(contract.setPolicy, { body: { text: text + rules, if_version: version } });
}
