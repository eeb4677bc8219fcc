/** `modelkeep run --device gpu` as a process against a server process: what NVIDIA's programs print reaches the release. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { toBase64, utf8 } from "../../src/base/index.ts";
import * as contract from "../../src/contract/index.ts";
import { canMount } from "../loader/support.ts";
import { ANCHORS, collateralFiles, makeMachine } from "./support/machine.ts";
import { REF, serveModel } from "./support/serve.ts";

const COMMAND = fileURLToPath(new URL("../../bin/modelkeep.mjs", import.meta.url));
const REPORTER = fileURLToPath(new URL("support/nvattest.ts", import.meta.url));

test("run shows the GPUs beside the guest; without them, or with one that is not its own, it gets no key", {
  timeout: 120_000,
}, async (t) => {
  if (process.platform !== "linux" || !canMount())
    return t.skip("needs Linux and a mount namespace: run as root, or sysctl user.max_user_namespaces=10000");
  const served = await serveModel(t, {
    profile: "nvidia:\n  gpu_count: 1\n  require_ocsp: false\n",
    condition: "context.attestation has devices && context.attestation.devices.gpus == 1",
    collateral: collateralFiles(Date.now()),
    anchors: ANCHORS,
    flags: { insecure_dev_attestation: true },
  });
  const { folder } = served.fixture;
  const [gpu] = makeMachine(1, 0).devices;
  assert.ok(gpu);
  const [leaf] = gpu.device.parties;
  const key = leaf.privateKey.export({ type: "pkcs8", format: "pem" });
  writeFileSync(join(folder, "gpu.json"), JSON.stringify({ key, certificate: toBase64(utf8(gpu.device.pem)) }));
  const program = (name: string, text: string) => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
    return join(folder, name);
  };
  const honest = program("nvattest", `exec "${process.execPath}" "${REPORTER}" "${join(folder, "gpu.json")}" "$@"`);
  const stale = program(
    "stale",
    `exec "${process.execPath}" "${REPORTER}" "${join(folder, "gpu.json")}" x x x x ${"00".repeat(32)}`,
  );
  const smi = program(
    "nvidia-smi",
    'case "$2" in -f) echo "CC status: ON";; -d) echo "DevTools Mode: OFF";; -e) echo "CC Environment: PRODUCTION";; esac',
  );
  writeFileSync(join(folder, "signer.pub"), served.fixture.publicKey);
  const { code } = await served.admin.call(contract.issueEnrolment, { body: { workload: "inference" } });
  writeFileSync(join(folder, "code"), `${code}\n`, { mode: 0o600 });
  const run = async (...options: readonly string[]) => {
    const words = ["run", REF, "--as", "inference", "--enrol-code-file", "code", "--trust", "signer.pub"];
    const start = ["--insecure-allow-swap", "--", "sh", "-c", "wc -c < {model}/weights.bin"];
    const env = { PATH: process.env.PATH, HOME: folder, MODELKEEP_SERVER: served.url };
    const child = spawn(process.execPath, [COMMAND, ...words, "--tee", "insecure-dev", ...options, ...start], {
      ...{ cwd: folder, env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk;
    });
    const [exit] = (await once(child, "close")) as [number | null];
    return { exit, stdout: stdout.trim(), stderr };
  };
  const whole = await run("--device", "gpu", "--nvattest", honest, "--nvidia-smi", smi);
  assert.deepEqual([whole.exit, whole.stdout], [0, "70000"], whole.stderr);
  const bare = await run();
  assert.deepEqual([bare.exit, bare.stdout], [5, ""], bare.stderr);
  assert.match(bare.stderr, /nvidia\.devices\.missing/);
  const old = await run("--device", "gpu", "--nvattest", stale, "--nvidia-smi", smi);
  assert.deepEqual([old.exit, old.stdout], [5, ""], old.stderr);
  assert.match(old.stderr, /nvidia\.devices\.nonce/);
  assert.equal((await run("--nvattest", honest)).exit, 2, "a program of no class of devices");
});
