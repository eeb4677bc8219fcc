/** What a transcript plays on: a home of its own, the real command, and a server with a logged-in administrator. */
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { matches, type Names, type Said, type Step } from "./transcript.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Longest time for one step, in milliseconds; a busy machine needs a multiple of a second. */
const STEP_TIMEOUT_MS = 60_000;
const LOOK_EVERY_MS = 20;

/** Compiled code is shared: it differs by nothing from home to home. */
const cache = mkdtempSync(join(tmpdir(), "modelkeep-cli-cache-"));
process.on("exit", () => rmSync(cache, { recursive: true, force: true }));

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<number>;
  output(): { readonly stdout: string; readonly stderr: string };
}

export class Stage {
  readonly home = mkdtempSync(join(tmpdir(), "modelkeep-cli-"));
  readonly names: Names = new Map([["home", this.home]]);
  readonly #started: Started[] = [];
  readonly #staying: Started[] = [];

  constructor() {
    chmodSync(this.home, 0o700);
    mkdirSync(join(this.home, "bin"));
    // A larger young generation: a fifth less time for each of the many starts, and nothing else.
    const shim = `#!/bin/sh\nexec node --max-semi-space-size=64 --min-semi-space-size=16 ${join(root, "bin/modelkeep.mjs")} "$@"\n`;
    writeFileSync(join(this.home, "bin/modelkeep"), shim, { mode: 0o755 });
  }

  /** The surroundings of a shell in the home; `user` another one on the same machine. */
  env(user = "."): NodeJS.ProcessEnv {
    const home = join(this.home, user);
    return {
      PATH: [join(this.home, "bin"), dirname(process.execPath), process.env.PATH].join(":"),
      LANG: "C.UTF-8",
      HOME: home,
      XDG_CONFIG_HOME: join(home, ".config"),
      XDG_DATA_HOME: join(home, ".data"),
      XDG_CACHE_HOME: cache,
      XDG_RUNTIME_DIR: home,
      ...Object.fromEntries(this.names),
    };
  }

  async setUp(needs: readonly string[]): Promise<void> {
    for (const need of needs) {
      const make = FIXTURES[need];
      if (!make) throw new Error(`there is no ${need} to set up; there are ${Object.keys(FIXTURES).join(", ")}`);
      await make(this);
    }
  }

  path(...parts: string[]): string {
    return join(this.home, ...parts);
  }

