/** The exit code is right whoever reads, whoever interrupts, and whatever cannot be written. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { truncateSync, writeFileSync } from "node:fs";
import { after, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT } from "../../src/base/index.ts";
import { readyLine, Stage, until } from "./stage.ts";

const LONG = { timeout: 300_000 };
/** Large enough that threads are started for it. */
const BIG_BYTES = 2 * 1024 * 1024 * 1024;

const stage = new Stage();
await stage.setUp(["keys", "model", "kms", "server"]);
after(() => stage.end());

const run = (line: string, stdin = "") => stage.shell(line, { stdin });

suite("a reader that goes away", () => {
  test("takes no exit code with it: what was refused stays refused", async () => {
    await run("modelkeep sign my-model --key signer.pem --output a.sig");
    const verify = "modelkeep verify my-model --signature a.sig --public-key";
    for (const [key, code] of [
      ["stranger.pub", EXIT.verificationFailed],
      ["signer.pub", EXIT.done],
    ] as const) {
      const nobody = await run(`${verify} ${key} 2>&1 | true; echo \${PIPESTATUS[0]}`);
      assert.equal(nobody.stdout, `${code}\n`, `stdout of ${key}`);
      const silent = await run(`${verify} ${key} --json 2> >(true); echo $?`);
      assert.equal(silent.stdout.split("\n").at(-2), `${code}`, `stderr of ${key}`);
    }
  });

  test("of a server's log is no reason for the server to end", async () => {
    const server = spawn("bash", ["-c", "exec modelkeep serve --json --listen 127.0.0.1:0 --log-level debug"], {
      cwd: stage.home,
      env: stage.env("unread"),
    });
    let stdout = "";
    server.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      stdout += chunk;
    });
    const { url } = await until(() => readyLine(stdout), "the server");
    server.stderr.destroy();
    for (let count = 0; count < 5; count++) assert.equal((await fetch(`${url}/healthz`)).status, 200);
    server.kill("SIGTERM");
    assert.deepEqual(await once(server, "exit"), [0, null]);
  });
});

test("output that cannot be written is a failure", async () => {
  for (const line of ["modelkeep audit checkpoint", "modelkeep version --json"]) {
    const said = await run(`${line} > /dev/full`);
    assert.equal(said.code, EXIT.failed, line);
    assert.match(said.stderr, /^error: .*ENOSPC.*\nhint: \S/m);
  }
});

test("two interrupts end a command with 130, whatever its threads were loading", LONG, async () => {
  writeFileSync(stage.path("big.bin"), "");
  truncateSync(stage.path("big.bin"), BIG_BYTES);
  const ended: unknown[] = [];
  for (let wait = 0; wait < 12; wait++) {
    const sealed = `big-${wait}`;
    const started = stage.start(
      `exec modelkeep seal big.bin --key signer.pem --kms file://$home/models.kek --output ${sealed}`,
      { stdin: "" },
    );
    await sleep(350 + wait * 40);
    started.child.kill("SIGINT");
    started.child.kill("SIGTERM");
    await started.ended;
    ended.push(started.child.exitCode ?? started.child.signalCode);
  }
  // What was interrupted before it listened to interrupts ends by the interrupt, which a shell calls 130 too.
  assert.ok(ended.includes(EXIT.interrupted), ended.join());
  for (const end of ended) assert.ok([EXIT.interrupted, "SIGINT", "SIGTERM"].includes(end as never), ended.join());
});
