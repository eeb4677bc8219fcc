/** The worked example of spec/audit-log.md is what the code writes, and a stranger's reading of the text verifies it. */
import assert from "node:assert/strict";
import { createPublicKey, hash, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openAuditLog, verifyExport } from "../../src/audit/index.ts";
import { silentLog } from "../../src/base/index.ts";
import { bytesOf, exportedLines, openTestStore } from "./support.ts";

const spec = readFileSync(new URL("../../spec/audit-log.md", import.meta.url), "utf8");
const example = spec.slice(spec.indexOf("## Example"));
const [lines = [], hashes = [], [root = ""] = []] = [...example.matchAll(/```\n([\s\S]*?)\n```/g)].map(([, text]) =>
  (text ?? "").split("\n"),
);
const sha256 = (...parts: Uint8Array[]) => hash("sha256", Buffer.concat(parts), "buffer");

test("the example is what the code writes", async (t) => {
  const { store } = await openTestStore(t);
  let now = Date.UTC(2027, 0, 15, 8);
  const log = await openAuditLog({
    store,
    clock: {
      now: () => {
        now += 1_000;
        return now;
      },
      monotonic: () => 0,
    },
    random: { bytes: (length) => Uint8Array.from({ length }, (_, n) => n) },
    log: silentLog,
    origin: "keep.example.org/audit",
  });
  const resource = 'Model::"keeper@1"';
  const modelRoot = "5f".repeat(32);
  const reason = ["admins-publish-clean-models"];
  await log.record({
    action: "model.publish",
    outcome: "allowed",
    principal: 'Admin::"ada"',
    resource,
    modelRoot,
    reason,
  });
  await log.record({
    action: "key.release",
    outcome: "refused",
    principal: 'Workload::"inference"',
    resource,
    modelRoot,
  });
  await log.record({
    action: "token.issue",
    outcome: "allowed",
    principal: 'Workload::"Übersetzer"',
    resource: 'Server::"local"',
    data: { ttl_seconds: 3600 },
  });
  assert.deepEqual(await exportedLines(log), lines);
  assert.equal((await verifyExport(bytesOf(lines))).verdict, "accepted");
});

test("hashes, root and signature follow from the text alone", () => {
  const leaves = lines.slice(1, -1).map((line) => sha256(Uint8Array.of(0), Buffer.from(line)));
  assert.deepEqual(
    leaves.map((leaf) => leaf.toString("hex")),
    hashes,
  );
  const [a, b, c] = leaves;
  assert.ok(a && b && c);
  const left = sha256(Uint8Array.of(1), a, b);
  assert.equal(sha256(Uint8Array.of(1), left, c).toString("hex"), root);

  const [name = "", keyHash = "", base64 = ""] =
    /^([^+]*)\+([^+]*)\+(.*)$/.exec((JSON.parse(lines[0] ?? "") as { key: string }).key)?.slice(1) ?? [];
  const typed = Buffer.from(base64, "base64");
  assert.equal(
    sha256(Buffer.from(`${name}\n`), typed)
      .toString("hex")
      .slice(0, 8),
    keyHash,
  );
  const note = (JSON.parse(lines.at(-1) ?? "") as { checkpoint: string }).checkpoint;
  const [text = "", signature = ""] = note.split("\n\n");
  assert.equal(`${text}\n`, `${name}\n3\n${Buffer.from(root, "hex").toString("base64")}\n`);
  const bytes = Buffer.from(signature.split(" ")[2] ?? "", "base64");
  assert.equal(bytes.subarray(0, 4).toString("hex"), keyHash);
  const publicKey = createPublicKey({
    key: { kty: "OKP", crv: "Ed25519", x: typed.subarray(1).toString("base64url") },
    format: "jwk",
  });
  assert.ok(verify(null, Buffer.from(`${text}\n`), publicKey, bytes.subarray(4)));
});