  /** Starts a line of the shell in the home. */
  start(command: string, { user = ".", stdin }: { user?: string; stdin?: string } = {}): Started {
    const child = spawn("bash", ["-c", command], { cwd: this.home, env: this.env(user), stdio: "pipe" });
    child.stdin.on("error", () => undefined);
    if (stdin !== undefined) child.stdin.end(stdin);
    const text = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].setEncoding("utf8").on("data", (chunk: string) => {
        text[stream] += chunk;
      });
    }
    const ended = once(child, "close").then(([code]) => (typeof code === "number" ? code : -1));
    const started: Started = { child, ended, output: () => ({ ...text }) };
    this.#started.push(started);
    return started;
  }

  /** Runs a line to its end. */
  async shell(command: string, options: { user?: string; stdin?: string } = {}): Promise<Said> {
    const started = this.start(command, { stdin: "", ...options });
    const timer = setTimeout(() => started.child.kill("SIGKILL"), STEP_TIMEOUT_MS);
    const code = await started.ended;
    clearTimeout(timer);
    return { code, ...started.output() };
  }

  /** Plays one step; what stays is waited for until it has said what the step expects. */
  async play(step: Step): Promise<Said> {
    if (step.kind === "command") return this.shell(step.command, { stdin: step.stdin });
    if (step.kind === "staying") return this.#stay(step);
    const staying = this.#staying.pop();
    if (!staying) throw new Error(`line ${step.line}: nothing is running that could be interrupted`);
    const before = staying.output();
    staying.child.kill("SIGINT");
    const timer = setTimeout(() => staying.child.kill("SIGKILL"), STEP_TIMEOUT_MS);
    const code = await staying.ended;
    clearTimeout(timer);
    const after = staying.output();
    return { code, stdout: after.stdout.slice(before.stdout.length), stderr: after.stderr.slice(before.stderr.length) };
  }

  async #stay(step: Step): Promise<Said> {
    const started = this.start(`exec ${step.command}`);
    this.#staying.push(started);
    const isComplete = () => matches(step, started.output(), this.names);
    const until = performance.now() + STEP_TIMEOUT_MS;
    while (!isComplete() && started.child.exitCode === null && performance.now() < until) await sleep(LOOK_EVERY_MS);
    return { code: started.child.exitCode ?? 0, ...started.output() };
  }

  async end(): Promise<void> {
    for (const { child, ended } of this.#started.splice(0).reverse()) {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** Waits until `look` gives a value. */
export async function until<T>(look: () => T | undefined, what: string): Promise<T> {
  const end = performance.now() + STEP_TIMEOUT_MS;
  for (;;) {
    const value = look();
    if (value !== undefined) return value;
    if (performance.now() > end) throw new Error(`waited too long for ${what}`);
    await sleep(LOOK_EVERY_MS);
  }
}

const FIXTURES: Readonly<Record<string, (stage: Stage) => unknown>> = {
  /** `my-model`: a small model as a trainer leaves it. */
  model: (stage) => {
    const keeper = join(root, "examples/model/keeper");
    mkdirSync(stage.path("my-model"));
    for (const name of ["config.json", "generation_config.json", "tokenizer_config.json"])
      cpSync(join(keeper, name), stage.path("my-model", name));
    writeFileSync(stage.path("my-model/model.safetensors"), tinySafetensors());
  },
  /** `signer.pem`, `signer.pub`, and those of a stranger. */
  keys: (stage) => {
    for (const name of ["signer", "stranger"]) {
      const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
      writeFileSync(stage.path(`${name}.pem`), pair.privateKey.export({ type: "pkcs8", format: "pem" }), {
        mode: 0o600,
      });
      writeFileSync(stage.path(`${name}.pub`), pair.publicKey.export({ type: "spki", format: "pem" }));
    }
  },
  /** `models.kek`, which the server may use. */
  kms: async (stage) => {
    await succeed(stage, `modelkeep kms init file://${stage.path("models.kek")}`);
  },
  /** `advisories`: records that speak of old libraries. */
  advisories: (stage) => cpSync(join(root, "examples/advisories"), stage.path("advisories"), { recursive: true }),
  /** `$server`, and an administrator who is logged in. */
  server: async (stage) => {
    const kms = existsSync(stage.path("models.kek")) ? `--kms file://${stage.path("models.kek")}` : "";
    mkdirSync(stage.path("server"), { mode: 0o700 });
    const server = stage.start(
      `exec modelkeep serve --json --listen 127.0.0.1:0 --bootstrap-code-file code --insecure-dev-attestation ${kms}`,
      { user: "server" },
    );
    const { url } = await until(() => readyLine(server.output().stdout), "the server");
    stage.names.set("server", String(url));
    await succeed(stage, "modelkeep login --server $server < code; rm code");
  },
};

async function succeed(stage: Stage, command: string): Promise<void> {
  const { code, stderr } = await stage.shell(command);
  if (code !== 0) throw new Error(`${command} ended with ${code}\n${stderr}`);
}

export function readyLine(stdout: string): Record<string, unknown> | undefined {
  const line = stdout
    .split("\n")
    .slice(0, -1)
    .find((text) => text.includes('"ready":true'));
  return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>);
}

/** One tensor of four floats. */
function tinySafetensors(): Uint8Array {
  const header = Buffer.from(JSON.stringify({ weight: { dtype: "F32", shape: [4], data_offsets: [0, 16] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(16, 1)]);
}
