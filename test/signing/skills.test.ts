/** Agent-skill directories on the command line: really signed ones by name, and what we sign under the name they use. */
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makePair, modelkeep, temporaryFolder, writeModel } from "../sealing/support.ts";
import { ABSENT, json, unpack } from "./oms-support.ts";

interface SkillCase {
  readonly dir: string;
  readonly verdict: "pass" | "fail";
  readonly reason: string;
}

const SUBJECT = "CN=NVIDIA Agent Skills Signing 001,O=NVIDIA Corporation,C=US";
/** Inside the validity of the certificates. */
const AT = "2026-11-25T00:00:00Z";

test("skills that are really signed: the verdict of each, by --ca and by a policy, their signature found by itself", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const { nvidia_skills: cases } = json<{ nvidia_skills: SkillCase[] }>("cases.json");
  const folder = unpack("nvidia-skills.zip");
  const policy = `version: 1
signers: {nvidia: {ca: nv-agent-root-cert.pem, subject: "${SUBJECT}"}}
rules: [{models: ["*@*"], signers: [nvidia]}]
`;
  writeFileSync(join(folder, "policy.yaml"), policy);
  const trust = ["--ca", "nv-agent-root-cert.pem", "--subject", SUBJECT];
  for (const { dir, verdict, reason } of cases) {
    const exits: number[] = [];
    for (const words of [trust, ["--policy", "policy.yaml"]])
      exits.push((await modelkeep(["verify", dir, ...words, "--at", AT], folder)).exit);
    t.diagnostic(`${dir}: ${exits.join(", ")} (${verdict}${reason ? `, ${reason}` : ""})`);
    const expected = verdict === "pass" ? 0 : 4;
    assert.deepEqual(exits, [expected, expected], dir);
  }
  assert.deepEqual([cases.length, cases.filter(({ verdict }) => verdict === "pass").length], [12, 9]);
});

test("a skill is signed as skill.oms.sig, which is no part of it; a folder without SKILL.md as model.sig", async () => {
  const folder = temporaryFolder();
  const pair = makePair();
  writeFileSync(join(folder, "k.pem"), pair.privatePem, { mode: 0o600 });
  writeFileSync(join(folder, "k.pub"), pair.publicPem);
  writeModel({ "SKILL.md": "# A skill", "evals/evals.json": "[]" }, join(folder, "skill"));
  writeModel({ "evals/SKILL.md": "# Not at the top" }, join(folder, "other"));
  for (const [model, signature] of [
    ["skill", "skill.oms.sig"],
    ["other", "model.sig"],
  ] as const) {
    assert.equal((await modelkeep(["sign", model, "--key", "k.pem"], folder)).exit, 0);
    assert.ok(existsSync(join(folder, model, signature)), model);
    assert.equal((await modelkeep(["verify", model, "--public-key", "k.pub"], folder)).exit, 0);
    assert.equal((await modelkeep(["sign", model, "--key", "k.pem"], folder)).exit, 0, "signed again");
    writeFileSync(join(folder, model, "run.sh"), "true");
    assert.equal((await modelkeep(["verify", model, "--public-key", "k.pub"], folder)).exit, 4);
  }
});
