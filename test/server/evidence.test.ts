/** The server's verifiers come from its configuration: none without a profile, and no start with a wrong one. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ModelkeepError, silentLog } from "../../src/base/index.ts";
import { systemClock } from "../../src/host/index.ts";
import { loadConfig } from "../../src/server/config.ts";
import { openEvidence } from "../../src/server/evidence.ts";
import { MemoryStore } from "../secrets/support.ts";

test("profile and collateral of the configuration decide which evidence is judged", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-evidence-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const profile = join(folder, "profile.yaml");
  const open = async (flags: object) => {
    const { config } = await loadConfig({ env: { HOME: folder }, flags });
    return (await openEvidence({ config, clock: systemClock, log: silentLog, store: new MemoryStore() })).verifiers;
  };
  const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;
  assert.deepEqual((await open({})).kinds, []);
  assert.deepEqual((await open({ insecure_dev_attestation: true })).kinds, ["insecure-dev"]);
  writeFileSync(profile, "tdx: {}\nsnp: {}\n");
  assert.deepEqual((await open({ attestation_profile: profile })).kinds, ["snp", "tdx"]);
  const both = await open({ attestation_profile: profile, attestation_collateral: [folder] });
  assert.deepEqual(both.kinds, ["snp", "tdx"], "other files of the folder are passed over");
  const named = { attestation_profile: profile, attestation_collateral: [profile] };
  await assert.rejects(open(named), failsWith("COLLATERAL_UNREADABLE"));
  writeFileSync(profile, "tdx:\n  allow_everything: true\n");
  await assert.rejects(open({ attestation_profile: profile }), failsWith("PROFILE_INVALID"));
  await assert.rejects(open({ attestation_profile: join(folder, "none.yaml") }), failsWith("FILE_NOT_FOUND"));
});
