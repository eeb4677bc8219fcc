/** Configuration: each layer over the one before, everything checked, the origin of every value known. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { ModelkeepError } from "../../src/base/index.ts";
import { loadConfig } from "../../src/server/config.ts";

const folder = mkdtempSync(join(tmpdir(), "modelkeep-config-"));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, "modelkeep.toml");
const env = { XDG_CONFIG_HOME: join(folder, "c"), XDG_DATA_HOME: join(folder, "d") };
const load = (toml: string | undefined, more: Record<string, string> = {}, flags: Record<string, unknown> = {}) => {
  if (toml !== undefined) writeFileSync(file, toml);
  return loadConfig({ env: { ...env, ...more }, flags, ...(toml === undefined ? {} : { file }) });
};

test("without anything: loopback, embedded store, key file apart from the database, frozen", async () => {
  const { config, origins } = await load(undefined);
  assert.equal(config.listen, "127.0.0.1:8420");
  assert.equal(config.store, `sqlite:${join(folder, "d", "modelkeep", "server", "modelkeep.db")}`);
  assert.equal(config.root_key, `file://${join(folder, "c", "modelkeep", "root.key")}`);
  assert.equal(config.insecure_dev_attestation, false);
  assert.equal(origins.listen, "default");
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.kms));
});

test("file, then environment, then flags", async () => {
  const toml = 'listen = "127.0.0.1:1"\nlog_level = "warn"\nkms = ["file:///a"]\n';
  const { config, origins } = await load(
    toml,
    { MODELKEEP_LISTEN: "127.0.0.1:2", MODELKEEP_KMS: "file:///b,file:///c" },
    { listen: "127.0.0.1:3" },
  );
  assert.deepEqual([config.listen, config.log_level, config.kms], ["127.0.0.1:3", "warn", ["file:///b", "file:///c"]]);
  assert.deepEqual(
    [origins.listen, origins.log_level, origins.kms],
    ["flag --listen", `file ${file}`, "env MODELKEEP_KMS"],
  );
});

test("what is wrong is named with where it came from", async () => {
  await assert.rejects(
    load('lisen = "x"\n'),
    (error: ModelkeepError) => error.code === "CONFIG_INVALID" && /lisen/.test(error.message),
  );
  await assert.rejects(load(undefined, { MODELKEEP_LOG_LEVEL: "loud" }), (error: ModelkeepError) =>
    /log_level \(env MODELKEEP_LOG_LEVEL\)/.test(error.message),
  );
  await assert.rejects(load("= 1"), { code: "CONFIG_INVALID" });
  await assert.rejects(loadConfig({ env, flags: {}, file: join(folder, "none.toml") }), { code: "CONFIG_INVALID" });
  await assert.rejects(load(undefined, { MODELKEEP_INSECURE_DEV_ATTESTATION: "yes" }), { code: "CONFIG_INVALID" });
  await assert.rejects(load(undefined, { MODELKEEP_SHUTDOWN_SECONDS: "soon" }), { code: "CONFIG_INVALID" });
});

test("outside loopback it wants to know its name and to speak TLS", async () => {
  await assert.rejects(load(undefined, {}, { listen: "0.0.0.0:8420" }), { code: "CONFIG_INVALID" });
  await assert.rejects(load(undefined, {}, { listen: "0.0.0.0:8420", public_url: "http://keep.example" }), {
    code: "CONFIG_INVALID",
  });
  await assert.rejects(load(undefined, {}, { tls_key: "k.pem" }), { code: "CONFIG_INVALID" });
  const { config } = await load(undefined, {}, { listen: "0.0.0.0:8420", public_url: "https://keep.example" });
  assert.equal(config.public_url, "https://keep.example");
});

test("no text in the file crashes it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 60 }), async (text) => {
      await load(text).catch((error) =>
        assert.ok(error instanceof ModelkeepError && error.code === "CONFIG_INVALID", String(error)),
      );
    }),
    { numRuns: 50 },
  );
});
