/** A model runs straight from a registry and from a bucket; what the store is asked with is in no environment of the inner half. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { openBlobStore } from "../../src/artifact/index.ts";
import { copySealed } from "../../src/sealing/index.ts";
import { FaultyProxy } from "../artifact/faulty-proxy.ts";
import { startMotoS3, startRegistry } from "../artifact/store-peers.ts";
import { canMount, runLoader, sealFixture } from "./support.ts";

const [moto, registry] = await Promise.all([startMotoS3(), startRegistry()]);
const NEED = "needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000";

for (const [kind, peer] of Object.entries({ s3: moto, oci: registry }))
  test(`${kind}: loads from the store and nowhere else`, { timeout: 120_000 }, async (t) => {
    if (typeof peer === "string") return t.skip(peer);
    if (process.platform !== "linux" || !canMount()) return t.skip(NEED);
    const fixture = await sealFixture(t);
    const proxy = await FaultyProxy.start(peer.origin);
    const env =
      kind === "s3"
        ? { ...peer.env, AWS_ENDPOINT_URL_S3: proxy.origin }
        : { MODELKEEP_REGISTRY_HOST: "unused.example" };
    const storeUri = kind === "s3" ? peer.uri("run") : `oci://${new URL(proxy.origin).host}/models/run:v1`;
    const from = { store: await openBlobStore(fixture.storeUri), prefix: fixture.prefix };
    await copySealed({ from, to: { store: await openBlobStore(storeUri, { env }), prefix: fixture.prefix } });
    proxy.break(() => undefined);
    const command = ["sh", "-c", "sha256sum {model}/weights.bin | cut -c1-64"];
    const { code, stdout, stderr } = await runLoader({ ...fixture, storeUri }, { command, env });
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), createHash("sha256").update(fixture.weights).digest("hex"));
    assert.ok(proxy.asked.some(({ headers }) => headers.range !== undefined));
    proxy.break(({ path }) => (/0\.floe|blobs/.test(path) ? { alter: (body) => body.fill(7) } : undefined));
    const damaged = await runLoader({ ...fixture, storeUri }, { command, env });
    assert.notEqual(damaged.code, 0);
    assert.equal(damaged.stdout, "");
    assert.match(damaged.error ?? "", /^(SEALED_TAMPERED|BLOB_DAMAGED)$/);
  });
